"""Fits linear heads to features of any network (thesis, chapter 4).

    python -m experiments.probe --flag=value ...      # the same as: skinjax probe --flag=value ...
    python -m experiments.probe --help                # the flags, which are the fields of the study's Config
    python -m experiments.probe --smoke               # all of it, tiny

`skinjax.studies.probe` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("probe")
