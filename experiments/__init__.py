"""Floor 8: scripts, each run as `python -m experiments.<name> --flag=value` from the checkout."""
