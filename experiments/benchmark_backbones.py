"""Compares networks on one split of cases (thesis, chapter 2 and section 3.2).

    python -m experiments.benchmark_backbones --flag=value ...      # or: skinjax benchmark_backbones
    python -m experiments.benchmark_backbones --help                # the flags: fields of the study's Config
    python -m experiments.benchmark_backbones --smoke               # all of it, tiny

`skinjax.studies.backbones` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("benchmark_backbones")
