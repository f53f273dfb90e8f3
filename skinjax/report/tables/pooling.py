"""Pooled answers of cases against single photos of them, as tables.

Every case counts once. A single photo is one drawn evenly from its case, so that its figures are of the shares of a
case's photos that are right, and areas weigh each photo of n by 1 / n; nothing is drawn at random for it. A case is
what was diagnosed (`skinjax.predict.pooled`), and what is resampled is what `case_id` names.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.decide.pooling import PoolingRule, pool_by_case
from skinjax.evaluate.areas import RankedPhotos, areas_without
from skinjax.evaluate.bootstrap import BootstrapComparison, Sampled, compare_sampled
from skinjax.evaluate.metrics import WeightedMetric, balanced_share, mean_share
from skinjax.evaluate.multiclass import macro_auc_without, weighted_macro_auc
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.predict.pooled import RULE, case_keys
from skinjax.report import crossfit
from skinjax.report.study import FEWEST_REPLICATES, Study, target_scores
from skinjax.report.tables.methods import interval_columns

SINGLE = "single"
"""Name of the row of single photos."""

_MOST_RANKED = 20_000_000  # photos times classes times replicates of an area's bootstrap


@dataclasses.dataclass(frozen=True, eq=False)
class CasePhotos:
    """Photos of cases of a single diagnosis, n photos of C cases.

    Attributes:
      rows: int64[n], which of the study's photos these are.
      index: int64[n] in [0, C), the case of each.
      labels: int64[C], the diagnosis of each case.
      cases: int64[C], whose each is, as the study numbers its cases.
      photos: int64[C], how many photos each has.
      mixed: How many cases were left out because their photos bear different diagnoses.
      lesions: Whether cases are lesions, of which somebody has several.
    """

    rows: NDArray[np.int64]
    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    cases: NDArray[np.int64]
    photos: NDArray[np.int64]
    mixed: int
    lesions: bool

    @property
    def several(self) -> int:
        """Returns the number of cases with several photos."""
        return int((self.photos > 1).sum())

    @property
    def noun(self) -> str:
        """Returns what these are called, in the plural."""
        return "lesions" if self.lesions else "cases"


def case_photos(study: Study) -> CasePhotos:
    """Returns the photos of the study's cases.

    Args:
      study: The model's answers.
    """
    keys, labels = case_keys(study.predictions), study.labels.astype(np.int64)
    first = np.unique(keys, return_index=True)[1]
    differs = np.zeros(len(first), bool)
    np.logical_or.at(differs, keys, labels != labels[first][keys])
    rows = np.flatnonzero(~differs[keys])
    _, begin, index, photos = np.unique(
        keys[rows], return_index=True, return_inverse=True, return_counts=True
    )
    kept = rows[begin]
    cases = study.cases[kept]
    return CasePhotos(
        rows, index, labels[kept], cases, photos, int(differs.sum()), len(np.unique(cases)) < len(cases)
    )


def pooled_probs(
    study: Study, found: CasePhotos, rule: PoolingRule, severity: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Returns the pooled probabilities of the cases, float64[C, K].

    Args:
      study: The model's answers.
      found: Its cases.
      rule: See `skinjax.decide.pooling`.
      severity: float[K], how malignant each class is, which "max" chooses the photo by; None where that is not known.
    """
    probs = study.probs[found.rows]
    scores = probs @ severity if severity is not None and rule == "max" else None
    return np.asarray(pool_by_case(probs, found.index, rule, scores).probs, np.float64)


