"""A band about the ROC curve: for each specificity the sensitivity and its interval over resampled cases.

The band is pointwise: each interval holds its own sensitivity with the requested confidence, not the whole
curve at once. In every replicate the threshold is chosen anew, as in `roc.sensitivity_at`, so the limits
include that the threshold for a specificity is itself estimated. They are percentiles of the replicates.

Where all or nearly all replicates agree (a sensitivity near 1, mostly), resampling knows little; so the
limits are at least as far out as Wilson's, with as many trials as there are independent photos of class 1, as
in `skinjax.evaluate.delong`. Without that, where nearly all replicates were 1, bands held in 86 to 90 % of
the studies.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.bootstrap import ONE_CASE_OF_A_CLASS
from skinjax.evaluate.delong import auc_limits
from skinjax.evaluate.fewest import cases_by_side, too_few_to_resample
from skinjax.evaluate.metrics import SHARE, WeightedMetric
from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import (
    binary_sample,
    case_codes,
    case_weights,
    check_confidence,
    effective_cases,
)

_GRID = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True, eq=False)
class RocBand(Result):
    """Sensitivities at fixed specificities with pointwise intervals.

    Attributes:
      specificity: float64[G], as asked for.
      sensitivity: float64[G], of the photos as they are.
      low: float64[G], lower limits; NaN where `reason` says why.
      high: float64[G], upper limits, likewise.
      confidence: The nominal coverage of each point's interval, in (0, 1).
      num_photos: N.
      num_cases: How many cases were resampled.
      replicates: How many replicates the limits rest on.
      undefined: Further replicates that were left out, since a class had no photo in them.
      reason: Why there are no limits; empty where there are.
    """

    specificity: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    confidence: float
    num_photos: int
    num_cases: int
    replicates: int
    undefined: int
    reason: str = ""


def roc_band(
    labels: ArrayLike,
    scores: ArrayLike,
    cases: ArrayLike | None = None,
    specificities: ArrayLike | None = None,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> RocBand:
    """Returns the sensitivity at each specificity with its interval over resampled cases.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], finite or infinite; higher for class 1.
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      specificities: [G] in [0, 1]; None for 0, 0.01, ..., 1.
      replicates: How often cases are drawn; at least 2 / (1 - confidence) - 1.
      confidence: Nominal coverage of each point's interval, in (0, 1).
      seed: Seed of the resampling.

    Returns:
      The band, all NaN where a class has no photo.

    Raises:
      ValueError: As `roc.roc_curve`, specificities outside [0, 1], or too few replicates.

    Example:
      >>> labels, scores = np.tile([0, 0, 1, 1], 30), np.tile([1, 3, 2, 4], 30)
      >>> band = roc_band(labels, scores, cases=np.arange(120) // 4, specificities=[0.5, 0.9])
      >>> band.sensitivity.tolist()
      [1.0, 0.5]
    """
    check_confidence(confidence)
    needed = int(np.ceil(2 / (1 - confidence) - 1e-9)) - 1
    if replicates < needed:
        raise ValueError(
            f"replicates must be at least {needed} for a confidence of {confidence}, got {replicates}"
        )
    positive, values = binary_sample(labels, scores)
    if values.ndim != 1:
        raise ValueError(f"scores must have shape [N], got shape {values.shape}")
    grid = _GRID if specificities is None else np.atleast_1d(np.asarray(specificities, np.float64))
    if grid.ndim != 1 or not ((grid >= 0) & (grid <= 1)).all():
        raise ValueError(f"specificities must be [G] in [0, 1], got {grid.ravel()[:5].tolist()}")
    codes = case_codes(cases, len(positive))
    num_cases = int(codes.max()) + 1 if len(codes) else 0
    estimate = np.full(len(grid), np.nan)
    draws = np.empty((0, len(grid)))
    if positive.any() and not positive.all():
        estimate = sensitivities_at(positive, values, np.ones((1, len(codes))), grid[None])[0]
        if num_cases > 1:
            blocks = [
                sensitivities_at(positive, values, weights, grid[None])
                for weights in case_weights(codes, replicates, seed)
            ]
            draws = np.concatenate(blocks)
    kept = draws[~np.isnan(draws).any(axis=1)]
    low, high = _limits(kept, estimate, positive, codes, confidence)
    reason = too_few_to_resample(num_cases) if num_cases else ""
    if not reason and min(cases_by_side(positive, codes)) == 1:
        reason = ONE_CASE_OF_A_CLASS
    if reason:
        low, high = np.full(len(grid), np.nan), np.full(len(grid), np.nan)
    trivial = (grid == 0) & ~np.isnan(low)
    return RocBand(
        specificity=grid,
        sensitivity=estimate,
        low=np.where(trivial, 1.0, low),
        high=np.where(trivial, 1.0, high),
        confidence=confidence,
        num_photos=len(positive),
        num_cases=num_cases,
        replicates=len(kept),
        undefined=len(draws) - len(kept),
        reason=reason,
    )


def sensitivities_at(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    specificities: NDArray[np.float64],
    middle: bool = False,
) -> NDArray[np.float64]:
    """Returns `roc.sensitivity_at` for many weightings of the photos, each with specificities of its own.

    The best sensitivity at a specificity stands at the top of the curve's step there, which is on average
    half a step too good a guess at the sensitivity for that specificity among all photos. The middle of the
    step is not. At a specificity of 1 the step begins at nothing, so there the top is taken all the same.

    Args:
      positive: bool[N], the photos of class 1.
      scores: float64[N].
      weights: float64[R, N] of at least 0, how often each photo stands in each replicate.
      specificities: float64[R, G] or [1, G] in [0, 1].
      middle: Whether the middle of the step is taken instead of its top.

    Returns:
      float64[R, G]; NaN where a class has no weight.

    Example:
      >>> ones = np.ones((1, 4))
      >>> sensitivities_at(np.array([False, True, False, True]), np.array([1.0, 2, 3, 4]), ones, ones / 2)[0]
      array([1., 1., 1., 1.])
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) + 1
    own = positive[order]
    found = np.full((len(weights), specificities.shape[1]), np.nan)
    required = np.broadcast_to(specificities, found.shape)
    for row, weight in enumerate(weights):
        sorted_weight = weight[order]
        hits = np.concatenate([[0], np.cumsum(sorted_weight * own)[ends - 1]])
        alarms = np.concatenate([[0], np.cumsum(sorted_weight * ~own)[ends - 1]])
        if hits[-1] > 0 and alarms[-1] > 0:
            allowed = (1 - required[row]) * alarms[-1]
            slack = 1e-12 * alarms[-1]
            found[row] = hits[np.searchsorted(alarms, allowed + slack, side="right") - 1] / hits[-1]
            if middle:
                bottom = hits[np.searchsorted(alarms, allowed - slack, side="left")] / hits[-1]
                found[row] = np.where(required[row] > 1 - 1e-12, found[row], (found[row] + bottom) / 2)
    return found


