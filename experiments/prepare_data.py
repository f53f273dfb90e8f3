"""Decodes photos once, for several runs (thesis, chapter 2).

    python -m experiments.prepare_data --flag=value ...      # the same as: skinjax prepare_data --flag=value ...
    python -m experiments.prepare_data --help                # the flags, which are the fields of the study's Config
    python -m experiments.prepare_data --smoke               # all of it, tiny

`skinjax.studies.preparation` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("prepare_data")
