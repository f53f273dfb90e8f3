"""Photos to answer, as a table (CSV, Excel or Parquet): `image`, relative to its folder, and what describes them.

Networks that read columns beside a photo find theirs there; other columns are left out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.column_names import ColumnNames
from skinjax.data.photo_paths import as_stored, relative_paths
from skinjax.data.tables import TableError, faulty_rows, missing_columns, read_table

if TYPE_CHECKING:
    import pandas as pd


class PhotoTableError(TableError):
    """Everything that is wrong with a table of photos; `.problems` has one sentence per fault."""


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoTable:
    """Photos with what is known of them.

    Attributes:
      paths: The photos, in the file's order.
      frame: All columns as text, a row per photo.
    """

    paths: tuple[Path, ...]
    frame: pd.DataFrame


def read_photo_table(path: str | Path, map: Mapping[str, str] | Sequence[str] = ()) -> PhotoTable:
    r"""Reads a table of photos; whether they exist is not asked here.

    Args:
      path: A table (`skinjax.labels.delimited`) or Parquet file.
      map: The file's own names of columns, such as `{"image": "Filename"}` or `["image=Filename"]`.

    Returns:
      The photos.

    Raises:
      PhotoTableError: Naming every fault at once: no column `image`, no row, an empty cell, a photo listed twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "today.csv")
    ...     _ = file.write_text("image,age\na.jpg,61\n")
    ...     table = read_photo_table(file)
    >>> table.paths[0].name, table.frame["age"].tolist()
    ('a.jpg', ['61'])
    """
    path = Path(path)
    table = read_table(path, PhotoTableError, names=ColumnNames.of(map))
    frame, rows = table.frame, table.rows
    if problems := missing_columns(("image",), frame):
        raise PhotoTableError(str(path), problems)
    if not len(frame):
        raise PhotoTableError(str(path), ["no rows; it must list at least one photo"])
    image = as_stored(relative_paths(frame["image"].str.strip()), path.parent)
    paths = [Path(os.path.normpath(path.parent / name)) for name in image]
    problems = faulty_rows("image", "empty", image == "", rows)
    earlier = {one: place for place, one in reversed(list(enumerate(paths)))}
    repeated = [
        earlier[one] < place and name != ""
        for place, (one, name) in enumerate(zip(paths, image, strict=True))
    ]
    problems += faulty_rows("image", "with a photo that an earlier row lists", repeated, rows, image.array)
    if problems:
        raise PhotoTableError(str(path), problems)
    return PhotoTable(tuple(paths), frame)
