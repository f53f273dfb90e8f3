"""Figures of several trainings of one study: how other cases and how another training would move them.

`skinjax.evaluate.bootstrap` takes the trained network as given. Under another seed it would be another network
with other errors (Bouthillier et al. 2021, arXiv:2103.03098), so a claim about a method needs several trainings.
Here R trainings answer the same photos. With theta_r the figure of training r, three things make their mean
uncertain: the cases, the trainings, and the luck of a training with just these cases, which many photos would
average out. As with readers and cases (Obuchowski and Rockette 1995; `skinjax.evaluate.mrmc`), trainings in the
readers' place,

    theta_r = true figure + cases + training_r + (training_r with these cases).

Resampling cases, with the same draws for every training, gives the variance V of one training's figure, averaged
over trainings, and the variance Vc of their mean. From them and from the variance S2 of theta_r over trainings:

    V = cases + both,  Vc = cases + both / R   give   both = (V - Vc) R / (R - 1),  cases = Vc - both / R
    S2 = trainings + both, where trainings cannot be negative:   variance of the mean = cases + max(S2, both) / R

The interval is Student's. Its degrees of freedom are Satterthwaite's: of the cases' part those of the case
bootstrap (`skinjax.evaluate.percentiles`), of S2 / R they are R - 1. The interval of a figure keeps the shape of
`by_case`'s of the mean and is widened on either side (where all trainings answer alike it is that one); that of a
difference is symmetric, and the p-value is the same interval turned round.

**Coverage, simulated** (`benchmarks/results/coverage_of_runs.md`; three or five trainings, 100 or 400 cases): 95 %
intervals of accuracy and macro F1 hold the truth in 90 to 97 % of 200 studies, of a difference in 91 to 99 %, however
much trainings differ; of 40,000 studies with normal figures in 93 to 98 %. Without the floor `both` three trainings
fall to 92 %, with Vc + max(S2 - both, 0) / R and its parts' degrees of freedom to 89 %. Resampling trainings along
with cases (the pigeonhole bootstrap; Owen 2007, doi:10.1214/07-AOAS122) falls to 73 %, since R trainings drawn with
replacement vary by (R - 1) / R too little and know no Student width, and one training's `by_case` to 33 %.

What is said holds for other cases, and for other trainings on the photos that these were trained on. What other
photos to train on would change is another matter; where the folds are drawn anew under each seed, a part of it is
counted among the trainings. `nadeau_bengio` counts it for differences over folds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from skinjax.evaluate.bootstrap import compare_sampled, interval_of_draws, within_range
from skinjax.evaluate.fewest import smallest_p_value
from skinjax.evaluate.folds import nadeau_bengio, student
from skinjax.evaluate.metrics import WeightedMetric
from skinjax.evaluate.resampling import Metric, check_replicates
from skinjax.evaluate.results import Comparison, Interval
from skinjax.evaluate.run_variance import Runs, variance_of_mean
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
      0.727 (95% CI 0.633 to 0.818), 3 trainings; SD by cases 0.030, between trainings 0.038
    """
    values, codes = check_photos([("labels", labels), *_named("answers", answers)], cases)
    truth, stack = values[0], _stacked("answers", values[1:])
    check_replicates(replicates, confidence)
    sampled = Runs.of(metric, truth, stack, codes, replicates, seed)
    mean = sampled.mean(metric, truth)
    found = interval_of_draws(
        mean.metric, (truth, stack), codes, mean.estimate, mean.draws, mean.left_out, mean.missing, confidence
    )
    parts = variance_of_mean([sampled], mean.draws, mean.left_out, codes)
    low, high = found.low, found.high
    if not np.isnan(low):
        tail = (1 + confidence) / 2
        quantile = float(stdtrit(parts.degrees, tail))
        widened = quantile / float(stdtrit(parts.case_degrees, tail))
        further = quantile * math.sqrt(parts.by_runs)
        low = found.estimate - math.hypot((found.estimate - low) * widened, further)
        high = found.estimate + math.hypot((high - found.estimate) * widened, further)
        if isinstance(metric, WeightedMetric):
            low, high = (float(np.clip(limit, *metric.bounds)) for limit in (low, high))
    return RunsInterval(
        estimate=mean.estimate,
        low=low,
        high=high,
        confidence=confidence,
        values=tuple(sampled.values.tolist()),
        reason=found.reason,
        num_photos=len(codes),
        num_cases=int(codes.max()) + 1,
        **parts.fields(),
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
    truth, of_runs = values[0], values[1:]
    first, second = _stacked("a", of_runs[: len(a)]), _stacked("b", of_runs[len(a) :])
    check_replicates(replicates, confidence)
    if paired_runs and len(a) != len(b):
        raise ValueError(
            f"a and b must have as many trainings where they are paired, got {len(a)} and {len(b)}"
        )
    of_a, of_b = (Runs.of(metric, truth, stack, codes, replicates, seed) for stack in (first, second))
    difference = float(of_a.values.mean() - of_b.values.mean())
    groups = [of_a.less(of_b)] if paired_runs else [of_a, of_b]
    parts = variance_of_mean(
        groups,
        of_a.draws.mean(axis=0) - of_b.draws.mean(axis=0),
        of_a.left_out.mean(axis=0) - of_b.left_out.mean(axis=0),
        codes,
    )
    # By cases alone, which says where nothing can be known, and what is where nothing varies.
    found = compare_sampled(of_a.mean(metric, truth), of_b.mean(metric, truth), confidence)
    low, high, p_value = found.low, found.high, found.p_value
    if parts.by_runs > _NOTHING and found.reason:
        low, high, p_value = np.nan, np.nan, np.nan
    elif parts.total > _NOTHING and not found.reason:
        low, high, p_value = student(difference, parts.total, parts.degrees, confidence)
        low, high = within_range((low, high), metric)
        p_value = max(p_value, smallest_p_value(int(codes.max()) + 1))
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
        **parts.fields(),
    )


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
