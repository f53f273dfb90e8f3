"""Sections on a data set before anything is trained: its classes, cases, photos and columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skinjax.evaluate.samples import effective_cases
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.cases import counted
from skinjax.report.figures import group_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, listed, numbered, percent
from skinjax.report.sections.class_overview import ShowTile, classes_section
from skinjax.report.sections.limits import UNEQUAL_CASES
from skinjax.report.tables import data_set as tables
from skinjax.report.tables.data_set import PhotosByCase

_MOST_ROWS = 10  # of the largest cases, of labels that stand together, of sizes
_INPUT = 224  # pixels; the smallest input that published networks of the registry were trained at
_MEASURES = {
    "shorter side": ("Shorter side, pixels", 0),
    "longer side": ("Longer side, pixels", 0),
    "longer to shorter side": ("Longer to shorter side", 2),
    "million pixels": ("Million pixels", 2),
    "kilobytes": ("Kilobytes", 0),
}


def data_set_sections(
    found: PhotosByCase, taxonomy: Taxonomy, columns: pd.DataFrame, tile: ShowTile
) -> list[Section]:
    """Builds the overview of a data set; of a manifest without a usable photo only what it lists.

    Args:
      found: The usable photos.
      taxonomy: Of their labels.
      columns: As `skinjax.report.tables.data_set.columns_beside` gives them.
      tile: Shows a photo.
    """
    sections = [classes_section(found, taxonomy, tile)]
    if len(found.photos):
        if found.unit != "photo":
            sections.append(cases_section(found))
        sections.append(photos_section(found.facts))
        if len(columns):
            sections.append(columns_section(columns, len(found.photos)))
    return sections


def cases_section(found: PhotosByCase) -> Section:
    """Builds the cases by their number of photos, the largest, and those with several labels.

    Args:
      found: Usable photos, one at least.
    """
    sizes = found.sizes
    noun = counted(2, found.unit).split(" ", 1)[1]
    title = "Cases" if found.unit == "case" else "Groups of near-duplicates"
    blocks: list[Block] = [Text(sentence) for sentence in _sizes_in_words(found, sizes)]
    blocks.append(Figure(_draw_sizes(sizes, noun)))
    largest = tables.largest_cases(found, _MOST_ROWS)
    if len(largest) and largest["photos"].iloc[0] > 1:
        columns = (
            Column("Case" if found.unit == "case" else "Group", largest["case_id"].tolist()),
            Column("Photos", [cell(count) for count in largest["photos"]], number=True),
            Column("Share of photos", [percent(share) for share in largest["share"]], number=True),
            Column("Labels", largest["labels"].tolist(), wide=True),
        )
        table = Table("largest_cases", largest, columns)
        blocks += [Heading("The largest"), table]
    together = tables.labels_together(found)
    if len(together):
        blocks += _together_blocks(together, noun, len(sizes), "lesion_id" in found.photos)
    return Section("cases", title, tuple(blocks))


def _sizes_in_words(found: PhotosByCase, sizes: pd.Series) -> list[str]:
    single = int((sizes == 1).sum())
    span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    told = [
        f"{numbered(len(found.photos), 'usable photo')} of {counted(len(sizes), found.unit)}, with {span} photos each "
        f"(median {sizes.median():g}); {percent(single / len(sizes))} have one. A case stays whole in every split, and "
        "every interval counts cases."
    ]
    if found.unit == "look":
        told.append(
            "The manifest has no case_id, so groups of near-duplicate photos stand in for cases. Photos of one person "
            "that look different are in several groups, so intervals will be too narrow; a column case_id mends that."
        )
    if "lesion_id" in found.photos and found.unit == "case":
        lesions = found.photos.loc[found.photos["lesion_id"].notna(), ["case_id", "lesion_id"]].astype(str)
        count = len(lesions.drop_duplicates())
        if count != len(sizes):
            told.append(f"The column lesion_id tells {numbered(count, 'lesion')} apart within the cases.")
    worth = effective_cases(np.unique(found.photos["case_id"], return_inverse=True)[1])
    if worth < UNEQUAL_CASES * len(sizes):
        told.append(
            f"Cases differ much in their numbers of photos: all of them say as much as {worth:,.0f} of equal size "
            "would (Kish’s effective number), and intervals are approximate."
        )
    return told


def _draw_sizes(sizes: pd.Series, noun: str) -> Picture:
    bins = tables.size_bins(sizes.to_numpy(int))
    spans = bins[["from", "to"]].to_numpy()
    names = [f"{low}" if low == high else f"{low}–{high}" for low, high in spans]
    width = float(min(max(46 * len(names) + 30, 240), 560))
    drawn = panel(
        "case_sizes",
        (width, 170),
        (14, 34, 14, 12),
        lambda axes: group_plots.case_sizes(axes, names, bins["cases"]),
        f"Number of {noun} by number of photos: "
        + ", ".join(f"{name}: {count:,}" for name, count in zip(names, bins["cases"], strict=True))
        + ".",
    )
    caption = f"{noun[:1].upper()}{noun[1:]} by their number of usable photos."
    return Picture("case_sizes", (drawn,), caption, bins)


def _together_blocks(together: pd.DataFrame, noun: str, total: int, lesions: bool) -> list[Block]:
    mixed = int(together["cases"].sum())
    shown = together.head(_MOST_ROWS)
    columns = (
        Column("Labels", shown["labels"].tolist()),
        Column(noun[:1].upper() + noun[1:], [cell(count) for count in shown["cases"]], number=True),
        Column("Photos", [cell(count) for count in shown["photos"]], number=True),
        Column("Such as", shown["example"].tolist()),
    )
    words = f"{mixed:,} of {total:,} {noun} have photos of several classes, which all stay on one side of a split. "
    if lesions:
        words += "Answers per case are made for each lesion_id of a case."
    else:
        words += "Figures of answers per case leave them out; a column lesion_id tells their lesions apart."
    blocks: list[Block] = [
        Heading(f"With several labels ({mixed:,})"),
        Text(words),
        Table("labels_together", together, columns),
    ]
    if (left := len(together) - len(shown)) > 0:
        blocks.append(Text(f"And {left:,} more, in tables/labels_together.csv.", small=True))
    return blocks


def photos_section(facts: pd.DataFrame) -> Section:
    """Builds the sizes, shapes and formats of photos.

    Args:
      facts: Of the usable photos, one at least.
    """
    sizes, shapes = tables.photo_sizes(facts), tables.count_shapes(facts)
    columns = [Column("", [_MEASURES[name][0] for name in sizes["measure"]])]
    for heading in ("Smallest", "Median", "Largest"):
        cells = [
            f"{value:,.{_MEASURES[measure][1]}f}"
            for measure, value in zip(sizes["measure"], sizes[heading.lower()], strict=True)
        ]
        columns.append(Column(heading, cells, number=True))
    shown = shapes.head(_MOST_ROWS)
    sides = [f"{width:,} × {height:,}" for width, height in zip(shown["width"], shown["height"], strict=True)]
    frequent = (
        Column("Width × height", sides),
        Column("Format", shown["format"].tolist()),
        Column("Photos", [cell(number) for number in shown["photos"]], number=True),
    )
    caption = f"The {len(shown)} most frequent of {numbered(len(shapes), 'size')}"
    blocks: list[Block] = [
        *map(Text, _shapes_in_words(facts)),
        Table("photo_sizes", sizes, tuple(columns)),
        Table("photo_shapes", shapes, frequent if len(shapes) > 1 else (), caption=caption, folded=True),
    ]
    return Section("sizes", "Sizes and shapes of photos", tuple(blocks))


def _shapes_in_words(facts: pd.DataFrame) -> list[str]:
    width, height = facts["width"].to_numpy(int), facts["height"].to_numpy(int)
    kinds = (
        (width > height, "wider than high"),
        (width < height, "higher than wide"),
        (width == height, "square"),
    )
    parts = [(mask.mean(), words) for mask, words in kinds if mask.any()]
    shares = listed([f"{percent(share)} are {words}" for share, words in parts])
    formats = listed([f"{name} ({number:,})" for name, number in facts["format"].value_counts().items()])
    told = [f"{shares if len(parts) > 1 else f'All are {parts[0][1]}'}. The files are {formats}."]
    if (width != height).any():
        told[0] += " --fit says how a photo becomes square; by default its proportions are not kept."
    if small := int((np.minimum(width, height) < _INPUT).sum()):
        told.append(
            f"{small:,} of {len(facts):,} have a side of less than {_INPUT} pixels, the smallest input of most "
            "published networks: they are enlarged for these, which adds no detail."
        )
    return told


def columns_section(columns: pd.DataFrame, count: int) -> Section:
    """Builds the columns beside photos, with how many of their cells are missing.

    Args:
      columns: As `skinjax.report.tables.data_set.columns_beside` gives them, one at least.
      count: N, usable photos.
    """
    shares = (columns["missing"] / count).tolist()
    missing = [
        f"{cell(number)}\n{percent(share)}" if number else "0"
        for number, share in zip(columns["missing"], shares, strict=True)
    ]
    kinds = {"number": "numbers", "empty": "nothing known"}
    values = [
        kinds.get(kind) or numbered(number, "category", "categories")
        for number, kind in zip(columns["values"], columns["kind"], strict=True)
    ]
    shown = [
        Column("Column", columns["column"].tolist()),
        Column("Missing", missing, shares=shares),
        Column("Values", values),
        Column("Most frequent, or range", columns["examples"].tolist(), wide=True),
    ]
    if columns["explained"].notna().any():
        explained = [percent(max(value, 0.0)) if value == value else "–" for value in columns["explained"]]
        shown.append(Column("Explains of the label", explained, number=True))
    words = (
        "Cells that are empty, NA or unknown are missing. Networks read columns that --columns names beside a photo; a "
        "column that explains much of the label by itself, on cases that it was not fitted to, may give it away."
    )
    blocks = (Text(words, small=True), Table("columns", columns, tuple(shown)))
    return Section("columns", "Columns beside photos", blocks)
