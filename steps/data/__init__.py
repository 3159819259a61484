"""From a source to checked, split rows."""
