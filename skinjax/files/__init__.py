"""Floor 0: files and folders replaced as a whole, locks on every system, and progress for people."""