def compare_pooling(
    study: Study, found: CasePhotos, severity: NDArray[np.floating] | None = None
) -> pd.DataFrame:
    """Returns the figures of single photos and of each rule's pooled answers, with paired differences by case.

    Args:
      study: The model's answers, and how intervals are made.
      found: Its cases, at least one with several photos.
      severity: As for `pooled_probs`.

    Returns:
      One row for single photos and one per rule, that of `skinjax.predict.pooled.RULE` first: `rule`, and of
      `accuracy`, `balanced_accuracy`, `macro_auc` and, with a target, `target_auc` the figure, `_low`, `_high`,
      `_reason`, and `_difference` to single photos with `_low`, `_high`, `_reason` and `_p_value`. Areas of other rules
      than the first have neither interval nor difference, which would take long.
    """
    rules = (RULE, *(rule for rule in get_args(PoolingRule) if rule != RULE))
    own = (study.predicted[found.rows] == found.labels[found.index]).astype(np.float64)
    single = np.bincount(found.index, own) / found.photos
    rows: list[dict[str, Any]] = [{"rule": SINGLE}, *({"rule": rule} for rule in rules)]
    pooled = {rule: pooled_probs(study, found, rule, severity) for rule in rules}
    right = [(probs.argmax(axis=1) == found.labels).astype(np.float64) for probs in pooled.values()]
    for name, metric in (("accuracy", mean_share), ("balanced_accuracy", balanced_share)):
        how = (found.cases, study.replicates, study.seed)
        _add_figures(rows, name, metric, found.labels, [single, *right], how, study.confidence)
    _add_areas(rows, study, found, [pooled[rule] for rule in rules])
    return pd.DataFrame(rows)


def compare_sets(
    study: Study, found: CasePhotos, coverages: Sequence[float], limit: int
) -> pd.DataFrame | None:
    """Returns how often conformal sets of pooled cases hold the true class, fitted on other cases, and their size.

    Args:
      study: The model's answers, with parts for cross-fitting.
      found: Its cases.
      coverages: Nominal ones.
      limit: The largest set that does not back off.

    Returns:
      A row per nominal coverage: `nominal_coverage`, `coverage` of cases with `_low` and `_high`, `mean_size`, `single`
      (share of sets of one class), and of a single photo of each case `photo_coverage` and `photo_mean_size`; None
      where nothing can be fitted on other cases.
    """
    if study.calibration_parts is None:
        return None
    parts = study.calibration_parts[found.rows]
    of_case = np.zeros(len(found.labels), np.int64)
    of_case[found.index] = parts
    used = np.unique(of_case)
    if len(used) < 2:
        return None
    probs = pooled_probs(study, found, RULE)
    labels = found.labels[found.index]
    rows = []
    for coverage in coverages:
        sets = crossfit.conformal(
            probs, found.labels, found.cases, np.searchsorted(used, of_case), coverage, limit, None
        )
        photo = crossfit.conformal(
            study.probs[found.rows], labels, found.cases[found.index], np.searchsorted(used, parts), coverage,
            limit, None,
        )  # fmt: skip
        share = proportion_by_case(sets.covered, found.cases, study.confidence)
        rows.append(
            {
                "nominal_coverage": coverage,
                "coverage": share.estimate,
                "coverage_low": share.low,
                "coverage_high": share.high,
                "mean_size": float(sets.size.mean()),
                "single": float((sets.size == 1).mean()),
                "photo_coverage": _by_case(photo.covered, found),
                "photo_mean_size": _by_case(photo.size, found),
            }
        )
    return pd.DataFrame(rows)


_OverWeights = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _ranked_macro(labels: NDArray, scores: NDArray) -> _OverWeights:
    assert weighted_macro_auc.ranked is not None
    areas, counts = weighted_macro_auc.ranked(labels, scores[:, :-1]), scores[:, -1]
    return lambda weights: areas(weights * counts)


def _macro_without(
    labels: NDArray, scores: NDArray, groups: NDArray[np.int64], num_groups: int
) -> NDArray[np.float64]:
    found = macro_auc_without(labels, scores[:, :-1], groups, num_groups, scores[:, -1])
    # A class of a single case has no area without it, so neither has the mean over classes.
    whole = [np.bincount(groups[labels == name], minlength=num_groups) for name in np.unique(labels)]
    lost = np.any([count == count.sum() for count in whole], axis=0)
    return np.where(lost, np.nan, found)


