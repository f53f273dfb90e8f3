"""Two-stage against single-stage diagnosis of one disease (thesis, chapter 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calls import UNKNOWN, youden_index
from skinjax.evaluate.mean_roc import compare_with_mean, mean_roc
from skinjax.evaluate.readers import reader_points
from skinjax.evaluate.roc import roc_curve
from skinjax.evaluate.subgroups import holm
from skinjax.report import figures_models, figures_roc
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
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
from skinjax.report.pictures import Picture, panel
from skinjax.report.sections.outside import outside_blocks
from skinjax.report.target_models import Intervals, Judged, Sample, calls_at, judge, rough

STRATEGIES = {
    "probability": "probability",
    "rival": "against the strongest rival",
    "log_odds": "log-odds",
    "argmax": "most probable class",
    "head": "logistic head",
}
"""Names of the output strategies for people; see `skinjax.decide.two_stage`."""

Scores = Mapping[str, NDArray[np.float64]]
"""Name of a sample -> float64[N], a score a photo."""

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
    """What is compared.

    Attributes:
        target: its name for people.
        samples: photos by name: "validation" and "test", then any from outside.
        strategies: of the two-stage network, by name of `STRATEGIES`.
        strategy: the one that is compared with the single-stage networks.
        drawn: of each network on a balanced draw.
        weighted: of the one network on all training photos with weighted loss.
        readers: columns `reader`, `image` and `call`, of test photos that all readers called; None for none.
        intervals: how they are made.
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
        """What is compared, by name for people, the two-stage network first: scores of one model, or of several."""
        count = len(self.drawn)
        mixed = {name: np.mean([scores[name] for scores in self.drawn], axis=0) for name in self.samples}
        return {
            f"Two-stage, {STRATEGIES[self.strategy]}": [self.strategies[self.strategy]],
            f"Single-stage, mean of {count} networks": list(self.drawn),
            f"Single-stage, {count} networks’ mean probability": [mixed],
            "Single-stage, one network, weighted loss": [self.weighted],
        }

    def calls_outside(self, name: str, judged: Mapping[str, Judged]) -> dict[str, NDArray[np.float64]]:
        """What each model calls of a sample from outside, at the thresholds of the validation photos."""
        return {
            model: calls_at(judged[model].thresholds, np.stack([each[name] for each in scores]))
            for model, scores in self.models().items()
        }

    def judge(self, name: str, scores: Sequence[Scores]) -> Judged:
        """A model's figures on the test photos."""
        validation, test = (np.stack([each[part] for each in scores]) for part in ("validation", "test"))
        return judge(name, self.samples["validation"], validation, self.samples["test"], test, self.intervals)


def two_stage_section(stages: Stages) -> tuple[Section, str]:
    """The comparison, and its verdict in a sentence.

    Args:
        stages: what is compared.

    Returns:
        The section and the sentence.
    """
    test = stages.samples["test"]
    judged = {name: stages.judge(name, scores) for name, scores in stages.models().items()}
    pairs = _pairs(stages, list(judged.values()))
    verdict = _verdict(stages, list(judged.values()), pairs)
    blocks: list[Block] = [Text(verdict)]
    blocks += [Text(words) for words in rough(stages.samples["validation"], test, stages.target)]
    if test.both():
        blocks.append(_figure(stages, judged))
    blocks += [_models(list(judged.values())), _pairs_table(pairs), Text(_words(stages), small=True)]
    strategies = {
        name: stages.judge(STRATEGIES[name].capitalize(), [scores])
        for name, scores in stages.strategies.items()
    }
    blocks += [
        Heading("Output strategies of the two-stage network"),
        _strategies(strategies, stages.strategy),
        Text(_strategy_words(stages), small=True),
        _drawn(stages),
    ]
    if stages.outside:
        called = {name: stages.calls_outside(name, judged) for name in stages.outside}
        blocks += [Heading("Photos from outside"), *outside_blocks(stages.samples, called, stages.intervals)]
    return Section(_ID, _TITLE, tuple(blocks), answered=test.both()), verdict


