"""Performance lost on another population: the difference of a figure between two samples of different cases.

The two samples share no case, so the variance of the difference is the sum of both. The interval is made of the two
figures' own: Newcombe's hybrid score interval where these are Wilson's (1998, Statistics in Medicine 17, 873-890), and
for any figures what Zou and Donner call the method of variance estimates recovery (2008, doi:10.1002/sim.3095):

    d = a - b,    low = d - sqrt((a - l_a)^2 + (u_b - b)^2),    high = d + sqrt((u_a - a)^2 + (b - l_b)^2)

So it is as lopsided as they are, and has a width where one of them is 0 or 1. The figures' own intervals are by case.
"""

from __future__ import annotations

import numpy as np

from skinjax.evaluate.results import Interval, IntervalResult


def independent_difference(a: IntervalResult, b: IntervalResult) -> Interval:
    """Returns the first figure less the second, of samples that share no case.

    Args:
      a: The first figure and its interval.
      b: The second, at the same confidence.

    Returns:
      The difference and its interval at that confidence; NaN limits where one of the figures has none.

    Example:
      >>> from skinjax.evaluate.proportions import wilson
      >>> first, second = (Interval(x / n, *map(float, wilson(x, n))) for x, n in ((56, 70), (48, 80)))
      >>> found = independent_difference(first, second)
      >>> round(found.estimate, 4), round(found.low, 4), round(found.high, 4)
      (0.2, 0.0524, 0.3339)
    """
    difference = a.estimate - b.estimate
    # A bias-corrected interval may leave its figure outside; that side then adds nothing.
    below_a, above_a = max(a.estimate - a.low, 0.0), max(a.high - a.estimate, 0.0)
    below_b, above_b = max(b.estimate - b.low, 0.0), max(b.high - b.estimate, 0.0)
    if np.isnan([a.low, a.high, b.low, b.high]).any():
        return Interval(difference, np.nan, np.nan, a.confidence)
    return Interval(
        difference,
        difference - float(np.hypot(below_a, above_b)),
        difference + float(np.hypot(above_a, below_b)),
        a.confidence,
    )
