"""What calls of one disease are worth, by case: sensitivity, specificity, Youden's index (thesis, chapter 3).

A call is 1 where the disease is said to be there, else 0. Where several models answer for a photo, the share of
them that call it stands for the call, and every figure is then the mean of theirs.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skinjax.evaluate import bootstrap
from skinjax.evaluate.metrics import WeightedMetric, photo_table
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.samples import binary_sample


class Limits(NamedTuple):
    """A figure and its interval.

    Attributes:
        estimate: NaN where there is no photo that it would be of.
        low: lower limit; NaN with a single case.
        high: upper limit, likewise.
    """

    estimate: float
    low: float
    high: float

    def complement(self) -> Limits:
        """The same of one less the figure, such as the missed-diagnosis rate of a sensitivity.

        >>> Limits(0.75, 0.5, 1.0).complement()
        Limits(estimate=0.25, low=0.0, high=0.5)
        """
        return Limits(1 - self.estimate, 1 - self.high, 1 - self.low)


UNKNOWN = Limits(np.nan, np.nan, np.nan)
"""A figure of no photo."""


@dataclasses.dataclass(frozen=True)
class CallFigures:
    """What calls are worth.

    Attributes:
        sensitivity: share of class 1 that is called; 1 less the missed-diagnosis rate.
        specificity: share of class 0 that is not called; 1 less the misdiagnosis rate (thesis 3-4).
        index: Youden's, sensitivity + specificity - 1 (thesis 3-6).
        accuracy: share of photos that are called right.
    """

    sensitivity: Limits
    specificity: Limits
    index: Limits
    accuracy: Limits


def _outcomes(labels: NDArray, calls: NDArray) -> csr_array:
    ones, called = np.asarray(labels, np.float64), np.asarray(calls, np.float64)
    entries = [(0, ones * called), (1, ones), (2, (1 - ones) * (1 - called)), (3, 1 - ones)]
    return photo_table(entries, len(ones), 4)


@WeightedMetric.of_sums(_outcomes)
def youden_index(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Youden's index of calls: `youden_index(labels 0/1[N], calls float[N] in [0, 1])`; NaN without both classes."""
    return totals[:, 0] / totals[:, 1] + totals[:, 2] / totals[:, 3] - 1


@WeightedMetric.of_sums(_outcomes)
def call_accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of photos called right: `call_accuracy(labels 0/1[N], calls float[N] in [0, 1])`."""
    return (totals[:, 0] + totals[:, 2]) / (totals[:, 1] + totals[:, 3])


def call_figures(
    labels: ArrayLike,
    calls: ArrayLike,
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> CallFigures:
    """What calls are worth, with intervals by case.

    Shares of 0/1 calls have Wilson's interval at the effective sample size (`skinjax.evaluate.proportions`), shares of
    fractional calls and Youden's index the bootstrap's. Where all replicates agree on the index, its limits are those
    of the two shares together, which are wider; where a class is of a single case, it has none.

    Args:
        labels: [N] of 0 and 1.
        calls: float[N] in [0, 1].
        cases: [N], the case of each photo, integers or strings.
        replicates: of the bootstrap.
        confidence: nominal coverage in (0, 1).
        seed: of the bootstrap.

    Returns:
        The figures; NaN where the class concerned has no photo.

    Raises:
        ValueError: Labels other than 0 and 1, calls outside [0, 1], or lengths that differ.

    Example:
        >>> found = call_figures([1, 1, 0, 0], [1, 0, 0, 0], cases=list("abcd"))
        >>> found.sensitivity.estimate, found.specificity.estimate, found.index.estimate, found.accuracy.estimate
        (0.5, 1.0, 0.5, 0.75)
    """
    positive, called = binary_sample(labels, calls, "calls")
    if called.ndim != 1 or not ((called >= 0) & (called <= 1)).all():
        raise ValueError(f"calls must be [N] in [0, 1], got shape {called.shape} or values outside")
    who = np.asarray(cases)
    draws = (replicates, confidence, seed)
    sensitivity = _share(called[positive], who[positive], *draws)
    specificity = _share(1 - called[~positive], who[~positive], *draws)
    index = UNKNOWN
    if positive.any() and not positive.all():
        found = bootstrap.by_case(youden_index, (positive, called), who, *draws)
        index = Limits(found.estimate, found.low, found.high)
        if np.isnan(sensitivity.low + specificity.low):
            index = Limits(found.estimate, np.nan, np.nan)
        elif index.low == index.high:
            index = Limits(
                index.estimate,
                sensitivity.low + specificity.low - 1,
                sensitivity.high + specificity.high - 1,
            )
    return CallFigures(
        sensitivity, specificity, index, _share(np.where(positive, called, 1 - called), who, *draws)
    )


def _share(
    hits: NDArray[np.float64], cases: NDArray, replicates: int, confidence: float, seed: int
) -> Limits:
    if not len(hits):
        return UNKNOWN
    if np.isin(hits, (0, 1)).all():
        share = proportion_by_case(hits, cases, confidence)
        return Limits(share.estimate, share.low, share.high)
    found = bootstrap.by_case(bootstrap.mean, (hits,), cases, replicates, confidence, seed)
    return Limits(found.estimate, found.low, found.high)
