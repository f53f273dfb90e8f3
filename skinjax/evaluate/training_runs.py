"""Figures of several trainings of one study: how other cases and how another training would move them.

`skinjax.evaluate.bootstrap` takes the trained network as given. Under another seed it would be another network
with other errors (Bouthillier et al. 2021, arXiv:2103.03098), so a claim about a method needs several trainings.
Here R trainings answer the same photos. With theta_r the figure of training r, three things make their mean
uncertain: the cases, the trainings, and the luck of a training with just these cases, which many photos would
average out. As of readers and cases in studies of many readers
(Obuchowski and Rockette 1995, `skinjax.evaluate.mrmc`), which this is with trainings for readers,

    theta_r = true figure + cases + training_r + (training_r with these cases).

Resampling cases, with the same draws for every training, gives the variance V of one training's figure, averaged
over trainings, and the variance Vc of their mean. From them and from the variance S2 of theta_r over trainings:

    V = cases + both,  Vc = cases + both / R   give   both = (V - Vc) R / (R - 1),  cases = Vc - both / R
    S2 = trainings + both, where trainings cannot be negative:   variance of the mean = cases + max(S2, both) / R

The interval is Student's with Satterthwaite's degrees of freedom: of the cases' part those of the case bootstrap
(`skinjax.evaluate.percentiles`), of the trainings' part R - 1. The interval of a figure keeps the shape of
`by_case`'s of the mean and is widened on either side; that of a difference is symmetric, and the p-value is the
same interval turned round.

COVERAGE

What is known then holds for other cases and other trainings on the photos that these were trained on; other photos
to train on are another matter, of which the folds of a cross-validation tell a little (`nadeau_bengio`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import stdtrit

from skinjax.evaluate.bootstrap import Sampled, by_case, compare_sampled
from skinjax.evaluate.folds import nadeau_bengio, student
from skinjax.evaluate.metrics import WeightedMetric
from skinjax.evaluate.percentiles import Spread
from skinjax.evaluate.resampling import Call, Metric, check_replicates, leaving_out, over_draws
from skinjax.evaluate.results import Comparison, Interval
from skinjax.evaluate.samples import check_photos

__all__ = ["RunsComparison", "RunsInterval", "by_case_and_run", "nadeau_bengio", "paired_by_case_and_run"]

_NOTHING = 1e-20  # variance under which nothing varies


@dataclasses.dataclass(frozen=True)
class RunsInterval(Interval):
    """A figure, the mean over R trainings, and its interval over cases and trainings.

    Attributes:
      estimate: Mean of the trainings' figures on the photos as they are.
      low: Lower limit; NaN where there is no interval.
      high: Upper limit, likewise.
      confidence: Confidence level of the interval, in (0, 1).
      values: The figure of each training.
      case_sd: Standard error of one training's figure by cases: how far it would move with other cases.
      run_sd: Standard deviation between trainings on these photos: how far it would move with another training.
      both_sd: The part that the two have in common, a training's luck with these cases; see the module.
      std_error: Standard error of the mean, by cases and trainings.
      degrees_of_freedom: Of the interval's t distribution.
      num_photos: Number of photos, N.
      num_cases: Number of cases.
      reason: Reason for which there is no interval; empty where there is one.
    """

    values: tuple[float, ...] = ()
    case_sd: float = math.nan
    run_sd: float = math.nan
    both_sd: float = math.nan
    std_error: float = math.nan
    degrees_of_freedom: float = math.nan
    num_photos: int = 0
    num_cases: int = 0
    reason: str = ""

    @property
    def runs(self) -> int:
        """Returns the number of trainings, R."""
        return len(self.values)

    def __str__(self) -> str:
        """Returns the figure, its interval and what moves it in words."""
        return f"{super().__str__()}, {self.runs} trainings{_moved(self.case_sd, self.run_sd)}"


@dataclasses.dataclass(frozen=True)
class RunsComparison(Comparison):
    """A difference of two methods, each the mean over its trainings, with interval and test over cases and trainings.

    Attributes:
      difference: Mean of the first method's figures less that of the second's.
      low: Lower limit of the difference; NaN where there is no interval.
      high: Upper limit, likewise.
      p_value: Two-sided, at most 1 - confidence exactly where the interval keeps out 0; NaN where nothing is known.
      confidence: Confidence level of the interval, in (0, 1).
      first: The first method's figure of each training.
      second: The second's.
      case_sd: Standard error by cases of the difference of one training each.
      run_sd: Standard deviation of that difference between trainings, on these photos.
      both_sd: The part that the two have in common; see the module.
      std_error: Standard error of the difference of the means, by cases and trainings.
      degrees_of_freedom: Of the test's t distribution.
      num_photos: Number of photos, N.
      num_cases: Number of cases.
      reason: Reason for which there is no interval; empty where there is one.
    """

    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    case_sd: float = math.nan
    run_sd: float = math.nan
    both_sd: float = math.nan
    std_error: float = math.nan
    degrees_of_freedom: float = math.nan
    num_photos: int = 0
    num_cases: int = 0
    reason: str = ""

    @property
    def runs(self) -> tuple[int, int]:
        """Returns the numbers of trainings of the first and of the second method."""
        return len(self.first), len(self.second)

    def __str__(self) -> str:
        """Returns the difference, its interval, its p-value and what moves it in words."""
        return f"{super().__str__()}{_moved(self.case_sd, self.run_sd)}"


def by_case_and_run(
    metric: Metric,
    labels: ArrayLike,
    answers: Sequence[ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> RunsInterval:
    """Returns a metric's mean over several trainings, with its interval over cases and trainings.

    Args:
      metric: Called as `metric(labels, one training's answers)`; best a `WeightedMetric` such as `accuracy`.
      labels: [N, ...], the truth.
      answers: R arrays [N, ...] of one shape, what each training answered for the same photos; R at least 2.
      cases: [N], the case of each photo, integers or strings.
      replicates: Bootstrap replicates over cases; at least 2 / (1 - confidence) - 1.
      confidence: Confidence level of the interval, in (0, 1).
      seed: Seed of the resampling.

    Returns:
      The mean, its interval, and how far cases and trainings move it; where there is no interval, its limits
      are NaN and `reason` says why.

    Raises:
      ValueError: Fewer than two trainings, or as `skinjax.evaluate.bootstrap.by_case`.

    Example:
      >>> from skinjax.evaluate.metrics import accuracy
      >>> rng, labels = np.random.default_rng(0), np.arange(200) % 2
      >>> answers = [np.where(rng.random(200) < 0.75, labels, 1 - labels) for _ in range(3)]
      >>> print(by_case_and_run(accuracy, labels, answers, cases=np.arange(200) // 2))
      0.727 (95% CI 0.633 to 0.818), 3 trainings; SD by cases 0.031, between trainings 0.038
    """
    values, codes = check_photos([("labels", labels), *_named("answers", answers)], cases)
    truth, stack = values[0], _stacked("answers", values[1:])
    check_replicates(replicates, confidence)
    sampled = _Runs.of(metric, truth, stack, codes, replicates, seed)
    found = by_case(
        _mean_over_runs(metric, truth, stack), (truth, stack), codes, replicates, confidence, seed
    )
    parts = _variance([sampled], sampled.draws.mean(axis=0), sampled.left_out.mean(axis=0), codes)
    low, high = found.low, found.high
    if not np.isnan(low):
        tail = (1 + confidence) / 2
        quantile = float(stdtrit(parts.degrees, tail))
        widened = quantile / float(stdtrit(parts.case_degrees, tail))
        further = quantile * math.sqrt(parts.trainings)
        low = found.estimate - math.hypot((found.estimate - low) * widened, further)
        high = found.estimate + math.hypot((high - found.estimate) * widened, further)
        if isinstance(metric, WeightedMetric):
            low, high = (float(np.clip(limit, *metric.bounds)) for limit in (low, high))
    return RunsInterval(
        estimate=float(sampled.values.mean()),
        low=low,
        high=high,
        confidence=confidence,
        values=tuple(sampled.values.tolist()),
        reason=found.reason,
        num_photos=len(codes),
        num_cases=int(codes.max()) + 1,
        **parts.told(),
    )


def paired_by_case_and_run(
    metric: Metric,
    labels: ArrayLike,
    a: Sequence[ArrayLike],
    b: Sequence[ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    paired_runs: bool = True,
) -> RunsComparison:
    """Compares two methods on the same photos, each trained several times.

    Args:
      metric: Called as `metric(labels, one training's answers)`.
      labels: [N, ...], the truth.
      a: The first method's answers, one array [N, ...] per training; at least two.
      b: The second's, likewise.
      cases: [N], the case of each photo, integers or strings.
      replicates: Bootstrap replicates over cases.
      confidence: Confidence level of the interval, in (0, 1).
      seed: Seed of the resampling.
      paired_runs: Whether a[r] and b[r] share something beside the photos, such as the seed, the folds or a
        network; where not, the numbers of trainings may differ.

    Returns:
      The difference of the means, its interval and a two-sided p-value that agrees with it, and how far cases
      and trainings move it; where there is no interval, `reason` says why.

    Raises:
      ValueError: Fewer than two trainings of a method, different numbers of paired ones, or as
        `skinjax.evaluate.bootstrap.paired_by_case`.

    Example:
      >>> from skinjax.evaluate.metrics import accuracy
      >>> rng, labels = np.random.default_rng(0), np.arange(200) % 2
      >>> a, b = ([np.where(rng.random(200) < q, labels, 1 - labels) for _ in range(3)] for q in (0.9, 0.6))
      >>> found = paired_by_case_and_run(accuracy, labels, a, b, cases=np.arange(200) // 2)
      >>> print(found)
      difference +0.297 (95% CI +0.205 to +0.389), p = 0.002; SD by cases 0.041, between trainings 0.045
    """
    arrays = [("labels", labels), *_named("a", a), *_named("b", b)]
    values, codes = check_photos(arrays, cases)
    truth, first, second = (
        values[0],
        *(
            _stacked(name, part)
            for name, part in (("a", values[1 : 1 + len(a)]), ("b", values[1 + len(a) :]))
        ),
    )
    check_replicates(replicates, confidence)
    if paired_runs and len(a) != len(b):
        raise ValueError(
            f"a and b must have as many trainings where they are paired, got {len(a)} and {len(b)}"
        )
    of_a, of_b = (_Runs.of(metric, truth, stack, codes, replicates, seed) for stack in (first, second))
    difference = float(of_a.values.mean() - of_b.values.mean())
    groups = [of_a.less(of_b)] if paired_runs else [of_a, of_b]
    parts = _variance(
        groups,
        of_a.draws.mean(axis=0) - of_b.draws.mean(axis=0),
        of_a.left_out.mean(axis=0) - of_b.left_out.mean(axis=0),
        codes,
    )
    # The cases alone: which says where nothing can be known, and what where nothing varies.
    found = compare_sampled(*(one.mean(metric, truth) for one in (of_a, of_b)), confidence)
    low, high, p_value = found.low, found.high, found.p_value
    if parts.trainings > _NOTHING and found.reason:
        low, high, p_value = np.nan, np.nan, np.nan
    elif parts.variance > _NOTHING and not found.reason:
        low, high, p_value = parts.student(difference, confidence)
    return RunsComparison(
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        confidence=confidence,
        first=tuple(of_a.values.tolist()),
        second=tuple(of_b.values.tolist()),
        reason=found.reason,
        num_photos=len(codes),
        num_cases=int(codes.max()) + 1,
        **parts.told(),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Runs:
    """Figures of R trainings: on the photos as they are [R], over draws of cases [R, K], without each case [R, B]."""

    stack: NDArray
    codes: NDArray[np.int64]
    values: NDArray[np.float64]
    draws: NDArray[np.float64]
    left_out: NDArray[np.float64]
    missing: int

    @classmethod
    def of(
        cls,
        metric: Metric,
        truth: NDArray,
        stack: NDArray,
        codes: NDArray[np.int64],
        replicates: int,
        seed: int,
    ) -> _Runs:
        calls: list[Call] = [(metric, [truth, one], None) for one in np.moveaxis(stack, 1, 0)]
        draws, missing = over_draws(calls, codes, replicates, seed)
        left_out = [leaving_out(call, codes, seed) if len(draws[0]) else np.empty(0) for call in calls]
        values = np.array([metric(*arrays) for _, arrays, _ in calls], np.float64)
        return cls(stack, codes, values, np.array(draws), np.array(left_out), missing)

    def less(self, other: _Runs) -> _Runs:
        return dataclasses.replace(
            self,
            values=self.values - other.values,
            draws=self.draws - other.draws,
            left_out=self.left_out - other.left_out,
        )

    def mean(self, metric: Metric, truth: NDArray) -> Sampled:
        return Sampled(
            metric=_mean_over_runs(metric, truth, self.stack),
            labels=truth,
            answers=self.stack,
            codes=self.codes,
            estimate=float(self.values.mean()),
            draws=self.draws.mean(axis=0),
            left_out=self.left_out.mean(axis=0),
            missing=self.missing,
        )


@dataclasses.dataclass(frozen=True)
class _Variance:
    """Variance of a mean over trainings, by its parts; see the module."""

    cases: float  # Vc
    case_degrees: float
    trainings: float  # of the mean
    degrees: float
    case_sd: float
    run_sd: float
    both_sd: float

    @property
    def variance(self) -> float:
        return self.cases + self.trainings

    def student(self, estimate: float, confidence: float) -> tuple[float, float, float]:
        return student(estimate, self.variance, self.degrees, confidence)

    def told(self) -> dict[str, float]:
        return {
            "case_sd": self.case_sd,
            "run_sd": self.run_sd,
            "both_sd": self.both_sd,
            "std_error": math.sqrt(self.variance),
            "degrees_of_freedom": self.degrees,
        }


def _variance(
    groups: Sequence[_Runs],
    draws: NDArray[np.float64],
    left_out: NDArray[np.float64],
    codes: NDArray[np.int64],
) -> _Variance:
    """Works out the variance of a mean over trainings.

    Args:
      groups: Trainings; those of one group may depend on each other, those of two do not.
      draws: float64[K], the mean's replicates.
      left_out: float64[B], the mean without each case.
      codes: int64[N], the case of each photo.
    """
    between = np.array([one.values.var(ddof=1) for one in groups])
    spread = Spread.of(codes, left_out)
    few = spread.cases / (spread.cases - 1)  # replicates of C cases vary by (C - 1) / C too little
    kept = ~np.isnan(draws)
    if kept.sum() < 2:
        return _Variance(np.nan, np.nan, np.nan, np.nan, np.nan, float(np.sqrt(between.sum())), np.nan)
    of_mean = few * float(draws[kept].var(ddof=1))
    runs = np.array([len(one.values) for one in groups])
    of_group = few * np.array([_spreads(one.draws[:, kept]) for one in groups])
    both = np.maximum((of_group[:, 0] - of_group[:, 1]) * runs / (runs - 1), 0)
    shares = np.maximum(between, both) / runs
    cases = max(of_mean - float((both / runs).sum()), 0.0)
    total = cases + float(shares.sum())
    loose = cases**2 / spread.degrees + float((shares**2 / (runs - 1)).sum())
    return _Variance(
        cases=of_mean,
        case_degrees=spread.degrees,
        trainings=max(total - of_mean, 0.0),
        degrees=total**2 / loose if loose > 0 else spread.degrees,
        case_sd=math.sqrt(cases + float(both.sum())),
        run_sd=math.sqrt(float(between.sum())),
        both_sd=math.sqrt(float(both.sum())),
    )


def _spreads(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the variance of one training's replicates, averaged over trainings, and that of their mean's."""
    return float(draws.var(axis=1, ddof=1).mean()), float(draws.mean(axis=0).var(ddof=1))


def _mean_over_runs(metric: Metric, truth: NDArray, stack: NDArray) -> Metric:
    """Returns the metric of (labels, answers [N, R, ...]): its mean over trainings."""

    def average(labels: NDArray, answers: NDArray) -> float:
        return float(np.mean([metric(labels, answers[:, r]) for r in range(answers.shape[1])]))

    if not isinstance(metric, WeightedMetric):
        return average

    def compute(labels: NDArray, answers: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        runs = range(answers.shape[1])
        return np.mean([metric.compute(labels, answers[:, r], weights=weights) for r in runs], axis=0)

    sums_of, value_of = metric.sums, metric.value
    if sums_of is None or value_of is None:
        return WeightedMetric(compute, bounds=metric.bounds)
    ends = np.cumsum([sums_of(truth, stack[:, r]).shape[1] for r in range(stack.shape[1])])[:-1]

    def sums(labels: NDArray, answers: NDArray) -> csr_array:
        return csr_array(hstack([sums_of(labels, answers[:, r]) for r in range(answers.shape[1])]))

    def value(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.mean([value_of(part) for part in np.split(totals, ends, axis=1)], axis=0)

    return WeightedMetric(compute, sums, value, metric.bounds)


def _named(name: str, runs: Sequence[ArrayLike]) -> list[tuple[str, ArrayLike]]:
    if len(runs) < 2:
        raise ValueError(f"{name} must be of at least two trainings, got {len(runs)}")
    return [(f"{name}[{r}]", one) for r, one in enumerate(runs)]


def _stacked(name: str, runs: Sequence[NDArray]) -> NDArray:
    """Returns the answers as [N, R, ...]."""
    for r, one in enumerate(runs):
        if one.shape != runs[0].shape:
            raise ValueError(
                f"{name}[{r}] must have the shape of {name}[0], {runs[0].shape}, got {one.shape}"
            )
    return np.stack(runs, axis=1)


def _moved(case_sd: float, run_sd: float) -> str:
    return f"; SD by cases {case_sd:.3f}, between trainings {run_sd:.3f}"
