"""The readers' file: what people called the photos that a model answers for.

A CSV or Parquet file, one row a reader and photo:

| column | holds |
|---|---|
| `reader` | who read it; any text |
| `image` | the photo, as in the predictions |
| `call` | 1 where the reader said that the photo shows the target, else 0 |

Other columns are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.tables import TableError, faulty_rows, missing_columns, read_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("reader", "image", "call")


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
    table = read_table(path, ReadersError)
    if problems := missing_columns(COLUMNS, table.frame):
        raise ReadersError(str(path), problems)
    frame = table.frame[list(COLUMNS)].copy()
    frame["reader"] = frame["reader"].str.strip()
    call = frame["call"].str.strip()
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
    wrong = ~call.isin(["0", "1"])
    problems += faulty_rows("call", "where 0 or 1 is wanted", wrong, table.rows, frame["call"].array)
    if problems:
        raise ReadersError(str(path), problems)
    return frame.assign(call=call.astype("int64"))


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
