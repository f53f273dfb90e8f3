"""Section on the classes of a data set before anything is trained: counts, those with few cases, example photos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from skinjax.evaluate.fewest import FEWEST_CASES
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.blocks import Block, Column, Heading, Section, Strip, Strips, Table, Text, Tile
from skinjax.report.cases import case_columns, counted
from skinjax.report.formatting import cell, limits_or_reason, listed, numbered, percent
from skinjax.report.sections.limits import FEW_CASES
from skinjax.report.tables import data_set as tables
from skinjax.report.tables.data_set import PhotosByCase

MOST_STRIPS, MOST_EXAMPLES, LONGEST_STRIP = 48, 144, 6
"""Classes that a page shows photos of, photos of all of them, and of each: some 0.8 MB at most."""

CONFIDENCE = 0.95
_LONG = 40  # rows from which on a table is folded

ShowTile = Callable[[str], Tile]
"""From a photo's path to a small picture of it."""


def classes_section(found: PhotosByCase, taxonomy: Taxonomy, tile: ShowTile) -> Section:
    """Builds the counts of each class at every level, those with few cases, and example photos.

    Args:
      found: The usable photos.
      taxonomy: Of their labels.
      tile: Shows a photo.
    """
    paths = tables.paths_of_labels(found.listed.index.tolist(), taxonomy)
    levels = {level: tables.count_classes(found, paths, level) for level in paths.columns}
    finest = levels[paths.columns[-1]]
    blocks: list[Block] = [Text(sentence) for sentence in _balance(finest, taxonomy)]
    for level, counts in levels.items():
        if len(levels) > 1:
            blocks.append(Heading(f"Level “{level}”, {numbered(len(counts), 'class', 'classes')}"))
        name = "labels" if counts is finest else f"labels_level_{list(levels).index(level)}"
        blocks.append(_counts_table(name, counts, found, taxonomy))
    if len(found.photos):
        blocks += _few_blocks(found, finest, taxonomy)
    if len(found.photos):
        blocks += _strips(found, paths, levels, taxonomy, tile)
    return Section("labels", "Classes", tuple(blocks))


