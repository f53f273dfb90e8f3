"""Two-stage against single-stage diagnosis of one disease (thesis, chapter 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.decide.two_stage import FIXED_THRESHOLDS
from skinjax.evaluate import bootstrap
from skinjax.evaluate.calls import UNKNOWN, youden_index
from skinjax.evaluate.mean_roc import compare_with_mean, mean_roc
from skinjax.evaluate.readers import reader_points
from skinjax.evaluate.roc import roc_curve
from skinjax.evaluate.subgroups import holm
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.cases import counted, unit_of
from skinjax.report.figures import model_plots, roc_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import (
    cell,
    decimals,
    listed,
    p_value,
    percent,
    ranged,
    signed,
    with_range,
)
from skinjax.report.sections.outside import outside_blocks
from skinjax.report.tables.target_models import (
    Intervals,
    Sample,
    TargetModel,
    calls_at,
    evaluate_target_model,
    warn_of_few_cases,
)

STRATEGIES = {
    "probability": "probability",
    "merged": "target against all others together",
    "rival": "against the strongest rival",
    "log_odds": "log-odds",
    "argmax": "most probable class",
    "head": "logistic head",
}
"""Names of the output strategies for people; see `skinjax.decide.two_stage`."""

Scores = Mapping[str, NDArray[np.float64]]
"""Name of a sample -> float64[N], a score per photo."""

_ID, _TITLE = "two_stage", "Two-stage against single-stage"
_FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "index": "Youden’s index",
    "missed": "Missed diagnoses",
    "misdiagnosed": "Misdiagnoses",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Stages:
    """Models that are compared, with one and with two stages.

    Attributes:
      target: Its name for people.
      samples: Photos by name: "validation" and "test", then any from outside.
      strategies: Scores of the two-stage network, by name of `STRATEGIES`.
      strategy: The one that is compared with the single-stage networks.
      drawn: Scores of each network on a balanced draw.
      weighted: Scores of the one network on all training photos with weighted loss.
      readers: Columns `reader`, `image` and `call`, of test photos that all readers called; None for none.
      intervals: How intervals are made.
    """

    target: str
    samples: Mapping[str, Sample]
    strategies: Mapping[str, Scores]
    strategy: str
    drawn: Sequence[Scores]
    weighted: Scores
    readers: pd.DataFrame | None = None
    intervals: Intervals = dataclasses.field(default_factory=Intervals)

    @property
    def outside(self) -> list[str]:
        """Names of the samples from outside."""
        return [name for name in self.samples if name not in ("validation", "test")]

    def models(self) -> dict[str, list[Scores]]:
        """Returns the scores of what is compared, of one model or several, by title; the two-stage network first."""
        count = len(self.drawn)
        mixed = {name: np.mean([scores[name] for scores in self.drawn], axis=0) for name in self.samples}
        return {
            f"Two-stage, {STRATEGIES[self.strategy]}": [self.strategies[self.strategy]],
            f"Single-stage, mean of {count} networks": list(self.drawn),
            f"Single-stage, {count} networks’ mean probability": [mixed],
            "Single-stage, one network, weighted loss": [self.weighted],
        }

    def calls_outside(self, name: str, models: Mapping[str, TargetModel]) -> dict[str, NDArray[np.float64]]:
        """Returns what each model calls of a sample from outside, at the thresholds of the validation photos."""
        return {
            model: calls_at(models[model].thresholds, np.stack([each[name] for each in scores]))
            for model, scores in self.models().items()
        }

    def evaluate(self, name: str, scores: Sequence[Scores], strategy: str = "") -> TargetModel:
        """Returns a model's figures on the test photos, with the strategy's own threshold where that is fixed."""
        validation, test = (np.stack([each[part] for each in scores]) for part in ("validation", "test"))
        return evaluate_target_model(
            name, self.samples["validation"], validation, self.samples["test"], test, self.intervals,
            FIXED_THRESHOLDS.get(strategy),
        )  # fmt: skip


def two_stage_section(stages: Stages) -> tuple[Section, str]:
    """Builds the comparison, and its verdict in a sentence for the head of the page.

    Args:
      stages: What is compared.

    Returns:
      The section and the sentence.
    """
    test = stages.samples["test"]
    models = {
        name: stages.evaluate(name, scores, "" if number else stages.strategy)
        for number, (name, scores) in enumerate(stages.models().items())
    }
    pairs = _pairs(stages, list(models.values()))
    verdict = _verdict(stages, list(models.values()), pairs)
    few = warn_of_few_cases(stages.samples["validation"], test, stages.target)
    blocks: list[Block] = [Text(words) for words in few]
    if test.both():
        blocks.append(_figure(stages, models))
    blocks += [_models(list(models.values())), _pairs_table(pairs), Text(_words(stages), small=True)]
    strategies = {
        name: stages.evaluate(STRATEGIES[name].capitalize(), [scores], name)
        for name, scores in stages.strategies.items()
    }
    blocks += [
        Heading("Output strategies of the two-stage network"),
        _strategies(strategies, stages.strategy),
        Text(_strategy_words(stages), small=True),
        _drawn(stages),
    ]
    if stages.outside:
        called = {name: stages.calls_outside(name, models) for name in stages.outside}
        blocks += [Heading("Photos from outside"), *outside_blocks(stages.samples, called, stages.intervals)]
    return Section(_ID, _TITLE, tuple(blocks), answered=test.both()), verdict


def _row(found: TargetModel) -> dict[str, object]:
    row: dict[str, object] = {
        "model": found.name,
        "networks": len(found.scores),
        "auc": found.auc.auc,
        "auc_low": found.auc.low,
        "auc_high": found.auc.high,
        "threshold_low": found.thresholds.min(),
        "threshold_high": found.thresholds.max(),
    }
    figures = found.figures
    limits = dict.fromkeys(_FIGURES, UNKNOWN)
    if figures is not None:
        limits = {
            "sensitivity": figures.sensitivity,
            "specificity": figures.specificity,
            "index": figures.index,
            "missed": figures.sensitivity.complement(),
            "misdiagnosed": figures.specificity.complement(),
        }
    for name, value in limits.items():
        row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
    return row


def _thresholds(data: pd.DataFrame) -> list[str]:
    limits = zip(data["threshold_low"], data["threshold_high"], strict=True)
    return [cell(a) if a == b or np.isnan(a) else f"{cell(a)} to {cell(b)}" for a, b in limits]


def _columns(data: pd.DataFrame, figures: Sequence[str]) -> list[Column]:
    shown = [
        Column(_FIGURES[name], ranged(data, name, decimals if name == "index" else percent))
        for name in figures
    ]
    return [Column("AUC", ranged(data, "auc")), *shown]


def _models(models: Sequence[TargetModel]) -> Table:
    data = pd.DataFrame([_row(found) for found in models])
    names = zip(data["model"], _thresholds(data), strict=True)
    first = Column("Model", [f"{name}\nthreshold {threshold}" for name, threshold in names])
    return Table("two_stage", data, (first, *_columns(data, list(_FIGURES))))


def _strategies(models: Mapping[str, TargetModel], chosen: str) -> Table:
    data = pd.DataFrame([_row(found) for found in models.values()])
    data.insert(0, "strategy", list(models))
    names = [
        f"{found.name}\nthe one compared above" if name == chosen else found.name
        for name, found in models.items()
    ]
    return Table("two_stage_strategies", data, _with_threshold("Strategy", names, data))


def _drawn(stages: Stages) -> Table:
    models = [stages.evaluate(f"Draw {number + 1}", [scores]) for number, scores in enumerate(stages.drawn)]
    data = pd.DataFrame([_row(found) for found in models])
    caption = f"Each of the {len(models)} single-stage networks on balanced draws"
    columns = _with_threshold("Network", list(data["model"]), data)
    return Table("single_stage_draws", data, columns, caption, folded=True)


def _with_threshold(heading: str, names: Sequence[str], data: pd.DataFrame) -> tuple[Column, ...]:
    columns = _columns(data, ["sensitivity", "specificity", "index"])
    return (Column(heading, names), Column("Threshold", _thresholds(data)), *columns)


def _pairs(stages: Stages, models: Sequence[TargetModel]) -> pd.DataFrame:
    """Differences of the first model less each other one, by AUC and Youden's index."""
    test, intervals, first = stages.samples["test"], stages.intervals, models[0]
    few = test.too_few()
    rows = []
    for other in models[1:]:
        area = compare_with_mean(test.labels, first.scores[0], other.scores, test.cases, intervals.confidence)
        row: dict[str, object] = {"second": other.name}
        row |= {f"auc_{key}": getattr(area, key) for key in ("difference", "low", "high", "p_value")}
        row |= {f"index_{key}": np.nan for key in ("difference", "low", "high", "p_value")}
        row["reason"] = few
        if few:  # what the formula gives for so few cases is no test
            row |= {f"auc_{key}": np.nan for key in ("low", "high", "p_value")}
        if first.figures is not None and other.figures is not None:
            row["index_difference"] = first.figures.index.estimate - other.figures.index.estimate
        if first.figures is not None and other.figures is not None and not few:
            index = bootstrap.paired_by_case(
                youden_index, test.labels, first.calls, other.calls, test.cases, intervals.replicates,
                intervals.confidence, intervals.seed,
            )  # fmt: skip
            row |= {f"index_{key}": getattr(index, key) for key in ("difference", "low", "high", "p_value")}
        rows.append(row)
    data = pd.DataFrame(rows)
    data.insert(0, "first", first.name)
    for figure in ("auc", "index"):
        data[f"{figure}_holm_p_value"] = holm(data[f"{figure}_p_value"])
    return data


