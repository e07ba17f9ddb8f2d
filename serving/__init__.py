"""Who asks, and what do we tell them to do?"""
