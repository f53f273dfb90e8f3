"""Hierarchical diagnosis by granularity transfer (thesis, chapter 4).

    python -m experiments.hierarchy --flag=value ...      # the same as: skinjax hierarchy --flag=value ...
    python -m experiments.hierarchy --help                # the flags, which are the fields of the study's Config
    python -m experiments.hierarchy --smoke               # all of it, tiny

`skinjax.studies.hierarchy` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("hierarchy")