def _row(found: Judged) -> dict[str, object]:
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


def _models(judged: Sequence[Judged]) -> Table:
    data = pd.DataFrame([_row(found) for found in judged])
    names = zip(data["model"], _thresholds(data), strict=True)
    first = Column("Model", [f"{name}\nthreshold {threshold}" for name, threshold in names])
    return Table("two_stage", data, (first, *_columns(data, list(_FIGURES))))


def _strategies(judged: Mapping[str, Judged], chosen: str) -> Table:
    data = pd.DataFrame([_row(found) for found in judged.values()])
    data.insert(0, "strategy", list(judged))
    names = [
        f"{found.name}\nthe one compared above" if name == chosen else found.name
        for name, found in judged.items()
    ]
    return Table("two_stage_strategies", data, _with_threshold("Strategy", names, data))


def _drawn(stages: Stages) -> Table:
    judged = [stages.judge(f"Draw {number + 1}", [scores]) for number, scores in enumerate(stages.drawn)]
    data = pd.DataFrame([_row(found) for found in judged])
    caption = f"Each of the {len(judged)} single-stage networks on balanced draws"
    columns = _with_threshold("Network", list(data["model"]), data)
    return Table("single_stage_draws", data, columns, caption, folded=True)


def _with_threshold(heading: str, names: Sequence[str], data: pd.DataFrame) -> tuple[Column, ...]:
    columns = _columns(data, ["sensitivity", "specificity", "index"])
    return (Column(heading, names), Column("Threshold", _thresholds(data)), *columns)


def _pairs(stages: Stages, judged: Sequence[Judged]) -> pd.DataFrame:
    """Differences of the first model less each other one, by AUC and Youden's index."""
    test, intervals, first = stages.samples["test"], stages.intervals, judged[0]
    rows = []
    for other in judged[1:]:
        area = compare_with_mean(test.labels, first.scores[0], other.scores, test.cases, intervals.confidence)
        row: dict[str, object] = {"second": other.name}
        row |= {f"auc_{key}": getattr(area, key) for key in ("difference", "low", "high", "p_value")}
        row |= {f"index_{key}": np.nan for key in ("difference", "low", "high", "p_value")}
        if first.figures is not None and other.figures is not None and not test.lone():
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
    rows = pairs.to_dict("records")

    def differences(figure: str) -> list[str]:
        keys = [f"{figure}_{key}" for key in ("difference", "low", "high")]
        values = ([row[key] for key in keys] for row in rows)
        return [with_range(signed(value), low, high, signed) for value, low, high in values]

    columns = (
        Column("Two-stage less", [row["second"] for row in rows]),
        Column("AUC", differences("auc")),
        Column("p", [p_value(row["auc_p_value"]) for row in rows]),
        Column("Holm’s p", [p_value(row["auc_holm_p_value"]) for row in rows]),
        Column("Youden’s index", differences("index")),
        Column("p", [p_value(row["index_p_value"]) for row in rows]),
        Column("Holm’s p", [p_value(row["index_holm_p_value"]) for row in rows]),
    )
    return Table("two_stage_differences", pairs, columns)


