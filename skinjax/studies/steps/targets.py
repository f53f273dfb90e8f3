"""The disease that a study is about, and what readers called it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from skinjax.data.readers import read_by_all, read_readers
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.target_call import finest_classes

READERS_HELP = (
    "Answers of readers to compare with: a CSV with columns reader, image and call (1 where the "
    "reader called --target, else 0)."
)
TARGET_HELP = "Class to tell from all others, or several classes of one level, e.g. melanoma."


def members(name: str, classes: Sequence[str], taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns the classes of the finest level that named classes, all of one level, consist of.

    Args:
      name: Of the option that names them.
      classes: The named classes.
      taxonomy: That they are of.

    Raises:
      ValueError: No class is named, an unknown one, or classes of several levels.
    """
    try:
        return finest_classes(classes, taxonomy)
    except ValueError as error:
        raise ValueError(f"{name}={error}") from None


def readers(path: str, images: Iterable[str]) -> pd.DataFrame | None:
    """Returns what readers called photos that all of them called; None where no file is named.

    Args:
      path: The file, or an empty text.
      images: The photos that they may have called.

    Raises:
      ValueError: Everything that is wrong with the file, or no photo that all called.
    """
    return read_by_all(read_readers(path, list(images)))[0] if path else None
