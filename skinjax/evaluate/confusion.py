"""Confusion matrices and the figures that are read from them (thesis, sections 3 and 4).

Rows are true classes and columns are predicted ones, as in scikit-learn. One policy holds for classes that
the data does not show:

- A class is *included* when it stands among the labels or among the predictions. Macro averages are the plain
  mean over included classes, in which a ratio of 0 / 0 counts as 0. They equal scikit-learn's
  `average="macro", zero_division=0` with its default labels.
- The ratios of a class that is not included are NaN.
- Balanced accuracy is the mean recall over the classes that have photos, as in scikit-learn. It differs from
  macro recall only when a class is predicted that has no photos.
- Weighted averages weigh each class by its photos, as scikit-learn's `average="weighted"`. Weighted recall is
  the accuracy.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.results import Result


@dataclasses.dataclass(frozen=True, eq=False)
class Summary(Result):
    """Figures of a confusion matrix, per class and overall; the module states the policy on missing classes.

    Attributes:
      recall: float64[K] in [0, 1], the share of a class's photos that were called so (sensitivity).
      precision: float64[K] in [0, 1], the share of a class's calls that were right.
      f1: float64[K] in [0, 1], the harmonic mean of recall and precision.
      support: int64[K], the photos of each class.
      predicted: int64[K], the times each class was called.
      macro_recall: The mean of `recall` over included classes.
      macro_precision: The mean of `precision` over included classes.
      macro_f1: The mean of `f1` over included classes.
      accuracy: The share of photos called right.
      balanced_accuracy: The mean of `recall` over classes that have photos.
      specificity: float64[K] in [0, 1], the share of the other classes' photos that were not called so; NaN
        where there are none, and of a class that is not included.
      weighted_recall: The mean of `recall` over photos, which is the accuracy.
      weighted_precision: The mean of `precision` over photos, each with its true class's.
      weighted_f1: The mean of `f1` over photos, likewise.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    predicted: NDArray[np.int64]
    macro_recall: float
    macro_precision: float
    macro_f1: float
    accuracy: float
    balanced_accuracy: float
    specificity: NDArray[np.float64]
    weighted_recall: float
    weighted_precision: float
    weighted_f1: float


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Counts photos by true and predicted class.

    Args:
      labels: int[N], the true classes in [0, num_classes).
      predicted: int[N], the predicted classes in [0, num_classes).
      num_classes: K.

    Returns:
      int64[K, K]; row i, column j counts the photos of class i that were called j.

    Raises:
      ValueError: The arrays are not integers of one length, or hold a class outside [0, num_classes).

    Example:
      >>> confusion_matrix([0, 0, 1], [0, 1, 1], num_classes=2).tolist()
      [[1, 1], [0, 1]]
    """
    labels = _classes("labels", labels, num_classes)
    predicted = _classes("predicted", predicted, num_classes)
    if labels.shape != predicted.shape:
        raise ValueError(
            f"labels and predicted must have one length, got {labels.size} and {predicted.size} photos"
        )
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def summary(matrix: ArrayLike) -> Summary:
    """Reads recall, precision, F1 and accuracy from a confusion matrix.

    Args:
      matrix: int[K, K] of counts, true classes in rows.

    Returns:
      The figures, a class and overall; all of them NaN when the matrix holds no photo.

    Raises:
      ValueError: The matrix is not square, or holds anything but counts.

    Example:
      >>> read = summary([[8, 2], [0, 10]])
      >>> read.recall.tolist(), read.accuracy, round(read.macro_f1, 3)
      ([0.8, 1.0], 0.9, 0.899)
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"matrix must be square, true classes in rows, got shape {counts.shape}")
    if not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
        raise ValueError(f"matrix must hold counts, integers of at least 0, got {counts.dtype}")
    hits, support, predicted = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    included = (support + predicted) > 0
    recall, precision, f1 = (
        np.where(included, ratio, np.nan) for ratio in class_ratios(hits, support, predicted)
    )
    nothing = not included.any()
    others = support.sum() - support
    spared = np.divide(others - predicted + hits, others, out=np.full(len(hits), np.nan), where=others > 0)

    def weighted(ratio: NDArray[np.float64]) -> float:
        return np.nan if nothing else float(ratio[included] @ support[included] / support.sum())

    return Summary(
        recall=recall,
        precision=precision,
        f1=f1,
        support=support.astype(np.int64),
        predicted=predicted.astype(np.int64),
        macro_recall=np.nan if nothing else float(recall[included].mean()),
        macro_precision=np.nan if nothing else float(precision[included].mean()),
        macro_f1=np.nan if nothing else float(f1[included].mean()),
        accuracy=np.nan if nothing else float(hits.sum() / support.sum()),
        balanced_accuracy=np.nan if nothing else float(recall[support > 0].mean()),
        specificity=np.where(included, spared, np.nan),
        weighted_recall=weighted(recall),
        weighted_precision=weighted(precision),
        weighted_f1=weighted(f1),
    )


