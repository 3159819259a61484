"""Steps of batch scoring."""
