"""What a model saw at training, and how the present differs from it."""
