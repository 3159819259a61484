"""Tables: where they come from, what they promise, how they are split."""
