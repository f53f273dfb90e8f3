"""Refuses columns that give the label away, and finds those whose being unknown does.

A model that reads a column beside a photo learns whatever the column tells. `biopsed` of PAD-UFES-20 tells that every
cancer was biopsied, `dx_type` of HAM10000 how a diagnosis was made: such columns are known only after the diagnosis,
and figures by them are worth nothing. Each column is scored alone on cases that it was not fitted to
(`skinjax.data.leakage`), by the photos of which it is known; then whether it is known, by all photos. In PAD-UFES-20
the history was mostly taken of people who were biopsied, so that smoking tells next to nothing and its absence a
fifth of the label's information. Such a column is silent: it is used, its being unknown is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skinjax.data.columns import known_text
from skinjax.data.leakage import ColumnFigure, columns_that_predict

if TYPE_CHECKING:
    import pandas as pd

CLINICAL = ("age", "sex", "body_site", "skin_tone")
"""Columns that a diagnosis rightly depends on, more than on others before they are refused."""

MOST_EXPLAINED, MOST_BY_CLINICAL = 0.2, 0.5
"""Share of the label's information from which on a column is refused, and one of `CLINICAL`."""

SILENT_FROM = 0.05
"""Share of the label's information explained by whether a column is known, from which on that is not encoded."""

_STANDARD_ERRORS = 3.0


@dataclasses.dataclass(frozen=True)
class ColumnLeak:
    """Share of the label's information that a column explains by itself, on cases not seen.

    Attributes:
      column: Its name.
      values: Of the photos of which it is known; None where it does not vary there, or they are too few.
      unknown: By whether it is known, of all photos; None where it always or never is.
    """

    column: str
    values: ColumnFigure | None
    unknown: ColumnFigure | None

    @property
    def gives_away(self) -> bool:
        """Says whether its values explain too much of the label."""
        return _surely(self.values, self.most_explained)

    @property
    def most_explained(self) -> float:
        """Returns the share of the label's information from which on its values give the label away."""
        return MOST_BY_CLINICAL if self.column in CLINICAL else MOST_EXPLAINED

    @property
    def silent(self) -> bool:
        """Says whether its being unknown explains something of the label."""
        return _surely(self.unknown, SILENT_FROM)


def column_leaks(frame: pd.DataFrame, names: Sequence[str], labels: Any, cases: Any) -> list[ColumnLeak]:
    """Scores columns by what each alone tells of the label.

    Args:
      frame: A row per photo.
      names: Columns of it.
      labels: N labels.
      cases: N cases; a case is held out as a whole.

    Returns:
      One per column, in order. With fewer than 20 cases nothing is known.
    """
    text = known_text(frame, names)
    label, case = np.asarray(labels, str), np.asarray(cases, str)
    found = []
    for name in names:
        known = (text[name] != "").to_numpy(bool)
        cells = text[name].to_numpy(object)
        values = _figure(name, cells[known], label[known], case[known])
        state = np.where(known, "known", "unknown").astype(object)
        found.append(ColumnLeak(name, values, _figure(name, state, label, case)))
    return found


def refuse_leaks(frame: pd.DataFrame, names: Sequence[str], labels: Any, cases: Any) -> tuple[str, ...]:
    """Refuses columns that give the label away.

    Args:
      frame: A row per photo.
      names: Columns of it.
      labels: N labels.
      cases: N cases.

    Returns:
      The columns whose being unknown gives the label away, for `skinjax.data.columns.fit_columns`.

    Raises:
      ValueError: A column whose values do; the message says how much.

    >>> import pandas as pd
    >>> cases = [f"case {n}" for n in range(80)]
    >>> frame = pd.DataFrame({"asked": (["yes", ""] + ["no", ""]) * 20, "biopsied": ["no", "yes"] * 40})
    >>> refuse_leaks(frame, ["asked"], ["nevus", "melanoma"] * 40, cases)
    ('asked',)
    >>> refuse_leaks(frame, ["biopsied"], ["nevus", "melanoma"] * 40, cases)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      ...
    ValueError: columns must not give the label away, got 'biopsied': on cases not seen, guessing the label...
    """
    found = column_leaks(frame, names, labels, cases)
    for leak in found:
        if leak.gives_away and leak.values is not None:
            figure = leak.values
            raise ValueError(
                f"columns must not give the label away, got {leak.column!r}: on cases not seen, guessing the label "
                f"from it alone is right for {figure.accuracy:.0%} of photos, always guessing the most frequent label "
                f"for {figure.baseline:.0%}; it explains {figure.explained:.0%} of the label's information, and at "
                f"most {leak.most_explained:.0%} are allowed"
            )
    return tuple(leak.column for leak in found if leak.silent)


def silence_notes(frame: pd.DataFrame, silent: Sequence[str], labels: Any, cases: Any) -> list[str]:
    """Returns the sentences for a report that say which columns are silent, and why.

    Args:
      frame: A row per photo.
      silent: What `refuse_leaks` returned.
      labels: N labels.
      cases: N cases.
    """
    told = [
        f"{leak.column} ({leak.unknown.explained:.0%})"
        for leak in column_leaks(frame, silent, labels, cases)
        if leak.unknown is not None
    ]
    if not told:
        return []
    return [
        "Whether a column is known gives the label away, so networks are not shown it; an unknown value counts as the "
        f"average. Of the label's information it alone explains: {', '.join(told)}."
    ]


def _figure(name: str, values: Any, labels: Any, cases: Any) -> ColumnFigure | None:
    if not len(values):
        return None
    return next(iter(columns_that_predict({name: values.tolist()}, labels.tolist(), cases.tolist())), None)


def _surely(figure: ColumnFigure | None, least: float) -> bool:
    return figure is not None and figure.explained >= max(least, _STANDARD_ERRORS * figure.standard_error)
