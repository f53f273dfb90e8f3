"""Performance of degrees of malignancy, given by a model or by readers, and the one against the others.

Three figures: quadratic kappa of true and given degrees; the mean cost under a cost matrix (true degree in rows, given
in columns); and the share of cancers, photos of a true degree above 0, that are given too low a one, which costs most.

Model and readers graded the same photos. Each reader's figure is taken from the model's, the differences' covariance
over cases comes from resampled cases, and their mean over readers is tested for other readers and other cases as in
`skinjax.evaluate.mrmc.mean_over_readers` (Obuchowski and Rockette's model with Hillis's degrees of freedom).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skinjax.evaluate import bootstrap
from skinjax.evaluate.agreement import quadratic_kappa
from skinjax.evaluate.fewest import too_few_cases
from skinjax.evaluate.metrics import SHARE, WeightedMetric, photo_table
from skinjax.evaluate.mrmc import Contrast, mean_over_readers
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.resampling import Call, check_replicates, over_draws
from skinjax.evaluate.results import Interval
from skinjax.evaluate.samples import check_photos

FIGURES = ("kappa", "cost", "under_graded")
"""The names of the figures."""


def _under_sums(true: NDArray, given: NDArray) -> csr_array:
    cancer = true > 0
    return photo_table([(0, cancer & (given < true)), (1, cancer)], len(true), 2)


@WeightedMetric.of_sums(_under_sums, SHARE)
def under_graded(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of photos of degree above 0 given a lower one: `under_graded(true int[N], given int[N])`."""
    return np.divide(totals[:, 0], totals[:, 1], out=np.full(len(totals), np.nan), where=totals[:, 1] > 0)