def sensitivity_at_specificity(specificity: float) -> WeightedMetric:
    """Returns `roc.sensitivity_at` as a metric for the bootstrap, of (labels 0/1 [N], scores float[N]).

    Args:
      specificity: In [0, 1].

    Returns:
      The metric; NaN where a class has no photo.

    Raises:
      ValueError: A specificity outside [0, 1].

    Example:
      >>> sensitivity_at_specificity(0.6)([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
      0.5
    """
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity must lie in [0, 1], got {specificity}")

    @functools.partial(WeightedMetric, bounds=SHARE)
    def sensitivity(labels: NDArray, scores: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        positive, values = binary_sample(labels, scores)
        return sensitivities_at(positive, values, weights, np.array([[specificity]]))[:, 0]

    return sensitivity


def _limits(
    draws: NDArray[np.float64],
    estimate: NDArray[np.float64],
    positive: NDArray[np.bool_],
    codes: NDArray[np.int64],
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tail = (1 - confidence) / 2
    rank = int(np.floor((len(draws) + 1) * tail + 1e-9))  # counted from 1, as in skinjax.evaluate.bootstrap
    if rank < 1:
        return np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    ranked = np.sort(draws, axis=0)
    low, high = ranked[rank - 1], ranked[-rank]
    trials = effective_cases(codes[positive])
    for point, sensitivity in enumerate(estimate):
        least, most = auc_limits(float(sensitivity), 0.0, trials, trials - 1, confidence, "logit")
        low[point], high[point] = min(low[point], least), max(high[point], most)
    return low, high
