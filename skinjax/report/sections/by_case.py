"""One answer per case: what pooling a case's photos gains over a single photo of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.report.blocks import Block, Column, Section, Table, Text
from skinjax.report.formatting import (
    bracketed,
    decimals,
    limits_or_reason,
    p_value,
    percent,
    points,
    ranged,
    signed,
    with_range,
)
from skinjax.report.model_card import Metric
from skinjax.report.sections.conformal import COVERAGES, LIMIT
from skinjax.report.study import Study
from skinjax.report.tables.pooling import SINGLE, CasePhotos, case_photos, compare_pooling, compare_sets

_TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_auc": "Macro AUC",
    "target_auc": "AUC of {target}",
}
_AREAS = ("macro_auc", "target_auc")
_ID = "cases"


def by_case_section(
    study: Study, degree_of_class: NDArray[np.integer] | None = None
) -> tuple[Section, str, tuple[Metric, ...]] | None:
    """Builds the figures of pooled answers beside those of single photos, with paired differences by case.

    Args:
      study: The model's answers, and how intervals are made.
      degree_of_class: int[K], the degree of malignancy of each class, below 0 for no tumour; None where not known.

    Returns:
      The section, a sentence for the top of the page, and the figures for programs; None where no case is known to have
      several photos, so that photos and cases are the same, or where there is a single class.
    """
    if study.unit != "case" or study.probs.shape[1] < 2:
        return None
    found = case_photos(study)
    if not found.several:
        return None
    severity = None if degree_of_class is None else np.maximum(degree_of_class, 0).astype(np.float64)
    table = compare_pooling(study, found, severity)
    titles = {
        name: title.format(target=study.target.title if study.target else "")
        for name, title in _TITLES.items()
        if name in table
    }
    blocks: list[Block] = [
        Text(_verdict(study, found, table)),
        Table("by_case", table, _columns(table, titles, severity is not None)),
        Text(_words(study, found, severity is not None), small=True),
    ]
    sets = compare_sets(study, found, COVERAGES, LIMIT)
    if sets is not None:
        blocks += [_sets_table(sets, found.noun), Text(_set_words(study), small=True)]
    title = f"One answer per {found.noun.removesuffix('s')}"
    return Section(_ID, title, tuple(blocks)), _headline(study, found, table), _metrics(study, table)


def _verdict(study: Study, found: CasePhotos, table: pd.DataFrame) -> str:
    row = table.to_dict("records")[1]
    gains: list[str] = []
    losses: list[str] = []
    unclear: list[str] = []
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        if name not in table:
            continue
        title = "macro AUC" if name == "macro_auc" else _TITLES[name].lower()
        sign = _sign(row, name)
        shown = f"{title}{' by' if sign else ''} {_change(row, name)}, {p_value(row[f'{name}_p_value'])}"
        (gains if sign > 0 else losses if sign < 0 else unclear).append(shown)
    parts, one = [], found.noun.removesuffix("s")
    if gains:
        parts.append(f"Pooling the photos of a {one} raises {'; '.join(gains)}.")
    if losses:
        parts.append(f"Pooling the photos of a {one} lowers {'; '.join(losses)}.")
    if unclear:
        first = "No gain is shown" if not parts else "No difference is shown"
        parts.append(f"{first}: {'; '.join(unclear)}.")
    of = f"{found.several:,} of {len(found.labels):,} {found.noun} have several photos"
    return f"{' '.join(parts)} {of}."


def _headline(study: Study, found: CasePhotos, table: pd.DataFrame) -> str:
    row = table.to_dict("records")[1]
    over = f"{study.confidence_percent} interval "
    limits = bracketed(
        row["accuracy_low"], row["accuracy_high"], percent, row["accuracy_reason"], before=over
    )
    sign = _sign(row, "accuracy")
    change = limits_or_reason(
        row["accuracy_difference_low"],
        row["accuracy_difference_high"],
        points,
        row["accuracy_difference_reason"],
    )
    single = f"the {percent(table['accuracy'].iloc[0])} of a single photo"
    gained = f"{abs(100 * row['accuracy_difference']):.1f} points {'above' if sign > 0 else 'below'} {single}"
    if not sign:
        gained = f"which cannot be distinguished from {single} ({points(row['accuracy_difference'])} points"
        gained += f", {change})" if change else ")"
    else:
        gained += f" ({change}, {p_value(row['accuracy_p_value'])})"
    noun, one = found.noun, found.noun.removesuffix("s")
    mixed = (
        f"; {found.mixed:,} {one if found.mixed == 1 else noun} with several diagnoses left out"
        if found.mixed
        else ""
    )
    return (
        f"By {one}, with the photos of each pooled, the {study.noun} predicts the right one of "
        f"{len(study.fine.classes)} classes for {percent(row['accuracy'])} of {len(found.labels):,} {noun}{limits}, "
        f"{gained}{mixed}."
    )


def _change(row: Mapping[Any, Any], name: str) -> str:
    write = signed if name in _AREAS else points
    size = row[f"{name}_difference"]
    shown = write(abs(size) if _sign(row, name) else size)
    value = shown.removeprefix("+" if _sign(row, name) else "") + ("" if name in _AREAS else " points")
    return value + bracketed(
        row[f"{name}_difference_low"],
        row[f"{name}_difference_high"],
        write,
        row[f"{name}_difference_reason"],
    )


def _sign(row: Mapping[Any, Any], name: str) -> int:
    low, high = row.get(f"{name}_difference_low", np.nan), row.get(f"{name}_difference_high", np.nan)
    return int(low > 0) - int(high < 0)


def _columns(table: pd.DataFrame, titles: Mapping[str, str], graded: bool) -> tuple[Column, ...]:
    rules = {
        SINGLE: "Single photo",
        "mean_log": "Mean of log-probabilities\nas predict answers",
        "mean": "Mean of probabilities",
        "max": "Most malignant photo" if graded else "Largest probability of each class",
    }
    rows = table.to_dict("records")
    columns = [Column("Answer for a case", [rules[row["rule"]] for row in rows])]
    for name, title in titles.items():
        area = name in _AREAS
        columns.append(Column(title, ranged(table, name, decimals if area else percent)))
        shown = []
        write = signed if area else points
        for row in rows:
            value = row.get(f"{name}_difference", np.nan)
            low, high = (row.get(f"{name}_difference_{end}", np.nan) for end in ("low", "high"))
            known = not pd.isna(value)
            text = f"{write(value)}, {p_value(row[f'{name}_p_value'])}" if known else ""
            shown.append(
                with_range(text, low, high, write, row.get(f"{name}_difference_reason", "")) if known else ""
            )
        columns.append(Column("Gain", shown))
    return tuple(columns)


def _words(study: Study, found: CasePhotos, graded: bool) -> str:
    words = (
        f"Every one of the {found.noun} counts once; a single photo is one drawn evenly from each. Gains are the "
        "pooled answer’s less the single photo’s, paired, with intervals and p-values over resampled cases. The first "
        "rule is the one that “predict --by=case” answers by; the others are shown beside it, and no p-value is "
        "corrected for their number. AUCs of the others have no interval here."
    )
    if graded:
        words += " The most malignant photo is the one whose mean degree of malignancy is highest."
    if found.lesions:
        words += (
            " A lesion is one lesion_id of a case. Elsewhere on this page a case is one case_id, such as a patient "
            "with all lesions; these are what is resampled, here too."
        )
    if found.mixed:
        left_out = "1 case is" if found.mixed == 1 else f"{found.mixed:,} cases are"
        words += f" {left_out} left out: photos bear different diagnoses, and no lesion_id tells them apart."
    return words


def _sets_table(sets: pd.DataFrame, noun: str) -> Table:
    shown = {
        f"{noun.capitalize()} covered": ranged(sets, "coverage", percent),
        "Classes in the set, mean": [decimals(v, 2) for v in sets["mean_size"]],
        "Sets of one class": [percent(v) for v in sets["single"]],
        "Single photos covered": [percent(v) for v in sets["photo_coverage"]],
        "Classes in a single photo’s set, mean": [decimals(v, 2) for v in sets["photo_mean_size"]],
    }
    columns = [Column("Nominal coverage", list(shown))]
    for place, coverage in enumerate(sets["nominal_coverage"]):
        columns.append(Column(f"{100 * coverage:g}%", [values[place] for values in shown.values()]))
    return Table("conformal_by_case", sets, tuple(columns), "Conformal sets of pooled answers")


def _set_words(study: Study) -> str:
    return (
        f"Thresholds were fitted on {study.other_cases}: pooled answers’ on pooled answers, single photos’ on single "
        "photos. The guarantee is of the coverage on average over cases."
    )


def _metrics(study: Study, table: pd.DataFrame) -> tuple[Metric, ...]:
    row = table.to_dict("records")[1]
    found = []
    for name in _TITLES:
        for suffix in ("", "_difference") if name in table else ():
            key = f"{name}{suffix}"
            value, low, high = (float(row[f"{key}{limit}"]) for limit in ("", "_low", "_high"))
            named = f"{name}_by_case{'_gain' if suffix else ''}"
            found.append(Metric(named, value, low, high, study.confidence))
    return tuple(found)
