"""Score and degree of malignancy of tumours (thesis, chapter 5).

    python -m experiments.malignancy --flag=value ...      # the same as: skinjax malignancy --flag=value ...
    python -m experiments.malignancy --help                # the flags, which are the fields of the study's Config
    python -m experiments.malignancy --smoke               # all of it, tiny

`skinjax.studies.malignancy` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("malignancy")
