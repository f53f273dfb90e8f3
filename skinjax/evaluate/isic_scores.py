"""Scores of the ISIC challenges, under their names, so that a leaderboard's figures can be set beside one's own.

The scores of a class against the rest are those of the challenges of 2018 and 2019 as the package
`isic-challenge-scoring` (5.6) defines them, with every photo of weight 1, and `pauc_above_tpr` is that of the
ISIC 2024 challenge. They differ from the figures of the same kind elsewhere in this package:

  `accuracy`, `sensitivity`, `specificity`, `dice`, `ppv`, `npv`: of the calls `score > 0.5`, where 0.5 itself
    is no call. `ppv` is 1 where nothing is called and `npv` is 1 where everything is.
  `auc_sens_80`: The area under the ROC curve right of the point where it reaches a sensitivity of 80 %, that
    is ∫ TPR dFPR over the part with TPR >= 0.8. It is neither divided by its width nor corrected as McClish's:
    1 is perfect, and a score that knows nothing has (1 - 0.8²) / 2 = 0.18.
  `pauc_above_tpr`: The area between the ROC curve and the line TPR = 0.8, that is ∫ (1 - FPR) dTPR from 0.8 to
    1, in [0, 0.2]; a score that knows nothing has 0.02. The challenge computes it as scikit-learn's
    `roc_auc_score(max_fpr=0.2)` on flipped labels and scores, with McClish's correction undone.
  `balanced_accuracy`: The mean recall of the classes with photos, where one whose largest probability is shared by
    several classes counts as wrong.

Between the points of the curve straight lines are drawn, so tied scores count a half as in
`skinjax.evaluate.roc`.

The partial areas have no interval here. They hang on the few photos of the class that score lowest: over
resampled cases, of 300 simulated samples (normal scores, areas of 0.80 to 0.98) with 5 photos of the class
and 100 others, 95 % intervals of `pauc_above_tpr` held the truth in 53 to 73 %, with 10 in 75 to 83 %.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.precision_recall import average_precision
from skinjax.evaluate.results import Result
from skinjax.evaluate.roc import auc, partial_auc, roc_curve
from skinjax.evaluate.samples import binary_sample

SENSITIVITY = 0.8
"""Sensitivity above which the partial areas are measured."""


@dataclasses.dataclass(frozen=True)
class IsicScores(Result):
    """Scores of one class against the rest; see the module.

    Attributes:
      accuracy: Share of photos that are called right at 0.5.
      sensitivity: Share of the class's photos that are called.
      specificity: Share of the other photos that are not.
      dice: 2 TP / (2 TP + FP + FN), which is F1.
      ppv: Share of the calls that are right.
      npv: Share of the photos that are not called, rightly.
      auc: Area under the ROC curve.
      auc_sens_80: The part of it where the sensitivity is at least 80 %.
      ap: Average precision.
      pauc_above_tpr: The area above a sensitivity of 80 %, in [0, 0.2].
    """

    accuracy: float
    sensitivity: float
    specificity: float
    dice: float
    ppv: float
    npv: float
    auc: float
    auc_sens_80: float
    ap: float
    pauc_above_tpr: float


def isic_scores(labels: ArrayLike, scores: ArrayLike) -> IsicScores:
    """Returns all scores of one class against the rest.

    Args:
      labels: [N] of 0 and 1, 1 for the class.
      scores: [N] in [0, 1], its probability.

    Returns:
      The scores.

    Raises:
      ValueError: No photo of the class, or none of the rest; labels other than 0 and 1; lengths that differ; or
        a score that is NaN.

    Example:
      >>> found = isic_scores([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
      >>> found.sensitivity, found.ppv, found.auc, found.auc_sens_80
      (0.5, 0.5, 0.75, 0.5)
    """
    positive, values = _sample(labels, scores)
    called = values > 0.5
    hits, alarms = int((called & positive).sum()), int((called & ~positive).sum())
    misses, rejections = int((~called & positive).sum()), int((~called & ~positive).sum())
    return IsicScores(
        accuracy=(hits + rejections) / len(values),
        sensitivity=hits / (hits + misses),
        specificity=rejections / (rejections + alarms),
        dice=2 * hits / (2 * hits + alarms + misses),
        ppv=hits / (hits + alarms) if called.any() else 1.0,
        npv=rejections / (rejections + misses) if not called.all() else 1.0,
        auc=auc(positive, values),
        auc_sens_80=auc_above_sensitivity(positive, values),
        ap=average_precision(positive, values),
        pauc_above_tpr=pauc_above_tpr(positive, values),
    )


def auc_above_sensitivity(labels: ArrayLike, scores: ArrayLike, sensitivity: float = SENSITIVITY) -> float:
    """Returns `auc_sens_80`: the area under the ROC curve where its sensitivity is at least so much.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      sensitivity: In (0, 1].

    Returns:
      In [0, 1].

    Raises:
      ValueError: As `isic_scores`, or a sensitivity outside (0, 1].

    Example:
      >>> auc_above_sensitivity([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
      0.5
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity must lie in (0, 1], got {sensitivity}")
    curve = roc_curve(*_sample(labels, scores))
    alarms, hits = 1 - curve.specificity, curve.sensitivity
    reached = int(np.searchsorted(hits, sensitivity))  # the first point with so much; the one before has less
    around = slice(reached - 1, reached + 1)
    right_of = 1 - np.interp(sensitivity, hits[around], alarms[around])
    # Left of the curve's end and below the line TPR = sensitivity, and what lies between the line and the curve.
    above = pauc_above_tpr(labels, scores, sensitivity) if sensitivity < 1 else 0.0
    return float(sensitivity * right_of + above)


def pauc_above_tpr(labels: ArrayLike, scores: ArrayLike, min_tpr: float = SENSITIVITY) -> float:
    """Returns the score of the ISIC 2024 challenge: the area between the ROC curve and a least sensitivity.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      min_tpr: The least sensitivity, in [0, 1).

    Returns:
      In [0, 1 - min_tpr].

    Raises:
      ValueError: As `isic_scores`, or a sensitivity outside [0, 1).

    Example:
      >>> round(pauc_above_tpr([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9]), 3)
      0.1
    """
    if not 0 <= min_tpr < 1:
        raise ValueError(f"min_tpr must lie in [0, 1), got {min_tpr}")
    return partial_auc(*_sample(labels, scores), low=min_tpr, axis="sensitivity", standardize=False)


def balanced_multiclass_accuracy(labels: ArrayLike, probs: ArrayLike) -> float:
    """Returns `balanced_accuracy`, the mean recall, where a tie for the largest probability is no answer.

    Args:
      labels: int[N] in [0, K).
      probs: float[N, K].

    Returns:
      In [0, 1].

    Raises:
      ValueError: No photo, or shapes or labels that do not fit.

    Example:
      >>> balanced_multiclass_accuracy([0, 0, 1], [[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
      0.75
    """
    classes, values = np.asarray(labels), np.asarray(probs, np.float64)
    if values.ndim != 2 or classes.shape != values.shape[:1]:
        raise ValueError(
            f"labels must have shape [N] and probs [N, K], got shapes {classes.shape} and {values.shape}"
        )
    if not len(classes) or not np.isin(classes, np.arange(values.shape[1])).all():
        raise ValueError(
            f"labels must be integers in [0, {values.shape[1]}), got {np.unique(classes)[:5].tolist()}"
        )
    largest = values == values.max(axis=1, keepdims=True)
    right = largest[np.arange(len(classes)), classes] & (largest.sum(axis=1) == 1)
    return float(np.mean([right[classes == k].mean() for k in np.unique(classes)]))


def _sample(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive, values = binary_sample(labels, scores)
    if values.ndim != 1:
        raise ValueError(f"scores must have shape [N], got shape {values.shape}")
    if positive.all() or not positive.any():
        found = "none" if not positive.any() else f"all {len(positive)}"
        raise ValueError(f"labels must hold photos of the class and others, got {found} of the class")
    return positive, values