def _verdict(stages: Stages, judged: Sequence[Judged], pairs: pd.DataFrame) -> str:
    test = stages.samples["test"]
    who = f"Two-stage diagnosis of {stages.target}"
    if not test.both():
        return f"{who} cannot be compared with single-stage: the test photos are of one class only."
    if test.lone():
        return f"{who} cannot be compared with single-stage: the test photos of one side are all of a single case."
    groups: dict[str, list[str]] = {"better": [], "worse": [], "equal": []}
    titles = (
        f"the mean of {len(stages.drawn)} single-stage networks",
        "their mean probability",
        "one weighted network",
    )
    for title, found, row in zip(titles, judged[1:], pairs.to_dict("records"), strict=True):
        known = row["auc_holm_p_value"] <= 1 - stages.intervals.confidence
        verdict = "equal" if not known else "better" if row["auc_difference"] > 0 else "worse"
        groups[verdict].append(f"{title} ({decimals(found.auc.auc)})")
    parts = [
        f"{words} {listed(groups[key])}"
        for key, words in (
            ("better", "is better than"),
            ("worse", "is worse than"),
            ("equal", "cannot be told from"),
        )
        if groups[key]
    ]
    return (
        f"{who} ({decimals(judged[0].auc.auc)}) {' and '.join(parts)}, by area under the ROC curve on "
        f"{len(test.labels):,} test photos of {len(np.unique(test.cases)):,} cases (paired tests by case, "
        "corrected by Holm)."
    )


def _figure(stages: Stages, judged: Mapping[str, Judged]) -> Figure:
    test = stages.samples["test"]
    curves: dict[str, figures_models.Curve] = {}
    behind: dict[str, list[figures_models.Curve]] = {}
    for name, found in judged.items():
        own = [roc_curve(test.labels, scores) for scores in found.scores]
        mean = mean_roc(own)
        label = f"{name} ({decimals(mean.auc)})"
        curves[label] = (mean.false_positive_rate, mean.sensitivity)
        if len(own) > 1:
            behind[label] = [(1 - curve.specificity, curve.sensitivity) for curve in own]
    places = {
        label: (found.figures.sensitivity.estimate, found.figures.specificity.estimate)
        for label, found in zip(curves, judged.values(), strict=True)
        if found.figures is not None
    }
    readers = _reader_table(stages)

    def draw(axes: figures_models.Axes) -> None:
        figures_models.roc_models(axes, curves, behind)
        figures_models.operating_points(axes, places, list(curves))
        if readers is not None:
            figures_roc.readers(axes, readers["sensitivity"], readers["specificity"])

    drawing = panel(
        "two_stage_roc", (480, 450), (44, 40, 10, 10), draw,
        "ROC curves: " + "; ".join(curves) + ".", legend="lower right",
    )  # fmt: skip
    data = figures_models.curve_table(
        curves | {f"draw {number + 1}": curve for number, curve in enumerate(next(iter(behind.values()), []))}
    )
    caption = (
        f"{stages.target} against the rest on the test photos; areas in brackets. The thick mean curve averages the "
        f"{len(stages.drawn)} thin ones vertically, as the thesis shows its single-stage networks. Dots: thresholds "
        "from the validation photos."
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
    count = len(stages.drawn)
    return (
        f"Thresholds are Youden’s on the validation photos. Intervals ({stages.intervals.level}) and tests are by "
        "case: areas by DeLong’s clustered covariance, Youden’s index by paired bootstrap. Missed diagnoses are 100% "
        "less the sensitivity, misdiagnoses 100% less the specificity. "
        f"“Mean of {count} networks” is the thesis’s single-stage figure: {count} binary networks, each on all of the "
        "smaller side’s training photos and as many of the larger one’s, its mean ROC curve and the means of their "
        "figures at their own thresholds; no single diagnosis attains it. Averaging their probabilities gives one "
        "diagnosis, which took as many networks. One network on all training photos, its loss weighted by class, is "
        "the single-stage alternative that costs what the two-stage network does. Holm’s p is corrected for the "
        "comparisons in its column."
    )


def _strategy_words(stages: Stages) -> str:
    words = (
        "How the network’s probabilities of all classes become one score for the target. The thesis takes the "
        "target’s probability; the other strategies are ours."
    )
    if "head" in stages.strategies:
        words += (
            " The logistic head was fitted on the validation photos, as its threshold was, so that its threshold "
            "is less certain than the others’."
        )
    else:
        words += " No logistic head could be fitted, for the validation photos are of one class only."
    return words
