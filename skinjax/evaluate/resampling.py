"""Cases drawn with replacement, and what metrics make of each draw; the engine under the bootstrap.

A call is a metric, its arrays, and the photos that it looks at (None for all). Every call of one run sees the
same draws of cases, so that differences between calls are paired by case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skinjax.evaluate.metrics import WeightedMetric, photo_table
from skinjax.evaluate.samples import blocks, case_draws, check_confidence

Metric = Callable[..., float]
"""Any function of arrays that share their first axis of N photos, giving one number (NaN where undefined)."""

Call = tuple[Metric, Sequence[NDArray], NDArray[np.int64] | None]
"""A metric, its arrays of N photos each, and the indices of the photos that it looks at, None for all."""

_BLOCKS = 1000  # that the jackknife leaves out at most


def check_replicates(replicates: int, confidence: float) -> None:
    """Refuses a confidence outside (0, 1), and too few replicates for it.

    Raises:
      ValueError: Either of them.

    Example:
      >>> check_replicates(39, 0.95)
    """
    check_confidence(confidence)
    needed = int(np.ceil(2 / (1 - confidence) - 1e-9)) - 1
    if replicates < needed:
        raise ValueError(
            f"replicates must be at least {needed} for a confidence of {confidence}, got {replicates}"
        )


def over_draws(
    calls: Sequence[Call], codes: NDArray[np.int64], replicates: int, seed: int
) -> tuple[list[NDArray[np.float64]], int]:
    """Returns each call's values when as many cases as there are get drawn with replacement.

    Args:
      calls: See the module.
      codes: int64[N] in [0, number of cases), the case of each photo.
      replicates: R.
      seed: One seed gives the same draws whatever the calls are.

    Returns:
      For each call float64[R] or, from a curve, float64[R, T]; none of them where there is one case only.
      And in how many replicates a class of the first call's first array has no photo, 0 where that holds
      no classes.
    """
    num_cases = int(codes.max()) + 1
    if num_cases < 2:
        return [np.empty(0) for _ in calls], 0
    evaluators = [_evaluator(call, codes) for call in calls]
    present = _presence(calls[0][1][0], codes)
    values: list[list[NDArray[np.float64]]] = [[] for _ in calls]
    missing = 0
    for times in case_draws(codes, replicates, seed):
        missing += int((_totals(present, times) == 0).any(axis=1).sum())
        for kept, evaluate in zip(values, evaluators, strict=True):
            kept.append(evaluate(times))
    return [np.concatenate(kept) for kept in values], missing


def leaving_out(call: Call, codes: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Returns a call's values with one case left out in turn; or, over 1,000 cases, one of 1,000 random blocks of them.

    Args:
      call: See the module.
      codes: int64[N], the case of each photo.
      seed: Seed of the blocks.

    Returns:
      float64[B], with B the number of cases or 1,000.
    """
    num_cases = int(codes.max()) + 1
    num_blocks = min(num_cases, _BLOCKS)
    block = np.random.default_rng(seed).permutation(num_cases) % num_blocks
    metric, arrays, rows = call
    if isinstance(metric, WeightedMetric) and metric.without is not None:
        kept = slice(None) if rows is None else rows
        return metric.without(
            *(array[kept] for array in arrays), groups=block[codes][kept], num_groups=num_blocks
        )
    evaluate = _evaluator(call, block[codes])  # a block's cases go together, so they count as one
    values, first = [], 0
    for size in blocks(num_blocks, len(codes)):
        out = np.arange(first, first + size)[:, None]
        values.append(evaluate((np.arange(num_blocks) != out).astype(np.float64)))
        first += size
    return np.concatenate(values)


def _evaluator(call: Call, codes: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Returns a function from how often each case is drawn, float64[R, C], to the call's values."""
    metric, arrays, rows = call
    num_cases = int(codes.max()) + 1
    if rows is not None:
        arrays, codes = [array[rows] for array in arrays], codes[rows]
    if isinstance(metric, WeightedMetric) and metric.sums is not None and metric.value is not None:
        by_case, value = _add_cases(metric.sums(*arrays), codes, num_cases), metric.value

        def evaluate_sums(times: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(divide="ignore", invalid="ignore"):
                return value(_totals(by_case, times))

        return evaluate_sums

    ranked = metric.ranked(*arrays) if isinstance(metric, WeightedMetric) and metric.ranked else None

    def evaluate(times: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = np.take(times, codes, axis=1)
        some = weights.any(axis=1)
        chosen = weights[some] if not some.all() else weights
        found = _weighted(metric, arrays, chosen) if ranked is None else ranked(chosen)
        if some.all():
            return found
        values = np.full((len(times), *found.shape[1:]), np.nan)
        values[some] = found
        return values

    return evaluate


def _weighted(metric: Metric, arrays: Sequence[NDArray], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(metric, WeightedMetric):
        return metric.compute(*arrays, weights=weights)
    photos = np.arange(weights.shape[1])
    drawn = (np.repeat(photos, row) for row in weights.astype(np.int64))
    return np.array([metric(*(array[index] for array in arrays)) for index in drawn], np.float64)


def _add_cases(table: csr_array, codes: NDArray[np.int64], num_cases: int) -> csr_array:
    """Returns a table of photos added up by case, sparse float64[C, S]."""
    photos = np.arange(len(codes))
    return csr_array(csr_array((np.ones(len(codes)), (codes, photos)), (num_cases, len(codes))) @ table)


def _totals(by_case: csr_array, times: NDArray[np.float64]) -> NDArray[np.float64]:
    return (by_case.T @ np.ascontiguousarray(times.T)).T


def _presence(labels: NDArray, codes: NDArray[np.int64]) -> csr_array:
    """Counts the photos of each class per case; returns no column where the values are no classes."""
    num_cases = int(codes.max()) + 1
    if labels.ndim != 1 or labels.dtype.kind not in "iuUSO":
        return csr_array((num_cases, 0))
    classes, column = np.unique(labels, return_inverse=True)
    return _add_cases(photo_table([(column, 1.0)], len(labels), len(classes)), codes, num_cases)
