"""What several test modules share: servers that really run."""
