"""Draws photos for readers, blinded, with a page to answer on (thesis, section 3.2.4).

    python -m experiments.reader_kit --flag=value ...      # the same as: skinjax reader_kit --flag=value ...
    python -m experiments.reader_kit --help                # the flags, which are the fields of the study's Config
    python -m experiments.reader_kit --smoke               # all of it, tiny

`skinjax.studies.reader_kit` is the study; its docstring has what it asks, its commands, times and figures.
"""

from skinjax.cli.main import script

if __name__ == "__main__":
    script("reader_kit")
