"""Reports on predictions of any model, or of a run (all chapters).

    python -m experiments.evaluate --flag=value ...      # the same as: skinjax evaluate --flag=value ...
    python -m experiments.evaluate --help                # the flags, which are the fields of the study's Config
    python -m experiments.evaluate --smoke               # all of it, tiny

`skinjax.studies.evaluation` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("evaluate")
