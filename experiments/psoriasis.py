"""Two-stage against single-stage diagnosis of one disease (thesis, chapter 3).

    python -m experiments.psoriasis --flag=value ...      # the same as: skinjax psoriasis --flag=value ...
    python -m experiments.psoriasis --help                # the flags, which are the fields of the study's Config
    python -m experiments.psoriasis --smoke               # all of it, tiny

`skinjax.studies.two_stage` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("psoriasis")
