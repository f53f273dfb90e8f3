"""Variance of a mean over trainings, parted into cases, trainings and both; see `skinjax.evaluate.training_runs`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skinjax.evaluate.bootstrap import Sampled
from skinjax.evaluate.metrics import WeightedMetric
from skinjax.evaluate.percentiles import Spread
from skinjax.evaluate.resampling import Call, Metric, leaving_out, over_draws


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Figures of R trainings on the same photos.

    Attributes:
      stack: [N, R, ...], what each training answered.
      codes: int64[N], the case of each photo.
      values: float64[R], of the photos as they are.
      draws: float64[R, K], over the same K draws of cases for each; none where there is one case.
      left_out: float64[R, B], without each case, or each block of them.
      missing: Draws in which a class of the sample had no photo.
    """

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
    ) -> Runs:
        """Draws the cases; one seed draws the same ones for every training.

        Args:
          metric: Called as `metric(labels, one training's answers)`.
          truth: [N, ...], the labels.
          stack: See the class.
          codes: Likewise.
          replicates: K.
          seed: Seed of the resampling.
        """
        calls: list[Call] = [(metric, [truth, one], None) for one in np.moveaxis(stack, 1, 0)]
        draws, missing = over_draws(calls, codes, replicates, seed)
        left_out = [leaving_out(call, codes, seed) if len(draws[0]) else np.empty(0) for call in calls]
        values = np.array([metric(*arrays) for _, arrays, _ in calls], np.float64)
        return cls(stack, codes, values, np.array(draws), np.array(left_out), missing)

    def less(self, other: Runs) -> Runs:
        """Returns the differences of as many trainings, pair by pair."""
        return dataclasses.replace(
            self,
            values=self.values - other.values,
            draws=self.draws - other.draws,
            left_out=self.left_out - other.left_out,
        )

    def mean(self, metric: Metric, truth: NDArray) -> Sampled:
        """Returns the mean over trainings as a model of its own, for `bootstrap.compare_sampled`."""
        return Sampled(
            metric=mean_over_runs(metric),
            labels=truth,
            answers=self.stack,
            codes=self.codes,
            estimate=float(self.values.mean()),
            draws=self.draws.mean(axis=0),
            left_out=self.left_out.mean(axis=0),
            missing=self.missing,
        )


@dataclasses.dataclass(frozen=True)
class RunVariance:
    """Variance of a mean over trainings, by its parts.

    Attributes:
      by_cases: Of the mean with these trainings given, Vc.
      case_degrees: Degrees of freedom of that.
      by_runs: What trainings add to it.
      degrees: Degrees of freedom of the sum.
      case_sd: Standard error of one training's figure by cases.
      run_sd: Standard deviation between trainings on these photos.
      both_sd: The part that the two have in common.
    """

    by_cases: float
    case_degrees: float
    by_runs: float
    degrees: float
    case_sd: float
    run_sd: float
    both_sd: float

    @property
    def total(self) -> float:
        """Returns the variance of the mean."""
        return self.by_cases + self.by_runs

    def fields(self) -> dict[str, float]:
        """Returns what results show of it, by the names of their fields."""
        return {
            "case_sd": self.case_sd,
            "run_sd": self.run_sd,
            "both_sd": self.both_sd,
            "std_error": math.sqrt(self.total),
            "degrees_of_freedom": self.degrees,
        }


def variance_of_mean(
    groups: Sequence[Runs],
    draws: NDArray[np.float64],
    left_out: NDArray[np.float64],
    codes: NDArray[np.int64],
) -> RunVariance:
    """Works out the variance of a mean over trainings.

    Args:
      groups: Trainings; those of one group may depend on each other, those of two do not.
      draws: float64[K], the mean's replicates.
      left_out: float64[B], the mean without each case.
      codes: int64[N], the case of each photo.

    Returns:
      The variance; NaN but for `run_sd` where there is one case, or the figure is undefined in the replicates.
    """
    between = np.array([one.values.var(ddof=1) for one in groups])
    spread = Spread.of(codes, left_out)
    few = spread.cases / (spread.cases - 1)  # replicates of C cases vary by (C - 1) / C too little
    kept = ~np.isnan(draws)
    if kept.sum() < 2:
        return RunVariance(np.nan, np.nan, np.nan, np.nan, np.nan, float(np.sqrt(between.sum())), np.nan)
    of_mean = few * float(draws[kept].var(ddof=1))
    runs = np.array([len(one.values) for one in groups])
    of_group = few * np.array([_spreads(one.draws[:, kept]) for one in groups])
    both = np.maximum((of_group[:, 0] - of_group[:, 1]) * runs / (runs - 1), 0)
    shares = np.maximum(between, both) / runs
    cases = max(of_mean - float((both / runs).sum()), 0.0)
    total = cases + float(shares.sum())
    loose = cases**2 / spread.degrees + float(((between / runs) ** 2 / (runs - 1)).sum())
    return RunVariance(
        by_cases=of_mean,
        case_degrees=spread.degrees,
        by_runs=max(total - of_mean, 0.0),
        degrees=total**2 / loose if loose > 0 else spread.degrees,
        case_sd=math.sqrt(of_mean + float((both * (1 - 1 / runs)).sum())),
        run_sd=math.sqrt(float(between.sum())),
        both_sd=math.sqrt(float(both.sum())),
    )


def _spreads(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the variance of one training's replicates, averaged over trainings, and that of their mean's."""
    return float(draws.var(axis=1, ddof=1).mean()), float(draws.mean(axis=0).var(ddof=1))


def mean_over_runs(metric: Metric) -> Metric:
    """Returns a metric of (labels, answers [N, R, ...]): the mean of a metric over trainings.

    Args:
      metric: Called as `metric(labels, one training's answers)`.

    Returns:
      A `WeightedMetric` where the metric is one.

    Example:
      >>> from skinjax.evaluate.metrics import accuracy
      >>> round(mean_over_runs(accuracy)(np.array([0, 1]), np.array([[0, 0, 0], [1, 1, 0]])), 3)
      0.833
    """

    def average(labels: NDArray, answers: NDArray) -> float:
        return float(np.mean([metric(labels, answers[:, r]) for r in range(answers.shape[1])]))

    if not isinstance(metric, WeightedMetric):
        return average

    def compute(labels: NDArray, answers: NDArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        runs = range(answers.shape[1])
        return np.mean([metric.compute(labels, answers[:, r], weights=weights) for r in runs], axis=0)

    return WeightedMetric(compute, bounds=metric.bounds)
