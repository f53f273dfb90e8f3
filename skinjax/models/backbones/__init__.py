"""The networks, a file per family."""
