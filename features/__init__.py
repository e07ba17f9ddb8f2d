"""What did we know about a lead at time t?"""