def class_ratios(
    hits: ArrayLike, support: ArrayLike, predicted: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Turns counts into recall, precision and F1, where 0 / 0 is 0.

    Args:
      hits: [..., K], the photos of each class that were called right; counts or sums of weights.
      support: [..., K], the photos of each class.
      predicted: [..., K], the times each class was called.

    Returns:
      recall, precision and F1, float64[..., K] each, in [0, 1].

    Example:
      >>> recall, precision, f1 = class_ratios([8, 0], [10, 0], [8, 2])
      >>> recall.tolist(), precision.tolist(), f1.round(2).tolist()
      ([0.8, 0.0], [1.0, 0.0], [0.89, 0.0])
    """
    hits, support, predicted = (np.asarray(counts, np.float64) for counts in (hits, support, predicted))

    def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)

    return ratio(hits, support), ratio(hits, predicted), ratio(2 * hits, support + predicted)


def top_k(labels: ArrayLike, probs: ArrayLike, k: int) -> float:
    """Returns the share of photos whose true class is among the k most probable ones.

    Of equal probabilities the class that stands first comes first, so that `top_k(..., k=1)` is the accuracy
    of the arg-max.

    Args:
      labels: int[N], the true classes in [0, K).
      probs: float[N, K], probabilities or any scores that rank the classes.
      k: In [1, K].

    Returns:
      The share in [0, 1].

    Raises:
      ValueError: Shapes that do not fit, no photo, NaN in `probs`, or k outside [1, K].

    Example:
      >>> top_k([2, 0], [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3]], k=2)
      0.5
    """
    scores = np.asarray(probs)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"probs must be float[N, K] with at least one photo, got shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"probs must hold numbers, got NaN in {np.isnan(scores).any(axis=1).sum()} photos")
    num_photos, num_classes = scores.shape
    labels = _classes("labels", labels, num_classes)
    if len(labels) != num_photos:
        raise ValueError(f"labels and probs must have one length, got {len(labels)} and {num_photos} photos")
    if not 1 <= k <= num_classes:
        raise ValueError(f"k must lie in [1, {num_classes}], got {k}")
    own = scores[np.arange(num_photos), labels][:, None]
    earlier = np.arange(num_classes) < labels[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    return float((ahead.sum(axis=1) < k).mean())


def _classes(name: str, values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    classes = np.asarray(values)
    if classes.ndim != 1 or (classes.size and not np.issubdtype(classes.dtype, np.integer)):
        raise ValueError(f"{name} must be int[N], got {classes.dtype} of shape {classes.shape}")
    wrong = np.flatnonzero((classes < 0) | (classes >= num_classes))
    if wrong.size:
        shown = ", ".join(f"{classes[i]} at {i}" for i in wrong[:10])
        raise ValueError(f"{name} must lie in [0, {num_classes}), got {wrong.size} outside: {shown}")
    return classes.astype(np.int64)
