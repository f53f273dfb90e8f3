"""Decides whether a photo shows a two-stage run's target, by its output strategy and threshold (thesis, chapter 3).

A score is made of the network's probabilities as they are, for the threshold was fitted on such: nothing is calibrated.
What a run's target and thresholds are is in `skinjax.predict.run_target`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from skinjax.data.evaluation_data import level_of
from skinjax.decide.two_stage import FIXED_THRESHOLDS, target_score
from skinjax.evaluate.results import Interval
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    from skinjax.decide.logistic_head import LogisticHead

ROUNDING = 1e-5
"""Log-odds by which a score may miss a fitted threshold: on another device or in another batch, the very photo that set
the threshold scores as high but for rounding."""


@dataclasses.dataclass(frozen=True)
class TargetRates:
    """Record of a threshold on the test photos, with intervals by case; NaN where nothing is known.

    Attributes:
      sensitivity: Share of the target's photos that are called.
      specificity: Share of the others that are not called.
    """

    sensitivity: Interval
    specificity: Interval

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """Returns both, the missed-diagnosis rate (1 - sensitivity) and the misdiagnosis rate (1 - specificity)."""
        return {
            "sensitivity": _written(self.sensitivity),
            "specificity": _written(self.specificity),
            "missed_diagnosis_rate": _written(self.sensitivity.complement()),
            "misdiagnosis_rate": _written(self.specificity.complement()),
        }


@dataclasses.dataclass(frozen=True)
class SampleSize:
    """Photos and cases that something was fitted or measured on.

    Attributes:
      photos: Photos in all.
      cases: Cases in all.
      target_photos: Photos of the target.
      target_cases: Cases with photos of the target.
    """

    photos: int
    cases: int
    target_photos: int
    target_cases: int


@dataclasses.dataclass(frozen=True, eq=False)
class TargetDecision:
    """The second stage of a two-stage run.

    Attributes:
      title: The target for people.
      classes: Finest classes that count as the target.
      strategy: The output strategy that answers.
      thresholds: Threshold of each strategy; NaN where the validation photos are of one side only, so that none could
        be fitted.
      rates: What each threshold did on the test photos.
      head: The learnt strategy; None where it could not be fitted.
      validation: The photos that thresholds and head were fitted on.
      test: The photos that the rates are of.
    """

    title: str
    classes: tuple[str, ...]
    strategy: str
    thresholds: Mapping[str, float]
    rates: Mapping[str, TargetRates]
    head: LogisticHead | None
    validation: SampleSize
    test: SampleSize

    @property
    def threshold(self) -> float:
        """The threshold of the strategy that answers."""
        return self.thresholds[self.strategy]

    def scores(self, probs: NDArray, taxonomy: Taxonomy, strategy: str = "") -> NDArray[np.float64]:
        """Returns one score per photo, higher where the target is likelier.

        Args:
          probs: float[N, K], what the network of all classes says, not calibrated.
          taxonomy: The taxonomy whose finest classes these are.
          strategy: Another than the one that answers.
        """
        merged = merge_target(probs, np.isin(taxonomy.classes(), self.classes))
        return strategy_scores(merged, strategy or self.strategy, self.head)

    def called(self, scores: NDArray[np.float64], strategy: str = "") -> NDArray[np.bool_] | None:
        """Returns whether scores reach their strategy's threshold; None where there is none.

        Args:
          scores: float64[N].
          strategy: Another than the one that answers.
        """
        threshold = self.thresholds[strategy or self.strategy]
        if math.isnan(threshold):
            return None
        return reaches(scores, threshold, strategy or self.strategy)

    def note(self) -> str:
        """Returns the target, the threshold and its figures as a sentence for people."""
        what = f"target {self.title} by strategy {self.strategy}"
        if math.isnan(self.threshold):
            return f"{what}: no threshold, for the validation photos were of one side only"
        found, test = self.rates[self.strategy], self.test
        fitted = "fixed" if self.strategy in FIXED_THRESHOLDS else "Youden's on the validation photos"
        return (
            f"{what}: called where the score is at least {self.threshold:.4g} ({fitted}); on {test.photos:,} test "
            f"photos of {test.cases:,} cases it called {_share(found.sensitivity)} of the {test.target_photos:,} of "
            f"the target and, by mistake, {_share(found.specificity.complement())} of the others"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TargetCall:
    """The decision whether one photo shows the target.

    Attributes:
      decision: The second stage of the run.
      score: The photo's score by the strategy that answers.
      called: Whether it reaches the threshold; None where there is no threshold.
    """

    decision: TargetDecision
    score: float
    called: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the call and its threshold's figures on the run's test photos, as JSON takes them."""
        decision = self.decision
        return {
            "title": decision.title,
            "classes": list(decision.classes),
            "strategy": decision.strategy,
            "score": float(f"{self.score:.7g}"),
            "threshold": json_number(decision.threshold),
            "call": self.called,
            "figures": {
                **decision.rates[decision.strategy].to_dict(),
                "confidence": json_number(decision.rates[decision.strategy].sensitivity.confidence),
                **dataclasses.asdict(decision.test),
            },
        }

    def to_cells(self) -> list[str]:
        """Returns the cells of the CSV file that `TARGET_COLUMNS` names."""
        threshold = json_number(self.decision.threshold)
        called = "" if self.called is None else str(self.called).lower()
        return [f"{self.score:.7g}", "" if threshold is None else f"{threshold:.7g}", called]


