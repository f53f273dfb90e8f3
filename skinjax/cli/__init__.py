"""Floor 7: the command `skinjax`, whose flags are made from the studies' configurations.

The only package that knows absl. `python -m experiments.<name>` of a checkout runs the same code.
"""

from skinjax.cli.main import main

__all__ = ["main"]