def _balance(finest: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    seen = finest[finest["photos"] > 0].sort_values(["photos", "class"], ascending=[False, True])
    told = []
    if len(seen) > 1:
        first, last, share = seen.iloc[0], seen.iloc[-1], seen["photos"].iloc[0] / seen["photos"].sum()
        ratio = first["photos"] / last["photos"]
        told.append(
            f"The most frequent class, {taxonomy.title(first['class'])}, has {percent(share)} of the photos, which is "
            f"the accuracy of always answering it; the least frequent, {taxonomy.title(last['class'])}, has "
            f"{numbered(last['photos'], 'photo')} ({ratio:,.0f} to 1)."
        )
    none = [taxonomy.title(name) for name in finest.loc[finest["photos"] == 0, "class"]]
    if none:
        told.append(
            f"{numbered(len(none), 'class has', 'classes have')} no usable photo: {listed(none)}. Nothing can be "
            f"trained or tested for {'it' if len(none) == 1 else 'them'}."
        )
    return told


def _counts_table(name: str, counts: pd.DataFrame, found: PhotosByCase, taxonomy: Taxonomy) -> Table:
    total = max(int(counts["photos"].sum()), 1)
    shares = (counts["photos"] / total).tolist()
    columns = [Column("Class", [_titled(label, taxonomy) for label in counts["class"]])]
    if (counts["listed"] > counts["photos"]).any():
        columns.append(Column("Listed", [cell(count) for count in counts["listed"]], number=True))
        heading = "Usable photos"
    else:
        heading = "Photos"
    columns += [
        Column(heading, [cell(count) for count in counts["photos"]], number=True),
        *case_columns(counts["cases"].tolist(), found.unit),
        Column("Share of photos", [percent(share) for share in shares], shares=shares),
    ]
    groups = [
        taxonomy.title(group) if group != tables.UNKNOWN else "Not in the taxonomy"
        for group in counts["group"]
    ]
    folded = len(counts) > _LONG
    return Table(
        name, counts, tuple(columns), caption=f"All {len(counts):,} classes" if folded else "", folded=folded,
        group=groups if any(counts["group"]) else (),
    )  # fmt: skip


def _few_blocks(found: PhotosByCase, finest: pd.DataFrame, taxonomy: Taxonomy) -> list[Block]:
    rare = tables.few_cases(found, finest, FEWEST_CASES, CONFIDENCE)
    if rare.empty:
        return []
    noun = counted(2, found.unit).split(" ", 1)[1]
    blocks: list[Block] = [
        Heading(f"Classes with fewer than {FEWEST_CASES} {noun} ({len(rare):,})"),
        Text(
            f"No two models are compared for such a class alone, as a test is made from {FEWEST_CASES} {noun} on. Its "
            f"sensitivity has a wide interval: the last column shows the narrowest, of a model that answers "
            "all of its photos correctly."
            + (
                " More cases narrow it, more photos of the same cases hardly do."
                if found.unit == "case"
                else ""
            )
        ),
    ]
    if lone := [taxonomy.title(name) for name in rare.loc[rare["cases"] == 1, "class"]]:
        blocks.append(
            Text(
                f"{listed(lone)} {'has' if len(lone) == 1 else 'have'} a single one, which is either trained on or "
                "tested: whether it is recognised in others cannot be measured."
            )
        )
    if (few := int((rare["cases"] <= FEW_CASES).sum())) > 1:
        blocks.append(
            Text(
                f"{few:,} classes have {FEW_CASES} or fewer: intervals of figures over all classes, such as balanced "
                "accuracy and macro F1, are approximate."
            )
        )
    limits = [
        limits_or_reason(low, 1.0, percent, "") or "none, as all photos are of one case"
        for low in rare["low"]
    ]
    columns = (
        Column("Class", [_titled(name, taxonomy) for name in rare["class"]]),
        Column("Photos", [cell(count) for count in rare["photos"]], number=True),
        *case_columns(rare["cases"].tolist(), found.unit),
        Column(f"{100 * CONFIDENCE:g}% CI of its sensitivity, if all photos were answered correctly", limits),
    )
    folded = len(rare) > _LONG
    caption = f"All {len(rare):,} of these classes" if folded else ""
    return [*blocks, Table("few_cases", rare, columns, caption=caption, folded=folded)]


def _strips(
    found: PhotosByCase,
    paths: pd.DataFrame,
    levels: dict[str, pd.DataFrame],
    taxonomy: Taxonomy,
    tile: ShowTile,
) -> list[Block]:
    """Returns photos of each class, at the finest level that is not too long for a page."""
    seen = {level: counts[counts["photos"] > 0] for level, counts in levels.items()}
    level = next((one for one in reversed(seen) if len(seen[one]) <= MOST_STRIPS), next(iter(seen)))
    counts = seen[level].sort_values("cases", ascending=False, kind="stable").head(MOST_STRIPS).sort_index()
    each = min(LONGEST_STRIP, MOST_EXAMPLES // len(counts))
    of_label = dict(zip(paths[paths.columns[-1]], paths[level], strict=True))
    own = found.photos["label"].map(of_label)
    strips = []
    for name, photos, cases in zip(counts["class"], counts["photos"], counts["cases"], strict=True):
        images = example_photos(found.photos[own == name], each)
        number = numbered(photos, "photo")
        words = number if found.unit == "photo" else f"{number} of {counted(cases, found.unit)}"
        title = "Not in the taxonomy" if name == tables.UNKNOWN else taxonomy.title(name)
        strips.append(Strip(title, words, tuple(map(tile, images))))
    heading = "Example photos" + (f" of level “{level}”" if len(levels) > 1 else "")
    words = (
        ("One photo per case" if found.unit == "case" else "Photos")
        + " at equal steps through the class’s cases by name, cropped to a square and without the files’ metadata."
    )
    blocks: list[Block] = [Heading(heading), Text(words, small=True), Strips(tuple(strips))]
    if (left := len(seen[level]) - len(counts)) > 0:
        blocks.append(
            Text(f"And {numbered(left, 'class', 'classes')} more, with as many cases or fewer.", small=True)
        )
    return blocks


def example_photos(photos: pd.DataFrame, count: int) -> list[str]:
    """Chooses photos of a class: the first of each case, at equal steps through the cases by name.

    Args:
      photos: Rows of the class, in any order, with `image` and `case_id`.
      count: Number of photos; there are as many as cases at most.

    Returns:
      Paths, of different cases each.

    >>> frame = pd.DataFrame({"image": list("fedcba"), "case_id": ["3", "3", "2", "1", "0", "0"]})
    >>> example_photos(frame, 2), example_photos(frame, 9)
    (['a', 'e'], ['a', 'c', 'd', 'e'])
    """
    first = photos.groupby("case_id")["image"].min()
    places = np.linspace(0, len(first) - 1, min(count, len(first))).round().astype(int)
    return [str(image) for image in first.iloc[places]]


def _titled(label: str, taxonomy: Taxonomy) -> str:
    title = taxonomy.title(label)
    return title if title.casefold() == label.replace("_", " ").casefold() else f"{title}\n{label}"
