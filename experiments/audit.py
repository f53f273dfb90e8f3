"""Checks a manifest and its photos (thesis, chapter 2).

    python -m experiments.audit --flag=value ...      # the same as: skinjax audit --flag=value ...
    python -m experiments.audit --help                # the flags, which are the fields of the study's Config
    python -m experiments.audit --smoke               # all of it, tiny

`skinjax.studies.audit` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("audit")
