"""Confusion and the figures of each class, at every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate.multiclass import MacroAucInterval, macro_auc_interval
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.cases import Unit, case_columns
from skinjax.report.figures.pictures import draw_confusion
from skinjax.report.formatting import cell, decimals, percent, ranged, with_range
from skinjax.report.sections.isic import isic_blocks
from skinjax.report.study import Study
from skinjax.report.tables import methods as tables

METHODS = {
    "flat": "Flat",
    "soft": "Soft fusion",
    "hard": "Hard fusion",
    "conditional": "Conditional fusion",
    "marginalized": "Summed from the finest level",
    "network": "Its own answers",
}
"""Names of methods for people."""


def shown_method(study: Study, level: str) -> str:
    """Returns whose answers are shown at a level: the study's, or a coarser level's own network's, if it has one."""
    if level == study.taxonomy.finest:
        return study.method
    return "network" if "network" in study.answers[level].scores else "marginalized"


def suffix(study: Study, level: str) -> str:
    """Returns what the files of a level are distinguished by: nothing for the finest, and names of our own."""
    if level == study.taxonomy.finest:
        return ""
    if level == study.coarse_level:
        return "_coarse"
    return f"_level_{study.taxonomy.depth(level)}"


def class_areas(study: Study) -> dict[str, MacroAucInterval]:
    """Returns the area of each class against the rest, and their mean, at every level."""
    found = {}
    for level, answers in study.answers.items():
        scores = np.asarray(answers.scores[shown_method(study, level)], np.float64)
        found[level] = macro_auc_interval(answers.labels, scores, study.confidence, study.cases)
    return found


def class_table(study: Study, level: str, area: MacroAucInterval) -> pd.DataFrame:
    """Returns `skinjax.report.tables.methods.describe_classes`, with intervals of recall and the area of each class."""
    answers, method = study.answers[level], shown_method(study, level)
    depth = study.taxonomy.depth(level)
    groups = [""] * len(answers.classes)
    above = study.coarse_level if level == study.taxonomy.finest and study.coarse_level else None
    if above is None and depth and level == study.taxonomy.finest:
        above = study.taxonomy.levels[depth - 1]
    if above is not None:
        titles = study.answers[above].titles
        groups = [titles[i] for i in study.taxonomy.parents(level, above)]
    predicted = answers.predicted(method)
    table = tables.describe_classes(answers, method, study.cases, groups)
    limits = np.full((len(table), 2), np.nan)
    for k in np.unique(answers.labels):
        own = answers.labels == k
        share = proportion_by_case(predicted[own] == k, study.cases[own], study.confidence)
        limits[k] = share.low, share.high
    place = list(table.columns).index("recall") + 1
    table.insert(place, "recall_low", limits[:, 0])
    table.insert(place + 1, "recall_high", limits[:, 1])
    place = list(table.columns).index("f1") + 1
    for offset, name in enumerate(("auc", "low", "high")):
        column = name if name == "auc" else f"auc_{name}"
        table.insert(place + offset, column, [getattr(one, name) for one in area.per_class])
    return table


def class_groups(study: Study, level: str) -> tuple[NDArray | None, Sequence[str]]:
    """Returns the coarse class of each class of the finest level, and their titles; None and no titles elsewhere."""
    if level != study.taxonomy.finest or study.coarse_level is None:
        return None, ()
    return study.taxonomy.parents(level, study.coarse_level), study.answers[study.coarse_level].titles


def confusion_section(study: Study) -> Section:
    """Builds confusion matrices at every level, and the most frequent mistakes at the finest."""
    blocks: list[Block] = []
    for level in reversed(list(study.answers)):
        answers, method = study.answers[level], shown_method(study, level)
        groups, titles = class_groups(study, level)
        name = "confusion_fine" if level == study.taxonomy.finest else f"confusion{suffix(study, level)}"
        blocks.append(Figure(draw_confusion(name, answers, method, METHODS[method], groups, titles)))
    worst = tables.rank_confusions(study.fine, study.method, count=15)
    blocks.append(Heading("Most frequent confusions"))
    if not len(worst):
        blocks.append(Text("Every photo was answered right."))
    columns = (
        Column("True class", list(worst["label"])),
        Column("Taken for", list(worst["predicted"])),
        Column("Photos", [cell(value) for value in worst["photos"]], number=True),
        Column("Of the class", [percent(value) for value in worst["share"]], number=True),
    )
    blocks.append(Table("confusions", worst, columns if len(worst) else ()))
    return Section("confusion", "Confusion", tuple(blocks))


def class_section(study: Study, areas: Mapping[str, MacroAucInterval]) -> Section:
    """Builds recall, precision, F1 and area of each class, at every level, and the ISIC challenges' scores."""
    blocks: list[Block] = [
        Text(
            f"A dash stands where a figure is not defined: recall of a class without photos, precision of one "
            f"that was never predicted, the AUC of one that all photos or no photo belong to. Below recall and AUC "
            f"stand their {study.confidence_percent} intervals by case (Wilson’s at the effective sample size, and "
            "DeLong’s "
            "clustered one in log odds)."
        )
    ]
    for level, area in areas.items():
        table = class_table(study, level, area)
        title = METHODS[shown_method(study, level)]
        blocks.append(Heading(f"Level “{level}”, {len(table)} classes: {title[:1].lower()}{title[1:]}"))
        blocks.append(_shown(f"classes{suffix(study, level)}", table, study.unit))
        mean = with_range(f"Macro AUC {decimals(area.auc)}", area.low, area.high).replace("\n", ", ")
        blocks.append(Text(mean + _lone(study.answers[level], area) + ".", small=True))
    return Section("classes", "Classes", (*blocks, *isic_blocks(study)))


def _shown(name: str, whole: pd.DataFrame, unit: Unit) -> Table:
    # Classes of a group stand together, the groups in the order of their first classes.
    first = whole["group"].map({group: row for row, group in reversed(list(enumerate(whole["group"])))})
    table = whole.iloc[np.argsort(first.to_numpy(), kind="stable")].reset_index(drop=True)
    columns = (
        Column("Class", list(table["title"])),
        Column("Recall", ranged(table, "recall", percent), shares=list(table["recall"])),
        Column("Precision", [percent(v) for v in table["precision"]], shares=list(table["precision"])),
        Column("F1", [percent(v) for v in table["f1"]], shares=list(table["f1"])),
        Column("AUC", ranged(table, "auc", decimals)),
        Column("Photos", [cell(v) for v in table["photos"]], number=True),
        *case_columns(table["cases"].tolist(), unit),
        Column("Predicted", [cell(v) for v in table["predicted"]], number=True),
    )
    return Table(name, whole, columns, group=list(table["group"]))


def _lone(answers: tables.Answers, area: MacroAucInterval) -> str:
    if not area.lone_classes or not np.isnan(area.low):
        return ""
    names = ", ".join(answers.titles[k] for k in area.lone_classes[:3])
    more = f" and {len(area.lone_classes) - 3} more" if len(area.lone_classes) > 3 else ""
    return f", without an interval, since all photos of a class are of one case ({names}{more})"
