"""Performance of calls of one disease, by case: sensitivity, specificity, Youden's index (thesis, chapter 3).

A call is 1 where the disease is said to be there, else 0. Where several models answer for a photo, the share of
them that call it stands for the call, and every figure is then the mean of theirs.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skinjax.evaluate import bootstrap
from skinjax.evaluate.metrics import SHARE, WeightedMetric, photo_table
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.results import Interval, Result
from skinjax.evaluate.samples import binary_sample

UNKNOWN = Interval(np.nan, np.nan, np.nan)
"""A figure of no photo."""


@dataclasses.dataclass(frozen=True)
class CallFigures(Result):
    """Sensitivity, specificity and Youden's index of calls.

    Attributes:
      sensitivity: Share of class 1 that is called; 1 less the missed-diagnosis rate.
      specificity: Share of class 0 that is not called; 1 less the misdiagnosis rate (thesis 3-4).
      index: Youden's, sensitivity + specificity - 1 (thesis 3-6).
      accuracy: Share of photos that are called right.
    """

    sensitivity: Interval
    specificity: Interval
    index: Interval
    accuracy: Interval


def _outcomes(labels: NDArray, calls: NDArray) -> csr_array:
    ones, called = np.asarray(labels, np.float64), np.asarray(calls, np.float64)
    entries = [(0, ones * called), (1, ones), (2, (1 - ones) * (1 - called)), (3, 1 - ones)]
    return photo_table(entries, len(ones), 4)


@WeightedMetric.of_sums(_outcomes, (-1.0, 1.0))
def youden_index(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns Youden's index: `youden_index(labels 0/1[N], calls float[N] in [0, 1])`; NaN without both classes."""
    return totals[:, 0] / totals[:, 1] + totals[:, 2] / totals[:, 3] - 1


@WeightedMetric.of_sums(_outcomes, SHARE)
def call_accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of photos called right: `call_accuracy(labels 0/1[N], calls float[N] in [0, 1])`."""
    return (totals[:, 0] + totals[:, 2]) / (totals[:, 1] + totals[:, 3])


def predictive_value(prevalence: float, positive: bool = True) -> WeightedMetric:
    """Returns a predictive value of calls where the disease is as common as said, as a metric for the bootstrap.

    By Bayes' theorem from sensitivity and specificity, which unlike predictive values do not depend on how common the
    disease is among the photos: PPV = Se π / (Se π + (1 - Sp)(1 - π)), NPV = Sp (1 - π) / (Sp (1 - π) + (1 - Se) π).

    Args:
      prevalence: π in (0, 1).
      positive: Whether it is the positive predictive value.

    Returns:
      The metric, of (labels 0/1 [N], calls float[N] in [0, 1]); NaN without both classes, or without such a call.

    Raises:
      ValueError: A prevalence outside (0, 1).

    Example:
      >>> labels, calls = np.repeat([1, 0], 100), np.r_[np.ones(90), np.zeros(10), np.ones(5), np.zeros(95)]
      >>> round(predictive_value(0.01)(labels, calls), 3)
      0.154
      >>> round(predictive_value(0.01, positive=False)(labels, calls), 4)
      0.9989
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie between 0 and 1, got {prevalence}")

    @WeightedMetric.of_sums(_outcomes, SHARE)
    def value(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        sensitivity, specificity = totals[:, 0] / totals[:, 1], totals[:, 2] / totals[:, 3]
        if positive:
            true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        else:
            true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        return true / (true + false)

    return value


def call_figures(
    labels: ArrayLike,
    calls: ArrayLike,
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> CallFigures:
    """Returns what calls are worth, with intervals by case.

    Shares of 0/1 calls have Wilson's interval at the effective sample size (`skinjax.evaluate.proportions`),
    shares of fractional calls the bootstrap's. The limits of Youden's index are made of those of its two
    shares, as if independent (Zou and Donner 2008, doi:10.1002/sim.3095): of 20 positive and 200 negative
    photos the bootstrap's held in 81 %, since a sensitivity of 1 does not vary in it. Where a class is of a
    single case, there are none.

    Args:
      labels: [N] of 0 and 1.
      calls: float[N] in [0, 1].
      cases: [N], the case of each photo, integers or strings.
      replicates: Number of bootstrap replicates.
      confidence: Confidence level of the interval, in (0, 1).
      seed: Seed of the bootstrap.

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
        index = Interval(
            sensitivity.estimate + specificity.estimate - 1,
            sensitivity.estimate
            + specificity.estimate
            - 1
            - math.hypot(sensitivity.estimate - sensitivity.low, specificity.estimate - specificity.low),
            sensitivity.estimate
            + specificity.estimate
            - 1
            + math.hypot(sensitivity.high - sensitivity.estimate, specificity.high - specificity.estimate),
            confidence,
        )
    return CallFigures(
        sensitivity, specificity, index, _share(np.where(positive, called, 1 - called), who, *draws)
    )


def _share(
    hits: NDArray[np.float64], cases: NDArray, replicates: int, confidence: float, seed: int
) -> Interval:
    if not len(hits):
        return UNKNOWN
    if np.isin(hits, (0, 1)).all():
        share = proportion_by_case(hits, cases, confidence)
        return Interval(share.estimate, share.low, share.high, confidence)
    found = bootstrap.by_case(bootstrap.mean, (hits,), cases, replicates, confidence, seed)
    return Interval(found.estimate, found.low, found.high, confidence)
