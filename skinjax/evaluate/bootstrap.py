"""Intervals and paired tests by resampling cases (Efron and Tibshirani 1993; Davison and Hinkley 1997).

The photos of a case resemble each other, so the case and not the photo is what was sampled. A replicate draws
as many cases as there are, with replacement, each with all of its photos (the cluster bootstrap; Field and
Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). The trained networks stay fixed: an interval says how the
figure would move with other patients, not with another training run (`skinjax.evaluate.training_runs` counts both).

**Interval of a figure.** By default the bias-corrected percentile interval (Efron 1987, doi:10.2307/2289144,
without the acceleration). A replicate repeats cases, which pulls macro F1 down where classes are rare: on
simulated photos of 19 classes in 100 cases of 3, the plain percentile interval of macro F1 held the truth in
71 % of the samples, this one in 87 %; in 300 cases 85 % and 90 %. For accuracy both hold it in 94 to 95 %.
`interval="bca"` adds the acceleration, a sixth of the skewness of what leaving out a case changes (over 1,000
cases, one of 1,000 random blocks of them); it matters where the figure is near its bound: an accuracy of 0.97
in 100 cases of 3 was held by the percentile interval in 90 %, bias-corrected 93 %, BCa 95 % of 300 samples.

**Few cases.** Replicates of C cases vary by (C - 1) / C too little, and their spread is itself an estimate.
So limits stand where a Student interval with that factor would have them, at the levels Phi(-sqrt(C / (C -
1)) t) (the expanded percentile interval; Hesterberg 2015, doi:10.1080/00031305.2015.1089789), but never
beyond the last replicate. Of 100 cases this moves 2.5 % to 2.3 %, of 10 to 0.9 %. C is the effective number
of cases, (sum of n)^2 / sum of n^2 of their n photos, since a few cases of many photos weigh as few. The
degrees of freedom are those of a variance estimated as loosely as the jackknife's, 2 V^2 / Var(V) from the
spread of the squares u^2 of what leaving out a case changes (Pan and Wall 2002, doi:10.1002/sim.1142), at
most C - 1: where the figure hangs on the few cases of a rare class, they are few.

**Where resampling knows nothing.** Fewer than six cases are not resampled (`skinjax.evaluate.fewest`):
`accuracy` has `proportion_by_case`'s limits then, and other figures none. Where everything is right in
every case all replicates are alike, and the limits are those of errors that the sample happens to lack: of
`accuracy` `proportion_by_case`'s, of other metrics of classes those of `skinjax.evaluate.unvaried`, which
also widens the interval where all photos of one class have one answer. There is no interval, and `reason`
says why, where neither can be had, where leaving out a single case leaves the figure undefined, and where
the replicates lie so far from the estimate that the interval would not hold it: then resampling inflates
the figure by more than sampling moves it, as a calibration error of nothing.

**Interval and test of a difference.** The bias of the two figures cancels, so this is the plain percentile
interval, between the k-th smallest and the k-th largest of R replicates, k = floor((R + 1) a / 2) for a
confidence of 1 - a, with a / 2 expanded as above. The p-value is the same interval turned round, the smallest
a whose interval keeps out 0: min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (R + 1)) (Efron and Tibshirani
1993, section 15.4; the 1 as in Davison and Hinkley 1997, section 4.2), with the expansion undone. So p <= a
exactly where the interval of confidence 1 - a keeps out 0. Where few cases call for a limit beyond the last
replicate, it is put there by the normal scale of the last one's distance from the median, and p likewise.

**Metrics.** Any callable `metric(*arrays) -> float` will do and is called once per replicate. The metrics of
`skinjax.evaluate.metrics`, which can also be had from here, compute many replicates at once, hundreds of
times faster.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.bootstrap_results import Band, BootstrapComparison, BootstrapInterval
from skinjax.evaluate.fewest import (
    FEWEST_RESAMPLED,
    fewest_for_confidence,
    smallest_p_value,
    too_few_to_resample,
)
from skinjax.evaluate.metrics import (
    WeightedMetric,
    accuracy,
    balanced_accuracy,
    brier,
    log_loss,
    macro_f1,
    macro_precision,
    macro_recall,
    mean,
    weighted_f1,
)
from skinjax.evaluate.percentiles import Spread, median_bias, percentile_limits, skewness, two_sided
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.resampling import Call, Metric, check_replicates, leaving_out, over_draws
from skinjax.evaluate.results import Comparison, Interval
from skinjax.evaluate.samples import check_photos
from skinjax.evaluate.unvaried import unvaried_limits, with_unvaried_classes

__all__ = [
    "Band",
    "BootstrapComparison",
    "BootstrapInterval",
    "Comparison",
    "Interval",
    "Metric",
    "WeightedMetric",
    "accuracy",
    "balanced_accuracy",
    "brier",
    "by_case",
    "curve_by_case",
    "log_loss",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "mean",
    "paired_by_case",
    "weighted_f1",
]

Method = Literal["bias_corrected", "percentile", "bca"]

ONE_CASE = "there is a single case, or the figure is undefined in every replicate"
ONE_CASE_OF_A_CLASS = "it rests on a single case"
FEW_DEFINED = "the figure is undefined in too many replicates"
UNVARIED = "all replicates are alike"
INFLATED = "resampling inflates the figure"
"""Reasons for which a figure has no interval."""


def by_case(
    metric: Metric,
    arrays: Sequence[ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    interval: Method = "bias_corrected",
) -> BootstrapInterval:
    """Returns the interval of a metric when cases are resampled, all photos of a case together.

    Args:
      metric: Called as `metric(*arrays)`; any function, best a `WeightedMetric` such as `accuracy`.
      arrays: The metric's arguments, each with a first axis of N photos; the labels first.
      cases: [N], the case of each photo, integers or strings.
      replicates: R; at least 2 / (1 - confidence) - 1, that the interval has replicates beyond its limits.
      confidence: Confidence level of the interval, in (0, 1).
      seed: Seed of the resampling; one seed gives one answer, and the same draws of cases for every metric.
      interval: "bias_corrected", "percentile" or "bca"; see the module.

    Returns:
      The interval; where there is none, its limits are NaN and `reason` says why.

    Raises:
      ValueError: Lengths that differ, no photo, a missing case, too few replicates for the confidence, or
        an unknown kind of interval.

    Example:
      >>> labels, predicted = np.tile([0, 1, 1, 0], 25), np.tile([0, 1, 0, 0], 25)
      >>> found = by_case(accuracy, (labels, predicted), cases=np.arange(100) // 4)
      >>> found.estimate, found.num_cases
      (0.75, 25)
    """
    values, codes = check_photos([(f"arrays[{i}]", array) for i, array in enumerate(arrays)], cases)
    check_replicates(replicates, confidence)
    _check_interval(interval)
    estimate = float(metric(*values))
    call: Call = (metric, values, None)
    (draws,), missing = over_draws([call], codes, replicates, seed)
    left_out = leaving_out(call, codes, seed) if not np.isnan(draws).all() else np.empty(0)
    return interval_of_draws(metric, values, codes, estimate, draws, left_out, missing, confidence, interval)


def interval_of_draws(
    metric: Metric,
    arrays: Sequence[NDArray],
    codes: NDArray[np.int64],
    estimate: float,
    draws: NDArray[np.float64],
    left_out: NDArray[np.float64],
    missing: int,
    confidence: float,
    interval: Method = "bias_corrected",
) -> BootstrapInterval:
    """Returns the interval of a metric whose values over resampled cases are known; `by_case` of them.

    Args:
      metric: Called as `metric(*arrays)`.
      arrays: See `by_case`.
      codes: int64[N] from 0, the case of each photo.
      estimate: The metric of the photos as they are.
      draws: float64[R], of each replicate; none where there is one case.
      left_out: float64[B], without each case, or each block of them.
      missing: Replicates in which a class of the sample had no photo.
      confidence: Confidence level of the interval, in (0, 1).
      interval: See `by_case`.

    Returns:
      As `by_case`.
    """
    kept = _defined(draws)
    low, high, reason = np.nan, np.nan, _why_not(kept, left_out)
    few = too_few_to_resample(_num_cases(codes))
    if few and metric is not accuracy:
        reason = reason or few
    elif not reason and (few or _alike(kept, estimate)):
        low, high = _limits_where_alike(metric, arrays, codes, confidence)
        reason = UNVARIED if np.isnan(low) else ""
    elif not reason:
        bias = 0.0 if interval == "percentile" else median_bias(kept, estimate)
        acceleration = skewness(left_out) if interval == "bca" else 0.0
        low, high = percentile_limits(kept, confidence, Spread.of(codes, left_out), bias, acceleration)
        if np.isnan(low):
            reason = FEW_DEFINED
        elif not low <= estimate <= high:
            low, high, reason = np.nan, np.nan, INFLATED
        elif metric is not accuracy:
            low, high = with_unvaried_classes(metric, arrays, codes, confidence, (low, high))
        if isinstance(metric, WeightedMetric):
            low, high = (float(np.clip(limit, *metric.bounds)) for limit in (low, high))
        if not reason and not low < high:  # one answer for all: few replicates, which lack a class, differ
            low, high, reason = np.nan, np.nan, UNVARIED
    return BootstrapInterval(
        estimate=estimate,
        low=low,
        high=high,
        confidence=confidence,
        std_error=float(kept.std(ddof=1)) if len(kept) > 1 else np.nan,
        num_photos=len(codes),
        num_cases=_num_cases(codes),
        replicates=len(kept),
        undefined=len(draws) - len(kept),
        missing_class=missing,
        reason=reason,
    )


def curve_by_case(
    curve: WeightedMetric,
    arrays: Sequence[ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    interval: Method = "bias_corrected",
) -> Band:
    """Returns the interval of each point of a curve; see `by_case`.

    Args:
      curve: A `WeightedMetric` that gives float64[R, T].
      arrays: Its arguments, each with a first axis of N photos.
      cases: [N], the case of each photo, integers or strings.
      replicates: R, as in `by_case`.
      confidence: Nominal coverage of each point's interval, in (0, 1).
      seed: Seed of the resampling.
      interval: "bias_corrected", "percentile" or "bca".

    Returns:
      The curve and its limits.

    Raises:
      ValueError: As `by_case`.

    Example:
      >>> shares = WeightedMetric(lambda x, weights: weights @ x / weights.sum(axis=1, keepdims=True))
      >>> curve_by_case(shares, (np.array([[0, 1], [1, 1]]),), cases=[0, 1]).estimate.tolist()
      [0.5, 1.0]
    """
    values, codes = check_photos([(f"arrays[{i}]", array) for i, array in enumerate(arrays)], cases)
    check_replicates(replicates, confidence)
    _check_interval(interval)
    estimate = np.asarray(curve.compute(*values, weights=np.ones((1, len(codes)))), np.float64)[0]
    call: Call = (curve, values, None)
    (draws,), _ = over_draws([call], codes, replicates, seed)
    draws = draws.reshape(-1, len(estimate))
    left = leaving_out(call, codes, seed).reshape(-1, len(estimate))
    limits = []
    for column, center in enumerate(estimate):
        kept = _defined(draws[:, column])
        bias = 0.0 if interval == "percentile" else median_bias(kept, center)
        acceleration = skewness(left[:, column]) if interval == "bca" else 0.0
        found = percentile_limits(kept, confidence, Spread.of(codes, left[:, column]), bias, acceleration)
        limits.append(found if found[0] <= center <= found[1] and found[0] < found[1] else (np.nan, np.nan))
    low, high = np.array(limits).reshape(-1, 2).T
    if too_few_to_resample(_num_cases(codes)):
        low, high = np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    return Band(estimate, low, high, confidence)


def paired_by_case(
    metric: Metric,
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapComparison:
    """Compares two models on the same photos: `metric(labels, a) - metric(labels, b)` over resampled cases.

    Args:
      metric: Called as `metric(labels, a)` and `metric(labels, b)`, on the same cases in every replicate.
      labels: [N, ...], the truth.
      a: [N, ...], the first model's answers.
      b: [N, ...], the second model's.
      cases: [N], the case of each photo, integers or strings.
      replicates: R, as in `by_case`; no p-value is under 2 / (R + 1).
      confidence: Confidence level of the interval, in (0, 1).
      seed: Seed of the resampling.

    Returns:
      The difference, its interval and a two-sided p-value that agrees with it; where there is no interval,
      `reason` says why.

    Raises:
      ValueError: As `by_case`.

    Example:
      >>> labels = np.tile([0, 1, 1, 0], 25)
      >>> found = paired_by_case(accuracy, labels, labels, np.zeros(100, int), cases=np.arange(100) // 4)
      >>> found.difference, found.p_value < 0.001
      (0.5, True)
    """
    values, codes = check_photos([("labels", labels), ("a", a), ("b", b)], cases)
    truth, first, second = values
    check_replicates(replicates, confidence)
    of_first, of_second = (
        Sampled.of(metric, truth, answers, codes, replicates, seed) for answers in (first, second)
    )
    return compare_sampled(of_first, of_second, confidence)


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """A model's figure on the photos as they are, over resampled cases, and without each case.

    Attributes:
      metric: Of (labels, answers).
      labels: [N, ...], the truth.
      answers: [N, ...], the model's.
      codes: int64[N], the case of each photo.
      estimate: The figure of the photos as they are.
      draws: float64[R], of each replicate; none where there is one case.
      left_out: float64[B], without each case, or each block of them.
      missing: Replicates in which a class of the sample had no photo.
    """

    metric: Metric
    labels: NDArray
    answers: NDArray
    codes: NDArray[np.int64]
    estimate: float
    draws: NDArray[np.float64]
    left_out: NDArray[np.float64]
    missing: int

    @classmethod
    def of(
        cls,
        metric: Metric,
        labels: NDArray,
        answers: NDArray,
        codes: NDArray[np.int64],
        replicates: int,
        seed: int,
    ) -> Sampled:
        """Draws the cases; one seed draws the same ones for every model.

        Args:
          metric: As in `paired_by_case`.
          labels: Likewise.
          answers: Of one model.
          codes: int64[N] from 0, the case of each photo.
          replicates: R.
          seed: Seed of the resampling.
        """
        call: Call = (metric, [labels, answers], None)
        (draws,), missing = over_draws([call], codes, replicates, seed)
        left_out = leaving_out(call, codes, seed) if len(draws) else np.empty(0)
        return cls(metric, labels, answers, codes, float(metric(labels, answers)), draws, left_out, missing)

    def interval(self, confidence: float = 0.95) -> BootstrapInterval:
        """Returns the interval of the model's own figure, as `by_case` does, without drawing anew.

        Args:
          confidence: Confidence level of the interval, in (0, 1).
        """
        given = [self.labels, self.answers]
        return interval_of_draws(
            self.metric, given, self.codes, self.estimate, self.draws, self.left_out, self.missing, confidence
        )


def compare_sampled(first: Sampled, second: Sampled, confidence: float = 0.95) -> BootstrapComparison:
    """Compares two models whose figures were drawn on the same cases; `paired_by_case` of them.

    Args:
      first: The first model, its cases drawn by the same seed as the second's.
      second: The second.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      As `paired_by_case`.
    """
    codes, difference = first.codes, first.estimate - second.estimate
    differences, left_out = first.draws - second.draws, first.left_out - second.left_out
    kept = _defined(differences)
    low, high, p_value, reason = np.nan, np.nan, np.nan, _why_not(kept, left_out)
    if not reason and _alike(kept, difference):
        # All cases differ alike: a sign test of them, of the rarest class's where there are classes.
        least = max(2 / (len(kept) + 1), smallest_p_value(_fewest_cases(first.labels, codes)))
        p_value, reason = 1.0 if abs(difference) < 1e-12 else min(least, 1.0), UNVARIED
        if _alike(_defined(first.draws), 0.0) and _alike(_defined(second.draws), 0.0):
            low, high = _difference_limits(
                *(_interval_where_alike(one, confidence) for one in (first, second))
            )
            reason = UNVARIED if np.isnan(low) else ""
    elif not reason:
        spread = Spread.of(codes, left_out)
        low, high = within_range(
            percentile_limits(kept, confidence, spread, beyond=True), first.metric, second.metric
        )
        p_value = max(two_sided(kept, spread), smallest_p_value(_num_cases(codes)))
        reason = FEW_DEFINED if np.isnan(low) else ""
        fewest = max(FEWEST_RESAMPLED, fewest_for_confidence(confidence))
        if few := too_few_to_resample(_num_cases(codes), fewest):
            low, high, reason = np.nan, np.nan, few
    return BootstrapComparison(
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        confidence=confidence,
        std_error=float(kept.std(ddof=1)) if len(kept) > 1 else np.nan,
        num_photos=len(codes),
        num_cases=_num_cases(codes),
        replicates=len(kept),
        undefined=len(differences) - len(kept),
        missing_class=first.missing,
        reason=reason,
    )


def _interval_where_alike(one: Sampled, confidence: float) -> Interval:
    limits = _limits_where_alike(one.metric, [one.labels, one.answers], one.codes, confidence)
    return Interval(one.estimate, *limits, confidence)


def _limits_where_alike(
    metric: Metric, arrays: Sequence[NDArray], codes: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """Returns the limits of a figure of which all replicates are alike; NaN where nothing is known."""
    if metric is accuracy:
        share = proportion_by_case(arrays[0] == arrays[1], codes, confidence)
        return share.low, share.high
    return unvaried_limits(metric, arrays, codes, confidence)


def _fewest_cases(labels: NDArray, codes: NDArray[np.int64]) -> int:
    """Returns how many cases the rarest class has, or how many there are where labels are no classes."""
    if labels.ndim != 1 or labels.dtype.kind not in "biuUSO":
        return _num_cases(codes)
    return min(len(np.unique(codes[labels == name])) for name in np.unique(labels))


def within_range(limits: tuple[float, float], *metrics: Metric) -> tuple[float, float]:
    """Returns the limits of a difference, none beyond what figures within their bounds can differ by.

    Args:
      limits: Lower and upper one; NaN stays.
      metrics: The figure, of one model or of each.

    >>> within_range((0.65, 1.05), accuracy)
    (0.65, 1.0)
    """
    bounds = [one.bounds if isinstance(one, WeightedMetric) else (-math.inf, math.inf) for one in metrics]
    width = max(most - least for least, most in bounds)
    low, high = (float(np.clip(limit, -width, width)) for limit in limits)
    return low, high


def _num_cases(codes: NDArray[np.int64]) -> int:
    return int(codes.max()) + 1


def _check_interval(interval: str) -> None:
    if interval not in ("bias_corrected", "percentile", "bca"):
        raise ValueError(f"interval must be bias_corrected, percentile or bca, got {interval!r}")


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sort(values[~np.isnan(values)])


def _why_not(kept: NDArray[np.float64], left_out: NDArray[np.float64]) -> str:
    """Returns why a figure has no interval, from its sorted replicates and its values without each case."""
    if not len(kept):
        return ONE_CASE
    return ONE_CASE_OF_A_CLASS if np.isnan(left_out).any() else ""


def _alike(kept: NDArray[np.float64], estimate: float) -> bool:
    return len(kept) > 0 and bool(kept[-1] - kept[0] <= 1e-12 * max(1.0, abs(estimate)))


def _difference_limits(first: Interval, second: Interval) -> tuple[float, float]:
    """Returns the limits of a difference from those of its parts, as if independent (Zou and Donner 2008)."""
    difference = first.estimate - second.estimate
    low = difference - math.hypot(first.estimate - first.low, second.high - second.estimate)
    return low, difference + math.hypot(first.high - first.estimate, second.estimate - second.low)
