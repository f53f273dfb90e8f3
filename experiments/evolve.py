"""Evolution of hyper-parameters (thesis, section 4.2.2).

    python -m experiments.evolve --flag=value ...      # the same as: skinjax evolve --flag=value ...
    python -m experiments.evolve --help                # the flags, which are the fields of the study's Config
    python -m experiments.evolve --smoke               # all of it, tiny

`skinjax.studies.evolution` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("evolve")
