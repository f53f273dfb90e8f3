"""The malignancy score by true degree, and degrees given by three rules."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.decide.malignancy import (
    degree_probabilities,
    fit_cutpoints,
    grade,
    grading_cost,
    reference_score,
)
from skinjax.evaluate import bootstrap
from skinjax.evaluate.agreement import quadratic_kappa
from skinjax.evaluate.confusion import confusion_matrix
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report import figures, figures_groups
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.crossfit import over_parts
from skinjax.report.formatting import cell, decimals, percent, ranged
from skinjax.report.pictures import Picture, panel
from skinjax.report.study import Study

_RULES = {
    "argmax": "Most probable degree",
    "least_cost": "Least expected cost",
    "cutpoints": "Cut-points on the score",
}


def check_degrees(degrees: Mapping[str, int], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """The degree of each class of the finest level.

    Args:
        degrees: class -> degree, integers from 0.
        taxonomy: its finest classes all have a degree.

    Returns:
        int64[K].

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
        told = f"none for {missing[0]!r}" if missing else f"one for {unknown[0]!r}"
        raise ValueError(f"degrees must hold one for each {taxonomy.finest} and no other, got {told}")
    values = [degrees[name] for name in classes]
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= 0 for v in values):
        raise ValueError(f"degrees must be integers of at least 0, got {values}")
    if max(values) < 1:
        raise ValueError(f"degrees must be at least two, 0 and up, got {max(values) + 1}")
    return np.array(values, np.int64)


def malignancy_section(study: Study, degree_of_class: NDArray[np.int64]) -> Section:
    """The score's distribution by true degree, and the degrees given.

    Args:
        study: the model.
        degree_of_class: int64[K], of `check_degrees`.
    """
    count = int(degree_of_class.max()) + 1
    true = degree_of_class[study.labels]
    cost = grading_cost(count)
    with jax.enable_x64(True):
        probs = degree_probabilities(study.probs, degree_of_class, count)
        scores = np.asarray(reference_score(probs, np.linspace(0, 1, count)))
        given = {rule: np.asarray(grade(probs, rule)) for rule in ("argmax", "least_cost")}
        cuts: NDArray | None = None
        if study.parts is not None:
            cuts = np.array(
                over_parts(study.parts, lambda rest: fit_cutpoints(scores[rest], true[rest], cost))
            )
            given["cutpoints"] = (scores[:, None] >= cuts[study.parts]).sum(axis=1)
    names = [f"degree {d}" for d in range(count)]
    blocks: list[Block] = [_scores_figure(scores, true, names), _rules(study, true, given)]
    blocks.append(Text(_words(study, cuts, count), small=True))
    blocks.append(Heading("Degrees given"))
    blocks.append(_confusions(true, given, names))
    return Section("malignancy", "Malignancy", tuple(blocks))


def _scores_figure(scores: NDArray[np.float64], true: NDArray[np.int64], names: list[str]) -> Figure:
    quantiles = np.full((len(names), len(figures_groups.QUANTILES)), np.nan)
    photos = np.bincount(true, minlength=len(names))
    for d in np.flatnonzero(photos):
        quantiles[d] = np.quantile(scores[true == d], figures_groups.QUANTILES)
    shown = [f"{name} (n = {n:,})" for name, n in zip(names, photos, strict=True)]
    left = figures.text_width(shown, 10) + 4
    drawing = panel(
        "malignancy_scores", (left + 320, 70 + 34 * len(names)), (left, 40, 14, 10),
        lambda axes: figures_groups.degree_scores(axes, quantiles, shown),
        "Reference score by true degree; medians "
        + ", ".join(f"{name} {decimals(q, 1)}" for name, q in zip(names, quantiles[:, 2], strict=True)) + ".",
    )  # fmt: skip
    data = pd.DataFrame(quantiles, columns=[f"quantile_{q:g}" for q in figures_groups.QUANTILES])
    data.insert(0, "photos", photos)
    data.insert(0, "degree", range(len(names)))
    caption = (
        "Reference score of the photos of each true degree: the dot is the median, the box holds the middle half, "
        "the line nine tenths. The score is 100 times the expected degree, scaled to 0 (the most benign) to 100."
    )
    return Figure(Picture("malignancy_scores", (drawing,), caption, data))


def _rules(study: Study, true: NDArray[np.int64], given: Mapping[str, NDArray]) -> Table:
    rows = []
    for rule, answers in given.items():
        kappa = bootstrap.by_case(
            quadratic_kappa, (true, answers), study.cases, study.replicates, study.confidence, study.seed
        )
        row: dict[str, object] = {
            "rule": rule,
            "kappa": kappa.estimate,
            "kappa_low": kappa.low,
            "kappa_high": kappa.high,
        }
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
        Column("Rule", [_RULES[rule] for rule in data["rule"]]),
        Column("Quadratic kappa", ranged(data, "kappa", decimals)),
        Column("Right", ranged(data, "right", percent)),
        Column("Too low", ranged(data, "too_low", percent)),
        Column("Too high", ranged(data, "too_high", percent)),
    )
    return Table("malignancy", data, columns)


def _words(study: Study, cuts: NDArray | None, count: int) -> str:
    words = (
        "Too low a degree costs most, as the patient sees a doctor too late: the second and the third rule count "
        "a degree too low as four too high. "
    )
    if cuts is None:
        return words + "All photos are of one case, so no cut-points could be fitted on other cases."
    lowest, highest = cuts.min(axis=0), cuts.max(axis=0)
    told = ", ".join(
        cell(a) if a == b else f"{cell(a)} to {cell(b)}" for a, b in zip(lowest, highest, strict=True)
    )
    return words + (
        f"For every photo the {count - 1} cut-point{'s' * (count > 2)} ({told}) were chosen on "
        f"{study.other_cases}."
    )


def _confusions(true: NDArray[np.int64], given: Mapping[str, NDArray], names: list[str]) -> Figure:
    panels, rows = [], []
    for rule, answers in given.items():
        matrix = confusion_matrix(true, answers.astype(np.int64), len(names))
        margin = figures.text_width(names, 10) + 24
        side = 34.0 * len(names)
        panels.append(
            panel(
                f"degrees_{rule}",
                (margin + max(side, 150), side + margin + 22),
                (margin, margin, 8, 22),
                functools.partial(figures.confusion, matrix=matrix, names=names),
                f"{_RULES[rule]}: share of each true degree given each degree.",
                _RULES[rule],
            )
        )
        for d, counts in enumerate(matrix):
            rows.append({"rule": rule, "true": d} | {f"given_{g}": int(n) for g, n in enumerate(counts)})
    caption = (
        "Share of each true degree (row, in percent) that was given each degree (column), by three rules."
    )
    return Figure(Picture("degrees", tuple(panels), caption, pd.DataFrame(rows)))
