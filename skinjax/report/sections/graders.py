"""The degrees that a model gives beside those that people gave the same photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate.fewest import too_few_cases
from skinjax.evaluate.grading import FIGURES, compare_with_graders, grading_figures
from skinjax.evaluate.mrmc import Contrast
from skinjax.evaluate.results import Interval
from skinjax.report.blocks import Block, Column, Figure, Heading, Table, Text
from skinjax.report.cases import photos_of
from skinjax.report.figures import canvas, group_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import decimals, p_value, percent, points, signed, with_range
from skinjax.report.sections.malignancy import RULES, Grades
from skinjax.report.study import Study

_HEADINGS = {"kappa": "Quadratic kappa", "cost": "Mean cost", "under_graded": "Cancers too low"}


def check_degree_readers(readers: pd.DataFrame, predictions: pd.DataFrame, num_degrees: int) -> None:
    """Refuses readers' degrees that do not fit the predictions.

    Args:
      readers: With the columns `reader`, `image` and `degree`.
      predictions: With the column `image`.
      num_degrees: D.

    Raises:
      ValueError: Missing columns, degrees outside [0, D), a photo that a reader graded twice, or photos that the
        predictions lack.

    Example:
      >>> readers = pd.DataFrame({"reader": ["r"], "image": ["a"], "degree": [2]})
      >>> check_degree_readers(readers, pd.DataFrame({"image": ["a"]}), num_degrees=3)
    """
    absent = [name for name in ("reader", "image", "degree") if name not in readers.columns]
    if absent:
        raise ValueError(f"readers must have the columns {', '.join(absent)}, which are missing")
    if not readers["degree"].isin(range(num_degrees)).all():
        raise ValueError(f"readers must give degrees from 0 to {num_degrees - 1}, got others")
    twice = readers.duplicated(["reader", "image"])
    if twice.any():
        reader, image = readers.loc[twice, ["reader", "image"]].iloc[0]
        raise ValueError(f"readers must grade a photo once, got {image!r} twice from {reader!r}")
    unknown = ~readers["image"].isin(predictions["image"])
    if unknown.any():
        raise ValueError(
            f"readers must grade photos of the predictions, got {int(unknown.sum())} others, the first "
            f"{readers.loc[unknown, 'image'].iloc[0]!r}"
        )


def graders_blocks(study: Study, grades: Grades, readers: pd.DataFrame) -> list[Block]:
    """Figures of the rules and of each reader on the photos that all readers graded, and the rules less the readers.

    Args:
      study: The model's answers, and how intervals are made.
      grades: What it gives.
      readers: As `check_degree_readers` takes them.
    """
    answers = readers.pivot(index="reader", columns="image", values="degree")
    left_out = int(answers.isna().any().sum())
    answers = answers.loc[:, answers.notna().all()]
    heading = Heading(f"Against {len(answers)} reader{'s' * (len(answers) > 1)}")
    if not answers.shape[1]:
        return [heading, Text("No photo was graded by all readers, so nothing can be compared.")]
    photos = pd.Index(study.predictions.image).get_indexer(answers.columns)
    true, cases = grades.true[photos], study.cases[photos]
    draws = (study.replicates, study.confidence, study.seed)
    given = answers.to_numpy(np.int64)
    people = {str(name): row for name, row in zip(answers.index, given, strict=True)}
    found = {
        name: grading_figures(true, row, cases, grades.cost, *draws)
        for name, row in ({RULES[rule]: row[photos] for rule, row in grades.given.items()} | people).items()
    }
    compared = {
        rule: compare_with_graders(true, row[photos], given, cases, grades.cost, *draws)
        for rule, row in grades.given.items()
    }
    num_cases = len(np.unique(cases))
    words = (
        f"{len(people)} reader{'s' * (len(people) > 1)}, {photos_of(len(photos), num_cases, study.unit)}, "
        f"{int((true > 0).sum()):,} of them cancers. "
    )
    if len(people) > 1:
        words += (
            f"Differences have {study.confidence_percent} intervals and p-values for other readers and other cases "
            "(Obuchowski and "
            "Rockette’s analysis with Hillis’s degrees of freedom). "
        )
    else:
        words += (
            f"With one reader, intervals ({study.confidence_percent}) and p-values are for other cases only. "
        )
    words += "P-values are not corrected for their number."
    if few := too_few_cases(true > 0, cases):
        words += f" No test is made against the readers, with cancers as the target: {few}."
    if left_out:
        words += f" {left_out:,} photos that only some readers graded were left out."
    return [
        heading,
        _figure(study, found, len(grades.given)),
        _figures_table(found, len(grades.given)),
        _compared_table(compared),
        Text(words, small=True),
    ]


def _figure(study: Study, found: Mapping[str, Mapping[str, Interval]], num_rules: int) -> Figure:
    names = list(found)
    left, height = canvas.text_width(names, 10) + 4, 62 + 20 * len(names)
    hollow = np.arange(len(names)) >= num_rules
    panels = []
    for name in FIGURES:
        values = np.array([[row[name].estimate, row[name].low, row[name].high] for row in found.values()])

        def draw(
            axes: group_plots.Axes,
            values: NDArray[np.float64] = values,
            share: bool = name == "under_graded",
        ) -> None:
            group_plots.forest(axes, names, values, hollow, in_percent=share)

        label = f"{_HEADINGS[name]} of {num_rules} rules and {len(names) - num_rules} readers."
        panels.append(
            panel(f"graders_{name}", (left + 190, height), (left, 28, 14, 26), draw, label, _HEADINGS[name])
        )
    caption = (
        "The model’s rules (filled) and the readers (hollow) on the photos that all readers graded, with "
        f"{study.confidence_percent} intervals by case. More is better of kappa, less of the other two."
    )
    return Figure(Picture("graders", tuple(panels), caption, _frame(found, num_rules)))


def _frame(found: Mapping[str, Mapping[str, Interval]], num_rules: int) -> pd.DataFrame:
    rows = []
    for place, (who, row) in enumerate(found.items()):
        entry: dict[str, object] = {"who": who, "kind": "rule" if place < num_rules else "reader"}
        for name, figure in row.items():
            entry |= {name: figure.estimate, f"{name}_low": figure.low, f"{name}_high": figure.high}
        rows.append(entry)
    return pd.DataFrame(rows)


def _figures_table(found: Mapping[str, Mapping[str, Interval]], num_rules: int) -> Table:
    data = _frame(found, num_rules)
    write: dict[str, Callable[[float], str]] = {"kappa": decimals, "cost": decimals, "under_graded": percent}
    columns = [Column("Who", list(data["who"]))]
    for name in FIGURES:
        cells = [
            with_range(write[name](row[name].estimate), row[name].low, row[name].high, write[name])
            for row in found.values()
        ]
        columns.append(Column(_HEADINGS[name], cells))
    kinds = ["Model, by rule" if kind == "rule" else "Readers" for kind in data["kind"]]
    return Table("graders", data, tuple(columns), group=kinds)


def _compared_table(compared: Mapping[str, Mapping[str, Contrast]]) -> Table:
    rows = [
        {
            "rule": rule,
            "figure": name,
            "difference": contrast.estimate,
            "low": contrast.low,
            "high": contrast.high,
            "degrees_of_freedom": contrast.degrees_of_freedom,
            "p_value": contrast.p_value,
        }
        for rule, row in compared.items()
        for name, contrast in row.items()
    ]
    data = pd.DataFrame(rows)
    write: dict[str, Callable[[float], str]] = {"kappa": signed, "cost": signed, "under_graded": points}
    columns = (
        Column("Model less readers", [_HEADINGS[str(row["figure"])] for row in rows]),
        Column(
            "Difference",
            [
                with_range(write[name](contrast.estimate), contrast.low, contrast.high, write[name])
                for row in compared.values()
                for name, contrast in row.items()
            ],
        ),
        Column("p", [p_value(value) for value in data["p_value"]]),
    )
    caption = "The model’s figure less the readers’ mean figure, by rule"
    return Table("graders_compared", data, columns, caption, group=[RULES[str(row["rule"])] for row in rows])
