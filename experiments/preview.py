"""Shows photos under the augmentation of a training (thesis, section 4.1).

    python -m experiments.preview --flag=value ...      # the same as: skinjax preview --flag=value ...
    python -m experiments.preview --help                # the flags, which are the fields of the study's Config
    python -m experiments.preview --smoke               # all of it, tiny

`skinjax.studies.preview` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("preview")