def _pairs_table(pairs: pd.DataFrame) -> Table:
    """Shows differences with their tests; where there are too few cases for these, differences alone."""
    rows = pairs.to_dict("records")
    columns = [Column("Two-stage less", [row["second"] for row in rows])]
    for figure, title in (("auc", "AUC"), ("index", "Youden’s index")):
        values = [[row[f"{figure}_{key}"] for key in ("difference", "low", "high")] for row in rows]
        columns.append(
            Column(title, [with_range(signed(value), low, high, signed) for value, low, high in values])
        )
        if not pairs["reason"].any():
            columns.append(Column("p", [p_value(row[f"{figure}_p_value"]) for row in rows]))
            columns.append(Column("Holm’s p", [p_value(row[f"{figure}_holm_p_value"]) for row in rows]))
    return Table("two_stage_differences", pairs, tuple(columns))


def _verdict(stages: Stages, models: Sequence[TargetModel], pairs: pd.DataFrame) -> str:
    test = stages.samples["test"]
    who = f"Two-stage diagnosis of {stages.target}"
    if not test.both():
        return f"{who} cannot be compared with single-stage: the test photos are of one class only."
    if few := test.too_few():
        return (
            f"{who} is not compared with single-stage by a test: among the test photos {few}. Its area under the ROC "
            f"curve is {decimals(models[0].auc.auc)}, those of the others are "
            f"{listed([decimals(found.auc.auc) for found in models[1:]])}."
        )
    groups: dict[str, list[str]] = {"better": [], "worse": [], "equal": []}
    titles = (
        f"the mean of {len(stages.drawn)} single-stage networks",
        "their mean probability",
        "one weighted network",
    )
    for title, found, row in zip(titles, models[1:], pairs.to_dict("records"), strict=True):
        known = row["auc_holm_p_value"] <= 1 - stages.intervals.confidence
        verdict = "equal" if not known else "better" if row["auc_difference"] > 0 else "worse"
        groups[verdict].append(f"{title} ({decimals(found.auc.auc)})")
    parts = [
        f"{words} {listed(groups[key])}"
        for key, words in (
            ("better", "is better than"),
            ("worse", "is worse than"),
            ("equal", "cannot be distinguished from"),
        )
        if groups[key]
    ]
    return (
        f"{who} ({decimals(models[0].auc.auc)}) {' and '.join(parts)}, by area under the ROC curve on "
        f"{len(test.labels):,} test photos of {counted(len(np.unique(test.cases)), unit_of(test.cases))} "
        "(paired tests by case, corrected by Holm)."
    )


