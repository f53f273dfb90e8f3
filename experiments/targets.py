"""The disease that an experiment is about, and what readers said of it, from the flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from absl import flags

from experiments.flags import SCRIPT
from skinjax.data.evaluation_data import level_of
from skinjax.data.readers import read_by_all, read_readers
from skinjax.labels.taxonomy import Taxonomy


def define_target_flag(default: Sequence[str]) -> None:
    """What is told from the rest."""
    flags.DEFINE_list(
        "target", default, "Class, or classes of one level, to be told from the rest.", module_name=SCRIPT
    )


def members(name: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns the classes of the finest level that the classes of a flag, all of one level, consist of.

    Args:
      name: of the flag.
      taxonomy: that the classes are of.

    Raises:
      ValueError: the flag names none, unknown ones, or classes of several levels.
    """
    wanted = flags.FLAGS[name].value
    level = level_of(wanted, taxonomy) if wanted else None
    if level is None:
        there = "; ".join(f"{level}: {', '.join(taxonomy.classes(level))}" for level in taxonomy.levels)
        raise ValueError(
            f"--{name}={','.join(wanted)} is no class, or classes of one level, of {taxonomy.name} ({there})"
        )
    classes, above = taxonomy.classes(), taxonomy.parents(taxonomy.finest, level)
    names = taxonomy.classes(level)
    return tuple(fine for fine, parent in zip(classes, above, strict=True) if names[parent] in wanted)


def readers(images: Iterable[str]) -> pd.DataFrame | None:
    """Returns what the readers of --readers called photos that all of them called; None where the flag is empty.

    Args:
      images: the photos that they may have called.

    Raises:
      ValueError: everything that is wrong with the file, or no photo that all called.
    """
    path = flags.FLAGS.readers
    return read_by_all(read_readers(path, list(images)))[0] if path else None
