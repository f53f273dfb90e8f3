"""The readers' file: what people called the photos that a model answers for.

A CSV or Parquet file, one row a reader and photo:

| column | holds |
|---|---|
| `reader` | who read it; any text |
| `image` | the photo, as in the predictions |
| `call` | 1 where the reader said that the photo shows the target, else 0 |

Other columns are left out. Readers who give degrees of malignancy have a column `degree` in place of `call`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.tables import TableError, faulty_rows, missing_columns, read_table
from skinjax.labels.degrees import degree_names

if TYPE_CHECKING:
    import pandas as pd


class ReadersError(TableError):
    """Everything that is wrong with a readers' file; `.problems` has one sentence a fault."""


def read_readers(path: str | Path, images: Collection[str] | None = None) -> pd.DataFrame:
    r"""Reads and checks a readers' file.

    Args:
      path: A CSV or Parquet file.
      images: Where given, the photos that may be read.

    Returns:
      Columns `reader` and `image` (text) and `call` (int64, 0 or 1), rows in the file's order.

    Raises:
      ReadersError: Naming every fault at once: missing columns, empty cells, photos that are not among `images`, a
        reader with two calls of one photo, calls other than 0 and 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "readers.csv")
    ...     _ = path.write_text("reader,image,call\nDr A,1.png,1\nDr A,2.png,0\n")
    ...     read_readers(path)
      reader  image  call
    0   Dr A  1.png     1
    1   Dr A  2.png     0
    """
    return _read(path, "call", {"0": 0, "1": 1}, "0 or 1", images)


def read_degree_readers(
    path: str | Path, num_degrees: int, images: Collection[str] | None = None
) -> pd.DataFrame:
    r"""Reads and checks a file of readers who gave degrees of malignancy: `reader`, `image` and `degree`.

    Args:
      path: A CSV or Parquet file; a degree is its number, from 0, or its name as in
        `skinjax.labels.degrees.degree_names`.
      num_degrees: D, at least 2.
      images: Where given, the photos that may be read.

    Returns:
      Columns `reader` and `image` (text) and `degree` (int64 in 0..D-1), rows in the file's order.

    Raises:
      ReadersError: As `read_readers`, of degrees.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "readers.csv")
    ...     _ = path.write_text("reader,image,degree\nDr A,1.png,high\nDr A,2.png,0\n")
    ...     read_degree_readers(path, num_degrees=3)["degree"].tolist()
    [2, 0]
    """
    names = degree_names(num_degrees)
    values = {str(degree): degree for degree in range(num_degrees)}
    values |= {name: degree for degree, name in enumerate(names)}
    wanted = f"a number from 0 to {num_degrees - 1} ({', '.join(names)})"
    return _read(path, "degree", values, wanted, images)


def read_by_all(readers: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The photos that every reader called, since readers are compared on the same photos.

    Args:
      readers: As `read_readers` gives them.

    Returns:
      Their rows, and how many photos were left out.

    Raises:
      ValueError: If there is no photo that all readers called.

    >>> import pandas as pd
    >>> readers = pd.DataFrame({"reader": list("aab"), "image": ["1", "2", "2"], "call": [0, 1, 1]})
    >>> complete, left_out = read_by_all(readers)
    >>> complete["image"].tolist(), left_out
    (['2', '2'], 1)
    """
    calls = readers.groupby("image")["reader"].nunique()
    everyone = readers["reader"].nunique()
    complete = calls.index[calls == everyone]
    if not len(complete):
        raise ValueError(
            f"no photo was called by all {everyone} readers; readers can only be compared on the same photos"
        )
    kept = readers[readers["image"].isin(complete)].reset_index(drop=True)
    return kept, len(calls) - len(complete)


def _read(
    path: str | Path, column: str, values: Mapping[str, int], wanted: str, images: Collection[str] | None
) -> pd.DataFrame:
    """A readers' file whose answers stand in a column as one of some texts."""
    table = read_table(path, ReadersError)
    names = ("reader", "image", column)
    if problems := missing_columns(names, table.frame):
        raise ReadersError(str(path), problems)
    frame = table.frame[list(names)].copy()
    frame["reader"] = frame["reader"].str.strip()
    answers = frame[column].str.strip()
    problems = [] if len(frame) else ["no rows"]
    for name in ("reader", "image"):
        problems += faulty_rows(name, "empty", frame[name] == "", table.rows)
    if images is not None:
        unknown = ~frame["image"].isin([*images, ""])
        fault = "with a photo that the predictions do not have"
        problems += faulty_rows("image", fault, unknown, table.rows, frame["image"].array)
    repeated = frame.duplicated(["reader", "image"]) & (frame["image"] != "")
    fault = "with a photo that an earlier row has of the same reader"
    problems += faulty_rows("image", fault, repeated, table.rows, frame["image"].array)
    wrong = ~answers.isin(list(values))
    problems += faulty_rows(column, f"where {wanted} is wanted", wrong, table.rows, frame[column].array)
    if problems:
        raise ReadersError(str(path), problems)
    return frame.assign(**{column: answers.map(dict(values)).astype("int64")})
