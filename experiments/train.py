"""Trains one network on one split or fold (thesis, chapters 3 and 4).

    python -m experiments.train --flag=value ...      # the same as: skinjax train --flag=value ...
    python -m experiments.train --help                # the flags, which are the fields of the study's Config
    python -m experiments.train --smoke               # all of it, tiny

`skinjax.studies.training` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("train")
