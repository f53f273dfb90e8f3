"""One model's predictions as the report's sections read them, and how intervals are made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.cases import Unit, counted, unit_of
from skinjax.report.formatting import listed
from skinjax.report.tables.methods import Answers, coarse_answers, fine_answers

PHOTO_DRAWS = 200_000_000
"""Photos times replicates that a bootstrap may draw: 2,000 replicates up to 100,000 photos."""

FEWEST_REPLICATES = 200
"""Least number of replicates, however many photos there are."""

_PARTS, _MOST_PARTS = 5, 20


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Classes that together count as positive.

    Attributes:
      classes: Their names.
      level: The level that they are of.
      title: Their names for people.
      labels: bool[N], whether the true class is one of them.
      scores: float64[N] in [0, 1], the sum of their probabilities.
    """

    classes: tuple[str, ...]
    level: str
    title: str
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def why_not(self) -> str:
        """Returns why nothing can be distinguished, as a sentence; empty where it can."""
        if self.labels.all() or not self.labels.any():
            shown = "every photo" if self.labels.all() else "no photo"
            return f"{shown.capitalize()} is of the target, {self.title}, so it cannot be distinguished from the rest."
        return ""


Noun = Literal["network", "head", "model"]


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One model's predictions of N photos, its answers, and how intervals are made.

    Attributes:
      name: Name of the model.
      predictions: What the model predicted.
      coarse_level: The level that is fused with the finest; None for none.
      answers: Level -> answers of every method, the finest level first.
      method: The finest level's method that the report is about.
      probs: float64[N, K], that method's probabilities.
      predicted: int64[N], that method's classes.
      cases: int64[N], the case of each photo, numbered from 0.
      calibration_parts: int64[N], the part of whole cases that each photo is in: what is fitted for a part is fitted on
        the other ones. None where there is a single case.
      by_fold: Whether the parts are the folds.
      target: The classes that count as positive; None for none.
      confidence: Confidence level of every interval, in (0, 1).
      replicates: Bootstrap replicates; `requested_replicates` brought down for the number of photos.
      requested_replicates: Bootstrap replicates that were asked for.
      seed: Seed of everything that is drawn.
      noun: What answered, for people: networks that were trained, heads on features, or a model of others.
    """

    name: str
    predictions: Predictions
    coarse_level: str | None
    answers: Mapping[str, Answers]
    method: str
    probs: NDArray[np.float64]
    predicted: NDArray[np.int64]
    cases: NDArray[np.int64]
    calibration_parts: NDArray[np.int64] | None
    by_fold: bool
    target: Target | None
    confidence: float
    replicates: int
    requested_replicates: int
    seed: int
    noun: Noun = "network"

    @classmethod
    def from_predictions(
        cls,
        predictions: Predictions,
        *,
        name: str = "model",
        coarse_level: str | None = None,
        target: Sequence[str] = (),
        confidence: float = 0.95,
        replicates: int = 2000,
        seed: int = 0,
        noun: Noun = "network",
    ) -> Study:
        """Works out a model's answers at every level.

        Args:
          predictions: At least one photo.
          name: Name of the model.
          coarse_level: The level that is fused with the finest; None (or the finest level itself) for none. Levels
            are fused where a network of `coarse_level` answered too.
          target: Names of classes of one level that together count as positive; empty for none.
          confidence: Confidence level of every interval, in (0, 1).
          replicates: Bootstrap replicates; many photos get fewer, see `PHOTO_DRAWS`.
          seed: Seed of everything that is drawn.
          noun: What answered, for people.

        Returns:
          The study.

        Raises:
          ValueError: A level is unknown, or the target is no set of classes of one level.
        """
        taxonomy = predictions.taxonomy
        if coarse_level == taxonomy.finest:
            coarse_level = None
        if isinstance(target, str):
            raise ValueError(f"target must be a sequence of names of classes, got the text {target!r}")
        answers = {taxonomy.finest: fine_answers(predictions, coarse_level)}
        for level in reversed(taxonomy.levels[:-1]):
            answers[level] = coarse_answers(predictions, level)
        fine = answers[taxonomy.finest]
        method = "soft" if "soft" in fine.scores else "flat"
        probs = np.asarray(fine.scores[method], np.float64)
        cases = pd.factorize(predictions.case_id)[0].astype(np.int64)
        folds = pd.factorize(predictions.fold, sort=True)[0].astype(np.int64)
        parts, by_fold = _calibration_parts(cases, folds, seed)
        return cls(
            name=name,
            predictions=predictions,
            coarse_level=coarse_level,
            answers=answers,
            method=method,
            probs=probs,
            predicted=fine.predicted(method),
            cases=cases,
            calibration_parts=parts,
            by_fold=by_fold,
            target=_target(tuple(target), taxonomy, fine, probs) if len(target) else None,
            confidence=confidence,
            replicates=min(replicates, max(FEWEST_REPLICATES, PHOTO_DRAWS // len(predictions))),
            requested_replicates=replicates,
            seed=seed,
            noun=noun,
        )

    @property
    def taxonomy(self) -> Taxonomy:
        """Returns the taxonomy of the labels."""
        return self.predictions.taxonomy

    @property
    def fine(self) -> Answers:
        """Returns the answers at the finest level."""
        return self.answers[self.taxonomy.finest]

    @property
    def labels(self) -> NDArray[np.int32]:
        """Returns int32[N], the true classes of the finest level."""
        return self.fine.labels

    @property
    def num_cases(self) -> int:
        """Returns the number of cases that the photos are of."""
        return int(self.cases.max()) + 1

    @functools.cached_property
    def unit(self) -> Unit:
        """Returns what the cases are: cases, or photos or groups of near-duplicates where no case is known."""
        return unit_of(self.predictions.case_id, self.predictions.image)

    @property
    def counted_cases(self) -> str:
        """Returns the number of cases in words, such as "120 cases", or "205 photos" where no case is known."""
        return counted(self.num_cases, self.unit)

    @property
    def num_folds(self) -> int:
        """Returns the number of folds that the photos are in."""
        return len(np.unique(self.predictions.fold))

    @property
    def confidence_percent(self) -> str:
        """Returns the confidence level of the intervals for people, such as "95%"."""
        return f"{100 * self.confidence:g}%"

    @property
    def other_cases(self) -> str:
        """Returns a phrase for the photos that anything used on a photo was fitted on."""
        if self.by_fold:
            return "the photos of the other folds"
        parts = self.calibration_parts
        return f"the photos of the other cases, in {int(parts.max()) + 1 if parts is not None else 0} parts"


def target_scores(probs: NDArray[np.float64], target: Target, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Returns the probability of the target: the sum over its classes, at most 1.

    Args:
      probs: float64[N, K], probabilities of the finest level.
      target: The classes.
      taxonomy: Their taxonomy.

    Returns:
      float64[N] in [0, 1].
    """
    return np.minimum(probs[:, _members(target.classes, target.level, taxonomy)].sum(axis=1), 1.0)


