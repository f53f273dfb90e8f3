"""Lets `python -m skinjax.cli` stand for `skinjax`."""

from skinjax.cli.main import entry

if __name__ == "__main__":
    entry()