def _figure(stages: Stages, models: Mapping[str, TargetModel]) -> Figure:
    test = stages.samples["test"]
    curves: dict[str, model_plots.Curve] = {}
    behind: dict[str, list[model_plots.Curve]] = {}
    for name, found in models.items():
        own = [roc_curve(test.labels, scores) for scores in found.scores]
        mean = mean_roc(own)
        label = f"{name} ({decimals(mean.auc)})"
        curves[label] = (mean.false_positive_rate, mean.sensitivity)
        if len(own) > 1:
            behind[label] = [(1 - curve.specificity, curve.sensitivity) for curve in own]
    places = {
        label: (found.figures.sensitivity.estimate, found.figures.specificity.estimate)
        for label, found in zip(curves, models.values(), strict=True)
        if found.figures is not None
    }
    readers = _reader_table(stages)

    def draw(axes: model_plots.Axes) -> None:
        model_plots.roc_models(axes, curves, behind)
        model_plots.operating_points(axes, places, list(curves))
        if readers is not None:
            roc_plots.readers(axes, readers["sensitivity"], readers["specificity"])

    drawing = panel(
        "two_stage_roc", (360, 338), (44, 40, 10, 10), draw,
        "ROC curves: " + "; ".join(curves) + ".", legend=True,
    )  # fmt: skip
    data = model_plots.curve_table(
        curves | {f"draw {number + 1}": curve for number, curve in enumerate(next(iter(behind.values()), []))}
    )
    caption = (
        f"{stages.target} against the rest on the test photos; areas in brackets. The thick mean curve averages the "
        f"{len(stages.drawn)} thin ones, as chapter 3 of the thesis shows its single-stage networks; that this is done "
        "vertically is ours. Dots: thresholds from the validation photos."
    )
    if readers is not None:
        caption += f" Diamonds: the {len(readers)} readers, on the photos that all of them read."
        shown = readers.assign(
            one_minus_specificity=1 - readers["specificity"], model="reader " + readers["reader"]
        )
        data = pd.concat([data, shown[list(data.columns)]], ignore_index=True)
    return Figure(Picture("two_stage_roc", (drawing,), caption, data))


