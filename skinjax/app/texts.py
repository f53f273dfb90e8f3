"""Numbers as people read them."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """Returns a share for people, never as certain as none or all of it.

    >>> [percent(share) for share in (0.0, 0.0004, 0.634, 0.9999, float("nan"))]
    ['0%', '<1%', '63%', '>99%', '–']
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{100 * share:.0f}%"
