"""The columns of a predictions file that hold probabilities or logits: their names, and what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.data.tables import faulty_rows
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

SUM_TOLERANCE = 1e-3
"""How far a row's probabilities may sum from 1: a file of three decimals is read."""

CLASS_COLUMN = re.compile(r"(?:(?P<level>[^:]+):)?(?P<kind>p|logit)_(?P<name>.*)", re.DOTALL)
"""What such a column is called: level, kind and class."""


def columns(taxonomy: Taxonomy, level: str | None = None, kind: str = "p") -> list[str]:
    """Names of the columns that hold a level's probabilities (`kind="p"`) or logits, in taxonomy order.

    Raises:
      ValueError: If the level is unknown.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> columns(load_taxonomy("psoriasis9"), "relation")
    ['relation:p_psoriasis', 'relation:p_near_relative', 'relation:p_distant_relative']
    """
    finest = level is None or taxonomy.depth(level) == len(taxonomy.levels) - 1
    return [f"{'' if finest else f'{level}:'}{kind}_{name}" for name in taxonomy.classes(level)]


def kind_of(frame: pd.DataFrame, taxonomy: Taxonomy, level: str) -> str | None:
    """Which of probabilities and logits a level has; probabilities where it has both."""
    for kind in ("p", "logit"):
        if any(name in frame for name in columns(taxonomy, level, kind)):
            return kind
    return None


def unmarked(frame: pd.DataFrame, taxonomy: Taxonomy) -> str:
    """A hint where columns are called as the classes are, but not `p_...`."""
    for name in taxonomy.classes():
        for column in map(str, frame.columns):
            if re.fullmatch(rf"(?:[A-Za-z]+[ _.:-])?{re.escape(name)}", column, re.IGNORECASE):
                return (
                    f"; column {column!r} is to be called 'p_{name}', or 'logit_{name}' where it holds logits"
                )
    return ""


def unknown_classes(frame: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    """One sentence a column for a class or level that the taxonomy lacks, with the nearest spelling."""
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


def level_problems(
    frame: pd.DataFrame, taxonomy: Taxonomy, level: str, kind: str, rows: npt.NDArray[np.int64]
) -> list[str]:
    """What is wrong with the probabilities or logits of one level, as sentences."""
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
    wanted = "probabilities in [0, 1]" if kind == "p" else "finite logits"
    for i in np.flatnonzero(~sound.all(0)):
        problems += faulty_rows(
            numeric[i], f"where {wanted} are wanted", ~sound[:, i], rows, values[:, i].tolist()
        )
    if kind == "p" and len(numeric) == len(names):
        total = values.sum(1)
        uneven = sound.all(1) & (np.abs(total - 1) > SUM_TOLERANCE)
        span = f"{names[0]} to {names[-1]}"
        problems += faulty_rows(
            span, "whose probabilities do not sum to 1", uneven, rows, total.round(6).tolist()
        )
    return problems
