"""The answer at the top of the page, in a sentence or two."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skinjax.report.formatting import decimals, p_value, percent, points
from skinjax.report.sections.roc import TargetFacts
from skinjax.report.study import Study


def headline(study: Study, methods: pd.DataFrame, target: TargetFacts | None, readers: str = "") -> list[str]:
    """Returns the headline: discrimination of the target, and accuracy of the diagnosis.

    Args:
      study: The model's answers, and how intervals are made.
      methods: The table that `skinjax.report.tables.methods.compare_methods` returned, at the finest level.
      target: None without one.
      readers: A clause on the comparison with readers; empty for none.

    Returns:
      One sentence, or two where there is a target: its own first.
    """
    parts = [] if target is None else [_of_target(study, target, readers)]
    return [*parts, _of_classes(study, methods)]


def _of_target(study: Study, facts: TargetFacts, readers: str) -> str:
    assert study.target is not None
    area = facts.auc
    sentence = (
        f"The model tells {study.target.title} from the rest with an area under the ROC curve of "
        f"{decimals(area.auc)}"
    )
    if not np.isnan(area.low):
        sentence += (
            f" ({study.confidence_percent} interval over {study.counted_cases} {decimals(area.low)} to "
            f"{decimals(area.high)})"
        )
    sensitivity, specificity = (facts.calls.get(name) for name in ("sensitivity", "specificity"))
    if sensitivity is not None and specificity is not None:
        sentence += (
            f"; thresholds that were fitted on other {'photos' if study.unit == 'photo' else 'cases'} find "
            f"{percent(sensitivity.estimate)} of it "
            f"({percent(sensitivity.low)} to {percent(sensitivity.high)}) and clear {percent(specificity.estimate)} "
            f"of the rest ({percent(specificity.low)} to {percent(specificity.high)})"
        )
    return sentence + (f"; {readers}." if readers else ".")


def _of_classes(study: Study, methods: pd.DataFrame) -> str:
    row = {str(record["method"]): record for record in methods.to_dict("records")}[study.method]
    network = "The network"
    if study.method != "flat":
        network = f"Soft fusion of the {study.coarse_level} and {study.taxonomy.finest} networks"
    photos, people = len(study.labels), study.num_cases
    sentence = f"{network} names the right one of {len(study.fine.classes)} classes for {percent(row['accuracy'])} of "
    if np.isnan(row["accuracy_low"]):
        return f"{sentence}{photos:,} photos; all are of {people} case, so no interval can be given."
    sentence += (
        f"{photos:,} photos ({study.confidence_percent} interval over {study.counted_cases} "
        f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])})"
    )
    if study.method == "flat":
        return sentence + "."
    difference, low, high = (row[f"accuracy_difference{limit}"] for limit in ("", "_low", "_high"))
    if low > 0 or high < 0:
        verdict = (
            f"{abs(100 * difference):.1f} points {'above' if difference > 0 else 'below'} the flat network"
        )
        return f"{sentence}, {verdict} ({points(low)} to {points(high)}, {p_value(row['accuracy_p_value'])})."
    return (
        f"{sentence}, which these cases cannot tell from the flat network ({points(difference)} points, "
        f"{points(low)} to {points(high)})."
    )
