"""Receiver operating characteristic: how well scores tell two classes apart, at every threshold at once.

One tie policy holds everywhere: a photo is called positive where `score >= threshold`, so photos with equal
scores are called alike. Sensitivity is the share of class 1 that is called positive (TPR, thesis 3-5),
specificity the share of class 0 that is not (1 - FPR, thesis 3-4). The curve joins the points of all
thresholds by straight lines, and the area under it counts a tie between the classes as a half.

Sensitivity at a required specificity (and the other way round) is the best that a threshold attains: no
interpolation between thresholds, since nobody can work at a point in between.

Where a class has no photo, what depends on it is NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.areas import RankedPhotos, areas_without
from skinjax.evaluate.bootstrap import WeightedMetric
from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import binary_sample

Axis = Literal["specificity", "sensitivity"]
"""The axis that a range for the partial area lies on."""


@dataclasses.dataclass(frozen=True, eq=False)
class RocCurve(Result):
    """The empirical curve, from calling no photo positive to calling all positive.

    Attributes:
      thresholds: float64[T], falling: infinity (no photo is positive, even one that scores infinity), then
        each score that occurs.
      sensitivity: float64[T] in [0, 1], rising.
      specificity: float64[T] in [0, 1], falling.
    """

    thresholds: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class OperatingPoint(Result):
    """Performance of one threshold.

    Attributes:
      threshold: Photos with `score >= threshold` are called positive.
      sensitivity: Share of class 1 called positive; 1 minus the missed-diagnosis rate.
      specificity: Share of class 0 called negative; 1 minus the misdiagnosis rate.
      index: Youden's index, sensitivity + specificity - 1 (thesis 3-6).
    """

    threshold: float
    sensitivity: float
    specificity: float
    index: float


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Returns the points of all thresholds that differ.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.

    Returns:
      The curve, with one point more than there are different scores.

    Raises:
      ValueError: Labels other than 0 and 1, lengths that differ, or a score that is NaN.

    Example:
      >>> curve = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
      >>> curve.sensitivity.tolist(), curve.specificity.tolist()
      ([0.0, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.0])
    """
    positive, values = _sample(labels, scores)
    steps, places = np.unique(-values, return_inverse=True)
    hits, alarms = (
        np.concatenate([[0], np.cumsum(np.bincount(places[mask], minlength=len(steps)))]).astype(np.float64)
        for mask in (positive, ~positive)
    )
    return RocCurve(
        thresholds=np.concatenate([[np.inf], -steps]),
        sensitivity=_share(hits),
        specificity=1 - _share(alarms),
    )


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the area: the probability that a photo of class 1 scores above one of class 0, ties as a half.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.

    Returns:
      In [0, 1]; NaN where a class has no photo.

    Raises:
      ValueError: Labels other than 0 and 1, lengths that differ, or a score that is NaN.

    Example:
      >>> auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
      0.875
    """
    positive, values = _sample(labels, scores)
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return float("nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    # Not scipy.stats.rankdata, whose import takes half a second.
    midranks = np.cumsum(counts) - (counts - 1) / 2
    return float((midranks[place][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def macro_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns mean over classes of the area of one class against the rest; absent classes are left out.

    A class is absent where no photo, or every photo, is of it. `skinjax.evaluate.multiclass` gives the
    interval.

    Args:
      labels: int[N] in [0, K).
      scores: [N, K], of each class; any function that rises with its probability.

    Returns:
      In [0, 1]; NaN where no class can be distinguished from the rest, or a score is NaN.

    Example:
      >>> macro_auc([0, 1, 2], np.eye(3))
      1.0
    """
    classes, values = np.asarray(labels), np.asarray(scores)
    present = [k for k in range(values.shape[1]) if 0 < np.count_nonzero(classes == k) < len(classes)]
    if not present or np.isnan(values).any():
        return float("nan")
    return float(np.mean([auc(classes == k, values[:, k]) for k in present]))


def _ranked_auc(labels: NDArray, scores: NDArray) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return RankedPhotos.of(*_sample(labels, scores)).areas


def _auc_without(
    labels: NDArray, scores: NDArray, groups: NDArray[np.int64], num_groups: int
) -> NDArray[np.float64]:
    return areas_without(*_sample(labels, scores), groups, num_groups)


weighted_auc = WeightedMetric.of_ranks(_ranked_auc, without=_auc_without)
"""`auc` for `bootstrap.by_case`: one sort for all replicates, then cumulative sums of weights."""


def youden(labels: ArrayLike, scores: ArrayLike) -> OperatingPoint:
    """Returns the threshold with the largest Youden index, sensitivity + specificity - 1 (thesis 3-6).

    Of equally good thresholds the lowest is taken, which misses least. The threshold is a score that occurs.
    Its own sensitivity and specificity are too good by selection: choose it on validation photos and read
    `operating_point` on the test ones.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.

    Returns:
      The operating point (Youden 1950, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3);
      all NaN where a class has no photo.

    Raises:
      ValueError: As `roc_curve`.

    Example:
      >>> youden([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
      OperatingPoint(threshold=0.4, sensitivity=1.0, specificity=0.5, index=0.5)
    """
    curve = roc_curve(labels, scores)
    index = curve.sensitivity[1:] + curve.specificity[1:] - 1
    if not index.size or np.isnan(index).any():
        return OperatingPoint(np.nan, np.nan, np.nan, np.nan)
    best = int(np.flatnonzero(index >= index.max() - 1e-12)[-1]) + 1  # equal indices may differ by rounding
    return _point(float(curve.thresholds[best]), curve.sensitivity[best], curve.specificity[best])


