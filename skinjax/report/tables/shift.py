"""Two populations: networks of each tested on both, as tables of what is lost, overall, by class and by skin type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.evaluate import bootstrap
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.results import Interval, IntervalResult
from skinjax.evaluate.shift import independent_difference
from skinjax.evaluate.subgroups import MIN_CASES
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.cases import Unit, unit_of
from skinjax.report.sections.subgroups import group_names

METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auc": "Macro AUC",
}
"""The figures, by the names of their columns."""

_BOOTSTRAPPED = {
    "accuracy": bootstrap.accuracy,
    "balanced_accuracy": bootstrap.balanced_accuracy,
    "macro_f1": bootstrap.macro_f1,
}


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkAnswers:
    """A network's answers on one set of photos.

    Attributes:
      labels: int[N], true classes.
      probs: float64[N, K].
      cases: [N], the case of each photo.
      groups: object[N], the skin type of each photo as text, None where it is not known.
      unit: What `cases` tells apart.
    """

    labels: NDArray[np.int32]
    probs: NDArray[np.float64]
    cases: NDArray
    groups: NDArray[np.object_]
    unit: Unit = "case"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Returns int64[N], the most probable class."""
        return self.probs.argmax(axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Shift:
    """Networks of two populations tested on both.

    Attributes:
      names: Names of the two sets, for people.
      taxonomy: The shared classes, in one level.
      tested: (trained on, tested on) -> answers, sets as 0 and 1; on one set all networks answer the same photos, in
        one order.
      confidence: Confidence level of every interval, in (0, 1).
      replicates: Number of replicates of every bootstrap.
      seed: Seed of every bootstrap.
    """

    names: tuple[str, str]
    taxonomy: Taxonomy
    tested: Mapping[tuple[int, int], NetworkAnswers]
    confidence: float = 0.95
    replicates: int = 2000
    seed: int = 0

    @property
    def draws(self) -> tuple[int, float, int]:
        """Returns the replicates, confidence and seed, which every bootstrap takes."""
        return self.replicates, self.confidence, self.seed

    @property
    def units(self) -> tuple[Unit, Unit]:
        """Returns what the cases of each set tell apart."""
        return self.tested[0, 0].unit, self.tested[1, 1].unit

    @property
    def confidence_percent(self) -> str:
        """Returns the confidence for people."""
        return f"{100 * self.confidence:g}%"


def answers_of(predictions: Predictions) -> NetworkAnswers:
    """Brings predictions into the form of this module, photos in the order of their names.

    Args:
      predictions: One network's predictions, perhaps with `skin_tone`.
    """
    predictions = predictions.take(np.argsort(predictions.image, kind="stable"))
    frame = predictions.frame
    tones = frame["skin_tone"] if "skin_tone" in frame else pd.Series([None] * len(frame), dtype=object)
    return NetworkAnswers(
        predictions.label,
        predictions.probabilities(),
        predictions.case_id,
        group_names(tones),
        unit_of(predictions.case_id, predictions.image),
    )


def matrix_table(shift: Shift) -> pd.DataFrame:
    """Builds each pair's figures with intervals by case: `trained`, `tested`, `photos`, `cases`, and the `METRICS`.

    Args:
      shift: The four pairs.
    """
    rows = []
    for (trained, on), one in sorted(shift.tested.items()):
        row: dict[str, object] = {
            "trained": shift.names[trained],
            "tested": shift.names[on],
            "photos": len(one.labels),
            "cases": len(np.unique(one.cases)),
        }
        for name, found in _figures(shift, one).items():
            row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _figures(shift: Shift, one: NetworkAnswers) -> dict[str, IntervalResult]:
    found: dict[str, IntervalResult] = {
        name: bootstrap.by_case(metric, (one.labels, one.predicted), one.cases, *shift.draws)
        for name, metric in _BOOTSTRAPPED.items()
    }
    area = macro_auc_interval(one.labels, one.probs, shift.confidence, one.cases)
    return found | {"macro_auc": area}


def loss_table(shift: Shift, matrix: pd.DataFrame) -> pd.DataFrame:
    """Builds what is lost: on the other photos, and on the same photos by having been trained elsewhere.

    Args:
      shift: The four pairs.
      matrix: The table that `matrix_table` returned.

    Returns:
      Rows of `kind` ("other photos", "same photos"), `trained` and `tested`, `metric`, `own`, `other`, `loss` (own
      less other) with limits, `p_value` (of the same photos alone). "Other photos": the network of `trained` on its
      own set less on the other one, independent samples. "Same photos": on `tested`, its own network less the
      other's, paired by case.
    """
    rows: list[dict[str, object]] = []
    figures = {
        (row["trained"], row["tested"], metric): Interval(
            row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
        )
        for row in matrix.to_dict("records")
        for metric in METRICS
    }
    for home in (0, 1):
        here, away = shift.names[home], shift.names[1 - home]
        for metric in METRICS:
            own, other = figures[here, here, metric], figures[here, away, metric]
            lost = independent_difference(own, other)
            rows.append(_loss("other photos", (here, away), metric, own, other, lost))
        for metric in METRICS:
            own, other = figures[here, here, metric], figures[away, here, metric]
            lost, p = _paired(shift, metric, shift.tested[home, home], shift.tested[1 - home, home])
            rows.append(_loss("same photos", (away, here), metric, own, other, lost, p))
    return pd.DataFrame(rows)


def _paired(
    shift: Shift, metric: str, own: NetworkAnswers, foreign: NetworkAnswers
) -> tuple[Interval, float]:
    """Returns the own network's figure less the foreign one's on the same photos, and the p-value."""
    if metric == "macro_auc":
        areas = compare_macro_auc(own.labels, own.probs, foreign.probs, own.cases, shift.confidence)
        return Interval(areas.difference, areas.low, areas.high), areas.p_value
    found = bootstrap.paired_by_case(
        _BOOTSTRAPPED[metric], own.labels, own.predicted, foreign.predicted, own.cases, *shift.draws
    )
    return Interval(found.difference, found.low, found.high), found.p_value


def _loss(
    kind: str,
    pair: tuple[str, str],
    metric: str,
    own: Interval,
    other: Interval,
    lost: Interval,
    p: float = np.nan,
) -> dict[str, object]:
    return {
        "kind": kind, "trained": pair[0], "tested": pair[1], "metric": metric, "own": own.estimate,
        "other": other.estimate, "loss": lost.estimate, "loss_low": lost.low, "loss_high": lost.high, "p_value": p,
    }  # fmt: skip


def class_table(shift: Shift) -> pd.DataFrame:
    """Builds recall of each class on the own and on the other set's photos, and the loss, with intervals by case.

    Args:
      shift: The four pairs.

    Returns:
      Rows of `trained`, `class`, then `own`, `other` and `loss` (own less other), each with `_low` and `_high`, and
      `photos_own`, `cases_own`, `photos_other`, `cases_other`; missing where a set has no photo of the class.
    """
    rows = []
    for home in (0, 1):
        for k, name in enumerate(shift.taxonomy.classes()):
            row: dict[str, object] = {"trained": shift.names[home], "class": name}
            sides: dict[str, IntervalResult] = {}
            for side, on in (("own", home), ("other", 1 - home)):
                one = shift.tested[home, on]
                mine = one.labels == k
                row |= {f"photos_{side}": int(mine.sum()), f"cases_{side}": len(np.unique(one.cases[mine]))}
                sides[side] = Interval(np.nan, np.nan, np.nan)
                if mine.any():
                    sides[side] = proportion_by_case(
                        one.predicted[mine] == k, one.cases[mine], shift.confidence
                    )
            sides["loss"] = independent_difference(sides["own"], sides["other"])
            for side, found in sides.items():
                row |= {side: found.estimate, f"{side}_low": found.low, f"{side}_high": found.high}
            rows.append(row)
    return pd.DataFrame(rows)


def tone_table(shift: Shift) -> pd.DataFrame:
    """Builds accuracy by skin type on each set, of its own network and of the other's, and the loss on the same photos.

    Args:
      shift: The four pairs.

    Returns:
      Rows of `tested`, `skin_tone`, `photos`, `cases`, `small`, then `own`, `other` and `loss`, each with `_low` and
      `_high`, and `p_value`; none for a set whose skin types are not known.
    """
    rows = []
    for on in (0, 1):
        own, foreign = shift.tested[on, on], shift.tested[1 - on, on]
        for tone in sorted({tone for tone in own.groups if tone is not None}):
            mine = own.groups == tone
            labels, cases = own.labels[mine], own.cases[mine]
            count = len(np.unique(cases))
            row: dict[str, object] = {
                "tested": shift.names[on], "skin_tone": tone, "photos": len(labels), "cases": count,
                "small": count < MIN_CASES,
            }  # fmt: skip
            for side, one in (("own", own), ("other", foreign)):
                share = proportion_by_case(one.predicted[mine] == labels, cases, shift.confidence)
                row |= {side: share.estimate, f"{side}_low": share.low, f"{side}_high": share.high}
            lost = bootstrap.paired_by_case(
                bootstrap.accuracy, labels, own.predicted[mine], foreign.predicted[mine], cases, *shift.draws
            )
            row |= {"loss": lost.difference, "loss_low": lost.low, "loss_high": lost.high}
            rows.append(row | {"p_value": lost.p_value})
    return pd.DataFrame(rows)
