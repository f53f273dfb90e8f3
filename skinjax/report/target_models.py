"""Models that score photos for one target, each called positive at thresholds that validation photos gave."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from skinjax.decide.two_stage import fit_threshold
from skinjax.evaluate.calls import CallFigures, call_figures
from skinjax.evaluate.delong import AucInterval
from skinjax.evaluate.mean_roc import mean_auc_interval

FEW_CASES = 10
"""Cases of the target, or of the others, below which a threshold or its figures are called rough."""


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
        """Whether there are photos of the target and others."""
        return bool(self.labels.any() and not self.labels.all())

    def counts(self) -> tuple[int, int]:
        """Cases with photos of the target, and cases with others."""
        return len(np.unique(self.cases[self.labels])), len(np.unique(self.cases[~self.labels]))

    def lone(self) -> bool:
        """Whether the target, or the rest, is of a single case or none, so that nothing is known of other cases."""
        return min(self.counts()) < 2


@dataclasses.dataclass(frozen=True)
class Intervals:
    """How intervals are made.

    Attributes:
        replicates: of every bootstrap.
        confidence: of all intervals, in (0, 1).
        seed: of the bootstrap.
    """

    replicates: int = 2000
    confidence: float = 0.95
    seed: int = 0

    @property
    def level(self) -> str:
        """The confidence for people, such as "95%"."""
        return f"{100 * self.confidence:g}%"


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """One model, or several whose mean is looked at, on test photos.

    Attributes:
        name: for people.
        scores: float64[M, N], of M models.
        auc: the area, or the mean of the areas, with its interval; NaN where a class has no test photo.
        thresholds: float64[M], Youden's on the validation photos; NaN where these are of one class only.
        calls: float64[N], the share of the models that call a photo; NaN without thresholds.
        figures: of the calls; None without thresholds.
    """

    name: str
    scores: NDArray[np.float64]
    auc: AucInterval
    thresholds: NDArray[np.float64]
    calls: NDArray[np.float64]
    figures: CallFigures | None


def judge(
    name: str,
    validation: Sample,
    validation_scores: NDArray[np.float64],
    test: Sample,
    test_scores: NDArray[np.float64],
    intervals: Intervals,
) -> Judged:
    """Fits thresholds on validation photos and looks what they do on test photos.

    Args:
        name: of the model.
        validation: V photos.
        validation_scores: float64[V], or float64[M, V] of M models whose mean is looked at.
        test: N other photos.
        test_scores: float64[N] or float64[M, N].
        intervals: how they are made.

    Returns:
        The model's figures.

    Example:
        >>> sample = Sample(np.array(list("abcd")), np.array([1, 0, 1, 0], bool), np.arange(4), np.array(list("tutu")))
        >>> scores = np.array([0.9, 0.2, 0.7, 0.4])
        >>> found = judge("model", sample, scores, sample, scores, Intervals(replicates=100))
        >>> found.auc.auc, found.thresholds.tolist(), found.calls.tolist()
        (1.0, [0.7], [1.0, 0.0, 1.0, 0.0])
    """
    fitted, scores = np.atleast_2d(validation_scores), np.atleast_2d(test_scores)
    thresholds = np.full(len(scores), np.nan)
    if validation.both():
        thresholds = np.array([fit_threshold(validation.labels, row) for row in fitted])
    calls = calls_at(thresholds, scores)
    figures = None
    if not np.isnan(calls).any():
        figures = call_figures(
            test.labels, calls, test.cases, intervals.replicates, intervals.confidence, intervals.seed
        )
    return Judged(
        name,
        scores,
        mean_auc_interval(test.labels, scores, intervals.confidence, test.cases),
        thresholds,
        calls,
        figures,
    )


def calls_at(thresholds: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of M models that call a photo: score >= threshold.

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


def rough(validation: Sample, test: Sample, target: str) -> list[str]:
    """Sentences on what rests on few cases, or cannot be told; none where there are enough.

    Args:
        validation: photos that thresholds were fitted on.
        test: photos that they are used on.
        target: its name for people.
    """
    sentences = []
    for name, sample, consequence in (
        ("validation", validation, "thresholds fitted on them are rough"),
        ("test", test, "figures on them are rough, which their intervals show"),
    ):
        fewest = min(sample.counts())
        side = target if sample.counts()[0] == fewest else "the other classes"
        if not sample.both():
            lacking = "no threshold can be fitted" if name == "validation" else "nothing can be told apart"
            sentences.append(f"The {name} photos hold none of {side}, so {lacking}.")
        elif fewest < FEW_CASES:
            cases = f"{fewest} case{'s' * (fewest > 1)}"
            sentences.append(f"The {name} photos hold {cases} of {side}: {consequence}.")
    return sentences