def _target(names: tuple[str, ...], taxonomy: Taxonomy, fine: Answers, probs: NDArray[np.float64]) -> Target:
    fitting = [level for level in reversed(taxonomy.levels) if set(names) <= set(taxonomy.classes(level))]
    if not fitting:
        unknown = [name for name in names if not any(name in taxonomy.classes(v) for v in taxonomy.levels)]
        given = f"{unknown[0]!r}{taxonomy.hint(unknown[0])}" if unknown else f"{', '.join(names)} of several"
        raise ValueError(
            f"target must name classes of one level of {', '.join(taxonomy.levels)}, got {given}"
        )
    level = fitting[0]
    member = _members(names, level, taxonomy)
    title = listed([taxonomy.title(name) for name in names], most=len(names))
    empty = Target(names, level, title, member[fine.labels], np.empty(0))
    return dataclasses.replace(empty, scores=target_scores(probs, empty, taxonomy))


def _members(names: Sequence[str], level: str, taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Returns bool[K], which classes of the finest level belong to these."""
    chosen = np.array([name in names for name in taxonomy.classes(level)])
    return chosen[taxonomy.parents(taxonomy.finest, level)]


def _calibration_parts(
    cases: NDArray[np.int64], folds: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64] | None, bool]:
    """Returns the folds, where they are several and keep cases whole, or else up to five parts of whole cases."""
    num_cases = int(cases.max()) + 1
    if num_cases < 2:
        return None, False
    first = np.empty(num_cases, np.int64)
    first[cases] = folds
    if folds.max() > 0 and (first[cases] == folds).all():
        return folds % _MOST_PARTS, True
    turn = np.random.default_rng(seed).permutation(num_cases) % min(_PARTS, num_cases)
    return turn[cases], False
