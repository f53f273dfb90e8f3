"""Serves a page in the browser that answers cases (thesis, chapter 5).

    python -m experiments.app --flag=value ...      # the same as: skinjax app --flag=value ...
    python -m experiments.app --help                # the flags, which are the fields of the study's Config
    python -m experiments.app --smoke               # on a run that is made for it

`skinjax.studies.app` is the study; its docstring has its commands and what the page promises.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("app")
