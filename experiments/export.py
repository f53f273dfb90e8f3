"""Exports the networks of a run: ONNX, StableHLO, safetensors, a folder for a model hub (all chapters).

    python -m experiments.export --flag=value ...      # the same as: skinjax export --flag=value ...
    python -m experiments.export --help                # the flags, which are the fields of the study's Config
    python -m experiments.export --smoke               # all of it, tiny

`skinjax.studies.export` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("export")
