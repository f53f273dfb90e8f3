"""Models that score photos for one target, each called positive at thresholds that validation photos gave."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from skinjax.decide.two_stage import fit_threshold
from skinjax.evaluate.calls import CallFigures, call_figures
from skinjax.evaluate.delong import AucInterval
from skinjax.evaluate.fewest import FEWEST_CASES, cases_by_side, too_few_cases
from skinjax.evaluate.mean_roc import mean_auc_interval


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Photos that models score.

    Attributes:
      images: str[N], their names.
      labels: bool[N], whether a photo shows the target.
      cases: str[N], the case of each.
      classes: str[N], the true class of each, for people.
    """

    images: NDArray
    labels: NDArray[np.bool_]
    cases: NDArray
    classes: NDArray

    def both(self) -> bool:
        """Returns whether there are photos of the target and others."""
        return bool(self.labels.any() and not self.labels.all())

    def counts(self) -> tuple[int, int]:
        """Cases with photos of the target, and cases with others."""
        return cases_by_side(self.labels, self.cases)

    def too_few(self) -> str:
        """Returns why models are not tested on these photos; empty where they can be."""
        return too_few_cases(self.labels, self.cases)


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Settings of the intervals.

    Attributes:
      replicates: Number of replicates of every bootstrap.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the bootstrap.
    """

    replicates: int = 2000
    confidence: float = 0.95
    seed: int = 0

    @property
    def confidence_percent(self) -> str:
        """Returns the confidence for people, such as "95%"."""
        return f"{100 * self.confidence:g}%"


@dataclasses.dataclass(frozen=True, eq=False)
class TargetModel:
    """One model, or several whose mean is looked at, on test photos.

    Attributes:
      name: For people.
      scores: float64[M, N], of M models.
      auc: The area, or the mean of the areas, with its interval; NaN where a class has no test photo.
      thresholds: float64[M], Youden's on the validation photos, or fixed ones; NaN where these are of one class only.
      calls: float64[N], the share of the models that call a photo; NaN without thresholds.
      figures: Sensitivity, specificity and the like of the calls; None without thresholds.
    """

    name: str
    scores: NDArray[np.float64]
    auc: AucInterval
    thresholds: NDArray[np.float64]
    calls: NDArray[np.float64]
    figures: CallFigures | None


def evaluate_target_model(
    name: str,
    validation: Sample,
    validation_scores: NDArray[np.float64],
    test: Sample,
    test_scores: NDArray[np.float64],
    intervals: Intervals,
    threshold: float | None = None,
) -> TargetModel:
    """Fits thresholds on validation photos and looks what they do on test photos.

    Args:
      name: Name of the model.
      validation: V photos.
      validation_scores: float64[V], or float64[M, V] of M models whose mean is looked at.
      test: N other photos.
      test_scores: float64[N] or float64[M, N].
      intervals: How intervals are made.
      threshold: One that is fixed, for all models; None for Youden's.

    Returns:
      The model's figures.

    Example:
      >>> sample = Sample(np.array(list("abcd")), np.array([1, 0, 1, 0], bool), np.arange(4), np.array(list("tutu")))
      >>> scores = np.array([0.9, 0.2, 0.7, 0.4])
      >>> found = evaluate_target_model("model", sample, scores, sample, scores, Intervals(replicates=100))
      >>> found.auc.auc, found.thresholds.tolist(), found.calls.tolist()
      (1.0, [0.7], [1.0, 0.0, 1.0, 0.0])
    """
    fitted, scores = np.atleast_2d(validation_scores), np.atleast_2d(test_scores)
    thresholds = np.full(len(scores), np.nan if threshold is None else threshold)
    if threshold is None and validation.both():
        thresholds = np.array([fit_threshold(validation.labels, row) for row in fitted])
    calls = calls_at(thresholds, scores)
    figures = None
    if not np.isnan(calls).any():
        figures = call_figures(
            test.labels, calls, test.cases, intervals.replicates, intervals.confidence, intervals.seed
        )
    return TargetModel(
        name,
        scores,
        mean_auc_interval(test.labels, scores, intervals.confidence, test.cases),
        thresholds,
        calls,
        figures,
    )


def calls_at(thresholds: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of M models that call a photo: score >= threshold.

    Args:
      thresholds: float64[M].
      scores: float64[M, N].

    Returns:
      float64[N] in [0, 1]; NaN where a threshold is.

    Example:
      >>> calls_at(np.array([0.5, 0.1]), np.array([[0.6, 0.2], [0.3, 0.2]])).tolist()
      [1.0, 0.5]
    """
    if np.isnan(thresholds).any():
        return np.full(scores.shape[1], np.nan)
    return (scores >= thresholds[:, None]).mean(axis=0)


def warn_of_few_cases(validation: Sample, test: Sample, target: str) -> list[str]:
    """Sentences on what rests on few cases, or is not known; none where there are enough.

    Args:
      validation: Photos that thresholds were fitted on.
      test: Photos that they are used on.
      target: Its name for people.
    """
    sentences = []
    for name, sample, consequence in (
        ("validation", validation, "thresholds fitted on them are rough"),
        ("test", test, "figures on them are rough, which their intervals show"),
    ):
        fewest = min(sample.counts())
        side = target if sample.counts()[0] == fewest else "the other classes"
        if not sample.both():
            lacking = "no threshold can be fitted" if name == "validation" else "nothing can be distinguished"
            sentences.append(f"The {name} photos hold none of {side}, so {lacking}.")
        elif fewest < FEWEST_CASES:
            cases = f"{fewest} case{'s' * (fewest > 1)}"
            sentences.append(f"The {name} photos hold {cases} of {side}: {consequence}.")
    return sentences