def _reader_table(stages: Stages) -> pd.DataFrame | None:
    if stages.readers is None:
        return None
    test = stages.samples["test"]
    calls = stages.readers.pivot(index="reader", columns="image", values="call")
    calls = calls.loc[:, calls.notna().all()]
    truth = test.labels[pd.Index(test.images).get_indexer(calls.columns)]
    sensitivity, specificity = reader_points(truth, calls.to_numpy(np.float64))
    return pd.DataFrame(
        {"reader": calls.index.astype(str), "sensitivity": sensitivity, "specificity": specificity}
    )


def _words(stages: Stages) -> str:
    count, few = len(stages.drawn), stages.samples["test"].too_few()
    fixed = ", the two-stage network’s is fixed" if stages.strategy in FIXED_THRESHOLDS else ""
    return (
        f"Thresholds are Youden’s on the validation photos{fixed}. Intervals ({stages.intervals.confidence_percent}) "
        "and tests are by case: areas by DeLong’s clustered covariance, Youden’s index by paired bootstrap. "
        "Missed diagnoses are 100% less the sensitivity, misdiagnoses 100% less the specificity. "
        f"“Mean of {count} networks” is the thesis’s single-stage figure: {count} binary networks, each on all of the "
        "smaller side’s training photos and as many of the larger one’s, its mean ROC curve and the means of their "
        "figures at their own thresholds; no single diagnosis attains it. Averaging their probabilities gives one "
        "diagnosis, which took as many networks. One network on all training photos, its loss weighted by class, is "
        "the single-stage alternative that costs what the two-stage network does. "
        + (
            f"No differences are tested: {few}."
            if few
            else "Holm’s p is corrected for the comparisons in its column."
        )
    )


def _strategy_words(stages: Stages) -> str:
    words = (
        "How the network’s probabilities of all classes become one score for the target. The thesis takes the "
        "target’s probability, or merges the other classes and asks whether the target has at least what they have "
        "together; the other strategies are ours. The thresholds of that rule and of the most probable class are fixed."
    )
    if "head" in stages.strategies:
        words += (
            " The logistic head was fitted on the validation photos, as its threshold was, so that its threshold "
            "is less certain than the others’."
        )
    else:
        words += " No logistic head could be fitted, for the validation photos are of one class only."
    return words
