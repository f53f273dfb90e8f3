"""The model against people who read the same photos."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.decide.two_stage import fit_threshold
from skinjax.evaluate.delong import auc_interval
from skinjax.evaluate.fewest import too_few_cases
from skinjax.evaluate.mrmc import Contrast
from skinjax.evaluate.readers import MeanReader, ReaderComparison, compare_with_readers, reader_points
from skinjax.evaluate.roc import operating_point, roc_curve
from skinjax.evaluate.roc_band import roc_band
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.cases import photos_of
from skinjax.report.figures import roc_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, decimals, limits_or_reason, p_value, percent, points, with_range
from skinjax.report.study import Study, Target

_TITLE = "Readers"
_FEWEST = 100  # replicates that a covariance is drawn with


def check_readers(readers: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Refuses readers' calls that do not fit the predictions.

    Args:
      readers: With the columns `reader`, `image` and `call` (0 or 1).
      predictions: With the column `image`.

    Raises:
      ValueError: Missing columns, calls other than 0 and 1, a photo that a reader called twice, or photos
        that the predictions lack.

    Example:
      >>> check_readers(pd.DataFrame({"reader": ["r"], "image": ["a"], "call": [1]}), pd.DataFrame({"image": ["a"]}))
    """
    absent = [name for name in ("reader", "image", "call") if name not in readers.columns]
    if absent:
        raise ValueError(f"readers must have the columns {', '.join(absent)}, which are missing")
    if not readers["call"].isin([0, 1]).all():
        raise ValueError("readers must hold calls of 0 or 1, got others")
    twice = readers.duplicated(["reader", "image"])
    if twice.any():
        reader, image = readers.loc[twice, ["reader", "image"]].iloc[0]
        raise ValueError(f"readers must call a photo once, got {image!r} twice from {reader!r}")
    unknown = ~readers["image"].isin(predictions["image"])
    if unknown.any():
        raise ValueError(
            f"readers must call photos of the predictions, got {int(unknown.sum())} others, the first "
            f"{readers.loc[unknown, 'image'].iloc[0]!r}"
        )


def readers_section(study: Study, readers: pd.DataFrame) -> tuple[Section, str]:
    """Builds the readers' points over the model's curve on the photos that all of them read, and the comparison.

    Args:
      study: The model's answers, and how intervals are made.
      readers: As `check_readers` takes them.

    Returns:
      The section, and a clause for the summary, empty where nothing was compared.
    """
    target = study.target
    if target is None:
        why = "Readers say yes or no, so a target has to be named, and none was."
        return unanswered("readers", _TITLE, why), ""
    calls = readers.pivot(index="reader", columns="image", values="call")
    left_out = int(calls.isna().any().sum())
    calls = calls.loc[:, calls.notna().all()]
    photos = pd.Index(study.predictions.image).get_indexer(calls.columns)
    answers = calls.to_numpy(np.float64)
    truth, scores, cases = target.labels[photos], target.scores[photos], study.cases[photos]
    if not len(photos) or truth.all() or not truth.any():
        held = "no photo" if not len(photos) else "photos of one class only"
        return unanswered(
            "readers", _TITLE, f"What all readers read is {held}, so nothing can be compared."
        ), ""
    threshold = _threshold(target, study.cases, cases)
    found = compare_with_readers(
        truth,
        scores,
        answers,
        cases,
        threshold,
        study.confidence,
        random_readers=len(answers) > 1,
        replicates=max(study.replicates, _FEWEST),
        seed=study.seed,
    )
    sensitivity, specificity = reader_points(truth, answers)
    table = pd.DataFrame(
        {"reader": calls.index.astype(str), "sensitivity": sensitivity, "specificity": specificity}
    )
    blocks: list[Block] = [
        _figure(study, truth, scores, cases, table, found.mean_reader, threshold),
        _points(study, table, found.mean_reader),
        _comparison(found, bool(too_few_cases(truth, cases))),
        Text(_words(study, found, threshold, left_out, len(photos)), small=True),
    ]
    if few := too_few_cases(truth, cases):
        blocks.append(Text(f"No test is made against the readers: among the photos that they read {few}."))
    difference = found.sensitivity
    people = f"{found.num_readers} reader{'s' * (found.num_readers > 1)}, on {len(photos):,} photos"
    limits = limits_or_reason(difference.low, difference.high, points)
    if difference.low > 0 or difference.high < 0:
        clause = (
            f"at the readers’ own specificities its sensitivity is {abs(100 * difference.estimate):.1f} points "
            f"{'above' if difference.estimate > 0 else 'below'} that of {people} ({limits})"
        )
    else:
        clause = (
            "at the readers’ own specificities its sensitivity cannot be distinguished from that of "
            f"{people} ({points(difference.estimate)} points, {limits})"
        )
    if not limits or too_few_cases(truth, cases):
        clause = ""
    return Section("readers", _TITLE, tuple(blocks)), clause


def _threshold(target: Target, cases: NDArray[np.int64], read: NDArray[np.int64]) -> float | None:
    """Returns Youden's threshold on the cases that no reader saw; None where they hold one class only."""
    other = ~np.isin(cases, read)
    if not target.labels[other].any() or target.labels[other].all():
        return None
    return fit_threshold(target.labels[other], target.scores[other])


