"""Measures how much a score differs between photos of one thing, and whether a change over time is more than that.

The standard deviation within groups is pooled over all groups of several photos (Bland and Altman 1996,
doi:10.1136/bmj.312.7047.1654),

    s² = sum_g sum_i (x_gi - mean_g)² / (N - G)

and the mean of n photos differs from another of m photos by chance with a standard deviation of s sqrt(1/n + 1/m).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from skinjax.evaluate.results import Interval, Result


@dataclasses.dataclass(frozen=True)
class Repeatability(Result):
    """Standard deviation of a score between photos of one thing.

    Attributes:
      std_dev: Pooled standard deviation within groups.
      groups: Groups of several photos that it comes from.
      photos: Photos in them.
    """

    std_dev: float
    groups: int
    photos: int

    def half_width(self, photos: int, others: int = 0, confidence: float = 0.95) -> float:
        """Returns half the width of the interval of a mean, or of a difference of two means, by Student's t.

        Args:
          photos: How many photos the mean is of.
          others: How many the other mean is of; 0 for none.
          confidence: Confidence level of the interval, in (0, 1).

        >>> round(Repeatability(10.0, 200, 400).half_width(1, 1), 2)
        27.89
        """
        quantile = float(-stdtrit(self.photos - self.groups, (1 - confidence) / 2))
        return quantile * self.std_dev * float(np.sqrt(1 / photos + (1 / others if others else 0)))


def repeatability(scores: ArrayLike, groups: ArrayLike) -> Repeatability | None:
    """Returns how much scores differ within groups.

    Args:
      scores: float[N].
      groups: [N], the group of each.

    Returns:
      The repeatability; None where no group has several photos.

    Raises:
      ValueError: Lengths that differ.

    Example:
      >>> repeatability([1.0, 3.0, 50.0, 7.0, 9.0], list("aabcc"))
      Repeatability(std_dev=1.4142135623730951, groups=2, photos=4)
    """
    values, names = np.asarray(scores, np.float64), np.asarray(groups)
    if values.ndim != 1 or values.shape != names.shape:
        raise ValueError(f"scores must hold one number per group given, got {values.shape} and {names.shape}")
    codes = np.unique(names, return_inverse=True)[1]
    sizes = np.bincount(codes)
    several = sizes[codes] > 1
    if not several.any():
        return None
    means = np.bincount(codes, values) / sizes
    rest = (values - means[codes])[several]
    photos, count = int(several.sum()), int((sizes > 1).sum())
    return Repeatability(float(np.sqrt((rest**2).sum() / (photos - count))), count, photos)


def change_interval(
    first: float, firsts: int, last: float, lasts: int, of: Repeatability, confidence: float = 0.95
) -> Interval:
    """Returns the change from one mean score to another with its interval.

    Args:
      first: Mean score of the first photos.
      firsts: How many they are.
      last: Mean score of the last photos.
      lasts: How many they are.
      of: How much scores differ between photos of one thing.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      `last - first`; where nothing has changed, the interval holds 0 with probability `confidence`.

    Example:
      >>> found = change_interval(20.0, 1, 60.0, 2, Repeatability(10.0, 200, 400))
      >>> round(found.estimate), round(found.low), round(found.high)
      (40, 16, 64)
    """
    half = of.half_width(firsts, lasts, confidence)
    return Interval(last - first, last - first - half, last - first + half, confidence)
