"""Fewest cases on which a test of two models for one target says something."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

FEWEST_CASES = 10
"""Cases of the target, and of the others, below which no test is made and no model is called better.

A test by case cannot be surer than one of signs, in which n cases that all favour one model give p = 2^(1-n): 0.5 with
two cases, 0.06 with five, 0.002 with ten, which also withstands Holm's correction for some twenty comparisons. The
p-values that asymptotic formulas and the bootstrap print for fewer cases claim more than such cases can show.
"""


def cases_by_side(labels: ArrayLike, cases: ArrayLike) -> tuple[int, int]:
    """Counts the cases with photos of the target, and those with other photos.

    Args:
      labels: bool[N], whether a photo shows the target.
      cases: [N], the case of each.

    >>> cases_by_side([True, True, False], ["a", "a", "b"])
    (1, 1)
    """
    truth, codes = np.asarray(labels, bool), np.asarray(cases)
    return len(np.unique(codes[truth])), len(np.unique(codes[~truth]))


def too_few_cases(labels: ArrayLike, cases: ArrayLike) -> str:
    """Returns why two models are not tested on these photos; empty where they can be.

    Args:
      labels: bool[N], whether a photo shows the target.
      cases: [N], the case of each.

    >>> too_few_cases([True, True, False], ["a", "a", "b"])
    'there is 1 case of the target, and a test is made from 10 on'
    >>> too_few_cases(np.arange(40) < 20, np.arange(40))
    ''
    """
    positive, negative = cases_by_side(labels, cases)
    if min(positive, negative) >= FEWEST_CASES:
        return ""
    fewest, side = (positive, "of the target") if positive <= negative else (negative, "without the target")
    count = "is 1 case" if fewest == 1 else f"are {fewest} cases"
    return f"there {count} {side}, and a test is made from {FEWEST_CASES} on"
