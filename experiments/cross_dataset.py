"""Trains on one data set and tests on another, both ways (thesis, chapter 2).

    python -m experiments.cross_dataset --flag=value ...      # the same as: skinjax cross_dataset --flag=value ...
    python -m experiments.cross_dataset --help                # the flags, which are the fields of the study's Config
    python -m experiments.cross_dataset --smoke               # all of it, tiny

`skinjax.studies.cross_dataset` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("cross_dataset")
