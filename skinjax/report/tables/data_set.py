"""Numbers of a data set before anything is trained: its classes, cases, photos and columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.columns import NOT_FOR_MODELS, fit_columns, known_text
from skinjax.data.findings import AuditReport
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.cases import Unit, unit_of

UNKNOWN = "not in the taxonomy"
"""Coarser class of labels that the taxonomy lacks."""

_EXACT_UP_TO = 12  # photos of a case that have a bar of their own, where no case has more
_EXACT_BELOW_RANGES = 4
_LONGEST = 36  # characters of a value that are shown


@dataclasses.dataclass(frozen=True, eq=False)
class PhotosByCase:
    """The usable photos of a manifest.

    Attributes:
      photos: The manifest's rows of these, N, with groups of near-duplicates as `case_id` where it has none.
      facts: The audit's facts of the same photos, see `skinjax.data.survey.photo_table`.
      unit: What `case_id` tells apart.
      listed: Rows of the manifest, usable or not, by label.
    """

    photos: pd.DataFrame
    facts: pd.DataFrame
    unit: Unit
    listed: pd.Series

    @property
    def sizes(self) -> pd.Series:
        """Returns the number of photos of each case, the largest first, and by name among equals."""
        found = self.photos.groupby("case_id").size().rename("photos").reset_index()
        ordered = found.sort_values(["photos", "case_id"], ascending=[False, True], kind="stable")
        return ordered.set_index("case_id")["photos"]


def photos_by_case(frame: pd.DataFrame, report: AuditReport) -> PhotosByCase:
    """Returns the usable photos of a manifest by case.

    Args:
      frame: The manifest.
      report: What its audit found.
    """
    whole = frame.reset_index(drop=True)
    whole = whole.assign(label=whole["label"].astype(str))
    if "case_id" not in whole:
        whole = whole.assign(case_id=report.stand_in_cases())
    whole = whole.assign(case_id=whole["case_id"].astype(str))
    usable = (report.photos["problem"] == "").to_numpy(bool)
    photos = whole[usable].reset_index(drop=True)
    return PhotosByCase(
        photos,
        report.photos[usable].reset_index(drop=True),
        unit_of(photos["case_id"], photos["image"]),
        whole["label"].value_counts(),
    )


def paths_of_labels(labels: Sequence[str], taxonomy: Taxonomy) -> pd.DataFrame:
    """Returns the class of each label at every level, in the taxonomy's order, with labels that it lacks last.

    Args:
      labels: Labels that the photos have, each once.
      taxonomy: Of the photos.

    Returns:
      A row per finest class and unknown label, a column per level, coarsest first; a coarser class of an unknown label
      is `UNKNOWN`.

    >>> tree = Taxonomy.from_pairs([("benign", "nevus"), ("malignant", "melanoma")])
    >>> paths_of_labels(["melanoma", "wart"], tree).to_numpy().tolist()
    [['benign', 'nevus'], ['malignant', 'melanoma'], ['not in the taxonomy', 'wart']]
    """
    levels = taxonomy.levels
    strange = sorted(set(labels) - set(taxonomy.classes()))
    rows = [*taxonomy.paths, *((UNKNOWN,) * (len(levels) - 1) + (label,) for label in strange)]
    return pd.DataFrame(rows, columns=list(levels))


def count_classes(found: PhotosByCase, paths: pd.DataFrame, level: str) -> pd.DataFrame:
    """Counts the photos and cases of each class of a level.

    Args:
      found: The usable photos.
      paths: As `paths_of_labels` gives them.
      level: One of its columns.

    Returns:
      `class`, `group` (the class above it; empty at the coarsest level), `listed` (rows of the manifest), `photos`
      (those that are usable) and `cases` of these, a row per class in the order of `paths`.
    """
    finest, above = paths.columns[-1], list(paths.columns).index(level) - 1
    classes = paths.drop_duplicates(level)
    # A label may be a coarser class's name, so that classes are looked up and never joined by name.
    of_label = dict(zip(paths[finest], paths[level], strict=True))
    own = found.photos["label"].map(of_label)
    grouped = found.photos.groupby(own)["case_id"].agg(["size", "nunique"])
    listed = found.listed.groupby(found.listed.index.map(of_label)).sum()
    names = classes[level].tolist()
    return pd.DataFrame(
        {
            "class": names,
            "group": classes[paths.columns[above]].tolist() if above >= 0 else [""] * len(names),
            "listed": listed.reindex(names, fill_value=0).to_numpy(int),
            "photos": grouped["size"].reindex(names, fill_value=0).to_numpy(int),
            "cases": grouped["nunique"].reindex(names, fill_value=0).to_numpy(int),
        }
    )


def few_cases(found: PhotosByCase, counts: pd.DataFrame, fewest: int, confidence: float) -> pd.DataFrame:
    """Returns the classes with photos of fewer than so many cases, and how narrow an interval they allow.

    Args:
      found: The usable photos.
      counts: As `count_classes` gives them of the finest level.
      fewest: Cases from which on a class is left out.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      `class`, `photos`, `cases` and `low`, the lower limit of the sensitivity's interval if all photos were answered
      correctly (`skinjax.evaluate.proportions.proportion_by_case`), NaN where one case has all photos; fewest cases
      first.
    """
    rare = counts[(counts["cases"] > 0) & (counts["cases"] < fewest)]
    rare = rare.sort_values(["cases", "photos"], kind="stable")
    low = []
    for label in rare["class"]:
        cases = found.photos.loc[found.photos["label"] == label, "case_id"].to_numpy(str)
        low.append(proportion_by_case(np.ones(len(cases), int), cases, confidence).low)
    return rare[["class", "photos", "cases"]].assign(low=np.array(low, np.float64)).reset_index(drop=True)


def size_bins(sizes: NDArray[np.integer]) -> pd.DataFrame:
    """Counts cases by their number of photos, one by one or, where some have many, in ranges that double.

    Args:
      sizes: int[C] of at least 1, the photos of each case.

    Returns:
      `from`, `to` (both included) and `cases`, to the largest case.

    >>> size_bins(np.array([1, 1, 2, 40])).to_numpy().tolist()
    [[1, 1, 2], [2, 2, 1], [3, 3, 0], [4, 4, 0], [5, 8, 0], [9, 16, 0], [17, 32, 0], [33, 64, 1]]
    """
    largest = int(sizes.max())
    if largest <= _EXACT_UP_TO:
        upper = list(range(1, largest + 1))
    else:
        upper = list(range(1, _EXACT_BELOW_RANGES + 1))
        while upper[-1] < largest:
            upper.append(2 * upper[-1])
    lower = [1, *(end + 1 for end in upper[:-1])]
    cases = np.bincount(np.searchsorted(upper, sizes), minlength=len(upper))
    return pd.DataFrame({"from": lower, "to": upper, "cases": cases})


def largest_cases(found: PhotosByCase, most: int) -> pd.DataFrame:
    """Returns the cases with the most photos.

    Args:
      found: The usable photos.
      most: Number of cases.

    Returns:
      `case_id`, `photos`, `share` of all photos, and `labels` with their numbers of photos, the most frequent first.
    """
    sizes = found.sizes.head(most)
    rows = found.photos[found.photos["case_id"].isin(sizes.index)]
    labels = {case: _with_numbers(own) for case, own in rows.groupby("case_id")["label"]}
    return pd.DataFrame(
        {
            "case_id": sizes.index.astype(str),
            "photos": sizes.to_numpy(),
            "share": sizes.to_numpy() / max(len(found.photos), 1),
            "labels": [labels[case] for case in sizes.index],
        }
    )


def labels_together(found: PhotosByCase) -> pd.DataFrame:
    """Counts which labels stand under one case together.

    Args:
      found: The usable photos.

    Returns:
      `labels` (sorted, joined by " + "), `cases`, their `photos`, and an `example`, the first of these cases by name;
      the most cases first.
    """
    pairs = found.photos[["case_id", "label"]].drop_duplicates()
    several = pairs[pairs.duplicated("case_id", keep=False)].sort_values(["case_id", "label"])
    if several.empty:
        return pd.DataFrame({"labels": [], "cases": [], "photos": [], "example": []})
    joined = several.groupby("case_id")["label"].agg(" + ".join)
    cases = joined.rename("labels").to_frame().assign(photos=found.sizes).reset_index()
    table = cases.groupby("labels").agg(
        cases=("case_id", "size"), photos=("photos", "sum"), example=("case_id", "min")
    )
    return table.reset_index().sort_values(["cases", "labels"], ascending=[False, True], ignore_index=True)


def photo_sizes(facts: pd.DataFrame) -> pd.DataFrame:
    """Returns the smallest, median and largest size of photos, a row per measure.

    Args:
      facts: Of N photos, at least one: `width`, `height` (in pixels, upright) and `bytes`.

    Returns:
      `measure`, `smallest`, `median` and `largest`: of the shorter and the longer side in pixels, of their ratio, of
      millions of pixels, and of the files in kilobytes.
    """
    sides = np.sort(facts[["width", "height"]].to_numpy(np.float64), axis=1)
    values = {
        "shorter side": sides[:, 0],
        "longer side": sides[:, 1],
        "longer to shorter side": sides[:, 1] / sides[:, 0],
        "million pixels": sides.prod(axis=1) / 1e6,
        "kilobytes": facts["bytes"].to_numpy(np.float64) / 1e3,
    }
    rows = [
        (name, float(found.min()), float(np.median(found)), float(found.max()))
        for name, found in values.items()
    ]
    return pd.DataFrame(rows, columns=["measure", "smallest", "median", "largest"])


def count_shapes(facts: pd.DataFrame) -> pd.DataFrame:
    """Counts photos by width, height and format.

    Args:
      facts: Of N photos: `width`, `height` and `format`.

    Returns:
      `width`, `height`, `format` and `photos`, the most frequent first.
    """
    names = ["width", "height", "format"]
    table = facts.groupby(names).size().rename("photos").reset_index()
    return table.sort_values(["photos", *names], ascending=[False, True, True, True], ignore_index=True)


def columns_beside(photos: pd.DataFrame, report: AuditReport) -> pd.DataFrame:
    """Describes the columns beside photos, labels and cases.

    Args:
      photos: Rows of usable photos.
      report: What the audit found.

    Returns:
      `column`, `kind` ("number", "category" or "empty"), `known` and `missing` photos, `values` that differ, `examples`
      (of numbers smallest, median and largest, of categories the most frequent with their numbers of photos), and
      `explained`, the share of the label's information that it explains on other cases (NaN where not computed).
    """
    names = [str(name) for name in photos.columns if str(name) not in NOT_FOR_MODELS]
    explained = {figure.column: figure.explained for figure in report.columns}
    text = known_text(photos, names)
    rows = []
    for name in names:
        known = text.loc[text[name] != "", name]
        kind = fit_columns(photos, [name], check=False).columns[0].kind if len(known) else "empty"
        rows.append(
            {
                "column": name,
                "kind": kind,
                "known": len(known),
                "missing": len(photos) - len(known),
                "values": known.nunique(),
                "examples": _numbers_in_words(known) if kind == "number" else _with_numbers(known),
                "explained": explained.get(name, np.nan),
            }
        )
    return pd.DataFrame(
        rows, columns=["column", "kind", "known", "missing", "values", "examples", "explained"]
    )


def _with_numbers(values: pd.Series, most: int = 5) -> str:
    counts = values.value_counts().rename_axis("value").reset_index(name="count")
    counts = counts.sort_values(["count", "value"], ascending=[False, True])
    shown = ", ".join(
        f"{value if len(value) <= _LONGEST else value[: _LONGEST - 1] + '…'} {count:,}"
        for value, count in counts.head(most).itertuples(index=False)
    )
    return shown + (f" and {len(counts) - most:,} more" if len(counts) > most else "")


def _numbers_in_words(known: pd.Series) -> str:
    numbers = pd.to_numeric(known.str.replace(",", ".", regex=False)).to_numpy(np.float64)
    return f"{numbers.min():g} to {numbers.max():g}, median {np.median(numbers):g}"
