"""Intervals and paired tests by resampling cases (Efron and Tibshirani 1993; Davison and Hinkley 1997).

The photos of a case resemble each other, so the case and not the photo is what was sampled. A replicate draws
as many cases as there are, with replacement, each with all of its photos (the cluster bootstrap; Field and
Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). The trained networks stay fixed: an interval says how the
figure would move with other patients, not with another training run.

**Interval of a figure.** The bias-corrected percentile interval (Efron 1987, doi:10.2307/2289144, without the
acceleration). A replicate repeats cases, which pulls macro F1 down where classes are rare: on simulated
photos of 19 classes in 100 cases of 3, the plain percentile interval of macro F1 held the truth in 71 % of
the samples, this one in 87 %; in 300 cases 85 % and 90 %. For accuracy both hold it in 94 to 95 %.

**Interval and test of a difference.** The bias of the two figures cancels, so this is the plain percentile
interval, between the k-th smallest and the k-th largest of R replicates, k = floor((R + 1) a / 2) for a
confidence of 1 - a. The p-value is the same interval turned round,
p = min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (R + 1)): the smallest a whose interval keeps out 0 (Efron
and Tibshirani 1993, section 15.4; the 1 as in Davison and Hinkley 1997, section 4.2).
So p <= a exactly where the interval of confidence 1 - a keeps out 0. Under the null it is near uniform from
about a hundred cases on; with fewer it is somewhat too small.

**Metrics.** Any callable `metric(*arrays) -> float` will do and is called once a replicate. A
`WeightedMetric` computes many replicates at once from weights of photos, about a hundred times faster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from skinjax.evaluate.confusion import class_ratios

Metric = Callable[..., float]
"""Any function of arrays that share their first axis of N photos, giving one number (NaN where undefined)."""

_CHUNK_VALUES = 4_000_000  # weights held at once: 32 MB however many photos and replicates there are


@dataclasses.dataclass(frozen=True)
class WeightedMetric:
    """A metric that can be computed for many weightings of the photos at once; usable as a decorator.

    Attributes:
        compute: `compute(*arrays, weights)`, where weights are float64[R, N] of at least 0, gives float64[R]:
            the metric of each row as if every photo stood there as often as its weight says, or NaN where
            that is undefined.

    Example:
        >>> @WeightedMetric
        ... def brier(hits, probability, weights):
        ...     return weights @ (hits - probability) ** 2 / weights.sum(axis=1)
        >>> brier(np.array([1, 0]), np.array([0.5, 0.5]))
        0.25
    """

    compute: Callable[..., NDArray[np.float64]]

    def __call__(self, *arrays: ArrayLike) -> float:
        """The metric of the photos as they are, each counted once."""
        values = [np.asarray(array) for array in arrays]
        return float(self.compute(*values, weights=np.ones((1, len(values[0]))))[0])


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and its interval over resampled cases.

    Attributes:
        estimate: the metric of the photos as they are.
        low: lower limit; NaN where there is one case only, for then nothing is known of other cases.
        high: upper limit, likewise.
        confidence: the interval's nominal coverage in (0, 1).
        std_error: standard deviation of the replicates.
        num_photos: N.
        num_cases: how many cases were resampled.
        replicates: how many replicates the limits rest on.
        undefined: further replicates that were left out, since the metric was NaN in them.
        missing_class: replicates in which a class of the sample had no photo, where the first array holds
            classes (integers or strings). Metrics then average over the classes left.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    std_error: float
    num_photos: int
    num_cases: int
    replicates: int
    undefined: int
    missing_class: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A difference of two figures on the same photos, with interval and test over resampled cases.

    Attributes:
        difference: metric of the first minus metric of the second, on the photos as they are.
        low: lower limit of the difference; NaN where there is one case only.
        high: upper limit, likewise.
        p_value: two-sided, at most 1 - confidence exactly where the interval keeps out 0; NaN where there is
            one case only.
        confidence: the interval's nominal coverage in (0, 1).
        std_error: standard deviation of the differences over the replicates.
        num_photos: N.
        num_cases: how many cases were resampled.
        replicates: how many replicates the limits rest on.
        undefined: further replicates that were left out, since a metric was NaN in them.
        missing_class: replicates in which a class of the sample had no photo; see `Interval`.
    """

    difference: float
    low: float
    high: float
    p_value: float
    confidence: float
    std_error: float
    num_photos: int
    num_cases: int
    replicates: int
    undefined: int
    missing_class: int


