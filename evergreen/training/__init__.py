"""Candidates, their search, and what they are worth."""