def _figure(
    study: Study,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    cases: NDArray[np.int64],
    table: pd.DataFrame,
    mean: MeanReader,
    threshold: float | None,
) -> Figure:
    curve = roc_curve(truth, scores)
    band = roc_band(truth, scores, cases, None, study.replicates, study.confidence, study.seed)
    area = auc_interval(truth, scores, study.confidence, cases)
    place = None
    if threshold is not None:
        point = operating_point(truth, scores, threshold)
        place = (point.sensitivity, point.specificity)

    def draw(axes: roc_plots.Axes) -> None:
        roc_plots.roc(axes, curve, study.name, band, place)
        roc_plots.readers(axes, table["sensitivity"], table["specificity"], mean)

    label = f"ROC curve on the photos that were read, with {len(table)} readers as points."
    drawing = panel("readers", (360, 330), (44, 40, 10, 10), draw, label, legend=True)
    shown = with_range(decimals(area.auc), area.low, area.high).replace("\n", ", ")
    caption = (
        f"The model’s curve on the {len(truth):,} photos that all readers read (area {shown}), and the readers. "
        "A mean of points lies below the curve that the readers would follow, so a model’s curve above it is "
        "not yet better; the table below compares with each reader where that reader stands."
    )
    kept = roc_plots.thin(1 - curve.specificity, curve.sensitivity)
    drawn = pd.DataFrame(
        {
            "part": "curve",
            "one_minus_specificity": 1 - curve.specificity[kept],
            "sensitivity": curve.sensitivity[kept],
        }
    )
    dots = pd.DataFrame(
        {
            "part": "reader " + table["reader"],
            "one_minus_specificity": 1 - table["specificity"],
            "sensitivity": table["sensitivity"],
        }
    )
    return Figure(Picture("readers", (drawing,), caption, pd.concat([drawn, dots], ignore_index=True)))


def _points(study: Study, table: pd.DataFrame, mean: MeanReader) -> Table:
    def of(contrast: Contrast) -> str:
        return with_range(percent(contrast.estimate), max(contrast.low, 0), min(contrast.high, 1), percent)

    columns = (
        Column("Reader", [*table["reader"], "Mean reader"]),
        Column("Sensitivity", [*map(percent, table["sensitivity"]), of(mean.sensitivity)]),
        Column("Specificity", [*map(percent, table["specificity"]), of(mean.specificity)]),
    )
    caption = "Each reader’s point"
    whole: dict[str, object] = {"reader": "(mean)"}
    for name, contrast in (("sensitivity", mean.sensitivity), ("specificity", mean.specificity)):
        whole |= {name: contrast.estimate, f"{name}_low": contrast.low, f"{name}_high": contrast.high}
    data = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    return Table("readers", data, columns, caption, folded=len(table) > 8)


def _comparison(found: ReaderComparison, few: bool) -> Table:
    """Returns differences from the readers; of too few cases without intervals and tests."""
    rows = {
        "Sensitivity at each reader’s specificity": found.sensitivity,
        "Specificity at each reader’s sensitivity": found.specificity,
    }
    if found.at_threshold is not None:
        rows |= {
            "Sensitivity at the model’s threshold": found.at_threshold.sensitivity,
            "Specificity at the model’s threshold": found.at_threshold.specificity,
            "Mean of the two at the model’s threshold": found.at_threshold.balanced,
        }
    data = pd.DataFrame(
        [
            {
                "figure": name,
                "difference": row.estimate,
                "low": np.nan if few else row.low,
                "high": np.nan if few else row.high,
                "degrees_of_freedom": np.nan if few else row.degrees_of_freedom,
                "p_value": np.nan if few else row.p_value,
            }
            for name, row in rows.items()
        ]
    )
    records = data.to_dict("records")
    columns = (
        Column("Model less readers", list(data["figure"])),
        Column(
            "Points",
            [with_range(points(one["difference"]), one["low"], one["high"], points) for one in records],
        ),
        Column("p", [p_value(one["p_value"]) for one in records]),
    )
    return Table("readers_compared", data, columns)


def _words(study: Study, found: ReaderComparison, threshold: float | None, left_out: int, photos: int) -> str:
    words = (
        f"{found.num_readers} reader{'s' * (found.num_readers > 1)}, "
        f"{photos_of(photos, found.num_cases, study.unit)}. "
        f"The model is more sensitive than {found.above} of the readers at their own specificity. "
    )
    if found.num_readers > 1:
        words += (
            f"Intervals ({study.confidence_percent}) and p-values are for other readers and other cases (Obuchowski "
            "and "
            "Rockette’s analysis with Hillis’s degrees of freedom). "
        )
    else:
        words += (
            f"With one reader, intervals ({study.confidence_percent}) and p-values are for other cases only. "
        )
    if threshold is None:
        words += "No threshold is compared, since all cases were read or the unread ones are of one class. "
    else:
        words += f"The model’s threshold, {cell(threshold)}, was fitted on the cases that were not read. "
    if left_out:
        words += f"{left_out:,} photos that only some readers read were left out."
    return words.strip()
