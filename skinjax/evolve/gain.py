"""Test of a gain: two sets of hyper-parameters, each trained under several seeds, on cases of their own.

The best of many noisy measurements looks better than it is, so what a search reports of its best set says little. Here
both sets have been trained again and answer photos of cases that the search never saw. Which cases were asked and which
seeds the networks were trained under both make the difference uncertain: intervals are those of
`skinjax.evaluate.training_runs.paired_by_case_and_run`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate import metrics
from skinjax.evaluate.multiclass import weighted_macro_auc
from skinjax.evaluate.resampling import check_replicates
from skinjax.evaluate.samples import check_photos
from skinjax.evaluate.training_runs import paired_by_case_and_run
from skinjax.evolve.objective import Weights

FITNESS = "fitness"
MEASURES = (FITNESS, "recall", "precision", "f1", "auc", "accuracy")
"""Figures that are compared, fitness first: the verdict rests on it alone."""


@dataclasses.dataclass(frozen=True)
class Gain:
    """One measure of both sets, means over seeds.

    Attributes:
      measure: one of `MEASURES`.
      start: of the start set.
      evolved: of the evolved set.
      start_spread: standard deviation over the start set's seeds; NaN where there is one seed.
      evolved_spread: likewise of the evolved set.
      difference: evolved minus start.
      low: lower limit over cases and seeds; NaN where there is no interval.
      high: upper limit, likewise.
      p_value: two-sided, of no difference; NaN where nothing is known of the noise.
      case_sd: standard error by cases of the difference of one seed; NaN where there is one case or one seed.
      seed_sd: standard deviation of the difference between seeds; NaN where there is one seed.
      reason: reason for which there is no interval; empty where there is one.
    """

    measure: str
    start: float
    evolved: float
    start_spread: float
    evolved_spread: float
    difference: float
    low: float
    high: float
    p_value: float
    case_sd: float
    seed_sd: float
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Returns `"better"`, `"worse"`, or `"unclear"` where the interval holds 0 or cannot be had."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "unclear"


def compare_sets(
    labels: ArrayLike,
    start: ArrayLike,
    evolved: ArrayLike,
    cases: ArrayLike,
    weights: Weights = Weights(),  # noqa: B008 - immutable
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Gain, ...]:
    """Compares two sets of hyper-parameters by what networks trained with them answer.

    Args:
      labels: int[N], the truth.
      start: float[R, N, K], the probabilities that the start set's network of each seed gives.
      evolved: float[R, N, K], the evolved set's, under the same seeds in the same order.
      cases: [N], the case of each photo.
      weights: of the fitness.
      replicates: of the bootstrap over cases.
      confidence: of the intervals, in (0, 1).
      seed: of the bootstrap.

    Returns:
      One comparison a measure, in the order of `MEASURES`.

    Raises:
      ValueError: Shapes that do not fit, numbers that are not finite, or no photo.

    Example:
      >>> labels, rng = np.tile([0, 1], 30), np.random.default_rng(0)
      >>> sure = np.eye(2)[labels] + rng.normal(0, 0.2, (3, 60, 2))
      >>> guess = np.eye(2)[labels] + rng.normal(0, 2, (3, 60, 2))
      >>> found = compare_sets(labels, guess, sure, cases=np.arange(60) // 2)
      >>> found[-1].measure, found[-1].difference > 0.2, found[0].verdict
      ('accuracy', True, 'better')
    """
    stacks = [np.asarray(stack, np.float64) for stack in (start, evolved)]
    for name, stack in zip(("start", "evolved"), stacks, strict=True):
        if stack.ndim != 3 or stack.shape != stacks[0].shape or not stack.size:
            raise ValueError(
                f"start and evolved must both be float[R, N, K] of one shape, got {name} of shape {stack.shape}"
            )
        if not np.isfinite(stack).all():
            raise ValueError(f"{name} must hold finite numbers")
    (truth, first, second), codes = check_photos(
        [("labels", labels), ("start", stacks[0].swapaxes(0, 1)), ("evolved", stacks[1].swapaxes(0, 1))],
        cases,
    )
    check_replicates(replicates, confidence)
    fit = _fitness(np.array(weights.check()))
    probs = first.swapaxes(0, 1), second.swapaxes(0, 1)
    classes = tuple(stack.argmax(axis=2) for stack in probs)
    asked: dict[str, tuple[metrics.WeightedMetric, tuple[NDArray, ...]]] = {
        FITNESS: (fit, probs),
        "recall": (metrics.macro_recall, classes),
        "precision": (metrics.macro_precision, classes),
        "f1": (metrics.macro_f1, classes),
        "auc": (weighted_macro_auc, probs),
        "accuracy": (metrics.accuracy, classes),
    }
    found = []
    for measure, (metric, (of_start, of_evolved)) in asked.items():
        values = np.array([[metric(truth, one) for one in stack] for stack in (of_start, of_evolved)])
        low = high = p_value = case_sd = seed_sd = np.nan
        reason = "there is one seed"
        if values.shape[1] > 1:
            one = paired_by_case_and_run(
                metric, truth, list(of_evolved), list(of_start), codes, replicates, confidence, seed
            )
            low, high, p_value, case_sd, seed_sd = one.low, one.high, one.p_value, one.case_sd, one.run_sd
            reason = one.reason
        (start_mean, evolved_mean), (start_spread, evolved_spread) = values.mean(axis=1), map(_spread, values)
        found.append(
            Gain(
                measure=measure,
                start=float(start_mean),
                evolved=float(evolved_mean),
                start_spread=start_spread,
                evolved_spread=evolved_spread,
                difference=float(evolved_mean - start_mean),
                low=low,
                high=high,
                p_value=p_value,
                case_sd=case_sd,
                seed_sd=seed_sd,
                reason=reason,
            )
        )
    return tuple(found)


def _fitness(share: NDArray[np.float64]) -> metrics.WeightedMetric:
    @metrics.WeightedMetric
    def fit(labels: NDArray, probs: NDArray, weights: NDArray) -> NDArray[np.float64]:
        predicted = probs.argmax(axis=1)
        parts = (
            (metrics.macro_recall, predicted),
            (metrics.macro_precision, predicted),
            (metrics.macro_f1, predicted),
            (weighted_macro_auc, probs),
        )
        counted = [pair for pair in zip(share, parts, strict=True) if pair[0] > 0]
        return np.sum(
            [factor * metric.compute(labels, given, weights=weights) for factor, (metric, given) in counted],
            axis=0,
        )

    return fit


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
