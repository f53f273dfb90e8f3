"""Photos of lesions over time, as a table (CSV, Excel or Parquet).

| column | | holds |
|---|---|---|
| `image` | required | path of the photo, relative to the file's folder; each photo once |
| `lesion_id` | required | which lesion it is of |
| `date` | required | the day it was taken, as in 2026-01-31; no time and no time zone |
| `case_id` | optional | whose lesion; lesions of two cases are two, even under one id |

Other columns are left out. Several photos of one day are averaged.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from skinjax.data.column_names import ColumnNames
from skinjax.data.spelling import unknown
from skinjax.data.tables import TableError, empty_names, faulty_rows, missing_columns, read_table


class VisitsError(TableError):
    """Everything that is wrong with a table of photos over time; `.problems` has one sentence per fault."""


@dataclasses.dataclass(frozen=True)
class Visit:
    """A photo of a lesion on a day.

    Attributes:
      path: The photo.
      case: Whose lesion; empty where that is not known.
      lesion: The lesion.
      date: The day.
    """

    path: Path
    case: str
    lesion: str
    date: datetime.date


def read_visits(path: str | Path, map: Mapping[str, str] | Sequence[str] = ()) -> tuple[Visit, ...]:
    r"""Reads and checks a table of photos over time.

    Args:
      path: A table (`skinjax.labels.delimited`) or Parquet file.
      map: The file's own names of columns, such as `{"image": "Filename"}` or `["image=Filename"]`.

    Returns:
      The visits, in the file's order.

    Raises:
      VisitsError: Naming every fault at once, by column and row.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "visits.csv")
    ...     _ = file.write_text("image,lesion_id,date\na.jpg,left arm,2026-01-31\n")
    ...     (visit,) = read_visits(file)
    >>> visit.path.name, visit.lesion, visit.date.isoformat()
    ('a.jpg', 'left arm', '2026-01-31')
    """
    path = Path(path)
    table = read_table(path, VisitsError, names=ColumnNames.of(map))
    frame, rows = table.frame, table.rows
    if problems := missing_columns(("image", "lesion_id", "date"), frame):
        raise VisitsError(str(path), problems)
    if not len(frame):
        raise VisitsError(str(path), ["no rows; it must list at least one photo"])
    image, lesion = frame["image"].str.strip(), unknown(frame["lesion_id"])
    problems += faulty_rows("image", "empty", image == "", rows)
    problems += empty_names("lesion_id", frame["lesion_id"], rows)
    dates = [_date(cell) for cell in frame["date"]]
    fault = "that is no day written as in 2026-01-31"
    problems += faulty_rows("date", fault, [date is None for date in dates], rows, frame["date"].array)
    # Not resolved: two names of one file are two photos, and reading them costs nothing but time.
    paths = [Path(os.path.normpath(path.parent / name)) for name in image]
    earlier = {one: place for place, one in reversed(list(enumerate(paths)))}
    repeated = [
        earlier[one] < place and name != ""
        for place, (one, name) in enumerate(zip(paths, image, strict=True))
    ]
    problems += faulty_rows("image", "with a photo that an earlier row lists", repeated, rows, image.array)
    if problems:
        raise VisitsError(str(path), problems)
    cases = unknown(frame["case_id"]) if "case_id" in frame else [""] * len(frame)
    return tuple(
        Visit(one, case, name, date)
        for one, case, name, date in zip(paths, cases, lesion, dates, strict=True)
        if date is not None
    )


def _date(cell: str) -> datetime.date | None:
    text = cell.strip()
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None
