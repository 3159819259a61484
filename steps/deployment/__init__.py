"""From a champion to servers that answer as it does."""