def operating_point(labels: ArrayLike, scores: ArrayLike, threshold: float) -> OperatingPoint:
    """Returns what a threshold chosen elsewhere does here: `score >= threshold` is positive.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      threshold: Any number.

    Returns:
      The operating point; NaN where the class concerned has no photo.

    Raises:
      ValueError: As `roc_curve`.

    Example:
      >>> operating_point([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8], threshold=0.5)
      OperatingPoint(threshold=0.5, sensitivity=0.5, specificity=1.0, index=0.5)
    """
    positive, values = _sample(labels, scores)
    called = values >= threshold
    shares = [part.mean() if part.size else np.nan for part in (called[positive], ~called[~positive])]
    return _point(float(threshold), *shares)


def sensitivity_at(labels: ArrayLike, scores: ArrayLike, specificity: float) -> float:
    """Returns the highest sensitivity of a threshold whose specificity is at least the required one.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      specificity: In [0, 1].

    Returns:
      In [0, 1]; NaN where a class has no photo.

    Raises:
      ValueError: As `roc_curve`, or a specificity outside [0, 1].

    Example:
      >>> sensitivity_at([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8], specificity=0.6)
      0.5
    """
    curve = roc_curve(labels, scores)
    return _best("specificity", specificity, curve.specificity, curve.sensitivity)


def specificity_at(labels: ArrayLike, scores: ArrayLike, sensitivity: float) -> float:
    """Returns the highest specificity of a threshold whose sensitivity is at least the required one.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      sensitivity: In [0, 1].

    Returns:
      In [0, 1]; NaN where a class has no photo.

    Raises:
      ValueError: As `roc_curve`, or a sensitivity outside [0, 1].

    Example:
      >>> specificity_at([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8], sensitivity=0.6)
      0.5
    """
    curve = roc_curve(labels, scores)
    return _best("sensitivity", sensitivity, curve.sensitivity, curve.specificity)


def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    low: float,
    high: float = 1.0,
    axis: Axis = "specificity",
    standardize: bool = True,
) -> float:
    """Returns the area under a part of the curve, as a number between 0.5 (chance) and 1 (perfect).

    With a the area over the range, a_min the chance line's and a_max the perfect curve's, the standardised
    area is (1 + (a - a_min) / (a_max - a_min)) / 2 (McClish 1989, doi:10.1177/0272989X8900900307). A curve
    below the chance line there gives less than 0.5, down to below 0.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      low: Lower end of the range, in [0, 1].
      high: Upper end, in [0, 1] and above `low`.
      axis: What the range is of. Over "specificity" the mean sensitivity is measured, over "sensitivity"
        the mean specificity.
      standardize: Whether the area is standardised; otherwise it is the plain area, at most high - low.

    Returns:
      The partial area; NaN where a class has no photo.

    Raises:
      ValueError: As `roc_curve`, an unknown axis, or ends that are not 0 <= low < high <= 1.

    Example:
      >>> partial_auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8], low=0.5, standardize=False)
      0.375
    """
    if axis not in get_args(Axis):
        raise ValueError(f"axis must be one of {', '.join(get_args(Axis))}, got {axis!r}")
    if not 0 <= low < high <= 1:
        raise ValueError(f"low and high must be 0 <= low < high <= 1, got {low} and {high}")
    curve = roc_curve(labels, scores)
    if axis == "specificity":
        x, y = 1 - curve.specificity, curve.sensitivity
        first, last = 1 - high, 1 - low
        chance = (last**2 - first**2) / 2
    else:
        x, y = curve.sensitivity, curve.specificity
        first, last = low, high
        chance = (last - first) - (last**2 - first**2) / 2
    if np.isnan(x).any() or np.isnan(y).any():
        return float("nan")
    area = float(_area_up_to(x, y, last) - _area_up_to(x, y, first))
    width = last - first
    return (1 + (area - chance) / (width - chance)) / 2 if standardize else area


def _sample(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive, values = binary_sample(labels, scores)
    if values.ndim != 1:
        raise ValueError(f"scores must have shape [N], got shape {values.shape}")
    return positive, values


def _share(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts / counts[-1] if counts[-1] else np.full(len(counts), np.nan)


def _point(threshold: float, sensitivity: float, specificity: float) -> OperatingPoint:
    return OperatingPoint(
        threshold, float(sensitivity), float(specificity), float(sensitivity + specificity - 1)
    )


def _best(name: str, least: float, given: NDArray[np.float64], gained: NDArray[np.float64]) -> float:
    if not 0 <= least <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {least}")
    if np.isnan(given).any() or np.isnan(gained).any():
        return float("nan")
    return float(gained[given >= least - 1e-12].max())  # 1 - 0.1 and 0.9 are the same wish


def _area_up_to(x: NDArray[np.float64], y: NDArray[np.float64], end: float) -> float:
    """Returns the area under the broken line through (x, y), x rising from 0 to 1, from 0 to `end`."""
    whole = np.concatenate([[0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])
    i = int(np.clip(np.searchsorted(x, end, side="right") - 1, 0, len(x) - 2))
    run = end - x[i]
    slope = (y[i + 1] - y[i]) / (x[i + 1] - x[i]) if x[i + 1] > x[i] else 0.0
    return float(whole[i] + run * (y[i] + slope * run / 2))
