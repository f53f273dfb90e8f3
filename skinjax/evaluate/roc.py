"""Receiver operating characteristic: how well scores tell two classes apart, at every threshold at once."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a photo of class 1 scores above one of class 0, ties as a half.

    Args:
      labels: 0 or 1, [N].
      scores: finite or infinite, [N]; higher for class 1.

    Returns:
      In [0, 1]; NaN where a class has no photo.

    Raises:
      ValueError: other labels, a score that is NaN, or lengths that differ.

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels and scores want one shape [N], got {labels.shape} and {scores.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {sorted(set(labels.tolist()) - {0, 1})[:5]}")
    if np.isnan(scores).any():
        raise ValueError(f"scores has {int(np.isnan(scores).sum())} NaN")
    ones = int(labels.sum())
    zeros = len(labels) - ones
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(scores)[labels == 1].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))


def macro_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean over classes of the area of one class against the rest; classes that no photo, or all, are of are left out.

    Args:
      labels: int[N] in 0..K-1.
      scores: [N, K], of each class; any function that rises with its probability.

    Returns:
      In [0, 1]; NaN where no class can be told from the rest.

    >>> macro_auc(np.array([0, 1, 2]), np.eye(3))
    1.0
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    present = [k for k in range(scores.shape[1]) if 0 < np.count_nonzero(labels == k) < len(labels)]
    if not present or np.isnan(scores).any():
        return float("nan")
    return float(np.mean([auc((labels == k).astype(int), scores[:, k]) for k in present]))
