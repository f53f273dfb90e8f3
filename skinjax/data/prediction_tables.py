"""Tables that are nearly predictions: answers of `skinjax predict` with true classes added, and other spellings."""

from __future__ import annotations

import collections
import dataclasses
import logging
from pathlib import Path

from skinjax.data.prediction_checks import PredictionsError
from skinjax.data.prediction_columns import CLASS_COLUMN
from skinjax.data.spelling import as_classes
from skinjax.data.tables import Table
from skinjax.labels.taxonomy import Taxonomy

__all__ = ["NO_CASES", "as_spelled", "of_answers"]

ANSWER_COLUMNS = {"photo", "error", "diagnosis"}
"""Columns that tell answers of `predict` from other tables."""

TRUE_LABEL = "true_label"
"""Column of answers with the true class, where the run's level is called `label` and takes that name."""

NO_CASES = (
    "The table has no column case_id: each photo counts by itself, so that intervals are too narrow where several "
    "photos are of one person."
)
"""Sentence about predictions whose cases are not known."""

_SHOWN = 4
_LOG = logging.getLogger(__name__)


def of_answers(table: Table, path: Path) -> Table:
    """Returns a table of answers of `predict` as predictions; any other table as it is.

    Args:
      table: As read.
      path: Its file, for messages.

    Raises:
      PredictionsError: The answers have no column with the true class.
    """
    frame = table.frame
    if not set(frame) >= ANSWER_COLUMNS or "image" in frame:
        return table
    if TRUE_LABEL in frame:
        frame = frame.drop(columns="label", errors="ignore").rename(columns={TRUE_LABEL: "label"})
    elif "label" not in frame or "label_probability" in frame:  # a run's level may be called label
        raise PredictionsError(
            str(path),
            [
                "answers of `predict` have no column with the true class of each photo; add one, called "
                + ("'label'" if "label" not in frame else f"{TRUE_LABEL!r}, as 'label' is what was predicted")
            ],
        )
    notes = []
    frame = frame.rename(columns={"photo": "image"})
    bad = (frame["error"].str.strip() != "").to_numpy(bool)
    if bad.any():
        notes.append(f"Photos that `predict` could not read are left out: {int(bad.sum()):,}.")
    frame = frame[~bad].reset_index(drop=True)
    notes.append(
        "The probabilities are those that `predict` shows: fused and calibrated on the run's own photos."
    )
    for note in notes:
        _LOG.warning("%s", note)
    return dataclasses.replace(table, frame=frame, rows=table.rows[~bad], notes=tuple(notes))


def as_spelled(table: Table, taxonomy: Taxonomy) -> Table:
    """Returns predictions with labels and columns of classes spelled as a taxonomy has them, where that is certain.

    Args:
      table: As `read_unchecked` returns it.
      taxonomy: The classes.

    Returns:
      The table, with a note on what differed by case, blanks or such.
    """
    frame, told = table.frame, []
    if "label" in frame:
        meant = as_classes(frame["label"].unique(), taxonomy.classes(), dict(taxonomy.titles))
        if meant:
            counts = frame["label"].value_counts()
            told += [f"{given!r} ({counts[given]:,}) taken for {found!r}" for given, found in meant.items()]
            frame = frame.assign(label=frame["label"].replace(meant))
    renamed = {}
    places = {
        column: match for column in map(str, frame.columns) if (match := CLASS_COLUMN.fullmatch(column))
    }
    named = {column: match["level"] or taxonomy.finest for column, match in places.items()}
    classes = {
        level: as_classes(
            [places[column]["name"] for column, of in named.items() if of == level],
            taxonomy.classes(level),
            dict(taxonomy.titles),
        )
        for level in set(named.values()) & set(taxonomy.levels)
    }
    for column, match in places.items():
        found = classes.get(named[column], {}).get(match["name"])
        if found is not None:
            renamed[column] = column.removesuffix(match["name"]) + found
    times = collections.Counter(renamed.values())
    renamed = {column: name for column, name in renamed.items() if name not in frame and times[name] == 1}
    told += [f"column {column!r} taken for {name!r}" for column, name in renamed.items()]
    if not told:
        return table
    more = f"; and {len(told) - _SHOWN:,} more" if len(told) > _SHOWN else ""
    shown = "; ".join(told[:_SHOWN]) + more
    note = f"Labels or columns that differ from a class by case, blanks or such were resolved: {shown}."
    _LOG.warning("%s", note)
    return dataclasses.replace(table, frame=frame.rename(columns=renamed), notes=(*table.notes, note))
