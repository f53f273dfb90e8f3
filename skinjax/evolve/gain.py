"""Test of a gain: two sets of hyper-parameters, each trained under several seeds, on cases of their own.

The best of many noisy measurements looks better than it is, so what a search reports of its best set says little. Here
both sets have been trained again and answer photos of cases that the search never saw. Two things make a difference
uncertain, and both count: which cases were asked, and which seeds the networks were trained under. With d_r the
difference under seed r, of R,

    var(mean d) = var over resampled cases of the mean of d_r + var over seeds of d_r / R,

and the interval is Student's, with Welch and Satterthwaite's degrees of freedom from the cases' C - 1 and the seeds'
R - 1. What differs by case and seed at once is counted in both terms. Of 300 simulated studies each of 60 cases and 3
seeds without a difference, 2 % saw one where seeds did not matter, 8 % where they mattered as much as cases.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from skinjax.evaluate import metrics
from skinjax.evaluate.multiclass import weighted_macro_auc
from skinjax.evaluate.resampling import check_replicates, over_draws
from skinjax.evaluate.samples import check_photos
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
      low: lower limit over cases and seeds; NaN where there is one case or one seed, or nothing varies.
      high: upper limit, likewise.
      p_value: two-sided, of no difference; likewise.
      case_error: standard error of the difference over cases.
      seed_error: over seeds.
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
    case_error: float
    seed_error: float

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
    share = np.array(weights.check())
    num_seeds, num_cases = len(stacks[0]), int(codes.max()) + 1

    @metrics.WeightedMetric
    def all_measures(labels: NDArray, answers: NDArray, weights: NDArray) -> NDArray[np.float64]:
        """Returns float64[replicates, seeds * measures]."""
        columns = [_measures(labels, answers[:, r], weights, share) for r in range(answers.shape[1])]
        return np.concatenate(columns, axis=1)

    ones = np.ones((1, len(codes)))
    shape = (-1, num_seeds, len(MEASURES))
    of_start, of_evolved = (
        all_measures.compute(truth, answers, weights=ones).reshape(shape)[0] for answers in (first, second)
    )
    (start_draws, evolved_draws), _ = over_draws(
        [(all_measures, [truth, first], None), (all_measures, [truth, second], None)], codes, replicates, seed
    )
    draws = (evolved_draws.reshape(shape) - start_draws.reshape(shape)).mean(axis=1)
    found = []
    for i, measure in enumerate(MEASURES):
        differences = of_evolved[:, i] - of_start[:, i]
        kept = draws[:, i][~np.isnan(draws[:, i])]
        case_error = float(kept.std(ddof=1)) if len(kept) > 1 else np.nan
        seed_error = float(differences.std(ddof=1) / np.sqrt(num_seeds)) if num_seeds > 1 else np.nan
        difference = float(differences.mean())
        low, high, p_value = _student(
            difference, (case_error, num_cases - 1), (seed_error, num_seeds - 1), confidence
        )
        found.append(
            Gain(
                measure=measure,
                start=float(of_start[:, i].mean()),
                evolved=float(of_evolved[:, i].mean()),
                start_spread=_spread(of_start[:, i]),
                evolved_spread=_spread(of_evolved[:, i]),
                difference=difference,
                low=low,
                high=high,
                p_value=p_value,
                case_error=case_error,
                seed_error=seed_error,
            )
        )
    return tuple(found)


def _measures(
    labels: NDArray, probs: NDArray, weights: NDArray, share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns float64[replicates, measures] of one network."""
    predicted = probs.argmax(axis=1)
    parts = np.stack(
        [
            metrics.macro_recall.compute(labels, predicted, weights=weights),
            metrics.macro_precision.compute(labels, predicted, weights=weights),
            metrics.macro_f1.compute(labels, predicted, weights=weights),
            weighted_macro_auc.compute(labels, probs, weights=weights),
        ],
        axis=1,
    )
    counted = share > 0
    whole = parts[:, counted] @ share[counted]
    accuracy = metrics.accuracy.compute(labels, predicted, weights=weights)
    return np.column_stack([whole, parts, accuracy])


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _student(
    difference: float, cases: tuple[float, int], seeds: tuple[float, int], confidence: float
) -> tuple[float, float, float]:
    """Limits and p-value from two standard errors, each with its degrees of freedom."""
    variances = np.array([cases[0], seeds[0]]) ** 2
    total = variances.sum()
    if np.isnan(total) or total < 1e-20:  # nothing varies, so nothing is known
        return np.nan, np.nan, 1.0 if total < 1e-20 and abs(difference) < 1e-12 else np.nan
    degrees = total**2 / (variances**2 / (cases[1], seeds[1])).sum()
    error = np.sqrt(total)
    reach = float(stdtrit(degrees, (1 + confidence) / 2) * error)
    p_value = 2 * float(stdtr(degrees, -abs(difference) / error))
    return difference - reach, difference + reach, p_value
