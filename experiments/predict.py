"""Answers photos with the networks of a run (all chapters).

    python -m experiments.predict --flag=value ...      # the same as: skinjax predict --flag=value ...
    python -m experiments.predict --help                # the flags, which are the fields of the study's Config
    python -m experiments.predict --smoke               # all of it, tiny

`skinjax.studies.prediction` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("predict")
