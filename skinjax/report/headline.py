"""The answer at the top of the page, in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skinjax.report.formatting import bracketed, decimals, limits_or_reason, p_value, percent, points
from skinjax.report.sections.roc import TargetFacts
from skinjax.report.study import Study

_OTHER_METRICS = {"macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy", "top_3": "top-3 accuracy"}


def headline(
    study: Study, methods: pd.DataFrame, target: TargetFacts | None, readers: str = "", models: str = ""
) -> list[str]:
    """Returns the headline: discrimination of the target, and accuracy of the diagnosis.

    Args:
      study: The model's answers, and how intervals are made.
      methods: The table that `skinjax.report.tables.methods.compare_methods` returned, at the finest level.
      target: None without one.
      readers: A clause on the comparison with readers; empty for none.
      models: A sentence on the comparison with other models; empty for none.

    Returns:
      The target's own sentence, where there is one, that on the diagnosis, and that on other models.
    """
    parts = [] if target is None else [_of_target(study, target, readers)]
    return [*parts, _of_classes(study, methods, named=bool(models)), *([models] if models else [])]


def _of_target(study: Study, facts: TargetFacts, readers: str) -> str:
    assert study.target is not None
    area = facts.auc
    sentence = (
        f"The {study.noun} tells {study.target.title} from the rest with an area under the ROC curve of "
        f"{decimals(area.auc)}"
    )
    over = f"{study.confidence_percent} interval over {study.counted_cases} "
    sentence += bracketed(area.low, area.high, before=over)
    sensitivity, specificity = (facts.calls.get(name) for name in ("sensitivity", "specificity"))
    if sensitivity is not None and specificity is not None:
        photos = int(study.target.labels.sum())
        found = bracketed(sensitivity.low, sensitivity.high, percent)
        cleared = bracketed(specificity.low, specificity.high, percent)
        sentence += (
            f"; thresholds that were fitted on other {'photos' if study.unit == 'photo' else 'cases'} find "
            f"{percent(sensitivity.estimate)}{found} of the {photos:,} photos of {study.target.title} and clear "
            f"{percent(specificity.estimate)}{cleared} of the {len(study.labels) - photos:,} others"
        )
    return sentence + (f"; {readers}." if readers else ".")


def _of_classes(study: Study, methods: pd.DataFrame, named: bool) -> str:
    row = {str(record["method"]): record for record in methods.to_dict("records")}[study.method]
    who = f"“{study.name}”" if named else f"The {study.noun}"
    if study.method != "flat":
        levels = f"the {study.coarse_level} and {study.taxonomy.finest} {study.noun}s"
        who = f"Soft fusion of {levels}" + (f" of “{study.name}”" if named else "")
    photos, people = len(study.labels), study.num_cases
    counted = f"{photos:,} photo{'s' * (photos != 1)}"
    sentence = f"{who} predicts the right one of {len(study.fine.classes)} classes for {percent(row['accuracy'])} of "
    if people == 1:
        return f"{sentence}{counted}; all are of 1 case, so no interval can be given."
    over = f"{study.confidence_percent} interval over {study.counted_cases} "
    limits = bracketed(
        row["accuracy_low"], row["accuracy_high"], percent, row["accuracy_reason"], before=over
    )
    sentence += f"{counted}{limits}"
    return f"{sentence}." if study.method == "flat" else f"{sentence}, {_against_flat(study, row)}."


def _against_flat(study: Study, row: Mapping[Any, Any]) -> str:
    """Returns how fusion compares with the flat answers, by accuracy and by every figure that says otherwise."""
    flat, sign = f"the flat {study.noun}", _sign(row, "accuracy")
    difference = row["accuracy_difference"]
    limits = limits_or_reason(
        row["accuracy_difference_low"],
        row["accuracy_difference_high"],
        points,
        row["accuracy_difference_reason"],
    )
    if sign:
        tested = p_value(row["accuracy_p_value"])
        told = f"{abs(100 * difference):.1f} points {_beside(sign)} {flat} ({limits}, {tested})"
    elif np.isnan(difference):
        told = f"which cannot be compared with {flat}"
    else:
        shown = ", ".join(filter(None, (f"{points(difference)} points", limits)))
        told = f"not shown to differ from {flat} in accuracy ({shown})"
    others = [name for name in _OTHER_METRICS if _sign(row, name) not in (0, sign)]
    contrary = [
        f"its {_OTHER_METRICS[name]} is {abs(100 * row[f'{name}_difference']):.1f} points "
        f"{_beside(_sign(row, name))} "
        f"({limits_or_reason(row[f'{name}_difference_low'], row[f'{name}_difference_high'], points)}, "
        f"{p_value(row[f'{name}_p_value'])})"
        for name in others
    ]
    return told + (f", though {' and '.join(contrary)}" if contrary else "")


def _sign(row: Mapping[Any, Any], name: str) -> int:
    """Returns 1 or -1 where a difference's interval lies above or below 0, and 0 where it does not, or is missing."""
    low, high = row.get(f"{name}_difference_low", np.nan), row.get(f"{name}_difference_high", np.nan)
    return int(low > 0) - int(high < 0)


def _beside(sign: int) -> str:
    return "above" if sign > 0 else "below"
