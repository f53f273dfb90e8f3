"""Agreement beyond chance: Cohen's kappa, plain and weighted, ready for `skinjax.evaluate.bootstrap`.

Kappa is 1 - (observed disagreement) / (disagreement expected of the same answers in random order). A
disagreement counts 1 (`kappa`; Cohen 1960, doi:10.1177/001316446002000104), the distance of the two degrees
(`linear_kappa`) or its square (`quadratic_kappa`; Cohen 1968, doi:10.1037/h0026256). The weighted forms are for
ordered classes: degrees as integers 0, 1, 2, ..., whose differences are the distances.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skinjax.evaluate.metrics import WeightedMetric, photo_table


def _plain_sums(labels: NDArray, answers: NDArray) -> csr_array:
    """Disagreements, then how often each class stands on either side, [N, 1 + 2 K]."""
    classes, codes = np.unique(np.concatenate([labels, answers]), return_inverse=True)
    true, given = np.split(codes, 2)
    return _sums(true, given, true != given, len(classes))


def _degree_sums(power: int) -> Callable[[NDArray, NDArray], csr_array]:
    def sums(labels: NDArray, answers: NDArray) -> csr_array:
        true, given = _degrees("labels", labels), _degrees("answers", answers)
        size = int(max(true.max(initial=0), given.max(initial=0))) + 1
        return _sums(true, given, np.abs(true - given) ** power, size)

    return sums


def _sums(true: NDArray, given: NDArray, disagreement: NDArray, size: int) -> csr_array:
    return photo_table([(0, disagreement), (1 + true, 1.0), (1 + size + given, 1.0)], len(true), 1 + 2 * size)


def _degrees(name: str, values: NDArray) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(
            f"{name} must be int[N], degrees of at least 0, got {values.dtype} of shape {values.shape}"
        )
    return values.astype(np.int64)


def _kappa(totals: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Returns 1 - observed / expected; NaN where all answers and labels are one class."""
    size = (totals.shape[1] - 1) // 2
    degrees = np.arange(size)
    distance = np.abs(degrees[:, None] - degrees)
    weights = (distance > 0).astype(np.float64) if power == 0 else distance.astype(np.float64) ** power
    seen, given = totals[:, 1 : 1 + size], totals[:, 1 + size :]
    expected = ((seen @ weights) * given).sum(axis=1) / given.sum(axis=1)
    return 1 - np.divide(totals[:, 0], expected, out=np.full(len(totals), np.nan), where=expected > 0)


@WeightedMetric.of_sums(_plain_sums, (-1.0, 1.0))
def kappa(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns Cohen's kappa: `kappa(labels[N], answers[N]) -> float` of at most 1; NaN where all are of one class."""
    return _kappa(totals, 0)


@WeightedMetric.of_sums(_degree_sums(1), (-1.0, 1.0))
def linear_kappa(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns kappa weighted by distance: `linear_kappa(labels int[N], answers int[N]) -> float`, of degrees."""
    return _kappa(totals, 1)


@WeightedMetric.of_sums(_degree_sums(2), (-1.0, 1.0))
def quadratic_kappa(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns kappa weighted by squared distance: `quadratic_kappa(labels int[N], answers int[N]) -> float`."""
    return _kappa(totals, 2)