TARGET_COLUMNS = ("target_score", "target_threshold", "target_call")
"""Columns of a two-stage run's answers; empty for other runs."""


def target_calls(
    decision: TargetDecision | None, probs: NDArray, taxonomy: Taxonomy
) -> list[TargetCall | None]:
    """Returns the call of each photo; None each where the run has no target.

    Args:
      decision: The second stage of the run.
      probs: float[N, K], what the network of all classes says, not calibrated.
      taxonomy: The taxonomy whose finest classes these are.
    """
    if decision is None:
        return [None] * len(probs)
    scores = decision.scores(probs, taxonomy)
    called = decision.called(scores)
    calls = [None] * len(scores) if called is None else called.tolist()
    return [TargetCall(decision, float(score), call) for score, call in zip(scores, calls, strict=True)]


def finest_classes(names: Sequence[str], taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns the classes of the finest level that classes of one level consist of.

    Args:
      names: Classes of one level.
      taxonomy: The taxonomy that they are of.

    Raises:
      ValueError: An unknown class, or classes of several levels.

    Example:
      >>> from skinjax.labels.taxonomy import load_taxonomy
      >>> finest_classes(["near_relative"], load_taxonomy("psoriasis9"))[:2]
      ('lichen_planus', 'parapsoriasis')
    """
    level = level_of(names, taxonomy)
    if not names or level is None:
        there = "; ".join(f"{level}: {', '.join(taxonomy.classes(level))}" for level in taxonomy.levels)
        raise ValueError(
            f"{','.join(names)} must name a class, or classes of one level, of {taxonomy.name} ({there})"
        )
    of_level, above = taxonomy.classes(level), taxonomy.parents(taxonomy.finest, level)
    fine = zip(taxonomy.classes(), above, strict=True)
    return tuple(one for one, parent in fine if of_level[parent] in names)


def merge_target(probs: NDArray, member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns probabilities with the target's classes added up in the first column, and the others behind it.

    Args:
      probs: float[N, K].
      member: bool[K], the classes of the target.

    Returns:
      float64[N, 1 + others].

    Example:
      >>> merge_target(np.array([[0.5, 0.25, 0.25]]), np.array([False, True, True])).tolist()
      [[0.5, 0.5]]
    """
    values = np.asarray(probs, np.float64)
    return np.column_stack([np.minimum(values[:, member].sum(axis=1), 1), values[:, ~member]])


def strategy_scores(merged: NDArray, strategy: str, head: LogisticHead | None) -> NDArray[np.float64]:
    """Returns one score per photo by an output strategy, computed in float64.

    Args:
      merged: float64[N, K], as `merge_target` returns it.
      strategy: A rule of `skinjax.decide.two_stage.target_score`, or "head".
      head: The learnt strategy, for "head".

    Raises:
      ValueError: An unknown strategy, or "head" without one.
    """
    with jax.enable_x64(True):
        if strategy != "head":
            return np.asarray(target_score(merged, 0, strategy))  # type: ignore[arg-type]  # checked there
        if head is None:
            raise ValueError("strategy=head needs validation photos of the target and of others")
        from skinjax.decide.logistic_head import head_log_odds

        return np.asarray(head_log_odds(head, merged))


def reaches(scores: NDArray[np.float64], threshold: float, strategy: str) -> NDArray[np.bool_]:
    """Returns whether scores are at least a threshold, or below a fitted one by no more than rounding.

    Args:
      scores: float64[N].
      threshold: The strategy's.
      strategy: Whose scores these are.

    Example:
      >>> reaches(np.array([0.25, 0.2499999, 0.2499]), 0.25, "probability").tolist()
      [True, True, False]
    """
    if strategy in FIXED_THRESHOLDS:
        slack = 0.0
    elif strategy in ("log_odds", "head"):
        slack = ROUNDING
    else:
        slack = ROUNDING * threshold * (1 - threshold) + float(np.finfo(np.float32).eps) * threshold
    reached: NDArray[np.bool_] = np.asarray(scores) >= threshold - slack
    return reached


def _written(value: Interval) -> dict[str, float | None]:
    return {
        "value": json_number(value.estimate),
        "low": json_number(value.low),
        "high": json_number(value.high),
    }


def json_number(value: float) -> float | None:
    """Returns a number as JSON, which knows no NaN."""
    return float(value) if math.isfinite(value) else None


def _share(found: Interval) -> str:
    if math.isnan(found.estimate):
        return "an unknown share"
    limits = "" if math.isnan(found.low) else f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return f"{100 * found.estimate:.1f}%{limits}"