def grading_figures(
    true: ArrayLike,
    given: ArrayLike,
    cases: ArrayLike,
    cost: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Returns the three figures of one model, rule or reader.

    Args:
      true: int[N], the true degrees, in [0, D).
      given: int[N], the degrees given, likewise.
      cases: [N], the case of each photo.
      cost: float[D, D], true degree by given degree.
      replicates: Number of replicates of the bootstrap by case, for kappa and cost.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the bootstrap.

    Returns:
      Figure by name, of `FIGURES`.

    Raises:
      ValueError: Degrees outside [0, D), or lengths that differ.

    Example:
      >>> cost = [[0, 1, 2], [4, 0, 1], [8, 4, 0]]
      >>> found = grading_figures([0, 1, 2, 2], [0, 2, 2, 0], cases=[1, 2, 3, 4], cost=cost)
      >>> found["cost"].estimate, round(found["under_graded"].estimate, 3)
      (2.25, 0.333)
    """
    truth, answers, costs, codes = _sample(true, np.asarray(given)[None], cases, cost)
    draws = (codes, replicates, confidence, seed)
    kappa = bootstrap.by_case(quadratic_kappa, (truth, answers[0]), *draws)
    paid = bootstrap.by_case(bootstrap.mean, (costs[truth, answers[0]],), *draws)
    missed = Interval(np.nan, np.nan, np.nan, confidence)
    cancer = truth > 0
    if cancer.any():
        share = proportion_by_case(answers[0][cancer] < truth[cancer], codes[cancer], confidence)
        missed = Interval(share.estimate, share.low, share.high, confidence)
    return {
        "kappa": _figure(kappa),
        "cost": _figure(paid),
        "under_graded": missed,
    }


def _figure(found: Interval) -> Interval:
    """Returns the figure; without limits where no replicate differs from another: that says nothing of other cases."""
    if found.low == found.high:
        return Interval(found.estimate, np.nan, np.nan, found.confidence)
    return Interval(found.estimate, found.low, found.high, found.confidence)


def compare_with_graders(
    true: ArrayLike,
    given: ArrayLike,
    readers: ArrayLike,
    cases: ArrayLike,
    cost: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Mapping[str, Contrast]:
    """Returns the model's figures less the readers', on the same photos.

    Args:
      true: int[N], the true degrees, in [0, D).
      given: int[N], the model's.
      readers: int[R, N], each reader's; one reader's comparison is for other cases only.
      cases: [N], the case of each photo.
      cost: float[D, D], true degree by given degree.
      replicates: Number of replicates of the bootstrap by case that the covariance is drawn with.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the bootstrap.

    Returns:
      The mean difference over readers by the figure's name, of `FIGURES`; NaN limits and no p-value where fewer than
      ten cases are cancers or fewer than ten are not (`skinjax.evaluate.fewest`).

    Raises:
      ValueError: As `grading_figures`, or no reader.

    Example:
      >>> true = np.tile([0, 1, 2, 2], 10)
      >>> readers = np.stack([np.roll(true, 1), np.roll(true, 2)])
      >>> found = compare_with_graders(true, true, readers, np.arange(40), np.ones((3, 3)) - np.eye(3))
      >>> found["cost"].estimate, round(found["under_graded"].estimate, 3)
      (-0.875, -0.667)
    """
    check_replicates(replicates, confidence)
    truth, answers, costs, codes = _sample(
        true, np.concatenate([np.asarray(given)[None], np.atleast_2d(readers)]), cases, cost
    )
    calls: dict[str, list[Call]] = {
        "kappa": [(quadratic_kappa, [truth, one], None) for one in answers],
        "cost": [(bootstrap.mean, [costs[truth, one]], None) for one in answers],
        "under_graded": [(under_graded, [truth, one], None) for one in answers],
    }
    widths = {"kappa": 2.0, "cost": float(np.ptp(costs)), "under_graded": 1.0}
    if too_few_cases(truth > 0, codes):
        return {name: _without_limits(float(_differences(one).mean())) for name, one in calls.items()}
    return {
        name: _contrast(one, codes, replicates, confidence, seed, widths[name]) for name, one in calls.items()
    }


def _without_limits(estimate: float) -> Contrast:
    return Contrast(estimate, np.nan, np.nan)


def _differences(calls: list[Call]) -> NDArray[np.float64]:
    """Returns the model's figure less each reader's, float64[R]."""
    values = np.array([float(metric(*arrays)) for metric, arrays, _ in calls])
    return values[0] - values[1:]


def _contrast(
    calls: list[Call],
    codes: NDArray[np.int64],
    replicates: int,
    confidence: float,
    seed: int,
    width: float,
) -> Contrast:
    """Returns the model less the readers, its limits within what two figures can differ by, `width`."""
    estimates = _differences(calls)
    if np.isnan(estimates).any():
        return _without_limits(np.nan)
    draws = np.array(over_draws(calls, codes, replicates, seed)[0])
    differences = draws[0] - draws[1:]
    kept = differences[:, ~np.isnan(differences).any(axis=0)]
    count = len(differences)
    covariance = np.full((count, count), np.nan)
    if kept.shape[1] > 1:
        # Replicates of C cases vary by (C - 1) / C too little.
        num_cases = int(codes.max()) + 1
        covariance = np.atleast_2d(np.cov(kept)) * num_cases / (num_cases - 1)
    found = mean_over_readers(estimates, covariance, confidence, random_readers=count > 1)
    # Graders that agree on every photo differ by nothing; another constant is one case's, or chance.
    if not (found.low < found.high or found.estimate == 0):
        return _without_limits(found.estimate)
    return dataclasses.replace(found, low=max(found.low, -width), high=min(found.high, width))


def _sample(
    true: ArrayLike, answers: NDArray, cases: ArrayLike, cost: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Returns true degrees [N], answers [R, N], costs [D, D] and cases [N], checked."""
    costs = np.asarray(cost, np.float64)
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or not np.isfinite(costs).all():
        raise ValueError(f"cost must be a finite square matrix, got shape {costs.shape}")
    named = [("true", true), *((f"given[{row}]", one) for row, one in enumerate(answers))]
    values, codes = check_photos(named, cases)
    for (name, _), value in zip(named, values, strict=True):
        if (
            value.ndim != 1
            or value.dtype.kind not in "iu"
            or (value < 0).any()
            or (value >= len(costs)).any()
        ):
            raise ValueError(f"{name} must be int[N], degrees in [0, {len(costs)})")
    if len(values) < 2:
        raise ValueError("readers must be at least one, got none")
    return values[0].astype(np.int64), np.stack(values[1:]).astype(np.int64), costs, codes
