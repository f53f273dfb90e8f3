"""Results of the bootstrap over cases: a figure, a difference and a curve, each with its interval."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from skinjax.evaluate.results import Comparison, Interval, Result


@dataclasses.dataclass(frozen=True)
class BootstrapInterval(Interval):
    """A figure and its interval over resampled cases.

    Attributes:
      estimate: The metric of the photos as they are.
      low: Lower limit; NaN where there is no interval.
      high: Upper limit, likewise.
      confidence: Confidence level of the interval, in (0, 1).
      std_error: Standard deviation of the replicates.
      num_photos: Number of photos, N.
      num_cases: Number of cases that were resampled.
      replicates: Number of replicates that the limits rest on.
      undefined: Further replicates that were left out, since the metric was NaN in them.
      missing_class: Replicates in which a class of the sample had no photo, where the first array holds classes
        (integers or strings). Metrics then average over the classes left.
      reason: Reason for which there is no interval; empty where there is one.
    """

    std_error: float = math.nan
    num_photos: int = 0
    num_cases: int = 0
    replicates: int = 0
    undefined: int = 0
    missing_class: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class BootstrapComparison(Comparison):
    """A difference of two figures on the same photos, with interval and test over resampled cases.

    Attributes:
      difference: Metric of the first less metric of the second, on the photos as they are.
      low: Lower limit of the difference; NaN where there is no interval.
      high: Upper limit, likewise.
      p_value: Two-sided, at most 1 - confidence exactly where the interval keeps out 0; 1 where the figures are equal
        in every replicate, NaN where nothing is known of other cases.
      confidence: Confidence level of the interval, in (0, 1).
      std_error: Standard deviation of the differences over the replicates.
      num_photos: Number of photos, N.
      num_cases: Number of cases that were resampled.
      replicates: Number of replicates that the limits rest on.
      undefined: Further replicates that were left out, since a metric was NaN in them.
      missing_class: Replicates in which a class of the sample had no photo; see `BootstrapInterval`.
      reason: Reason for which there is no interval; empty where there is one.
    """

    std_error: float = math.nan
    num_photos: int = 0
    num_cases: int = 0
    replicates: int = 0
    undefined: int = 0
    missing_class: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Band(Result):
    """A curve of T figures with an interval over resampled cases at each.

    Attributes:
      estimate: float64[T], of the photos as they are.
      low: float64[T], lower limits, each alone at the confidence; NaN where there is no interval, as where all
        replicates are alike.
      high: float64[T], upper limits, likewise.
      confidence: The nominal coverage of each point's interval, in (0, 1).
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    confidence: float
