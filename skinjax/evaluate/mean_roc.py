"""The mean ROC curve of several models on the same photos, and the mean of their areas (thesis, chapter 3).

The thesis's single-stage baseline is eight networks, shown as one mean curve. Curves are averaged vertically:
at each false positive rate the mean of their sensitivities (Fawcett 2006, doi:10.1016/j.patrec.2005.10.010),
exactly, at both ends of every step, so that the area under the mean curve is the mean of the areas. It is the
figure of a typical one of the models. No single diagnosis attains it: mixing the models' scores gives another
model with a curve of its own.

The mean of areas has the variance 1/M² Σ_ij cov(AUC_i, AUC_j), the covariance being DeLong's, clustered by case
(`skinjax.evaluate.delong`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.delong import (
    AucComparison,
    AucInterval,
    Placements,
    auc_limits,
    difference_test,
    placements,
)
from skinjax.evaluate.results import Result
from skinjax.evaluate.roc import RocCurve
from skinjax.evaluate.samples import binary_sample, case_codes, check_confidence


@dataclasses.dataclass(frozen=True, eq=False)
class MeanRoc(Result):
    """A curve of means.

    Attributes:
      false_positive_rate: float64[P], 1 - specificity, rising; each step stands there twice, bottom and top.
      sensitivity: float64[P], the mean of the curves' sensitivities, rising.
      auc: The area under it, the mean of theirs.
    """

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    auc: float


def mean_roc(curves: Sequence[RocCurve]) -> MeanRoc:
    """Averages ROC curves vertically.

    Args:
      curves: At least one, of `skinjax.evaluate.roc.roc_curve`.

    Returns:
      The mean curve; NaN where a curve is.

    Raises:
      ValueError: There is no curve.

    Example:
      >>> from skinjax.evaluate.roc import roc_curve
      >>> mean = mean_roc([roc_curve([0, 1], [0.2, 0.7]), roc_curve([0, 1], [0.7, 0.2])])
      >>> mean.auc, mean.sensitivity.tolist()
      (0.5, [0.0, 0.5, 0.5, 1.0])
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none")
    grid = np.unique(np.concatenate([1 - curve.specificity for curve in curves]))
    ends = [_ends(1 - curve.specificity, curve.sensitivity, grid) for curve in curves]
    sensitivity = np.mean(ends, axis=0).T.ravel()
    rates = np.repeat(grid, 2)
    return MeanRoc(rates, sensitivity, float(np.trapezoid(sensitivity, rates)))


def mean_auc_interval(
    labels: ArrayLike, scores: ArrayLike, confidence: float = 0.95, cases: ArrayLike | None = None
) -> AucInterval:
    """Returns the mean area of several models on the same photos with its interval, for other cases but these models.

    Args:
      labels: [N] of 0 and 1.
      scores: [M, N], the scores of M models.
      confidence: Confidence level of the interval, in (0, 1).
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.

    Returns:
      The interval, symmetric in log odds; of one model it is `skinjax.evaluate.delong.auc_interval`'s.

    Raises:
      ValueError: Labels other than 0 and 1, shapes that differ, or NaN.

    Example:
      >>> labels, scores = np.tile([0, 0, 1, 1], 30), np.tile([1, 3, 2, 4], 30)
      >>> found = mean_auc_interval(labels, [scores, -scores])
      >>> found.auc
      0.5
    """
    check_confidence(confidence)
    found, num_photos = _placements(labels, scores, cases)
    share = np.full(len(found.aucs), 1 / len(found.aucs))
    auc = float(share @ found.aucs)
    std_error = float(np.sqrt(np.maximum(share @ found.covariance() @ share, 0)))
    low, high = auc_limits(auc, std_error, found.fewest, found.degrees_of_freedom(share), confidence, "logit")
    return AucInterval(auc, low, high, std_error, confidence, num_photos, found.of_positives.shape[1])


def compare_with_mean(
    labels: ArrayLike,
    scores: ArrayLike,
    others: ArrayLike,
    cases: ArrayLike | None = None,
    confidence: float = 0.95,
) -> AucComparison:
    """Compares a model's area with the mean area of others on the same photos (a paired test).

    Args:
      labels: [N] of 0 and 1.
      scores: [N], of the model.
      others: [M, N], of the others.
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      The difference, the model's area less the mean; with one other it is `skinjax.evaluate.delong.compare`'s.

    Raises:
      ValueError: Labels other than 0 and 1, shapes that differ, or NaN.

    Example:
      >>> labels, scores = [0, 1, 0, 1], np.array([1.0, 3.0, 2.0, 4.0])
      >>> compare_with_mean(labels, scores, [scores, -scores]).difference
      0.5
    """
    check_confidence(confidence)
    found, num_photos = _placements(labels, np.vstack([np.asarray(scores, np.float64), others]), cases)
    rest = len(found.aucs) - 1
    contrast = np.concatenate([[1.0], np.full(rest, -1 / rest)])
    return difference_test(
        float(contrast @ found.aucs),
        float(contrast @ found.covariance() @ contrast),
        confidence,
        num_photos=num_photos,
        num_cases=found.of_positives.shape[1],
        degrees=found.degrees_of_difference(contrast),
    )


def _placements(labels: ArrayLike, scores: ArrayLike, cases: ArrayLike | None) -> tuple[Placements, int]:
    positive, values = binary_sample(labels, scores)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"scores must have shape [M, N], got shape {values.shape}")
    return placements(positive, values, case_codes(cases, len(positive))), len(positive)


def _ends(x: NDArray[np.float64], y: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns float64[2, G], the curve's sensitivity just before and just after each rate, which differ at a step."""
    first, last = np.searchsorted(x, grid, side="left"), np.searchsorted(x, grid, side="right") - 1
    on_curve = last >= first
    between = np.interp(grid, x, y)
    return np.stack(
        [np.where(on_curve, y[np.minimum(first, len(y) - 1)], between), np.where(on_curve, y[last], between)]
    )
