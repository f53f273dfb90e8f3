"""Writes the averaged features of photos, a vector per photo (thesis, section 4.3).

    python -m experiments.features --flag=value ...      # the same as: skinjax features --flag=value ...
    python -m experiments.features --help                # the flags, which are the fields of the study's Config
    python -m experiments.features --smoke               # all of it, tiny

`skinjax.studies.features` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("features")