@WeightedMetric
def accuracy(labels: NDArray, predicted: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of photos called right: `accuracy(labels[N], predicted[N]) -> float` in [0, 1]."""
    return weights @ (labels == predicted) / weights.sum(axis=1)


@WeightedMetric
def macro_f1(labels: NDArray, predicted: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 of the classes that are seen or called: `macro_f1(labels[N], predicted[N]) -> float`."""
    hits, support, called = _class_sums(labels, predicted, weights)
    f1 = class_ratios(hits, support, called)[2]
    return f1.sum(axis=1) / (support + called > 0).sum(axis=1)


@WeightedMetric
def balanced_accuracy(
    labels: NDArray, predicted: NDArray, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean recall of the classes with photos: `balanced_accuracy(labels[N], predicted[N]) -> float`."""
    hits, support, called = _class_sums(labels, predicted, weights)
    recall = class_ratios(hits, support, called)[0]
    return recall.sum(axis=1) / (support > 0).sum(axis=1)


@WeightedMetric
def mean(values: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of a figure that each photo has, such as its log loss: `mean(values[N]) -> float`."""
    return weights @ values / weights.sum(axis=1)


def by_case(
    metric: Metric,
    arrays: Sequence[ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of a metric when cases are resampled, all photos of a case together.

    Args:
        metric: called as `metric(*arrays)`; any function, best a `WeightedMetric` such as `accuracy`.
        arrays: the metric's arguments, each with a first axis of N photos; the labels first.
        cases: [N], the case of each photo, integers or strings.
        replicates: R; at least 2 / (1 - confidence) - 1, that the interval has replicates beyond its limits.
        confidence: nominal coverage in (0, 1).
        seed: of the resampling; one seed gives one answer, and the same draws of cases for every metric.

    Returns:
        The interval. With a single case its limits are NaN.

    Raises:
        ValueError: Lengths that differ, no photo, a missing case, or too few replicates for the confidence.

    Example:
        >>> labels, predicted = np.tile([0, 1, 1, 0], 25), np.tile([0, 1, 0, 0], 25)
        >>> found = by_case(accuracy, (labels, predicted), cases=np.arange(100) // 4)
        >>> found.estimate, found.num_cases
        (0.75, 25)
    """
    values, codes = _photos([(f"arrays[{i}]", array) for i, array in enumerate(arrays)], cases)
    _check_replicates(replicates, confidence)
    estimate = float(metric(*values))
    draws, missing = _replicates([(metric, values)], codes, replicates, seed)
    kept = _defined(draws[0])
    low, high = _limits(kept, confidence, _median_bias(kept, estimate))
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        confidence=confidence,
        std_error=float(kept.std(ddof=1)) if len(kept) > 1 else np.nan,
        num_photos=len(codes),
        num_cases=int(codes.max()) + 1,
        replicates=len(kept),
        undefined=len(draws[0]) - len(kept),
        missing_class=missing,
    )


def paired_by_case(
    metric: Metric,
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compares two models on the same photos: `metric(labels, a) - metric(labels, b)` over resampled cases.

    Args:
        metric: called as `metric(labels, a)` and `metric(labels, b)`, on the same cases in every replicate.
        labels: [N, ...], the truth.
        a: [N, ...], the first model's answers.
        b: [N, ...], the second model's.
        cases: [N], the case of each photo, integers or strings.
        replicates: R, as in `by_case`; the smallest p-value possible is 2 / (R + 1).
        confidence: nominal coverage in (0, 1).
        seed: of the resampling.

    Returns:
        The difference, its interval and a two-sided p-value that agrees with it, NaN with a single case.

    Raises:
        ValueError: As `by_case`.

    Example:
        >>> labels = np.tile([0, 1, 1, 0], 25)
        >>> found = paired_by_case(accuracy, labels, labels, np.zeros(100, int), cases=np.arange(100) // 4)
        >>> found.difference, found.p_value < 0.001
        (0.5, True)
    """
    values, codes = _photos([("labels", labels), ("a", a), ("b", b)], cases)
    truth, first, second = values
    _check_replicates(replicates, confidence)
    difference = float(metric(truth, first)) - float(metric(truth, second))
    (of_first, of_second), missing = _replicates(
        [(metric, [truth, first]), (metric, [truth, second])], codes, replicates, seed
    )
    differences = of_first - of_second
    kept = _defined(differences)
    low, high = _limits(kept, confidence, bias=0.0)
    beyond = min(int(np.sum(kept <= 0)), int(np.sum(kept >= 0)))
    p_value = min(1.0, 2 * (1 + beyond) / (len(kept) + 1)) if len(kept) else np.nan
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        confidence=confidence,
        std_error=float(kept.std(ddof=1)) if len(kept) > 1 else np.nan,
        num_photos=len(codes),
        num_cases=int(codes.max()) + 1,
        replicates=len(kept),
        undefined=len(differences) - len(kept),
        missing_class=missing,
    )


def _class_sums(
    labels: NDArray, predicted: NDArray, weights: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Weighted hits, support and calls of each class, float64[R, K]."""
    classes, codes = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    true, called = np.split(codes, 2)
    right = np.flatnonzero(true == called)
    return [
        np.stack([np.bincount(codes, row, minlength=len(classes)) for row in chosen])
        for codes, chosen in ((true[right], weights[:, right]), (true, weights), (called, weights))
    ]


def _photos(
    arrays: Sequence[tuple[str, ArrayLike]], cases: ArrayLike
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """The arrays as numpy, and the cases as integers from 0, all of one length."""
    names = np.asarray(cases)
    if names.ndim != 1 or not names.size:
        raise ValueError(f"cases must name the case of each of at least one photo, got shape {names.shape}")
    if not arrays:
        raise ValueError("arrays must hold the metric's arguments, got none")
    values = [np.asarray(array) for _, array in arrays]
    for (name, _), value in zip(arrays, values, strict=True):
        if value.ndim == 0 or len(value) != len(names):
            raise ValueError(f"{name} must have one row a photo, {len(names)}, got shape {value.shape}")
    missing = np.flatnonzero([name is None or name != name for name in names.tolist()])
    if missing.size:
        told = ", ".join(map(str, missing[:10]))
        raise ValueError(f"cases must name every photo's case, got {missing.size} missing, at photo {told}")
    try:
        codes = np.unique(names, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError("cases must be all integers or all strings, got a mixture") from error
    return values, codes.astype(np.int64)


def _check_replicates(replicates: int, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    needed = int(np.ceil(2 / (1 - confidence) - 1e-9)) - 1
    if replicates < needed:
        raise ValueError(
            f"replicates must be at least {needed} for a confidence of {confidence}, got {replicates}"
        )


def _replicates(
    calls: Sequence[tuple[Metric, Sequence[NDArray]]], codes: NDArray[np.int64], replicates: int, seed: int
) -> tuple[list[NDArray[np.float64]], int]:
    """Each call's values over the replicates, and in how many a class of the first array is missing."""
    num_cases = int(codes.max()) + 1
    if num_cases < 2:
        return [np.empty(0) for _ in calls], 0
    generator = np.random.default_rng(seed)
    values: list[list[NDArray[np.float64]]] = [[] for _ in calls]
    missing = 0
    for size in _chunks(replicates, len(codes)):
        draws = generator.integers(num_cases, size=(size, num_cases))
        cells = draws + num_cases * np.arange(size)[:, None]
        times = np.bincount(cells.ravel(), minlength=size * num_cases).reshape(size, num_cases)
        weights = np.take(times.astype(np.float64), codes, axis=1)
        missing += _missing_class(calls[0][1][0], weights)
        for kept, (metric, arrays) in zip(values, calls, strict=True):
            kept.append(_weighted(metric, arrays, weights))
    return [np.concatenate(kept) for kept in values], missing


def _chunks(replicates: int, num_photos: int) -> Iterator[int]:
    size = max(1, _CHUNK_VALUES // num_photos)
    for start in range(0, replicates, size):
        yield min(size, replicates - start)


def _weighted(metric: Metric, arrays: Sequence[NDArray], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(metric, WeightedMetric):
        return metric.compute(*arrays, weights=weights)
    photos = np.arange(weights.shape[1])
    drawn = (np.repeat(photos, row) for row in weights.astype(np.int64))
    return np.array([metric(*(array[index] for array in arrays)) for index in drawn], np.float64)


def _missing_class(labels: NDArray, weights: NDArray[np.float64]) -> int:
    """The rows of weights in which some class has no photo; 0 where the values are no classes."""
    if labels.ndim != 1 or labels.dtype.kind not in "iuUSO":
        return 0
    codes = np.unique(labels, return_inverse=True)[1]
    present = np.stack([np.bincount(codes, row) for row in weights])
    return int((present == 0).any(axis=1).sum())


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sort(values[~np.isnan(values)])


def _median_bias(replicates: NDArray[np.float64], estimate: float) -> float:
    """How far the estimate stands from the replicates' median, in standard normal units; ties count half."""
    if not len(replicates):
        return 0.0
    below = (np.sum(replicates < estimate) + np.sum(replicates <= estimate)) / 2
    edge = 1 / (len(replicates) + 1)
    return float(ndtri(np.clip(below / len(replicates), edge, 1 - edge)))


def _limits(replicates: NDArray[np.float64], confidence: float, bias: float) -> tuple[float, float]:
    """The percentile interval of sorted replicates, moved by twice their bias; NaN where they are too few."""
    places = len(replicates) + 1
    tail = (1 - confidence) / 2
    low, high = ndtr(2 * bias + ndtri(tail)), ndtr(2 * bias - ndtri(tail))
    if places * tail < 1 - 1e-9:
        return np.nan, np.nan
    # Ranks count from 1. Rounding outward keeps the coverage; 1e-9 forgives that 1 - 0.95 is not quite 0.05.
    first = int(np.clip(np.floor(places * low + 1e-9), 1, len(replicates)))
    last = int(np.clip(np.ceil(places * high - 1e-9), 1, len(replicates)))
    return float(replicates[first - 1]), float(replicates[last - 1])
