"""Two populations: networks of each tested on both, and what is lost on the way, overall, by class and by skin type."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from skinjax.evaluate.confusion import confusion_matrix
from skinjax.evaluate.subgroups import MIN_CASES
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text, unanswered
from skinjax.report.cases import case_heading
from skinjax.report.figures import canvas, group_plots, performance_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import (
    bracketed,
    cell,
    decimals,
    p_value,
    percent,
    points,
    ranged,
    signed,
    with_range,
)
from skinjax.report.tables.shift import METRICS, Shift, class_table, loss_table, matrix_table, tone_table

_HALF = 355.0
"""Width of a figure in points: two stand beside each other on a wide screen, and one fits on a phone."""


def shift_sections(shift: Shift) -> tuple[list[str], list[Section]]:
    """Builds the answer in words, and the sections of the page.

    Args:
      shift: The four pairs.
    """
    matrix = matrix_table(shift)
    losses = loss_table(shift, matrix)
    classes, tones = class_table(shift), tone_table(shift)
    sections = [
        _matrix_section(shift, matrix),
        _loss_section(shift, losses),
        _classes_section(shift, classes),
        _tones_section(shift, tones),
        _confusion_section(shift),
    ]
    return _answer(shift, losses), sections


def _answer(shift: Shift, losses: pd.DataFrame) -> list[str]:
    """Compares balanced accuracy at home and away, and on the same photos macro AUC, which class shares move."""
    away = losses[(losses["metric"] == "balanced_accuracy") & (losses["kind"] == "other photos")]
    same = losses[(losses["metric"] == "macro_auc") & (losses["kind"] == "same photos")]
    return [
        " ".join(_lost_away(row) for row in away.to_dict("records")),
        " ".join(_lost_by_the_foreign(row) for row in same.to_dict("records")),
    ]


def _lost_away(row: Mapping[Any, Any]) -> str:
    where = f"{percent(row['own'])} at home to {percent(row['other'])} on {row['tested']}"
    if np.isnan(row["loss"]):
        return f"Trained on {row['trained']}, balanced accuracy at home and on {row['tested']} cannot be compared."
    if np.isnan(row["loss_low"]):
        return f"Trained on {row['trained']}, balanced accuracy goes from {where}; these cases say nothing of others."
    shown = f"balanced accuracy {'falls' if row['loss'] > 0 else 'rises'}"
    if row["loss_low"] <= 0 <= row["loss_high"]:
        shown = "balanced accuracy does not clearly change,"
    limits = bracketed(-row["loss_high"], -row["loss_low"], points)
    return f"Trained on {row['trained']}, {shown} from {where}, {points(0.0 - row['loss'])} points{limits}."


def _lost_by_the_foreign(row: Mapping[Any, Any]) -> str:
    photos = f"On the photos of {row['tested']}"
    if np.isnan(row["loss"]):
        return f"{photos} macro AUC is not defined."
    shown = (
        f"a network trained there has a macro AUC of {decimals(row['own'])}, one trained on {row['trained']} "
    )
    limits = (
        "" if np.isnan(row["loss_low"]) else f", {signed(-row['loss_high'])} to {signed(-row['loss_low'])}"
    )
    return f"{photos} {shown}{decimals(row['other'])} ({signed(0.0 - row['loss'])}{limits})."


def _matrix_section(shift: Shift, matrix: pd.DataFrame) -> Section:
    names = [f"{a} → {b}" for a, b in zip(matrix["trained"], matrix["tested"], strict=True)]
    left, height = canvas.text_width(names, 10) + 4, 62 + 24 * len(names)
    panels = []
    for metric, title in (("balanced_accuracy", "Balanced accuracy"), ("macro_auc", "Macro AUC")):
        values = matrix[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64)
        draw = functools.partial(
            group_plots.forest,
            names=names,
            values=values,
            in_percent=metric == "balanced_accuracy",
        )
        label = f"{title} of the four pairs: " + ", ".join(
            f"{n} {decimals(v)}" for n, v in zip(names, values[:, 0], strict=True)
        )
        panels.append(panel(f"shift_{metric}", (left + 205, height), (left, 28, 14, 26), draw, label, title))
    caption = f"Trained on → tested on, each with its {shift.confidence_percent} interval by case."
    columns = [
        Column("Trained on", list(matrix["trained"])),
        Column("Tested on", list(matrix["tested"])),
        Column("Photos", [cell(n) for n in matrix["photos"]], number=True),
        Column(case_heading(*shift.units), [cell(n) for n in matrix["cases"]], number=True),
    ]
    for metric, title in METRICS.items():
        write = decimals if metric == "macro_auc" else percent
        columns.append(Column(title, ranged(matrix, metric, write)))
    words = (
        "Every photo of both sets is tested once by networks of each set, none of which has seen its case. Accuracy, "
        "macro F1 and, with more than two classes, macro AUC (each class against a mixture of the others) move with "
        "how common each class is in a set. Balanced accuracy does not: compare that between sets, and the others "
        "between networks on the same photos."
    )
    blocks: tuple[Block, ...] = (
        Figure(Picture("shift_matrix", tuple(panels), caption, matrix)),
        Table("shift_matrix", matrix, tuple(columns)),
        Text(words, small=True),
    )
    return Section("matrix", "Trained and tested on both", blocks)


def _loss_section(shift: Shift, losses: pd.DataFrame) -> Section:
    other = losses[losses["kind"] == "other photos"]
    same = losses[losses["kind"] == "same photos"]
    blocks: list[Block] = [
        Heading("The same network on other photos"),
        _loss_columns("shift_loss", other, "trained", "Trained on {}, tested on {}", "At home", "There"),
        Text(
            "At home less there. The photos differ, so the samples are independent: the interval is made of the two "
            "intervals by case (Zou and Donner 2008). The other photos may also be harder for any network, which the "
            "next table sets apart.",
            small=True,
        ),
        Heading("The same photos by another network"),
        _loss_columns(
            "shift_loss_same",
            same,
            "tested",
            "Tested on {1}, trained there or on {0}",
            "Trained there",
            "Elsewhere",
        ),
        Text(
            "Trained there less trained elsewhere, on the same photos and paired by case: the gain of training "
            "on photos of the same place. P-values are two-sided and not corrected for their number.",
            small=True,
        ),
    ]
    return Section("loss", "What is lost", tuple(blocks))


def _loss_columns(name: str, rows: pd.DataFrame, by: str, group: str, first: str, second: str) -> Table:
    records = rows.to_dict("records")
    areas = [row["metric"] == "macro_auc" for row in records]
    shown = [decimals if area else percent for area in areas]
    moved = [signed if area else points for area in areas]
    columns = [
        Column("Figure", [METRICS[row["metric"]] for row in records]),
        Column(first, [write(row["own"]) for write, row in zip(shown, records, strict=True)], number=True),
        Column(second, [write(row["other"]) for write, row in zip(shown, records, strict=True)], number=True),
        Column(
            "Loss",
            [
                with_range(write(row["loss"]), row["loss_low"], row["loss_high"], write)
                for write, row in zip(moved, records, strict=True)
            ],
        ),
    ]
    if rows["p_value"].notna().any():
        columns.append(Column("p", [p_value(row["p_value"]) for row in records]))
    groups = [group.format(row["trained"], row["tested"]) for row in records]
    return Table(name, rows.reset_index(drop=True), tuple(columns), group=groups)


def _classes_section(shift: Shift, classes: pd.DataFrame) -> Section:
    titles = [shift.taxonomy.title(name) for name in shift.taxonomy.classes()]
    left, height = canvas.text_width(titles, 10) + 4, 62 + 20 * len(titles)
    panels = []
    for place, name in enumerate(shift.names):
        mine = classes[classes["trained"] == name]
        draw = functools.partial(
            group_plots.forest,
            names=titles,
            values=mine[["loss", "loss_low", "loss_high"]].to_numpy(np.float64),
            small=(mine[["cases_own", "cases_other"]].min(axis=1) < MIN_CASES).to_numpy(),
            overall=0.0,
            in_percent=True,
        )
        panels.append(
            panel(
                f"shift_classes_{place}", (left + 205, height), (left, 28, 14, 26), draw,
                f"Loss of recall by class, trained on {name}.", f"Trained on {name}",
            )
        )  # fmt: skip
    caption = (
        f"Recall at home less recall on the other set, by class, with {shift.confidence_percent} intervals by case; "
        "right of the "
        f"line recall is lost. Classes of fewer than {MIN_CASES} cases in either set are hollow."
    )
    columns = (
        Column("Class", [shift.taxonomy.title(name) for name in classes["class"]]),
        Column(
            f"{case_heading(*shift.units)} at home", [f"{cell(c)}" for c in classes["cases_own"]], number=True
        ),
        Column(
            f"{case_heading(*shift.units)} there", [f"{cell(c)}" for c in classes["cases_other"]], number=True
        ),
        Column("Recall at home", ranged(classes, "own", percent)),
        Column("Recall there", ranged(classes, "other", percent)),
        Column("Loss", ranged(classes, "loss", points)),
    )
    table = Table(
        "shift_classes", classes, columns, group=[f"Trained on {name}" for name in classes["trained"]]
    )
    words = "Intervals hold for each class by itself, not for all at once."
    blocks = (
        Figure(Picture("shift_classes", tuple(panels), caption, classes)), table, Text(words, small=True)
    )  # fmt: skip
    return Section("classes", "By class", blocks)


def _tones_section(shift: Shift, tones: pd.DataFrame) -> Section:
    if tones.empty:
        return unanswered("skin_tone", "By skin type", "The skin type of no photo is known.")
    known = [name for name in shift.names if name in set(tones["tested"])]
    panels = []
    for place, name in enumerate(known):
        mine = tones[tones["tested"] == name]
        names = [f"type {tone}" for tone in mine["skin_tone"]]
        left, height = canvas.text_width(names, 10) + 4, 62 + 20 * len(names)
        draw = functools.partial(
            group_plots.forest,
            names=names,
            values=mine[["loss", "loss_low", "loss_high"]].to_numpy(np.float64),
            small=mine["small"].to_numpy(),
            overall=0.0,
            in_percent=True,
        )
        panels.append(
            panel(
                f"shift_tones_{place}", (left + 270, height), (left, 28, 14, 26), draw,
                f"Loss of accuracy by skin type on {name}.", f"Tested on {name}",
            )
        )  # fmt: skip
    caption = (
        "Accuracy of the network trained there less that of the one trained elsewhere, on the same photos, with "
        f"{shift.confidence_percent} intervals by case. Groups of fewer than {MIN_CASES} cases are hollow."
    )
    columns = (
        Column("Fitzpatrick type", list(tones["skin_tone"])),
        Column("Photos", [cell(n) for n in tones["photos"]], number=True),
        Column(
            case_heading(*(shift.units[shift.names.index(name)] for name in known)),
            [cell(n) for n in tones["cases"]],
            number=True,
        ),
        Column("Trained there", ranged(tones, "own", percent)),
        Column("Elsewhere", ranged(tones, "other", percent)),
        Column("Loss", ranged(tones, "loss", points)),
        Column("p", [p_value(value) for value in tones["p_value"]]),
    )
    unknown = [
        f"{shift.names[on]} {sum(group is None for group in shift.tested[on, on].groups):,}"
        for on in (0, 1)
        if any(group is None for group in shift.tested[on, on].groups)
    ]
    words = (
        "Skin types may differ in which diseases they have: a difference between them is not yet one of skin. "
        "P-values are not corrected for their number."
    )
    if unknown:
        words += f" Photos of unknown skin type, in none of these groups: {', '.join(unknown)}."
    blocks = (
        Figure(Picture("shift_tones", tuple(panels), caption, tones)),
        Table("shift_tones", tones, columns, group=[f"Tested on {name}" for name in tones["tested"]]),
        Text(words, small=True),
    )
    return Section("skin_tone", "By skin type", blocks)


def _confusion_section(shift: Shift) -> Section:
    classes = shift.taxonomy.classes()
    titles = [shift.taxonomy.title(name) for name in classes]
    numbers = len(classes) <= 8
    size = 10.0 if numbers else 8.5
    if numbers:  # whose cells are high enough for two lines
        titles = [canvas.two_lines(title) for title in titles]
    margin = canvas.text_width([line for title in titles for line in title.split("\n")], size) + 24
    cell_side = 34.0 if numbers else float(np.clip((_HALF - margin - 8) / len(classes), 10, 18))
    side = cell_side * len(classes)

    def draw(axes: Axes, matrix: NDArray[np.int64]) -> None:
        performance_plots.confusion(axes, matrix, titles, numbers=numbers)
        axes.tick_params(labelsize=size)

    panels, rows = [], []
    for (trained, on), one in sorted(shift.tested.items()):
        matrix = confusion_matrix(one.labels, one.predicted, len(classes))
        title = f"{shift.names[trained]} → {shift.names[on]}"
        panels.append(
            panel(
                f"shift_confusion_{trained}_{on}", (margin + max(side, 190), side + margin + 22),
                (margin, margin, 8 + max(190 - side, 0), 22),
                functools.partial(draw, matrix=matrix),
                f"Confusion matrix, trained on {shift.names[trained]}, tested on {shift.names[on]}.", title,
            )
        )  # fmt: skip
        for name, counts in zip(classes, matrix, strict=True):
            given = {f"given_{other}": int(n) for other, n in zip(classes, counts, strict=True)}
            rows.append({"trained": shift.names[trained], "tested": shift.names[on], "true": name} | given)
    caption = "Share of each true class (row, in percent) that was given each answer; trained on → tested on."
    figure = Figure(Picture("shift_confusion", tuple(panels), caption, pd.DataFrame(rows)))
    return Section("confusion", "Confusion", (figure,))


def sets_section(
    shift: Shift, left_out: Sequence[Mapping[str, int]], training: pd.DataFrame | None
) -> Section:
    """Builds how common each class is in both sets, which classes have no counterpart, and what was trained.

    Args:
      shift: The four pairs.
      left_out: For each set, photos by title of the class that the other one lacks.
      training: One row per network; None where that is not known.
    """
    rows: list[dict[str, object]] = []
    for k, name in enumerate(shift.taxonomy.classes()):
        row: dict[str, object] = {"class": name}
        for place in (0, 1):
            one = shift.tested[place, place]
            mine = one.labels == k
            row |= {
                f"photos_{place}": int(mine.sum()),
                f"cases_{place}": len(np.unique(one.cases[mine])),
                f"share_{place}": float(mine.mean()),
            }
        rows.append(row)
    data = pd.DataFrame(rows)
    columns = [Column("Class", [shift.taxonomy.title(str(name)) for name in data["class"]])]
    for place, name in enumerate(shift.names):
        columns += [
            Column(f"{name}: photos", [cell(n) for n in data[f"photos_{place}"]], number=True),
            Column(case_heading(shift.units[place]), [cell(n) for n in data[f"cases_{place}"]], number=True),
            Column("Share", [percent(v) for v in data[f"share_{place}"]], number=True),
        ]
    words = [
        f"{name}: left out as the other set has no counterpart: "
        + ", ".join(f"{title} ({count:,} photos)" for title, count in gone.items())
        + "."
        for name, gone in zip(shift.names, left_out, strict=True)
        if gone
    ]
    blocks: list[Block] = [Table("shift_sets", data, tuple(columns))]
    if words:
        blocks.append(Text(" ".join(words), small=True))
    blocks.append(
        Text(
            "The shares of classes differ between the sets (label shift), and so do cameras, clinics and who was "
            "photographed: a loss is of all that together and not of skin colour alone.",
            small=True,
        )
    )
    if training is not None and len(training):
        shown = tuple(Column(str(name), [cell(v) for v in training[name]]) for name in training)
        blocks += [
            Heading("Networks trained"), Table("training", training, shown)
        ]  # fmt: skip
    return Section("sets", "The two sets", tuple(blocks))
