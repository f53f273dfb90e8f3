"""Percentile intervals of replicates, expanded for few cases, and their p-values; the module `bootstrap` says why."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from skinjax.evaluate.samples import effective_cases, variance_degrees


def median_bias(replicates: NDArray[np.float64], estimate: float) -> float:
    """Returns the distance of the estimate from the replicates' median, in standard normal units; ties count half."""
    if not len(replicates):
        return 0.0
    below = (np.sum(replicates < estimate) + np.sum(replicates <= estimate)) / 2
    edge = 1 / (len(replicates) + 1)
    return float(ndtri(np.clip(below / len(replicates), edge, 1 - edge)))


def skewness(left_out: NDArray[np.float64]) -> float:
    """Returns a sixth of the skewness of the jackknife's changes (Efron and Tibshirani 1993, equation 14.15)."""
    defined = left_out[~np.isnan(left_out)]
    if not len(defined):
        return 0.0
    change = defined.mean() - defined
    spread = float(np.sum(change**2)) ** 1.5
    return float(np.sum(change**3)) / (6 * spread) if spread > 0 else 0.0


@dataclasses.dataclass(frozen=True)
class Spread:
    """Precision of the spread of replicates; see the module on few cases.

    Attributes:
      cases: Effective number of cases, at least 2.
      degrees: Degrees of freedom of Student's t, at least 1.
    """

    cases: float
    degrees: float

    @classmethod
    def of(cls, codes: NDArray[np.int64], left_out: NDArray[np.float64]) -> Spread:
        """Works it out.

        Args:
          codes: int64[N] from 0, the case of each photo.
          left_out: float64[B], the figure without each case.
        """
        cases = max(effective_cases(codes), 2.0)
        defined = left_out[~np.isnan(left_out)]
        degrees = variance_degrees(defined - defined.mean()) if len(defined) else np.inf
        return cls(cases, float(max(min(degrees, cases - 1), 1)))

    def quantile(self, tail: float) -> float:
        """Returns the standard normal quantile of the replicates at which a limit stands that leaves out `tail`."""
        return float(stdtrit(self.degrees, tail) * np.sqrt(self.cases / (self.cases - 1)))

    def tail(self, quantile: float) -> float:
        """Returns the tail that a limit leaves out: `quantile` turned round."""
        return float(stdtr(self.degrees, quantile / np.sqrt(self.cases / (self.cases - 1))))


def two_sided(kept: NDArray[np.float64], spread: Spread) -> float:
    """Returns the p-value of a figure of 0, which agrees with `percentile_limits(..., beyond=True)`."""
    places = len(kept) + 1
    place = 1 + min(int(np.sum(kept <= 0)), int(np.sum(kept >= 0)))
    if place > 1:
        return min(1.0, 2 * spread.tail(ndtri(min(place / places, 0.5))))
    median = float(np.median(kept))
    last = kept[0] if median > 0 else kept[-1]
    # Where half of the replicates are as near 0 as any, none stands between the median and the last.
    away = float(ndtri(1 / places)) * median / (median - last) if median != last else -np.inf
    return float(np.clip(2 * spread.tail(away), 2 / places, 1.0))


def percentile_limits(
    replicates: NDArray[np.float64],
    confidence: float,
    spread: Spread,
    bias: float = 0.0,
    acceleration: float = 0.0,
    beyond: bool = False,
) -> tuple[float, float]:
    """Returns the percentile interval of sorted replicates, moved by bias and skewness; NaN where they are too few.

    With `beyond` a limit may stand beyond the last replicate; see the module on differences.
    """
    count, places = len(replicates), len(replicates) + 1
    tail = (1 - confidence) / 2
    if places * tail < 1 - 1e-9:
        return np.nan, np.nan
    quantile = spread.quantile(tail)
    levels = []
    for moved in (bias + quantile, bias - quantile):
        stretch = 1 - acceleration * moved
        levels.append(ndtr(bias + moved / stretch) if stretch > 0 else float(moved > 0))
    # Ranks count from 1. Rounding outward keeps the coverage; 1e-9 forgives that 1 - 0.95 is not quite 0.05.
    first = int(np.clip(np.floor(places * levels[0] + 1e-9), 1, count))
    last = int(np.clip(np.ceil(places * levels[1] - 1e-9), 1, count))
    low, high = float(replicates[first - 1]), float(replicates[last - 1])
    outermost = float(ndtri(1 / places))
    if beyond and quantile < outermost:
        median = float(np.median(replicates))
        low = median + (low - median) * quantile / outermost
        high = median + (high - median) * quantile / outermost
    return low, high
