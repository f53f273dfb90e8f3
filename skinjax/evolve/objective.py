"""Fitness: S = w1 Recall + w2 Precision + w3 F1 + w4 AUC (thesis equation 4-6)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from skinjax.evaluate.confusion import confusion_matrix, summary
from skinjax.evaluate.roc import macro_auc


class Parts(NamedTuple):
    """Parts of fitness; all are averages over classes, in [0, 1].

    Attributes:
      recall: macro recall.
      precision: macro precision.
      f1: macro F1.
      auc: mean area under the ROC curve of each class against the rest.
    """

    recall: float
    precision: float
    f1: float
    auc: float


class Weights(NamedTuple):
    """w1 to w4 of equation 4-6. The thesis does not give them; equal ones are ours.

    Attributes:
      recall: w1.
      precision: w2.
      f1: w3.
      auc: w4.
    """

    recall: float = 0.25
    precision: float = 0.25
    f1: float = 0.25
    auc: float = 0.25

    def check(self) -> Weights:
        """Returns these weights.

        Raises:
          ValueError: One is negative or no number, or all are 0.
        """
        if not all(0 <= weight < math.inf for weight in self) or not any(self):
            raise ValueError(f"weights must be at least 0 and not all 0, got {tuple(self)}")
        return self


def measure(labels: ArrayLike, probs: ArrayLike) -> Parts:
    """Measures answers: the first three parts from the confusion matrix of the most probable classes, and AUC.

    Classes that neither are among the labels nor predicted are left out, see `skinjax.evaluate.confusion`.

    Args:
      labels: int[N] in [0, K).
      probs: float[N, K], probabilities or anything that ranks photos within each class; logits rank classes but not
        photos, so turn them into probabilities first.

    Raises:
      ValueError: Shapes that do not fit, or values that are not finite.

    Example:
      >>> measure([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]).recall
      0.75
    """
    classes, given = np.asarray(labels), np.asarray(probs, np.float64)
    if given.ndim != 2 or classes.shape != given.shape[:1] or not given.size:
        raise ValueError(
            f"labels and probs must be int[N] and float[N, K], got shapes {classes.shape} and {given.shape}"
        )
    if not np.isfinite(given).all():
        raise ValueError("probs must hold finite numbers")
    read = summary(confusion_matrix(classes, given.argmax(axis=1), given.shape[1]))
    return Parts(read.macro_recall, read.macro_precision, read.macro_f1, macro_auc(classes, given))


def fitness(parts: Parts, weights: Weights = Weights()) -> float:  # noqa: B008 - immutable
    """Weighs the parts: S = w1 Recall + w2 Precision + w3 F1 + w4 AUC (thesis equation 4-6).

    Args:
      parts: of one set of hyper-parameters.
      weights: of the parts; what weighs 0 may be NaN.

    Returns:
      S, in [0, sum of the weights]; NaN where a part that counts is.

    Raises:
      ValueError: A weight is negative, or all are 0.

    Example:
      >>> fitness(Parts(recall=0.5, precision=0.25, f1=0.25, auc=1.0))
      0.5
    """
    pairs = zip(weights.check(), parts, strict=True)
    return float(sum(weight * part for weight, part in pairs if weight))
