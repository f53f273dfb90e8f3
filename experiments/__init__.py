"""Experiments: each is `python -m experiments.<name> --flag=value` from the checkout."""