def _ranked_target(labels: NDArray, scores: NDArray) -> _OverWeights:
    ranks, counts = RankedPhotos.of(labels.astype(bool), scores[:, 0]), scores[:, -1]
    return lambda weights: ranks.areas(weights * counts)


def _target_without(
    labels: NDArray, scores: NDArray, groups: NDArray[np.int64], num_groups: int
) -> NDArray[np.float64]:
    return areas_without(labels.astype(bool), scores[:, 0], groups, num_groups, scores[:, -1])


_macro_area = WeightedMetric.of_ranks(_ranked_macro, without=_macro_without)
"""Macro AUC of scores float64[N, K + 1], whose last column says how much each photo counts."""

_target_area = WeightedMetric.of_ranks(_ranked_target, without=_target_without)
"""AUC of scores float64[N, 2], whose last column says how much each photo counts."""


def _add_areas(
    rows: list[dict[str, Any]], study: Study, found: CasePhotos, pooled: list[NDArray[np.float64]]
) -> None:
    """Adds macro AUC and the target's AUC: a photo of n counts 1 / n, with its own answer or that of its case."""
    weight = (1 / found.photos)[found.index][:, None]
    probs = study.probs[found.rows]
    areas: list[tuple[str, WeightedMetric, NDArray, Any]] = [
        ("macro_auc", _macro_area, found.labels[found.index], lambda values: values)
    ]
    target = study.target
    if target is not None and not target.why_not():
        scored = functools.partial(target_scores, target=target, taxonomy=study.taxonomy)
        of_photo = target.labels[found.rows]
        if of_photo.any() and not of_photo.all():
            areas.append(
                ("target_auc", _target_area, of_photo.astype(int), lambda values: scored(values)[:, None])
            )
    cases = found.cases[found.index]
    for name, metric, labels, scores_of in areas:
        own = np.column_stack([scores_of(probs), weight])
        given = [np.column_stack([scores_of(values)[found.index], weight]) for values in pooled]
        most = _MOST_RANKED // own.size
        how = (cases, max(FEWEST_REPLICATES, min(study.replicates, most)), study.seed)
        _add_figures(rows, name, metric, labels, [own, given[0]], how, study.confidence)
        for row, answers in zip(rows[2:], given[1:], strict=True):
            row[name] = metric(labels, answers)


def _add_figures(
    rows: list[dict[str, Any]],
    name: str,
    metric: WeightedMetric,
    labels: NDArray,
    answers: Sequence[NDArray],
    how: tuple[NDArray[np.int64], int, int],
    confidence: float,
) -> None:
    """Adds a figure of each row's answers, and of all but the first the difference to it."""
    cases, replicates, seed = how
    codes = np.unique(cases, return_inverse=True)[1]
    drawn = [Sampled.of(metric, labels, given, codes, replicates, seed) for given in answers]
    for place, (row, one) in enumerate(zip(rows, drawn, strict=False)):
        row |= interval_columns(name, one.interval(confidence))
        if metric is mean_share and row[name] in (0, 1):  # no replicate differs
            share = proportion_by_case(answers[place], cases, confidence)
            row |= {f"{name}_low": share.low, f"{name}_high": share.high, f"{name}_reason": ""}
        if place:
            row |= _difference(name, compare_sampled(one, drawn[0], confidence))


def _difference(name: str, found: BootstrapComparison) -> dict[str, Any]:
    return {
        f"{name}_difference": found.difference,
        f"{name}_difference_low": found.low,
        f"{name}_difference_high": found.high,
        f"{name}_difference_reason": found.reason,
        f"{name}_p_value": found.p_value,
    }


def _by_case(values: NDArray, found: CasePhotos) -> float:
    """Returns the mean over cases of the mean over their photos."""
    return float((np.bincount(found.index, values) / found.photos).mean())
