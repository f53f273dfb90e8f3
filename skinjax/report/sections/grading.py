"""Chapter 5's answer: score and degree after calibration, which cancers were graded too low, and against readers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calibration import calibration_error, reliability_curve
from skinjax.evaluate.logistic_calibration import calibration_line
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.report import crossfit
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.cases import case_columns, counted
from skinjax.report.figures import calibration_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import bracketed, cell, decimals, percent, ranged
from skinjax.report.sections.advice import advice_blocks
from skinjax.report.sections.calibration import BINS
from skinjax.report.sections.graders import check_degree_readers, graders_blocks
from skinjax.report.sections.malignancy import RULES, Grades, counted_as_cancer, degree_blocks, graded
from skinjax.report.study import Study

MOST_LISTED = 1000
"""Cancers graded too low that the page lists; the CSV file has them all."""

_STAGES = {"before": "As answered", "after": "After temperature scaling"}


def grading_section(
    study: Study,
    degree_of_class: NDArray[np.int64],
    names: Sequence[str],
    cost: ArrayLike | None = None,
    readers: pd.DataFrame | None = None,
) -> tuple[list[str], Section]:
    """Degrees of malignancy by calibrated probabilities, and what a patient should know of them.

    Args:
      study: The model's answers, and how intervals are made.
      degree_of_class: int64[K], of `skinjax.report.sections.malignancy.check_degrees`.
      names: Names of the D degrees for people, the most benign first.
      cost: float[D, D], true degree by given degree; `skinjax.decide.malignancy.grading_cost` where it is None.
      readers: People's degrees: `reader`, `image` and `degree`, one row per reader and photo; None for none.

    Returns:
      The answer in words, and the section.

    Raises:
      ValueError: Names or readers that do not fit.
    """
    count = int(degree_of_class.max()) + 1
    if len(names) != count:
        raise ValueError(f"names must be of the {count} degrees, got {len(names)}")
    if readers is not None:
        check_degree_readers(readers, study.predictions.frame, count)
    tempered = None
    if study.calibration_parts is not None:
        tempered = crossfit.tempered(
            study.probs, study.labels, study.cases, study.calibration_parts, study.seed
        )
    before = graded(study, degree_of_class, cost, names)
    after = before if tempered is None else graded(study, degree_of_class, cost, names, tempered)
    blocks: list[Block] = [*degree_blocks(study, after), _costs(after)]
    blocks += _calibration(study, before, after, tempered)
    blocks += _too_low(study, after)
    if readers is not None:
        blocks += graders_blocks(study, after, readers)
    blocks += advice_blocks(study, degree_of_class, tempered)
    counted = counted_as_cancer(study, degree_of_class)
    return [_answer(study, after), counted], Section("malignancy", "Degrees of malignancy", tuple(blocks))


def _answer(study: Study, grades: Grades) -> str:
    cancer = grades.true > 0
    if not cancer.any():
        return "No photo is of a cancer, so nothing can be said of how they are graded."

    def too_low(rule: str) -> str:
        share = proportion_by_case(
            grades.given[rule][cancer] < grades.true[cancer], study.cases[cancer], study.confidence
        )
        return f"{percent(share.estimate)}{bracketed(share.low, share.high, percent)}"

    return (
        f"Of {int(cancer.sum()):,} photos of cancers of {counted(len(np.unique(study.cases[cancer])), study.unit)}, "
        f"{too_low('argmax')} are graded too low by the most probable degree and {too_low('least_cost')} by the least "
        f"expected cost; the {study.confidence_percent} intervals are by case."
    )


def _costs(grades: Grades) -> Table:
    data = pd.DataFrame(grades.cost, columns=[f"given_{d}" for d in range(len(grades.names))])
    data.insert(0, "true", range(len(grades.names)))
    columns = [Column("True degree", list(grades.names))]
    for place, name in enumerate(grades.names):
        columns.append(
            Column(f"given {name.lower()}", [f"{row[place]:g}" for row in grades.cost], number=True)
        )
    caption = "What each degree given costs, which the last two rules and the mean cost go by"
    return Table("malignancy_cost", data, tuple(columns), caption)


def _calibration(
    study: Study, before: Grades, after: Grades, tempered: crossfit.Tempered | None
) -> list[Block]:
    """Shows the calibration of P(malignant) and of P(highest degree), before and after scaling."""
    stages = {"before": before} | ({} if tempered is None else {"after": after})
    highest = len(after.names) - 1
    events = {f"{after.names[1]} or more" if highest > 1 else after.names[1]: 1}
    if highest > 1:
        events[after.names[highest]] = highest
    rows, panels, drawn = [], [], []
    draws = (study.cases, study.replicates, study.confidence, study.seed)
    for event, least in events.items():
        curves = []
        for stage, grades in stages.items():
            truth = (grades.true >= least).astype(np.int64)
            given = np.clip(grades.probs[:, least:].sum(axis=1), 0.0, 1.0)
            curve = reliability_curve(truth, given, study.cases, BINS, confidence=study.confidence)
            curves.append(curve)
            drawn.append(
                pd.DataFrame(
                    {"event": event, "stage": stage, "predicted": curve.predicted, "observed": curve.observed,
                     "low": curve.low, "high": curve.high, "photos": curve.num_photos}
                )
            )  # fmt: skip
            row: dict[str, object] = {"event": event, "stage": stage}
            for name, metric in (("ece", calibration_error("binary")), ("brier", bootstrap.brier)):
                found = bootstrap.by_case(metric, (truth, given), *draws)
                row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
            line = calibration_line(truth, given, study.cases, study.confidence)
            row |= {
                part: getattr(line, part)
                for part in ("slope", "slope_low", "slope_high")
            }  # fmt: skip
            rows.append(row)
        titles = [_STAGES[stage].lower() for stage in stages]
        panels.append(
            panel(
                f"degree_reliability_{least}", (330, 322), (44, 40, 10, 26),
                functools.partial(calibration_plots.reliability, curves=curves, names=titles),
                f"Reliability of the probability of {event.lower()}.", event, legend=True,
            )
        )  # fmt: skip
    data = pd.DataFrame(rows)
    columns = (
        Column("Probability", [_STAGES[str(stage)] for stage in data["stage"]]),
        Column("Calibration error", ranged(data, "ece", decimals)),
        Column("Calibration slope", ranged(data, "slope", lambda value: decimals(value, 2))),
        Column("Brier score", ranged(data, "brier", decimals)),
    )
    caption = (
        f"How often the degree came true against its probability, in {BINS} bins of equally many photos, with "
        f"{study.confidence_percent} intervals by case; on the diagonal probabilities are calibrated."
    )
    if tempered is None:
        words = (
            "All photos are of one case, so no temperature could be fitted on other cases: nothing is scaled."
        )
    else:
        low, high = tempered.temperatures.min(), tempered.temperatures.max()
        words = (
            "Score and degrees on this page are of the probabilities after temperature scaling. For every photo the "
            f"temperature was fitted on {study.other_cases}, {decimals(low, 2)} to {decimals(high, 2)}; for other "
            f"photos take the one fitted on all of these, {decimals(tempered.overall, 3)}."
        )
    return [
        Heading("Are the probabilities calibrated?"),
        Figure(Picture("degree_reliability", tuple(panels), caption, pd.concat(drawn, ignore_index=True))),
        Table("malignancy_calibration", data, columns, group=[str(event) for event in data["event"]]),
        Text(words, small=True),
    ]


def _too_low(study: Study, grades: Grades) -> list[Block]:
    """Shows which tumours are graded too low, and every such photo by name."""
    rows = []
    for k in np.unique(study.labels[grades.true > 0]):
        mine = study.labels == k
        row: dict[str, object] = {
            "tumour": study.taxonomy.classes()[k],
            "degree": int(grades.true[mine][0]),
            "photos": int(mine.sum()),
            "cases": len(np.unique(study.cases[mine])),
        }
        for rule, given in grades.given.items():
            share = proportion_by_case((given < grades.true)[mine], study.cases[mine], study.confidence)
            row |= {rule: share.estimate, f"{rule}_low": share.low, f"{rule}_high": share.high}
        rows.append(row)
    if not rows:
        return []
    by_tumour = pd.DataFrame(rows)
    columns = [
        Column("Tumour", [study.taxonomy.title(name) for name in by_tumour["tumour"]]),
        Column("True degree", [grades.names[d] for d in by_tumour["degree"]]),
        Column("Photos", [cell(n) for n in by_tumour["photos"]], number=True),
        *case_columns(by_tumour["cases"].tolist(), study.unit),
    ] + [Column(RULES[rule], ranged(by_tumour, rule, percent)) for rule in grades.given]
    listed = under_graded_photos(study, grades)
    caption = f"All {len(listed):,} photos of cancers that some rule graded too low, the worst first"
    if len(listed) > MOST_LISTED:
        caption = (
            f"The worst {MOST_LISTED:,} of {len(listed):,} photos of cancers that some rule graded too low "
            "(tables/under_graded.csv has them all)"
        )
    blocks: list[Block] = [
        Heading("Cancers graded too low"),
        Table("under_graded_tumours", by_tumour, tuple(columns), "Share of photos graded too low, by rule"),
    ]
    if not len(listed):
        return [*blocks, Text("No rule graded a cancer too low.")]
    top = listed.head(MOST_LISTED)
    shown = [
        Column("Photo", [f"{a}\ncase {b}" for a, b in zip(top["image"], top["case_id"], strict=True)]),
        Column("Tumour", [study.taxonomy.title(name) for name in top["label"]]),
        Column("True degree", [grades.names[d] for d in top["degree"]]),
        *(Column(RULES[rule], [grades.names[d] for d in top[rule]]) for rule in grades.given),
        Column("Score", [decimals(score, 1) for score in top["score"]], number=True),
    ]
    return [*blocks, Table("under_graded", listed, tuple(shown), caption, folded=True)]


def under_graded_photos(study: Study, grades: Grades) -> pd.DataFrame:
    """Returns the photos of cancers that some rule gives too low a degree, the worst first.

    Args:
      study: The model's answers, and how intervals are made.
      grades: What it gives.

    Returns:
      One row per photo: `image`, `case_id`, `label`, the true `degree`, one column per rule with the degree given,
      `score`. First those that the least expected cost grades lowest below the truth, then those that the rules
      together do, then those with the lowest score.
    """
    table = study.predictions.frame[["image", "case_id", "label"]].assign(degree=grades.true)
    short = {rule: np.maximum(grades.true - given, 0) for rule, given in grades.given.items()}
    table = table.assign(**dict(grades.given), score=grades.scores)
    order = np.lexsort([grades.scores, -sum(short.values()), -short["least_cost"]])
    kept = order[(sum(short.values()) > 0)[order]]
    return table.iloc[kept].reset_index(drop=True)
