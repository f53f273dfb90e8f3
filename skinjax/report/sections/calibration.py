"""Calibration before and after temperature scaling, and what acting on the probabilities is worth."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calibration import brier_parts, calibration_error, reliability_curve
from skinjax.evaluate.decision_curve import decision_curve, interventions_avoided
from skinjax.evaluate.logistic_calibration import apart_from_bounds, calibration_line, smooth_calibration
from skinjax.report import crossfit
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.figures import calibration_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import decimals, percent, ranged
from skinjax.report.study import Study, target_scores

BINS = 10
"""Bins of equal mass of the reliability diagram and of the parts of the Brier score."""

_TITLES = {"before": "As answered", "after": "After temperature scaling"}


@dataclasses.dataclass(frozen=True, eq=False)
class Calibrated:
    """Probabilities before and after temperature scaling.

    Attributes:
      tempered: Temperature scaling of all classes; None where nothing could be fitted on other cases.
      event: What the binary probabilities are of, for people.
      labels: bool[N], whether it came true, before and after ("before", "after").
      probs: float64[N] in [0, 1], likewise.
      table: One row before and one after, with the calibration errors and scores; see `calibrated`.
    """

    tempered: crossfit.Tempered | None
    event: str
    labels: dict[str, NDArray[np.bool_]]
    probs: dict[str, NDArray[np.float64]]
    table: pd.DataFrame


def calibrated(study: Study) -> Calibrated | None:
    """Returns temperature scaling by parts, and how far probabilities are kept before and after it.

    Returns:
      None with fewer than two classes. The table has a row `stage` "before" and, where something could be
      fitted, "after": `ece` (of the target, or of the most probable class), `brier`, `log_loss` of all
      classes, `score`, `reliability`, `resolution` (the Brier score of the binary probabilities and its parts),
      `ici`, `e50`, `e90`, `uncertainty`, `slope` and `intercept`; with `_low` and `_high` where there is an interval.
    """
    if study.probs.shape[1] < 2:
        return None
    probs = {"before": study.probs}
    tempered = None
    if study.calibration_parts is not None:
        tempered = crossfit.tempered(
            study.probs, study.labels, study.cases, study.calibration_parts, study.seed
        )
        probs["after"] = tempered.probs
    truth, given = {}, {}
    for stage, values in probs.items():
        if study.target is not None:
            truth[stage] = study.target.labels
            given[stage] = target_scores(values, study.target, study.taxonomy)
        else:
            truth[stage] = values.argmax(axis=1) == study.labels
            given[stage] = np.minimum(values.max(axis=1), 1.0)
    rows = [
        {"stage": stage, **_row(study, values, truth[stage], given[stage])} for stage, values in probs.items()
    ]
    event = study.target.title if study.target is not None else "The most probable class is the true one"
    return Calibrated(tempered, event, truth, given, pd.DataFrame(rows))


def _row(
    study: Study, probs: NDArray[np.float64], truth: NDArray[np.bool_], given: NDArray[np.float64]
) -> dict[str, float]:
    draws = (study.cases, study.replicates, study.confidence, study.seed)
    binary = (truth.astype(np.int64), given)
    parts = brier_parts(*binary, BINS)
    smooth = smooth_calibration(*binary)
    row = {
        "ece": calibration_error("binary")(*binary), "reliability": parts.reliability,
        "resolution": parts.resolution, "ici": smooth.ici, "e50": smooth.e50, "e90": smooth.e90,
    }  # fmt: skip
    for name, metric, arrays in (
        ("score", bootstrap.brier, binary),
        ("brier", bootstrap.brier, (study.labels, np.minimum(probs, 1.0))),
        ("log_loss", bootstrap.log_loss, (study.labels, apart_from_bounds(np.minimum(probs, 1.0)))),
    ):
        found = bootstrap.by_case(metric, arrays, *draws)
        row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    row["uncertainty"] = float(truth.mean() * (1 - truth.mean()))
    line = calibration_line(*binary, study.cases, study.confidence)
    for name in ("slope", "intercept"):
        row |= {part: getattr(line, part) for part in (name, f"{name}_low", f"{name}_high")}
    return row


def calibration_section(study: Study, found: Calibrated | None) -> Section:
    """Builds reliability before and after, errors and scores with intervals."""
    if found is None:
        return unanswered("calibration", "Calibration", "With a single class every probability is 1.")
    stages = list(found.table["stage"])
    curves = [
        reliability_curve(found.labels[s], found.probs[s], study.cases, BINS, confidence=study.confidence)
        for s in stages
    ]
    smooth = [smooth_calibration(found.labels[s], found.probs[s]) for s in stages]
    drawing = panel(
        "reliability", (360, 330), (44, 40, 10, 10),
        lambda axes: calibration_plots.reliability(axes, curves, [_TITLES[s].lower() for s in stages], smooth),
        f"Reliability diagram; calibration error {decimals(found.table['ece'].iloc[0])} "
        f"{'before and ' + decimals(found.table['ece'].iloc[-1]) + ' after scaling' if len(stages) > 1 else ''}.",
        legend=True,
    )  # fmt: skip
    data = pd.concat(
        [
            pd.DataFrame({"stage": stage, **dataclasses.asdict(curve)}).drop(columns="confidence")
            for stage, curve in zip(stages, curves, strict=True)
        ],
        ignore_index=True,
    )
    caption = (
        f"{found.event}: how often it came true against its probability, in {BINS} bins of equally many photos, "
        f"with {study.confidence_percent} intervals by case; the thin lines are the smooth curves. On the diagonal "
        "probabilities are calibrated; below it they are too high."
    )
    blocks: list[Block] = [
        Figure(Picture("reliability", (drawing,), caption, data)),
        _scores(found),
        Text(_words(study, found), small=True),
    ]
    return Section("calibration", "Calibration", tuple(blocks))


def _scores(found: Calibrated) -> Table:
    table = found.table
    shown = {
        "ICI": [decimals(value) for value in table["ici"]],
        "E50 and E90": [
            f"{decimals(a)} and {decimals(b)}" for a, b in zip(table["e50"], table["e90"], strict=True)
        ],
        "Calibration error": [decimals(value) for value in table["ece"]],
        "Calibration slope": ranged(table, "slope", functools.partial(decimals, digits=2)),
        "Calibration intercept": ranged(table, "intercept", functools.partial(decimals, digits=2)),
        "Brier score": ranged(table, "score"),
        "Brier score: reliability": [decimals(value, digits=4) for value in table["reliability"]],
        "Brier score: resolution": [decimals(value) for value in table["resolution"]],
        "Brier score of all classes": ranged(table, "brier"),
        "Log loss of all classes": ranged(table, "log_loss"),
    }
    columns = [Column("Figure", list(shown))]
    for place, stage in enumerate(table["stage"]):
        columns.append(Column(_TITLES[stage], [values[place] for values in shown.values()]))
    return Table("calibration", table, tuple(columns))


def _words(study: Study, found: Calibrated) -> str:
    words = (
        "ICI, E50 and E90 are the mean, the median and the 90th percentile over photos of how far the probability lies "
        "from a smooth curve of how often it came true (logistic regression on a spline of the log-odds). "
        "The calibration error is the mean over 15 bins of equally many photos of how far probability and share "
        "lie apart; it is hardly ever 0 in a finite sample. Slope and intercept are of log-odds: 1 and 0 are best, a "
        "slope below 1 says that the probabilities are too extreme. Brier score = reliability − resolution + "
        f"uncertainty ({decimals(found.table['uncertainty'].iloc[0])} here), but for what probabilities differ by "
        "within a bin; of reliability less is better, of resolution more. ICI, E50, E90, the "
        "calibration error and these two have no interval: chance adds to them in every sample and again in every "
        "resampling of it. "
    )
    edges = int(((study.probs <= 0) | (study.probs >= 1)).sum())
    if edges:
        words += (
            f"{edges:,} probabilities are 0 or 1; where a logarithm is taken they count as half of the smallest "
            "distance from 0 or 1 of the others. "
        )
    if found.tempered is None:
        return words + "All photos are of one case, so no temperature could be fitted on other cases."
    lowest, highest = found.tempered.temperatures.min(), found.tempered.temperatures.max()
    words += (
        f"For every photo the temperature was fitted on {study.other_cases}: {decimals(lowest, 2)} to "
        f"{decimals(highest, 2)} (above 1 the {study.noun} is too sure of itself). For other photos take the one "
        f"fitted on all of these, {decimals(found.tempered.overall, 3)}."
    )
    if found.tempered.fitted_on < len(study.labels) // 2:
        words += f" Each was fitted on at most {found.tempered.fitted_on:,} photos of cases drawn at random."
    return words


def decision_section(study: Study, found: Calibrated | None) -> Section | None:
    """Builds net benefit of acting on the target's probability; None without a target."""
    target = study.target
    if target is None:
        return None
    title = "Decision curve"
    if target.why_not() or found is None:
        return unanswered("decision_curve", title, target.why_not() or "There is a single class.")
    stage = "after" if found.tempered is not None else "before"
    curve = decision_curve(
        target.labels, found.probs[stage], study.cases, confidence=study.confidence
    )  # fmt: skip
    data = pd.DataFrame({"threshold": curve.thresholds})
    for name in ("model", "treat_all", "gain"):
        band = getattr(curve, name)
        data = data.assign(**{name: band.estimate, f"{name}_low": band.low, f"{name}_high": band.high})
    data["interventions_avoided"] = interventions_avoided(curve)
    drawing = panel(
        "decision_curve", (430, 290), (58, 40, 10, 10),
        lambda axes: calibration_plots.decision(axes, curve),
        f"Net benefit of acting on the probability of {target.title} against the threshold.",
        legend=True,
    )  # fmt: skip
    better = curve.gain.low > 0
    caption = (
        f"Net benefit of acting on {target.title} from a threshold on, in needed interventions per photo, with "
        f"{study.confidence_percent} intervals by case at each threshold"
        f"{', of the probabilities after temperature scaling' if stage == 'after' else ''}. What falls far below "
        "0 is cut off."
    )
    words = (
        "Patient and doctor choose the threshold; it must not be fitted. A threshold of 10% means that nine "
        "unnecessary interventions are accepted for one that was needed. "
    )
    if better.any():
        words += (
            f"The model does better than treating all and treating none, its interval apart, at {int(better.sum())} "
            f"of the {len(better)} thresholds, from {percent(curve.thresholds[better].min())} to "
            f"{percent(curve.thresholds[better].max())}. "
        )
    else:
        words += "At no threshold does its interval show the model to do better than treating all or none. "
    words += f"It holds where {percent(curve.prevalence)} of photos are positive, as here."
    figure = Figure(Picture("decision_curve", (drawing,), caption, data))
    return Section("decision_curve", title, (figure, Text(words, small=True)))
