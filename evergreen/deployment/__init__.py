"""Bringing the champion to the servers of a stack, and proving that they answer as it does."""
