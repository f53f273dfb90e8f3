"""Lesions over time: the photos of a table, and the files and lines of their histories."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.photo_tables import PhotoTable, read_photo_table
from skinjax.data.visits import ENDINGS, Visit, read_visits
from skinjax.studies.steps.answer_table import MOST

if TYPE_CHECKING:
    from skinjax.evaluate.repeatability import Repeatability
    from skinjax.predict.history import LesionHistory

_LESION, _WIDTH = 24, 110


def visits_of(names: list[Path], by: str, map: Sequence[str] = ()) -> tuple[Visit, ...]:
    """Returns the photos over time that a table names, by lesion; none by photo.

    Args:
      names: By lesion one CSV or Parquet file, see `skinjax.data.visits`; by photo anything.
      by: The option `by`.
      map: The table's own names of columns.

    Raises:
      ValueError: Anything but a table by lesion, or a table that is faulty.
    """
    tables = [name for name in names if name.suffix.lower() in ENDINGS and not name.is_dir()]
    if by != "lesion":
        return ()
    if len(names) != 1 or not tables:
        given = ",".join(str(name) for name in names) or "none"
        raise ValueError(
            "by=lesion needs photos=TABLE, one CSV or Parquet file with the columns image, lesion_id and date, "
            f"got {given}"
        )
    return read_visits(tables[0], map)


def table_of(names: list[Path], by: str, map: Sequence[str] = ()) -> PhotoTable | None:
    """Returns the table of photos and of what describes them that is named; None where photos and folders are.

    Args:
      names: One CSV or Parquet file, see `skinjax.data.photo_tables`, or photos and folders.
      by: The option `by`.
      map: The table's own names of columns.

    Raises:
      ValueError: A table among other names, one of lesions over time by photo, or a table that is faulty.
    """
    tables = [name for name in names if name.suffix.lower() in ENDINGS and not name.is_dir()]
    if not tables:
        if map:
            raise ValueError(f"map={','.join(map)} must be given with photos=TABLE, whose columns it names")
        return None
    if len(names) > 1:
        raise ValueError(f"photos={tables[0]} is a table, which must be named alone, got {len(names)} names")
    table = read_photo_table(tables[0], map)
    if by == "photo" and {"lesion_id", "date"} <= set(table.frame.columns):
        raise ValueError(f"photos={tables[0]} is a table: photos of lesions over time need by=lesion")
    return table


def write_histories(histories: Sequence[LesionHistory], folder: Path) -> None:
    """Writes history.csv, a row per visit, and history.jsonl, an object per lesion.

    Args:
      histories: Of lesions.
      folder: Where to.
    """
    from skinjax.predict.history import HISTORY_COLUMNS

    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HISTORY_COLUMNS)
        rows.writerows(row for history in histories for row in history.to_rows())
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        for history in histories:
            json.dump(history.to_dict(), file, ensure_ascii=False, allow_nan=False)
            file.write("\n")


def history_lines(histories: Sequence[LesionHistory], repeats: Repeatability | None) -> list[str]:
    """Returns what changes are held against, and the histories of the first `MOST` lesions, a row per visit.

    Args:
      histories: Of lesions.
      repeats: How much scores of photos of one lesion differ; None where that is not known.
    """
    known = "how much photos of one lesion differ is not known: the run held out no lesion with several"
    if repeats is not None:
        known = (
            f"scores of photos of one lesion differ by a standard deviation of {repeats.std_dev:.1f}, measured on "
            f"{repeats.groups:,} held-out lesions with several photos; limits are 95%"
        )
    lines = [
        "",
        known,
        f"{'lesion over time':<{_LESION}}  {'date':<12}{'photos':>7}{'score':>21}{'change':>25}  urgency",
    ]
    lines.append("-" * len(lines[-1]))
    for history in histories[:MOST]:
        name = f"{history.case}: {history.lesion}" if history.case else history.lesion
        for place, visit in enumerate(history.visits):
            score = (
                "none counts" if visit.score is None else f"{visit.score:.1f}{_limits(visit.low, visit.high)}"
            )
            change = "" if visit.change is None else f"{visit.change:+.1f}"
            change += _limits(visit.change_low, visit.change_high, "+")
            shown = (name if len(name) <= _LESION else "…" + name[1 - _LESION :]) if place == 0 else ""
            lines.append(
                f"{shown:<{_LESION}}  {visit.date:<12}{visit.photos:>7}{score:>21}{change:>25}  "
                f"{visit.urgency or 'withheld'}"
            )
        indent = " " * (_LESION + 2)
        lines += textwrap.wrap(history.note, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
    if len(histories) > MOST:
        lines.append(f"... only the first {MOST} of {len(histories):,} lesions are shown")
    return lines


def _limits(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f" ({low:{sign}.1f} to {high:{sign}.1f})"
