"""Metrics that can be computed for many weightings of the photos at once, as resampling needs them.

All follow the policy on missing classes of `skinjax.evaluate.confusion`. Kappa is in
`skinjax.evaluate.agreement`, calibration error in `skinjax.evaluate.calibration`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skinjax.evaluate.confusion import class_ratios

SHARE, AT_LEAST_0 = (0.0, 1.0), (0.0, math.inf)
"""Bounds of metrics."""

_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # of the truth in the log loss, as in scikit-learn


@dataclasses.dataclass(frozen=True)
class WeightedMetric:
    """A metric that can be computed for many weightings of the photos at once; usable as a decorator.

    A metric that is a function of sums over the photos, such as accuracy or F1, is better made by `of_sums`:
    photos of a case are then added up once, and a replicate costs no more than its cases.

    Attributes:
      compute: `compute(*arrays, weights)`, where weights are float64[R, N] of at least 0, gives float64[R]:
        the metric of each row as if every photo stood there as often as its weight says, or NaN where
        that is undefined. A curve gives float64[R, T].
      sums: `sums(*arrays)`, what each photo adds to each of S sums, a sparse float64[N, S]; or None.
      value: `value(totals float64[R, S])` gives what `compute` does; or None. It may divide 0 by 0.
      ranked: `ranked(*arrays)`, which sorts the photos once, gives a function of the weights that does what `compute`
        does; or None.
      without: `without(*arrays, groups int64[N], num_groups)` gives float64[B], what `compute` does where the
        photos of each of B groups weigh 0 and the others 1; or None. For a metric of which that costs less.
      bounds: The least and the largest value that it can have; no limit of an interval lies beyond.

    Example:
      >>> @WeightedMetric
      ... def brier(hits, probability, weights):
      ...     return weights @ (hits - probability) ** 2 / weights.sum(axis=1)
      >>> brier(np.array([1, 0]), np.array([0.5, 0.5]))
      0.25
    """

    compute: Callable[..., NDArray[np.float64]]
    sums: Callable[..., csr_array] | None = None
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    ranked: Callable[..., Callable[[NDArray[np.float64]], NDArray[np.float64]]] | None = None
    without: Callable[..., NDArray[np.float64]] | None = None

    @classmethod
    def of_sums(
        cls, sums: Callable[..., csr_array], bounds: tuple[float, float] = (-math.inf, math.inf)
    ) -> Callable[[Callable[[NDArray[np.float64]], NDArray[np.float64]]], WeightedMetric]:
        """Decorates a function of totals over photos, `value(totals float64[R, S]) -> float64[R]`.

        Args:
          sums: What each photo adds to each total; see the class.
          bounds: See the class.
        """

        def decorate(value: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> WeightedMetric:
            def compute(*arrays: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
                with np.errstate(divide="ignore", invalid="ignore"):
                    return value(weights @ sums(*arrays))

            return cls(compute, sums, value, bounds)

        return decorate

    @classmethod
    def of_ranks(
        cls,
        ranked: Callable[..., Callable[[NDArray[np.float64]], NDArray[np.float64]]],
        without: Callable[..., NDArray[np.float64]] | None = None,
    ) -> WeightedMetric:
        """Makes a metric that needs the photos' order.

        Args:
          ranked: Sorts the photos and returns a function of the weights; see the class.
          without: See the class.
        """

        def compute(*arrays: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
            return ranked(*arrays)(weights)

        return cls(compute, ranked=ranked, without=without)

    def __call__(self, *arrays: ArrayLike) -> float:
        """Returns the metric of the photos as they are, each counted once."""
        values = [np.asarray(array) for array in arrays]
        return float(self.compute(*values, weights=np.ones((1, len(values[0]))))[0])


def photo_table(
    entries: Sequence[tuple[NDArray[np.int64] | int, NDArray | float]], num_photos: int, num_sums: int
) -> csr_array:
    """Builds what each photo adds to each sum, one entry of every kind per photo.

    Args:
      entries: Pairs of a column, int[N] in [0, S), and what the photo adds there, [N]; or one for all photos.
      num_photos: N.
      num_sums: S.

    Returns:
      A sparse float64[N, S].

    Example:
      >>> photo_table([(np.array([1, 0]), 0.5), (2, np.array([3, 4]))], 2, 3).toarray().tolist()
      [[0.0, 0.5, 3.0], [0.5, 0.0, 4.0]]
    """
    columns = np.stack([np.broadcast_to(column, num_photos) for column, _ in entries], axis=1)
    values = np.stack([np.broadcast_to(value, num_photos) for _, value in entries], axis=1)
    starts = np.arange(num_photos + 1) * len(entries)
    return csr_array(
        (values.astype(np.float64).ravel(), columns.ravel(), starts), shape=(num_photos, num_sums)
    )


def _values(values: NDArray) -> csr_array:
    return photo_table([(0, values), (1, 1.0)], len(values), 2)


def _hits(labels: NDArray, predicted: NDArray) -> csr_array:
    return _values(labels == predicted)


def _class_counts(labels: NDArray, predicted: NDArray) -> csr_array:
    """Hits, support and calls of the K classes with photos, and for each photo how many others are called [N, 3K + 1].

    The last sum divided by the photos says in every replicate how many classes of the sample are called and
    have no photo.
    """
    classes, true = np.unique(labels, return_inverse=True)
    size = len(classes)
    called = np.minimum(np.searchsorted(classes, predicted), size - 1)
    known = classes[called] == predicted
    others = len(np.unique(np.asarray(predicted)[~known]))
    entries: list[tuple[NDArray[np.int64] | int, NDArray | float]] = [
        (true, known & (true == called)),
        (size + true, 1.0),
        (2 * size + called, known),
        (3 * size, float(others)),
    ]
    return photo_table(entries, len(labels), 3 * size + 1)


def _class_shares(labels: NDArray, shares: NDArray) -> csr_array:
    """Returns the shares and the number of cases of each class with cases [C, 2K]."""
    classes, true = np.unique(labels, return_inverse=True)
    return photo_table([(true, shares), (len(classes) + true, 1.0)], len(labels), 2 * len(classes))


def _squares(labels: NDArray, probs: NDArray) -> csr_array:
    true, given = _probabilities(labels, probs)
    return _values(((given - true) ** 2).sum(axis=1) if probs.ndim == 2 else (given - true)[:, 1] ** 2)


def _surprises(labels: NDArray, probs: NDArray) -> csr_array:
    true, given = _probabilities(labels, probs)
    return _values(-np.log(np.maximum((given * true).sum(axis=1), _LEAST_PROBABILITY)))


def _probabilities(labels: NDArray, probs: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns one-hot truth and probabilities, [N, K]; a binary target's as two columns."""
    given = np.asarray(probs, np.float64)
    if given.ndim not in (1, 2):
        raise ValueError(f"probs must be float[N] of a binary target or float[N, K], got shape {given.shape}")
    if given.ndim == 1:
        given = np.stack([1 - given, given], axis=1)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("probs must lie in [0, 1], got values outside or NaN")
    classes = np.asarray(labels)
    if classes.shape != given.shape[:1] or classes.dtype.kind not in "biu":
        raise ValueError(
            f"labels must be int[N] with one class per photo, {len(given)}, got {classes.dtype} of shape "
            f"{classes.shape}"
        )
    if ((classes < 0) | (classes >= given.shape[1])).any():
        raise ValueError(f"labels must lie in [0, {given.shape[1]}), got others")
    return np.eye(given.shape[1])[classes.astype(np.int64)], given


