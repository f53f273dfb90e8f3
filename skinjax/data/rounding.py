"""Rows of probabilities that sum to 1 only to rounding: how far they may be off, and what is done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.data.prediction_columns import CLASS_COLUMN
from skinjax.data.tables import ANY_DECIMALS, Table, faulty_rows

if TYPE_CHECKING:
    import pandas as pd

SUM_TOLERANCE = 1e-3
"""Distance of a row's sum of probabilities from 1 that is always accepted."""

ROUNDING_MOST = 0.05
"""Largest distance that rounding excuses, however few decimals there are."""

RENORMALIZED = 1e-4
"""Rows whose sum is further from 1 are divided by it."""


def decimals_of(values: npt.NDArray[np.float64]) -> int | None:
    """Returns the fewest decimals that represent all of these probabilities; None where six do not.

    >>> decimals_of(np.array([[0.334, 0.666]])), decimals_of(np.array([[1 / 3, 2 / 3]]))
    (3, None)
    """
    flat = values.ravel()
    for decimals in range(7):
        scale = 10.0**decimals
        # Single precision is exact to 6e-8; a few values refuse most candidates.
        if all(
            np.abs(part * scale - np.rint(part * scale)).max(initial=0) <= 1e-7 * scale
            for part in (flat[:1000], flat)
        ):
            return decimals
    return None


def rounding_bound(values: npt.NDArray[np.float64], decimals: int | None = None) -> float:
    """Returns how far a row's sum may be from 1: K times half a unit of the last decimal, within limits.

    Args:
      values: float[N, K] probabilities.
      decimals: Those that their file shows; None takes the fewest that represent them.

    Returns:
      A distance from `SUM_TOLERANCE` to `ROUNDING_MOST`, itself included.
    """
    slack = 1e-9  # for sums in floating point
    if not (np.abs(values.sum(1) - 1) > SUM_TOLERANCE + slack).any():
        return SUM_TOLERANCE + slack
    decimals = decimals_of(values) if decimals is None else decimals
    bound = 0.0 if decimals is None else values.shape[1] * 0.5 * 10.0**-decimals
    return min(max(bound, SUM_TOLERANCE), ROUNDING_MOST) + slack


def renormalized(
    values: npt.NDArray[np.float64], decimals: int | None = None
) -> tuple[npt.NDArray[np.float64], str]:
    """Divides rows that rounding took away from a sum of 1 by their sum.

    Args:
      values: float[N, K] probabilities.
      decimals: As in `rounding_bound`.

    Returns:
      The probabilities, rows that rounding does not explain as they are; and a sentence that says so, empty where
      none was changed.

    >>> values, note = renormalized(np.array([[0.334, 0.334, 0.333], [0.5, 0.25, 0.25]]))
    >>> values.sum(1).round(12).tolist(), note.split(":")[0]
    ([1.0, 1.0], '1 row of probabilities sums to 1 only to rounding and is divided by its sum')
    """
    least = RENORMALIZED + 1e-9
    finite = np.where(np.isfinite(values) & (values >= 0) & (values <= 1), values, np.nan)
    total = finite.sum(1)
    off = np.abs(total - 1)
    if not (off > least).any():
        return values, ""
    sound = np.isfinite(total)
    rows = sound & (off > least) & (off <= rounding_bound(finite[sound], decimals))
    if not rows.any():
        return values, ""
    changed = values.copy()
    changed[rows] /= total[rows, None]
    count = int(rows.sum())
    words = (
        "row of probabilities sums to 1 only to rounding and is divided by its sum"
        if count == 1
        else "rows of probabilities sum to 1 only to rounding and are divided by their sums"
    )
    return changed, f"{count:,} {words}: it is {total[rows].min():.4g} to {total[rows].max():.4g}."


def renormalized_frame(frame: pd.DataFrame, table: Table) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Divides the rounded rows of a predictions file by their sums.

    Args:
      frame: Its columns.
      table: As it was read: the decimals are those that its text shows, which may be more than its values need.

    Returns:
      The frame, sentences that say so, and problems: rows that the text's decimals do not explain.
    """
    notes: list[str] = []
    problems: list[str] = []
    levels: dict[str, list[str]] = {}
    for name in map(str, frame):
        match = CLASS_COLUMN.fullmatch(name)
        if match is not None and match["kind"] == "p":
            levels.setdefault(match["level"] or "", []).append(name)
    for names in levels.values():
        values = frame[names].to_numpy(np.float64)
        shown = max((table.decimals.get(name, 0) for name in names), default=0) or None
        changed, note = renormalized(values, None if shown == ANY_DECIMALS else shown)
        if note:
            notes.append(note)
            frame[names] = changed
            frame = frame.copy()  # many columns, each set alone, are gathered
        total = changed.sum(1)
        beyond = np.abs(total - 1) > SUM_TOLERANCE + 1e-9
        if (
            beyond.any()
        ):  # those that the values alone would excuse are refused here, the others by `validate`
            beyond &= np.abs(renormalized(changed)[0].sum(1) - 1) <= SUM_TOLERANCE
        problems += faulty_rows(
            f"{names[0]} to {names[-1]}",
            "whose probabilities do not sum to 1",
            beyond,
            table.rows,
            total.round(6).tolist(),
        )
    return frame, notes, problems
