"""The figures that the report shows: `skinjax.report.figures.canvas` laid out, with captions and their data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skinjax.evaluate.confusion import confusion_matrix
from skinjax.report.figures import canvas, performance_plots
from skinjax.report.tables.methods import Answers

_LEGEND_SIZE = 9  # points
_NUMBERS_UP_TO, _NAMES_UP_TO = 25, 45  # classes in a confusion matrix whose cells, or names, can be read
_NUMBERS_AMONG_OTHERS_UP_TO = 8  # classes of one that stands among others


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing of a figure.

    Attributes:
      name: Name of its file, and the prefix of its ids.
      document: SVG that stands alone.
      label: What it shows, for those who cannot see it.
    """

    name: str
    document: str
    label: str

    @property
    def element(self) -> str:
        """Returns the drawing as an element of an HTML page."""
        return canvas.inline(self.document, self.label)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A figure of the report.

    Attributes:
      name: Name of its data's file.
      panels: Its drawings, which stand beside or, on a narrow screen, below each other.
      caption: What it shows and how to read it.
      data: The numbers that are drawn.
    """

    name: str
    panels: tuple[Panel, ...]
    caption: str
    data: pd.DataFrame


def panel(
    name: str,
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    draw: Callable[[Axes], Any],
    label: str,
    title: str = "",
    legend: bool = False,
) -> Panel:
    """Returns one drawing on axes of its own.

    Args:
      name: Name of its file; letters, digits and underscores.
      size: Width and height in points.
      margins: Left, bottom, right and top, in points.
      draw: Draws on the axes it is given.
      label: What is shown, for those who cannot see it.
      title: Above the axes; empty for none.
      legend: Whether a legend stands below the axes, where it covers nothing; the drawing is made higher for it.
    """
    with matplotlib.rc_context(canvas.SETTINGS):
        figure, place = canvas.blank(*size, margins)
        axes = figure.subplots(gridspec_kw=place)
        draw(axes)
        if title:
            axes.set_title(title)
        if legend:
            legend_below(axes)
        return Panel(name, canvas.svg(figure, name), label)


def legend_below(axes: Axes) -> None:
    """Puts the legend of axes below them, where no curve lies, and makes their figure as much higher.

    Args:
      axes: The only axes of a figure of `canvas.blank`.
    """
    figure = axes.get_figure()
    handles, labels = axes.get_legend_handles_labels()
    if not isinstance(figure, Figure) or not handles:
        return
    width, height = (72 * inches for inches in figure.get_size_inches())
    place = axes.get_position()
    entry = canvas.text_width(labels, _LEGEND_SIZE) + 34
    columns = min(len(labels), max(1, int(width // entry)))
    extra = 8 + 1.45 * _LEGEND_SIZE * -(-len(labels) // columns)
    figure.set_size_inches(width / 72, (height + extra) / 72)
    whole = height + extra
    low, up = (place.y0 * height + extra) / whole, (place.y1 * height + extra) / whole
    axes.set_position((place.x0, low, place.width, up - low))
    axes.legend(
        handles, labels, frameon=False, fontsize=_LEGEND_SIZE, handlelength=2.4, ncols=columns, borderpad=0,
        borderaxespad=0, labelspacing=0.3, columnspacing=1.2, loc="upper left",
        bbox_to_anchor=(8 / width, (extra - 4) / whole), bbox_transform=figure.transFigure,
    )  # fmt: skip


def draw_methods(methods: pd.DataFrame, titles: Mapping[str, str], confidence: float) -> Picture:
    """Draws macro F1 and accuracy of each method, as `skinjax.report.tables.methods.compare_methods` gives them."""
    names = [titles[method] for method in methods["method"]]
    left, height = canvas.text_width(names, 10) + 4, 62 + 24 * len(names)
    panels = []
    for metric, heading in (("macro_f1", "Macro F1"), ("accuracy", "Accuracy")):
        with matplotlib.rc_context(canvas.SETTINGS):
            figure, place = canvas.blank(345, height, (left, 28, 14, 26))
            axes = performance_plots.intervals(figure.subplots(gridspec_kw=place), names, methods, metric)
            axes.set_title(heading)
            shown = ", ".join(
                f"{name} {100 * value:.1f}%" for name, value in zip(names, methods[metric], strict=True)
            )
            name = f"methods_{metric}"
            panels.append(Panel(name, canvas.svg(figure, name), f"{heading}: {shown}."))
    caption = (
        f"Each method with its {100 * confidence:g}% interval by case; the vertical line marks the first. "
        "Overlapping intervals do not mean that methods are equal: they answered the same photos, "
        "so read the paired differences in the table."
    )
    return Picture("methods", tuple(panels), caption, methods)


def draw_curves(curves: pd.DataFrame, titles: Mapping[str, str]) -> Picture:
    """Loss and accuracy (and macro F1, where it is there) against epochs, for each stage.

    Args:
      curves: As `skinjax.report.page.write_report` takes them.
      titles: Names of stages for people; a stage without one is shown as it is.
    """
    panels = []
    columns = [name for name in ("loss", "accuracy", "macro_f1") if name in curves.columns]
    for number, (stage, rows) in enumerate(curves.groupby("stage", sort=False)):
        for column in columns:
            heading = f"{titles.get(str(stage), stage)}: {column.replace('_', ' ').replace('f1', 'F1')}"
            with matplotlib.rc_context(canvas.SETTINGS):
                figure, place = canvas.blank(330, 190, (36, 36, 8, 26))
                axes = performance_plots.learning_curves(figure.subplots(gridspec_kw=place), rows, column)
                axes.set_title(heading)
                legend_below(axes)
                # The stage may be any text, so it does not name the file.
                name = f"learning_curves_{number}_{column}"
                panels.append(Panel(name, canvas.svg(figure, name), f"{heading} against epochs."))
    folds = curves["fold"].nunique()
    thin = f" Thin lines are the {folds} folds, thick ones their mean." if folds > 1 else ""
    caption = f"On training photos (dashed) and test photos (solid).{thin}"
    return Picture("learning_curves", tuple(panels), caption, curves)


def draw_confusion(
    name: str,
    answers: Answers,
    method: str,
    method_title: str,
    groups: NDArray[np.integer] | None = None,
    group_titles: Sequence[str] = (),
    title: str = "",
) -> Picture:
    """Draws the confusion matrix of a method, its classes in the order of their groups.

    With many classes the numbers are left out of the cells, and with still more the names of classes give way
    to those of their groups.

    Args:
      name: Name of the figure.
      answers: Answers of N photos in K classes.
      method: Whose answers.
      method_title: Its name for people.
      groups: int[K], the group of each class; None for none.
      group_titles: The names of the groups.
      title: Above a matrix that stands among others, which is drawn smaller; empty for one that stands alone.
    """
    count = len(answers.classes)
    order = np.arange(count) if groups is None else np.argsort(groups, kind="stable")
    matrix = confusion_matrix(answers.labels, answers.predicted(method), count)[np.ix_(order, order)]
    titles = [answers.titles[i] for i in order]
    members = np.zeros(count, int) if groups is None else groups[order]
    numbers, named = (
        count <= (_NUMBERS_AMONG_OTHERS_UP_TO if title else _NUMBERS_UP_TO),
        count <= _NAMES_UP_TO,
    )
    shown = titles if named else [group_titles[group] for group in np.unique(members)] if group_titles else []
    if numbers:  # whose cells are high enough for two lines
        shown = [canvas.two_lines(name) for name in shown]
    cell = 25 if numbers else 14 if named else (280 if title else 560) / count
    with matplotlib.rc_context(canvas.SETTINGS):
        lines = [line for name in shown for line in name.split("\n")]
        size = 10 if len(lines) == len(shown) else 8.5
        margin = max(canvas.text_width(lines, size), 40) + 24
        side, top = cell * count, 26 if title else 8
        figure, place = canvas.blank(margin + side + 8, side + margin + top, (margin, margin, 8, top))
        axes = figure.subplots(gridspec_kw=place)
        if title:
            axes.set_title(title)
        performance_plots.confusion(axes, matrix, shown, members, numbers)
        axes.tick_params(labelsize=size)
        # Not left to matplotlib, which may lack the font that the names will be shown in.
        axes.yaxis.set_label_coords(-(margin - 14) / side, 0.5)
        axes.xaxis.set_label_coords(0.5, -(margin - 14) / side)
        document = canvas.svg(figure, name)
    parts = [
        f"{method_title} at the level “{answers.level}”: share of each true class (row, in percent) that was "
        "given each answer (column). The darker the cell, the larger the share; the diagonal is recall."
    ]
    if len(np.unique(members)) > 1:
        parts.append("Lines part the coarser classes.")
    if not named:
        parts.append(
            f"With {count} classes only the coarser ones are named; the most frequent confusions are listed "
            "below, and the whole matrix is in the CSV file."
        )
    data = pd.DataFrame(matrix, index=pd.Index([answers.classes[i] for i in order], name="true"))
    data.columns = data.index.rename("predicted")
    accuracy = np.trace(matrix) / matrix.sum()
    whose = f"{title}, {count}" if title else str(count)
    label = f"Confusion matrix of {whose} classes; {100 * accuracy:.1f}% of photos lie on the diagonal."
    return Picture(name, (Panel(name, document, label),), " ".join(parts), data.reset_index())
