"""Precision against recall at every threshold, and the average precision.

A photo is called positive where `score >= threshold`, as in `skinjax.evaluate.roc`. Recall is sensitivity;
precision is the share of positive calls that are right, which unlike the ROC curve depends on how common
class 1 is among the photos: a random score has an average precision near that share.

Average precision is the sum over thresholds of precision times the gain in recall, the area under the steps
(as scikit-learn's). Straight lines between the points would be too favourable (Davis and Goadrich 2006,
doi:10.1145/1143844.1143874). Its interval by case:
`bootstrap.by_case(weighted_average_precision, (labels, scores), cases)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.bootstrap import WeightedMetric
from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import binary_sample

_ROWS_AT_ONCE = 32  # replicates in a block that stays in the processor's cache


@dataclasses.dataclass(frozen=True, eq=False)
class PrecisionRecallCurve(Result):
    """One point for each score that occurs, from the highest down.

    Attributes:
      thresholds: float64[T], falling.
      precision: float64[T] in [0, 1].
      recall: float64[T] in [0, 1], rising to 1; NaN where class 1 has no photo.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> PrecisionRecallCurve:
    """Returns the points of all thresholds. No point is made up for a recall of 0, where precision is undefined.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.

    Returns:
      The curve.

    Raises:
      ValueError: Labels other than 0 and 1, lengths that differ, or a score that is NaN.

    Example:
      >>> curve = precision_recall_curve([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
      >>> curve.recall.tolist(), curve.precision.round(2).tolist()
      ([0.5, 1.0, 1.0], [1.0, 0.67, 0.5])
    """
    positive, order, ends = _ranked(labels, scores)
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    total = float(positive.sum())
    return PrecisionRecallCurve(
        thresholds=np.asarray(scores, np.float64)[order][ends],
        precision=hits / (ends + 1),
        recall=hits / total if total else np.full(len(ends), np.nan),
    )


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the area under the steps of precision against recall.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.

    Returns:
      In (0, 1]; NaN where class 1 has no photo.

    Raises:
      ValueError: As `precision_recall_curve`.

    Example:
      >>> round(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]), 3)
      0.833
    """
    curve = precision_recall_curve(labels, scores)
    if not curve.recall.size:
        return float("nan")
    return float(np.diff(curve.recall, prepend=0) @ curve.precision)


def _over_weights(labels: NDArray, scores: NDArray) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    positive, order, ends = _ranked(labels, scores)
    ones = positive[order]

    def averages(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty(len(weights))
        for start in range(0, len(weights), _ROWS_AT_ONCE):
            block = np.ascontiguousarray(weights[start : start + _ROWS_AT_ONCE].T)[order]
            called = np.cumsum(block, axis=0)[ends]
            hits = np.cumsum(block * ones[:, None], axis=0)[ends]
            precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
            gained = np.diff(hits, axis=0, prepend=0)
            area, total = np.einsum("tr,tr->r", gained, precision), block[ones].sum(axis=0)
            found[start : start + _ROWS_AT_ONCE] = np.divide(
                area, total, out=np.full(len(total), np.nan), where=total > 0
            )
        return found

    return averages


weighted_average_precision = WeightedMetric.of_ranks(_over_weights)
"""`average_precision` for `bootstrap.by_case`: one sort for all replicates."""


def _ranked(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the mask of class 1, the photos from the highest score down, and where each score ends."""
    positive, values = binary_sample(labels, scores)
    if values.ndim != 1:
        raise ValueError(f"scores must have shape [N], got shape {values.shape}")
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], np.ones(min(1, len(order)), bool)))
    return positive, order, ends
