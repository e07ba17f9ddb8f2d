"""What does that predict, and is it true?"""
