"""The malignancy score by true degree, and degrees given by three rules."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from skinjax.decide.malignancy import (
    NO_TUMOUR,
    degree_probabilities,
    fit_cutpoints,
    grade,
    grading_cost,
    reference_score,
)
from skinjax.evaluate.confusion import confusion_matrix
from skinjax.evaluate.grading import grading_figures
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.labels.degrees import is_premalignant
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.crossfit import Tempered, log_scores
from skinjax.report.figures import canvas, group_plots, performance_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, decimals, listed, percent, ranged
from skinjax.report.study import Study

RULES: Mapping[str, str] = {
    "argmax": "Most probable degree",
    "least_cost": "Least expected cost",
    "cutpoints": "Cut-points on the score",
}
"""The rules for people."""


def check_degrees(degrees: Mapping[str, int | None], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Returns the degree of each class of the finest level.

    Args:
      degrees: Class -> degree, integers from 0, or None for a class that is no tumour.
      taxonomy: Its finest classes are all named.

    Returns:
      int64[K], -1 for classes that are no tumours.

    Raises:
      ValueError: Classes without a degree, unknown ones, degrees that are no integers of at least 0, or a
        single degree.

    Example:
      >>> tree = Taxonomy("pair", ("tumour",), (("nevus",), ("melanoma",)))
      >>> check_degrees({"melanoma": 1, "nevus": 0}, tree).tolist()
      [0, 1]
    """
    classes = taxonomy.classes()
    missing = [name for name in classes if name not in degrees]
    unknown = [name for name in degrees if name not in classes]
    if missing or unknown:
        shown = f"none for {missing[0]!r}" if missing else f"one for {unknown[0]!r}"
        raise ValueError(f"degrees must hold one for each {taxonomy.finest} and no other, got {shown}")
    given = [degrees[name] for name in classes]
    values = [degree for degree in given if degree is not None]
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= 0 for v in values):
        raise ValueError(f"degrees must be integers of at least 0, got {values}")
    if max(values, default=0) < 1:
        raise ValueError(f"degrees must be at least two, 0 and up, got {len(set(values))}")
    return np.array([NO_TUMOUR if degree is None else degree for degree in given], np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Grades:
    """Degrees and scores that a model gives its photos.

    Attributes:
      names: The D degrees for people, the most benign first.
      true: int64[N], the true degrees.
      probs: float64[N, D], the probabilities of the degrees.
      scores: float64[N] in 0..100, the reference scores.
      given: int64[N] by rule: the most probable degree, the least expected cost and, where cut-points could be
        fitted on other cases, these.
      cuts: float64[P, D - 1], each part's cut-points, fitted on the others; None where there are no parts.
      cost: float64[D, D], true degree by given degree.
      own_cost: Whether the cost is the caller's and not `grading_cost`.
    """

    names: tuple[str, ...]
    true: NDArray[np.int64]
    probs: NDArray[np.float64]
    scores: NDArray[np.float64]
    given: Mapping[str, NDArray[np.int64]]
    cuts: NDArray[np.float64] | None
    cost: NDArray[np.float64]
    own_cost: bool


def graded(
    study: Study,
    degree_of_class: NDArray[np.int64],
    cost: ArrayLike | None = None,
    names: Sequence[str] = (),
    tempered: Tempered | None = None,
) -> Grades:
    """Scores and degrees by three rules. Classes that are no tumours count as the lowest degree.

    Args:
      study: The model's answers, and how intervals are made.
      degree_of_class: int64[K], of `check_degrees`.
      cost: float[D, D], true degree by given degree; `grading_cost` where it is None.
      names: Names of the D degrees; numbered where there are none.
      tempered: The model's probabilities after temperature scaling, to grade by; None for them as they are. The
        cut-points of a part are then fitted at the part's own temperature, which has not seen its photos.
    """
    count = int(degree_of_class.max()) + 1
    degree_of_class = np.maximum(degree_of_class, 0)
    true = degree_of_class[study.labels]
    costs = grading_cost(count) if cost is None else np.asarray(cost, np.float64)

    def degrees_and_scores(probs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with jax.enable_x64(True):
            degrees = degree_probabilities(probs, degree_of_class, count)
            return np.asarray(degrees), np.asarray(reference_score(degrees, np.linspace(0, 1, count)))

    probs, scores = degrees_and_scores(study.probs if tempered is None else tempered.probs)
    with jax.enable_x64(True):
        given = {
            "argmax": np.asarray(grade(probs, "argmax"), np.int64),
            "least_cost": np.asarray(grade(probs, "least_cost", cost=costs), np.int64),
        }
    cuts: NDArray[np.float64] | None = None
    if study.calibration_parts is not None:
        fitted = []
        for part in range(int(study.calibration_parts.max()) + 1):
            rest, seen = study.calibration_parts != part, scores
            if tempered is not None:
                logits = log_scores(study.probs[rest]) / tempered.temperatures[part]
                seen = np.empty_like(scores)
                seen[rest] = degrees_and_scores(softmax(logits, axis=1))[1]
            fitted.append(fit_cutpoints(seen[rest], true[rest], costs))
        cuts = np.array(fitted)
        given["cutpoints"] = (scores[:, None] >= cuts[study.calibration_parts]).sum(axis=1)
    shown = tuple(names) or tuple(f"degree {degree}" for degree in range(count))
    return Grades(shown, true, probs, scores, given, cuts, costs, own_cost=cost is not None)


def malignancy_section(
    study: Study, degree_of_class: NDArray[np.int64], cost: ArrayLike | None = None
) -> Section:
    """Builds the score's distribution by true degree, and the degrees given.

    Args:
      study: The model's answers, and how intervals are made.
      degree_of_class: int64[K], of `check_degrees`.
      cost: float[D, D], true degree by given degree; `grading_cost` where it is None.
    """
    blocks = degree_blocks(study, graded(study, degree_of_class, cost))
    classes = np.array(study.taxonomy.classes())[degree_of_class == NO_TUMOUR]
    if len(classes):
        names = listed([study.taxonomy.title(name).lower() for name in classes], most=20)
        words = f"Classes that are no tumours count as degree 0, the most benign, here: {names}."
        blocks.insert(0, Text(words, small=True))
    blocks.insert(0, Text(counted_as_cancer(study, degree_of_class)))
    return Section("malignancy", "Malignancy", tuple(blocks))


def counted_as_cancer(study: Study, degree_of_class: NDArray[np.int64]) -> str:
    """Returns a sentence that says which classes count as cancer, and which of them is only a precursor.

    Args:
      study: The model's answers.
      degree_of_class: int64[K], of `check_degrees`.
    """
    names = dict(zip(study.taxonomy.classes(), study.fine.titles, strict=True))
    cancers = [name for name, degree in zip(names, degree_of_class, strict=True) if degree > 0]
    early = [names[one] for one in cancers if is_premalignant(one) or is_premalignant(names[one])]
    shown = listed([names[name] for name in cancers], most=len(cancers))
    sentence = f"Counted as cancer is every class with a degree above the lowest: {shown}."
    if not early:
        return sentence
    return f"{sentence[:-1]}; of these {listed(early)} {'is' if len(early) == 1 else 'are'} premalignant."


def degree_blocks(study: Study, grades: Grades) -> list[Block]:
    """Builds the score's distribution, the rules compared, and what degrees they give.

    Args:
      study: The model's answers, and how intervals are made.
      grades: Its.
    """
    return [
        _scores_figure(grades.scores, grades.true, list(grades.names)),
        _rules(study, grades),
        Text(_words(study, grades), small=True),
        Heading("Degrees given"),
        _confusions(grades.true, grades.given, list(grades.names)),
    ]


def _scores_figure(scores: NDArray[np.float64], true: NDArray[np.int64], names: list[str]) -> Figure:
    quantiles = np.full((len(names), len(group_plots.QUANTILES)), np.nan)
    photos = np.bincount(true, minlength=len(names))
    for d in np.flatnonzero(photos):
        quantiles[d] = np.quantile(scores[true == d], group_plots.QUANTILES)
    shown = [f"{name} (n = {n:,})" for name, n in zip(names, photos, strict=True)]
    left = canvas.text_width(shown, 10) + 4
    drawing = panel(
        "malignancy_scores", (left + 320, 70 + 34 * len(names)), (left, 40, 14, 10),
        lambda axes: group_plots.degree_scores(axes, quantiles, shown),
        "Reference score by true degree; medians "
        + ", ".join(f"{name} {decimals(q, 1)}" for name, q in zip(names, quantiles[:, 2], strict=True)) + ".",
    )  # fmt: skip
    data = pd.DataFrame(quantiles, columns=[f"quantile_{q:g}" for q in group_plots.QUANTILES])
    data.insert(0, "photos", photos)
    data.insert(0, "degree", range(len(names)))
    caption = (
        "Reference score of the photos of each true degree: the dot is the median, the box holds the middle half, "
        "the line nine tenths. The score is 100 times the expected degree, scaled to 0 (the most benign) to 100."
    )
    return Figure(Picture("malignancy_scores", (drawing,), caption, data))


def _rules(study: Study, grades: Grades) -> Table:
    rows, true = [], grades.true
    draws = (study.replicates, study.confidence, study.seed)
    for rule, answers in grades.given.items():
        row: dict[str, object] = {"rule": rule}
        found = grading_figures(true, answers, study.cases, grades.cost, *draws)
        for name, figure in found.items():
            row |= {name: figure.estimate, f"{name}_low": figure.low, f"{name}_high": figure.high}
        for name, hits in (
            ("right", answers == true),
            ("too_low", answers < true),
            ("too_high", answers > true),
        ):
            share = proportion_by_case(hits, study.cases, study.confidence)
            row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
        rows.append(row)
    data = pd.DataFrame(rows)

    columns = (
        Column("Rule", [RULES[rule] for rule in data["rule"]]),
        Column("Quadratic kappa", ranged(data, "kappa", decimals)),
        Column("Mean cost", ranged(data, "cost", decimals)),
        Column("Cancers too low", ranged(data, "under_graded", percent)),
        Column("Right", ranged(data, "right", percent)),
        Column("Too low", ranged(data, "too_low", percent)),
        Column("Too high", ranged(data, "too_high", percent)),
    )
    return Table("malignancy", data, columns)


def _words(study: Study, grades: Grades) -> str:
    count = len(grades.names)
    words = "Too low a degree costs most, as the patient sees a doctor too late: the second and the third rule count "
    words += (
        "what the cost matrix says. "
        if grades.own_cost
        else "a degree too low as four too high, and so does the mean cost. "
    )
    if grades.cuts is None:
        return words + "All photos are of one case, so no cut-points could be fitted on other cases."
    lowest, highest = grades.cuts.min(axis=0), grades.cuts.max(axis=0)
    shown = ", ".join(
        cell(a) if a == b else f"{cell(a)} to {cell(b)}" for a, b in zip(lowest, highest, strict=True)
    )
    return words + (
        f"For every photo the {count - 1} cut-point{'s' * (count > 2)} ({shown}) were chosen on "
        f"{study.other_cases}."
    )


def _confusions(true: NDArray[np.int64], given: Mapping[str, NDArray], names: list[str]) -> Figure:
    panels, rows = [], []
    for rule, answers in given.items():
        matrix = confusion_matrix(true, answers.astype(np.int64), len(names))
        margin = canvas.text_width(names, 10) + 24
        side = 34.0 * len(names)
        panels.append(
            panel(
                f"degrees_{rule}",
                (margin + max(side, 150), side + margin + 22),
                (margin, margin, 8, 22),
                functools.partial(performance_plots.confusion, matrix=matrix, names=names),
                f"{RULES[rule]}: share of each true degree given each degree.",
                RULES[rule],
            )
        )
        for d, counts in enumerate(matrix):
            rows.append({"rule": rule, "true": d} | {f"given_{g}": int(n) for g, n in enumerate(counts)})
    caption = (
        "Share of each true degree (row, in percent) that was given each degree (column), by three rules."
    )
    return Figure(Picture("degrees", tuple(panels), caption, pd.DataFrame(rows)))
