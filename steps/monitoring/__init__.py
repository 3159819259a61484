"""Judge a window of what the champion sees, decide, and write it down."""
