"""Counts how often advice came too late: it was less urgent than the true degree of malignancy requires."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.proportions import Proportion, proportion_by_case
from skinjax.evaluate.results import Result


@dataclasses.dataclass(frozen=True)
class Lateness(Result):
    """Shares of photos with known diagnoses for which the advice of a model came too late.

    Attributes:
      cancers: Share of the photos that needed advice above the lowest urgency and were given a lower one than they
        needed; None where there is no such photo.
      withheld: Share of the same photos from which any advice was withheld; likewise.
      by_urgency: For each urgency, the share of the photos given it that needed a higher one; None where it was never
        given. Of the highest it is 0.
    """

    cancers: Proportion | None
    withheld: Proportion | None
    by_urgency: tuple[Proportion | None, ...]


def lateness(
    needed: ArrayLike, given: ArrayLike, cases: ArrayLike, num_urgencies: int = 3, confidence: float = 0.95
) -> Lateness:
    """Returns how often advice came too late, with intervals by case.

    Args:
      needed: int[N] in [0, num_urgencies), the urgency of the true degree of each photo.
      given: int[N], the urgency that its patient was told; -1 where none was.
      cases: [N], the case of each photo.
      num_urgencies: How many urgencies there are.
      confidence: Confidence level of the intervals, in (0, 1).

    Returns:
      The shares.

    Raises:
      ValueError: Arrays that do not fit, or urgencies out of range.

    Example:
      >>> found = lateness(needed=[0, 2, 2, 2], given=[0, 2, 0, -1], cases=["a", "b", "c", "d"])
      >>> round(found.cancers.estimate, 3), round(found.withheld.estimate, 3), found.by_urgency[0].estimate
      (0.333, 0.333, 0.5)
    """
    true, told, whose = np.asarray(needed), np.asarray(given), np.asarray(cases)
    for name, values, low in (("needed", true, 0), ("given", told, -1)):
        if values.shape != whose.shape or values.ndim != 1 or values.dtype.kind not in "iu":
            raise ValueError(f"{name} must be int[{len(whose)}], one per photo, got shape {values.shape}")
        if ((values < low) | (values >= num_urgencies)).any():
            raise ValueError(f"{name} must lie in {low} to {num_urgencies - 1}, got {values.tolist()}")
    late = (told >= 0) & (told < true)

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Proportion | None:
        return proportion_by_case(hits[among], whose[among], confidence) if among.any() else None

    return Lateness(
        cancers=share(late, true > 0),
        withheld=share(told < 0, true > 0),
        by_urgency=tuple(share(late, told == urgency) for urgency in range(num_urgencies)),
    )


def share_fields(share: Proportion | None) -> dict[str, Any] | None:
    """Returns a share as plain numbers: `rate`, `low`, `high` (None where not known), `photos` and `cases`.

    Args:
      share: A share of photos; None gives None.

    >>> share_fields(proportion_by_case([1, 0, 0, 0], list("abcd")))
    {'rate': 0.25, 'low': 0.0456, 'high': 0.6994, 'photos': 4, 'cases': 4}
    """
    if share is None:
        return None
    limits = (None if np.isnan(value) else round(value, 4) for value in (share.low, share.high))
    low, high = limits
    return {
        "rate": round(share.estimate, 4), "low": low, "high": high,
        "photos": share.num_photos, "cases": share.num_cases,
    }  # fmt: skip