def _ratios(totals: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Returns recall, precision, F1, support [R, K], and for each replicate how many classes a macro mean is of, [R].

    A macro mean is over the classes of the sample: those that have photos, and those that are only called,
    whose figures are 0. A replicate that has no photo of a class says nothing of it, whether it is called
    there or not.
    """
    hits, support, called = np.split(totals[:, :-1], 3, axis=1)
    there = support > 0
    recall, precision, f1 = (np.where(there, figure, 0.0) for figure in class_ratios(hits, support, called))
    return recall, precision, f1, support, there.sum(axis=1) + totals[:, -1] / support.sum(axis=1)


@WeightedMetric.of_sums(_values)
def mean(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of a figure that each photo has, such as its log loss: `mean(values[N]) -> float`."""
    return totals[:, 0] / totals[:, 1]


@WeightedMetric.of_sums(_hits, SHARE)
def accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of photos called right: `accuracy(labels[N], predicted[N]) -> float` in [0, 1]."""
    return totals[:, 0] / totals[:, 1]


@WeightedMetric.of_sums(_class_shares, SHARE)
def mean_share(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of the share of each case's photos that are right: `mean_share(labels[C], shares[C]) -> float`.

    With shares of 0 and 1 it is `accuracy`.
    """
    right, there = np.split(totals, 2, axis=1)
    return right.sum(axis=1) / there.sum(axis=1)


@WeightedMetric.of_sums(_class_shares, SHARE)
def balanced_share(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean over classes of what `mean_share` is of each: `balanced_share(labels[C], shares[C]) -> float`.

    With shares of 0 and 1 it is `balanced_accuracy`.
    """
    right, there = np.split(totals, 2, axis=1)
    return np.where(there > 0, right / there, 0.0).sum(axis=1) / (there > 0).sum(axis=1)


@WeightedMetric.of_sums(_class_counts, SHARE)
def balanced_accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean recall of the classes with photos: `balanced_accuracy(labels[N], predicted[N]) -> float`."""
    recall, _, _, support, _ = _ratios(totals)
    return recall.sum(axis=1) / (support > 0).sum(axis=1)


@WeightedMetric.of_sums(_class_counts, SHARE)
def macro_recall(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean recall of the classes that are seen or called: `macro_recall(labels[N], predicted[N])`."""
    recall, *_, classes = _ratios(totals)
    return recall.sum(axis=1) / classes


@WeightedMetric.of_sums(_class_counts, SHARE)
def macro_precision(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean precision of the classes seen or called: `macro_precision(labels[N], predicted[N])`."""
    _, precision, *_, classes = _ratios(totals)
    return precision.sum(axis=1) / classes


@WeightedMetric.of_sums(_class_counts, SHARE)
def macro_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean F1 of the classes that are seen or called: `macro_f1(labels[N], predicted[N]) -> float`."""
    _, _, f1, _, classes = _ratios(totals)
    return f1.sum(axis=1) / classes


@WeightedMetric.of_sums(_class_counts, SHARE)
def weighted_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean F1 over photos, each with its class's: `weighted_f1(labels[N], predicted[N]) -> float`."""
    _, _, f1, support, _ = _ratios(totals)
    return (f1 * support).sum(axis=1) / support.sum(axis=1)


@WeightedMetric.of_sums(_class_counts, SHARE)
def weighted_precision(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean precision over photos, each with its class's: `weighted_precision(labels[N], predicted[N])`."""
    _, precision, _, support, _ = _ratios(totals)
    return (precision * support).sum(axis=1) / support.sum(axis=1)


@WeightedMetric.of_sums(_squares, AT_LEAST_0)
def brier(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Brier score: `brier(labels int[N], probs)` with probs float[N] of class 1, or float[N, K].

    The mean of (p - y)² in [0, 1]; with K columns the mean of their sum in [0, 2] (Brier 1950,
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2), which for two columns is twice the binary one.
    """
    return totals[:, 0] / totals[:, 1]


@WeightedMetric.of_sums(_surprises, AT_LEAST_0)
def log_loss(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of -log p of the true class: `log_loss(labels int[N], probs float[N] or float[N, K])`.

    A probability under 2.2e-16 counts as that, as in scikit-learn, so that the loss is finite.
    """
    return totals[:, 0] / totals[:, 1]
