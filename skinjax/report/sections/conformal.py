"""Sets of diagnoses that hold the true one as often as asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skinjax.evaluate.proportions import proportion_by_case
from skinjax.report import crossfit
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.figures import group_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import decimals, percent, ranged
from skinjax.report.study import Study

COVERAGES = (0.8, 0.9, 0.95)
"""Coverages that are shown; the middle one is drawn."""

LIMIT = 3
"""The largest set that names classes; a larger one backs off to coarser classes."""

_TITLE = "Conformal sets"


def conformal_section(study: Study) -> Section:
    """Builds coverage with intervals, sizes of sets, and the share that backs off."""
    if study.probs.shape[1] < 2:
        return unanswered("conformal", _TITLE, "With a single class every set is that class.")
    if study.calibration_parts is None:
        return unanswered(
            "conformal", _TITLE, "All photos are of one case, so no set could be fitted on other cases."
        )
    level = study.coarse_level
    if level is None and len(study.taxonomy.levels) > 1:
        level = study.taxonomy.levels[-2]
    parents = None if level is None else study.taxonomy.parents(study.taxonomy.finest, level)
    rows, shares = [], np.empty(0)
    for coverage in COVERAGES:
        sets = crossfit.conformal(
            study.probs, study.labels, study.cases, study.calibration_parts, coverage, LIMIT, parents
        )
        rows.append(_row(study, sets))
        if coverage == COVERAGES[1]:
            shares = np.bincount(sets.size, minlength=2)[1:] / len(study.labels)
    data = pd.DataFrame(rows)
    sizes = pd.DataFrame({"size": np.arange(1, len(shares) + 1), "share": shares})
    drawing = panel(
        "set_sizes", (360, 220), (48, 38, 10, 10),
        lambda axes: group_plots.set_sizes(axes, shares),
        f"Share of photos by the size of their set at a coverage of {100 * COVERAGES[1]:g}%.",
    )  # fmt: skip
    blocks: list[Block] = [
        Figure(
            Picture(
                "set_sizes",
                (drawing,),
                f"Sizes of the sets at a nominal coverage of {100 * COVERAGES[1]:g}%.",
                sizes,
            )
        ),
        _shown(data, level),
        Text(_words(study, data, level), small=True),
    ]
    return Section("conformal", _TITLE, tuple(blocks))


def _row(study: Study, sets: crossfit.Sets) -> dict[str, float]:
    share = proportion_by_case(sets.covered, study.cases, study.confidence)
    case_mean = pd.Series(sets.covered).groupby(study.cases).mean().mean()
    row = {
        "nominal_coverage": sets.coverage,
        "coverage": share.estimate,
        "coverage_low": share.low,
        "coverage_high": share.high,
        "coverage_of_cases": float(case_mean),
        "mean_size": float(sets.size.mean()),
        "median_size": float(np.median(sets.size)),
        "single": float((sets.size == 1).mean()),
        "unfitted_parts": int(np.isinf(sets.thresholds).sum()),
    }
    if sets.backed_off is not None and sets.meta_covered is not None and sets.meta_size is not None:
        row |= {
            "backed_off": float(sets.backed_off.mean()),
            "meta_coverage": float(sets.meta_covered.mean()),
            "meta_mean_size": float(sets.meta_size.mean()),
        }
    return row


def _shown(data: pd.DataFrame, level: str | None) -> Table:
    shown = {
        "Photos covered": ranged(data, "coverage", percent),
        "Cases covered": [percent(v) for v in data["coverage_of_cases"]],
        "Classes in the set, mean": [decimals(v, 2) for v in data["mean_size"]],
        "Classes in the set, median": [f"{v:g}" for v in data["median_size"]],
        "Sets of one class": [percent(v) for v in data["single"]],
    }
    if level is not None:
        shown |= {
            f"Sets of more than {LIMIT}, which back off": [percent(v) for v in data["backed_off"]],
            f"Photos whose “{level}” class is touched": [percent(v) for v in data["meta_coverage"]],
            f"“{level}” classes touched, mean": [decimals(v, 2) for v in data["meta_mean_size"]],
        }
    columns = [Column("Nominal coverage", list(shown))]
    for place, coverage in enumerate(data["nominal_coverage"]):
        columns.append(Column(f"{100 * coverage:g}%", [values[place] for values in shown.values()]))
    return Table("conformal", data, tuple(columns))


def _words(study: Study, data: pd.DataFrame, level: str | None) -> str:
    words = (
        f"A set holds every class that is at least as probable as a threshold, which for each photo was fitted on "
        f"{study.other_cases}. The guarantee is that a photo drawn from a new case is covered so often, on "
        "average over cases (“cases covered”); it does not hold for each class or skin tone. "
    )
    if level is not None:
        words += f"A set of more than {LIMIT} classes backs off to the classes of the level “{level}” that it touches. "
    if data["unfitted_parts"].any():
        words += (
            "Where there are too few cases for the coverage, the set is that of all classes: "
            + ", ".join(f"{100 * v:g}%" for v in data.loc[data["unfitted_parts"] > 0, "nominal_coverage"])
            + "."
        )
    return words.strip()
