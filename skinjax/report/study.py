"""What the report's sections are computed from: one model's answers, and how they are to be looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.tables import Answers, coarse_answers, fine_answers

PHOTO_DRAWS = 200_000_000
"""Photos times replicates that a bootstrap may draw: 2,000 replicates up to 100,000 photos."""

FEWEST_REPLICATES = 200
"""What the replicates are never brought below for the number of photos."""

_PARTS, _MOST_PARTS = 5, 20


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Classes that together count as positive.

    Attributes:
        classes: their names.
        level: the level that they are of.
        title: their names for people.
        labels: bool[N], whether the true class is one of them.
        scores: float64[N] in [0, 1], the sum of their probabilities.
    """

    classes: tuple[str, ...]
    level: str
    title: str
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def why_not(self) -> str:
        """Why nothing can be told apart, as a sentence; empty where it can."""
        if self.labels.all() or not self.labels.any():
            shown = "every photo" if self.labels.all() else "no photo"
            return f"{shown.capitalize()} is of the target, {self.title}, so it cannot be told from the rest."
        return ""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One model's answers.

    Attributes:
        name: of the model.
        predictions: N rows, as `skinjax.data.predictions` has them, with `fold`.
        taxonomy: of their labels.
        coarse_level: the level that is fused with the finest; None for none.
        answers: of every level, the finest first.
        method: which of the finest level's answers the report is about.
        probs: float64[N, K], of that method.
        predicted: int64[N], its classes.
        cases: int64[N], the case of each photo, numbered from 0.
        parts: int64[N], which of the parts of whole cases each photo is in: what is fitted for a part is
            fitted on the other ones. None where there is a single case.
        by_fold: whether the parts are the folds.
        target: None for none.
        confidence: of all intervals, in (0, 1).
        replicates: of every bootstrap; `wanted` brought down for the number of photos.
        wanted: how many were asked for.
        seed: of all that is drawn.
    """

    name: str
    predictions: pd.DataFrame
    taxonomy: Taxonomy
    coarse_level: str | None
    answers: Mapping[str, Answers]
    method: str
    probs: NDArray[np.float64]
    predicted: NDArray[np.int64]
    cases: NDArray[np.int64]
    parts: NDArray[np.int64] | None
    by_fold: bool
    target: Target | None
    confidence: float
    replicates: int
    wanted: int
    seed: int

    @property
    def fine(self) -> Answers:
        """The answers at the finest level."""
        return self.answers[self.taxonomy.finest]

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32[N], the true classes of the finest level."""
        return self.fine.labels

    @property
    def num_cases(self) -> int:
        """How many cases the photos are of."""
        return int(self.cases.max()) + 1

    @property
    def level(self) -> str:
        """The confidence of the intervals for people, such as "95%"."""
        return f"{100 * self.confidence:g}%"

    @property
    def other_cases(self) -> str:
        """What something that is used on a photo was fitted on, for a sentence."""
        if self.by_fold:
            return "the photos of the other folds"
        return f"the photos of the other cases, in {int(self.parts.max()) + 1 if self.parts is not None else 0} parts"


def study(
    name: str,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
    coarse_level: str | None,
    target: Sequence[str],
    confidence: float,
    replicates: int,
    seed: int,
) -> Study:
    """Brings valid predictions into the form that the sections want.

    Args:
        name: of the model.
        predictions: valid ones.
        taxonomy: of their labels.
        coarse_level: the level that is fused with the finest; None for none.
        target: names of classes of one level that together count as positive; empty for none.
        confidence: of all intervals, in (0, 1).
        replicates: of the bootstrap, at least; many photos get fewer, see `PHOTO_DRAWS`.
        seed: of all that is drawn.

    Returns:
        The study.

    Raises:
        ValueError: An unknown level, or a target that is no set of classes of one level.
    """
    predictions = predictions.reset_index(drop=True)
    if "fold" not in predictions:
        predictions = predictions.assign(fold=0)
    if coarse_level == taxonomy.finest:
        coarse_level = None
    if isinstance(target, str):
        raise ValueError(f"target must be a sequence of names of classes, got the text {target!r}")
    answers = {taxonomy.finest: fine_answers(predictions, taxonomy, coarse_level)}
    for level in reversed(taxonomy.levels[:-1]):
        answers[level] = coarse_answers(predictions, taxonomy, level)
    fine = answers[taxonomy.finest]
    method = "soft" if "soft" in fine.scores else "flat"
    probs = np.asarray(fine.scores[method], np.float64)
    cases = pd.factorize(predictions["case_id"])[0].astype(np.int64)
    folds = pd.factorize(predictions["fold"], sort=True)[0].astype(np.int64)
    parts, by_fold = _parts(cases, folds, seed)
    return Study(
        name=name,
        predictions=predictions,
        taxonomy=taxonomy,
        coarse_level=coarse_level,
        answers=answers,
        method=method,
        probs=probs,
        predicted=fine.predicted(method),
        cases=cases,
        parts=parts,
        by_fold=by_fold,
        target=_target(tuple(target), taxonomy, fine, probs) if len(target) else None,
        confidence=confidence,
        replicates=min(replicates, max(FEWEST_REPLICATES, PHOTO_DRAWS // len(predictions))),
        wanted=replicates,
        seed=seed,
    )


def target_scores(probs: NDArray[np.float64], target: Target, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """The probability of the target: the sum over its classes, at most 1.

    Args:
        probs: float64[N, K] of the finest level.
        target: the classes.
        taxonomy: theirs.

    Returns:
        float64[N] in [0, 1].
    """
    return np.minimum(probs[:, _members(target.classes, target.level, taxonomy)].sum(axis=1), 1.0)


def _target(names: tuple[str, ...], taxonomy: Taxonomy, fine: Answers, probs: NDArray[np.float64]) -> Target:
    fitting = [level for level in reversed(taxonomy.levels) if set(names) <= set(taxonomy.classes(level))]
    if not fitting:
        unknown = [name for name in names if not any(name in taxonomy.classes(v) for v in taxonomy.levels)]
        told = f"{unknown[0]!r}{taxonomy.hint(unknown[0])}" if unknown else f"{', '.join(names)} of several"
        raise ValueError(f"target must name classes of one level of {', '.join(taxonomy.levels)}, got {told}")
    level = fitting[0]
    member = _members(names, level, taxonomy)
    title = ", ".join(taxonomy.title(name) for name in names)
    empty = Target(names, level, title, member[fine.labels], np.empty(0))
    return dataclasses.replace(empty, scores=target_scores(probs, empty, taxonomy))


def _members(names: Sequence[str], level: str, taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """bool[K], which classes of the finest level belong to these."""
    wanted = np.array([name in names for name in taxonomy.classes(level)])
    return wanted[taxonomy.parents(taxonomy.finest, level)]


def _parts(
    cases: NDArray[np.int64], folds: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64] | None, bool]:
    """The folds, where they are several and keep cases whole, or else up to five parts of whole cases."""
    num_cases = int(cases.max()) + 1
    if num_cases < 2:
        return None, False
    first = np.empty(num_cases, np.int64)
    first[cases] = folds
    if folds.max() > 0 and (first[cases] == folds).all():
        return folds % _MOST_PARTS, True
    turn = np.random.default_rng(seed).permutation(num_cases) % min(_PARTS, num_cases)
    return turn[cases], False
