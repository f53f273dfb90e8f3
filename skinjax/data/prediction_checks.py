"""Checks predictions against their schema (`skinjax.data.predictions`) and a taxonomy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.data.prediction_columns import CLASS_COLUMN, columns, kind_of
from skinjax.data.rounding import rounding_bound
from skinjax.data.tables import TableError, empty_names, faulty_rows, missing_columns, to_text
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("image", "case_id", "label")
"""Columns that predictions must have beside probabilities."""


class PredictionsError(TableError):
    """Everything that is wrong with predictions; `.problems` has one sentence per fault."""


def validate(frame: pd.DataFrame, taxonomy: Taxonomy) -> None:
    """Checks predictions against the schema and a taxonomy.

    Args:
      frame: A predictions frame; its index is not looked at, rows count from 1 in messages.
      taxonomy: The classes that the columns must name, no more and no fewer.

    Raises:
      PredictionsError: With everything that is wrong: missing columns, columns for unknown classes, photos
        listed twice, empty cases, unknown labels, probabilities missing, outside [0, 1] or not summing to 1.
    """
    if found := problems(frame, taxonomy):
        raise PredictionsError("predictions", found)


def problems(frame: pd.DataFrame, taxonomy: Taxonomy, rows: npt.NDArray[np.int64] | None = None) -> list[str]:
    """Lists what `validate` raises, as sentences; empty where nothing is wrong.

    Args:
      frame: As in `validate`.
      taxonomy: As in `validate`.
      rows: int64[N], the row of each record in its file; from 1 where missing.
    """
    if rows is None:
        rows = np.arange(1, len(frame) + 1)
    problems = photo_problems(frame, taxonomy, rows)
    if "fold" in frame and not is_whole(frame["fold"]):
        problems.append(f"column 'fold' must hold integers, got type {frame['fold'].dtype}")
    problems += _unknown_classes(frame, taxonomy)
    for level in reversed(taxonomy.levels):
        kind = kind_of(frame, taxonomy, level)
        if kind is not None:
            problems += _level_problems(frame, taxonomy, level, kind, rows)
        elif level == taxonomy.finest:
            names = columns(taxonomy)
            problems.append(
                f"no probabilities: there must be the {len(names)} columns {names[0]!r} to {names[-1]!r}"
                + _unmarked(frame, taxonomy)
            )
    return problems


def photo_problems(frame: pd.DataFrame, taxonomy: Taxonomy | None, rows: npt.NDArray[np.int64]) -> list[str]:
    """Lists what is wrong with the columns that name photos, cases and labels, as sentences.

    Args:
      frame: A table of predictions or features.
      taxonomy: The classes that labels must be of; None takes any.
      rows: int64[N], the row of each record in its file.
    """
    problems = [] if len(frame) else ["no rows"]
    problems += missing_columns(REQUIRED, frame)
    text = to_text(frame[[name for name in REQUIRED if name in frame]])
    for name in text:
        if name == "case_id":
            problems += empty_names("case_id", text["case_id"], rows)
        else:
            problems += faulty_rows(str(name), "empty", text[name].str.strip() == "", rows)
    if "image" in text:
        repeated = (text["image"].duplicated() & (text["image"] != "")).to_numpy(bool)
        problems += faulty_rows(
            "image", "with a photo that an earlier row lists", repeated, rows, text["image"].array
        )
    if "label" in text and taxonomy is not None:
        unknown = ~text["label"].isin([*taxonomy.classes(), ""])
        fault = f"with a label that is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
        problems += faulty_rows("label", fault, unknown, rows, text["label"].array, taxonomy.hint)
    return problems


def _unmarked(frame: pd.DataFrame, taxonomy: Taxonomy) -> str:
    """Returns a hint where columns are called as the classes are, but not `p_...`."""
    for name in taxonomy.classes():
        for column in map(str, frame.columns):
            if re.fullmatch(rf"(?:[A-Za-z]+[ _.:-])?{re.escape(name)}", column, re.IGNORECASE):
                prefix = column[: len(column) - len(name)]
                advice = f"; prefix={prefix} reads columns that begin so" if prefix else ""
                return (
                    f"; column {column!r} is to be called 'p_{name}', or 'logit_{name}' where it holds logits"
                    f"{advice}"
                )
    return ""


def _unknown_classes(frame: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    """Returns one sentence per column for a class or level that the taxonomy lacks, with the nearest spelling."""
    known = {
        name
        for level in taxonomy.levels
        for kind in ("p", "logit")
        for name in columns(taxonomy, level, kind)
    }
    problems = []
    for column in map(str, frame.columns):
        match = CLASS_COLUMN.fullmatch(column)
        if match is None or column in known:
            continue
        level = match["level"] or taxonomy.finest
        if level not in taxonomy.levels:
            problems.append(f"column {column!r} is for no level of {', '.join(taxonomy.levels)}")
        else:
            hint = taxonomy.hint(match["name"], level)
            problems.append(
                f"column {column!r} is for no class of level {level!r} of taxonomy {taxonomy.name!r}{hint}"
            )
    return problems


def _level_problems(
    frame: pd.DataFrame, taxonomy: Taxonomy, level: str, kind: str, rows: npt.NDArray[np.int64]
) -> list[str]:
    """Describes what is wrong with the probabilities or logits of one level, in sentences."""
    import pandas as pd

    names = columns(taxonomy, level, kind)
    problems = [
        f"no column {name!r}, though there are others of level {level!r}"
        for name in names
        if name not in frame
    ]
    present = [name for name in names if name in frame]
    numeric = [name for name in present if pd.api.types.is_numeric_dtype(frame[name])]
    problems += [
        f"column {n!r} must hold numbers, got type {frame[n].dtype}" for n in present if n not in numeric
    ]
    values = frame[numeric].to_numpy(np.float64, na_value=np.nan)
    sound = np.isfinite(values)
    if kind == "p":
        sound &= (values >= 0) & (values <= 1)
    content = "probabilities in [0, 1]" if kind == "p" else "finite logits"
    for i in np.flatnonzero(~sound.all(0)):
        problems += faulty_rows(
            numeric[i], f"that must hold {content}", ~sound[:, i], rows, values[:, i].tolist()
        )
    if kind == "p" and len(numeric) == len(names):
        total = values.sum(1)
        whole = sound.all(1)
        uneven = whole & (np.abs(total - 1) > rounding_bound(values[whole]))
        span = f"{names[0]} to {names[-1]}"
        problems += faulty_rows(
            span, "whose probabilities do not sum to 1", uneven, rows, total.round(6).tolist()
        )
    return problems


def is_whole(values: pd.Series) -> bool:
    """Returns whether a column holds whole numbers and nothing else."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values):
        return False
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    return bool((np.floor(numbers) == numbers).all())
