"""The page of an audit: what was found, with the photos that it is about."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skinjax.data.findings import AuditReport, Finding, Severity
from skinjax.data.photo_set import flat_taxonomy
from skinjax.report.blocks import Block, Column, Heading, Section, Table, Text, Tile, Tiles
from skinjax.report.figures.thumbnails import thumbnail
from skinjax.report.sections.data_set import data_set_sections
from skinjax.report.study_page import write_study
from skinjax.report.tables.data_set import columns_beside, photos_by_case

if TYPE_CHECKING:
    from skinjax.data.mending import Mended
    from skinjax.labels.taxonomy import Taxonomy

MOST_TILES = 24
"""Photos that a page shows of one kind of finding."""

MOST_GROUPS = 8
"""Groups of photos that a page shows of one kind of finding."""

_MOST_IN_GROUP = 6
_MOST_SENTENCES = 40
_MOST_LETTERS = 60  # of what stands below a tile
_SEVERITIES: dict[Severity, tuple[str, str]] = {
    "error": ("Errors", "What keeps photos from being used, or puts test photos into the training set."),
    "warning": ("Warnings", "What may be wrong, and makes figures too good or too bad."),
    "note": ("Notes", "What is out of the ordinary and handled, or was read in another spelling."),
}
_TITLES = {
    "not_a_photo": "Files that are no photo",
    "missing": "Photos that are not there",
    "photos_elsewhere": "Missing photos that lie in another folder",
    "no_case_ids": "No column of cases",
    "truncated": "Photos that end early",
    "damaged": "Damaged photos",
    "empty": "Empty files",
    "unsupported": "Files of a kind that is not read",
    "too_small": "Photos that are too small",
    "too_large": "Photos that are too large",
    "unreadable": "Photos that may not be read",
    "listed_twice": "Photos that the manifest lists twice",
    "unusable_path": "Paths that lead out of the photos' folder",
    "unknown_label": "Labels that the taxonomy does not have",
    "unknown_split": "Unknown splits",
    "unknown_skin_tone": "Unknown skin types",
    "label_resolved": "Labels in other spellings than their class",
    "label_spellings": "Labels that may be one in several spellings",
    "case_id_spellings": "Case ids that may be one in several spellings",
    "image_name_spellings": "File names that differ by spelling alone",
    "exact_duplicate": "The same file listed twice",
    "exact_duplicate_across_labels": "The same file under several labels",
    "exact_duplicate_across_cases": "The same file under several cases",
    "near_duplicate": "Photos that look the same",
    "near_duplicate_across_labels": "Photos that look the same under several labels",
    "near_duplicate_across_cases": "Photos that look the same under several cases",
    "contradicting_labels": "Lesions that are labelled in several ways",
    "case_with_several_labels": "Cases with several labels",
    "column_predicts_label": "Columns that give the label away",
    "clinical_column_predicts_label": "Clinical columns that tell the label",
    "columns_renamed": "Columns under other names",
    "index_column": "A column that numbers the rows",
    "paths_made_relative": "Paths made relative to the photos' folder",
    "skin_types_as_numbers": "Skin types read as numbers",
}


def write_audit(
    folder: str | os.PathLike[str],
    *,
    title: str,
    frame: pd.DataFrame,
    root: Path,
    report: AuditReport,
    config: Mapping[str, Any],
    notes: Sequence[str] = (),
    synthetic: bool = False,
    mended: Mended | None = None,
    told: str = "",
    taxonomy: Taxonomy | None = None,
) -> Path:
    """Writes `index.html`: the photos of each finding, and an overview of classes, cases, photos and columns.

    The tables stand as CSV beside it.

    Args:
      folder: Where to write; made if it is not there.
      title: The page's heading.
      frame: The manifest that was audited.
      root: Folder of its photos.
      report: What was found.
      config: The options, shown last.
      notes: Sentences to be read beside the findings.
      synthetic: Whether the photos are rendered.
      mended: The manifest that was written, where one was.
      told: A sentence about where it is.
      taxonomy: Of the labels; None for a flat one of those that the manifest has.

    Returns:
      The path of the page.
    """
    shown = _Shown(root, frame)
    sections = [_kinds(report)]
    if mended is not None:
        sections.append(_mended(mended, told))
    photos = photos_by_case(frame, report)
    columns = columns_beside(photos.photos, report)
    overview = data_set_sections(photos, taxonomy or flat_taxonomy(frame), columns, shown.tile)
    by_severity = [_severity_sections(report, severity, shown) for severity in _SEVERITIES]
    # What was merely handled stands behind the overview.
    sections += [*by_severity[0], *by_severity[1], *overview, *by_severity[2]]
    return write_study(
        folder,
        title=title,
        answer=_answer(report, mended),
        sections=sections,
        notes=notes,
        config={**config, "synthetic": synthetic},
    )


def _severity_sections(report: AuditReport, severity: Severity, shown: _Shown) -> list[Section]:
    found = [finding for finding in report.findings if finding.severity == severity]
    return [_findings(f"{severity}s", *_SEVERITIES[severity], found, shown)] if found else []


class _Shown:
    """Thumbnails, each made once."""

    def __init__(self, root: Path, frame: pd.DataFrame):
        self._root = root
        self._made: dict[str, tuple[str, str]] = {}
        facts = frame["label"].astype(str)
        if "case_id" in frame:
            facts = facts + ", case " + frame["case_id"].astype(str)
        self._facts = dict(zip(frame["image"], facts, strict=True))

    def tile(self, image: str, words: str | None = None) -> Tile:
        """Returns a photo with words of one's own, or with its label and case."""
        if image not in self._made:
            self._made[image] = thumbnail(self._root, image)
        picture, problem = self._made[image]
        words = self._facts.get(image, "") if words is None else words
        return Tile(image, "" if words == problem else words, picture, problem)


def _answer(report: AuditReport, mended: Mended | None) -> list[str]:
    usable = int((report.photos["problem"] == "").sum())
    counts = collections.Counter(finding.severity for finding in report.findings)
    photos = f"{len(report.photos):,} photos" + (
        f" of {report.num_cases:,} cases" if report.num_cases else ""
    )
    first = f"{photos} with {report.num_labels} labels: "
    if counts["error"]:
        first += f"{counts['error']:,} error{'s' * (counts['error'] != 1)}"
    else:
        first += "nothing that keeps them from being trained on"
    warnings = f"{counts['warning']:,} warning{'s' * (counts['warning'] != 1)}"
    first += f", {warnings} and {counts['note']:,} note{'s' * (counts['note'] != 1)}."
    answer = [first]
    if usable < len(report.photos):
        answer.append(f"{len(report.photos) - usable:,} of the photos cannot be used.")
    if not report.num_cases:
        answer.append(
            "The manifest has no case_id: groups of near-duplicate photos will stand in for cases, so photos of one "
            "person that look different may lie on both sides of a split."
        )
    if mended is None and counts["error"]:
        answer.append("--fix=mended.csv writes a manifest without them, and says what it changed.")
    return answer


def _kinds(report: AuditReport) -> Section:
    if not report.findings:
        return Section("found", "What was found", (Text("Nothing."),))
    rows = [
        {
            "severity": found[0].severity,
            "kind": kind,
            "findings": len(found),
            "photos": len({image for one in found for image in (one.image, *one.others) if image}),
        }
        for kind, found in _by_kind(report.findings).items()
    ]
    table = pd.DataFrame(rows)
    columns = (
        Column("Found", [_title(kind) for kind in table["kind"]]),
        Column("Findings", [f"{count:,}" for count in table["findings"]], number=True),
        Column("Photos", [f"{count:,}" if count else "–" for count in table["photos"]], number=True),
    )
    groups = [_SEVERITIES[severity][0] for severity in table["severity"]]
    return Section("found", "What was found", (Table("findings", table, columns, group=groups),))


def _mended(mended: Mended, told: str) -> Section:
    blocks: list[Block] = [Text(sentence) for sentence in mended.changes] or [
        Text("Nothing had to be changed.")
    ]
    blocks += [Text(sentence) for sentence in mended.left]
    return Section("mended", "The mended manifest", (Text(told), *blocks))


def _findings(id: str, heading: str, words: str, found: Sequence[Finding], shown: _Shown) -> Section:
    blocks: list[Block] = [Text(words, small=True)]
    for kind, members in _by_kind(found).items():
        blocks.append(Heading(f"{_title(kind)} ({len(members):,})"))
        if not members[0].image:
            blocks += [Text(_sentence(one)) for one in members[:_MOST_SENTENCES]]
        elif any(one.others or len(one.message) > _MOST_LETTERS for one in members):
            blocks += _groups(members, shown)
        else:
            blocks.append(Tiles(tuple(shown.tile(one.image, one.message) for one in members[:MOST_TILES])))
            blocks += _more(len(members) - MOST_TILES)
    return Section(id, heading, tuple(blocks))


def _groups(members: Sequence[Finding], shown: _Shown) -> list[Block]:
    """Returns each finding with its photos: those that look the same, or that share a label."""
    blocks: list[Block] = []
    for one in members[:MOST_GROUPS]:
        images = (one.image, *one.others)
        blocks.append(Text(_sentence(one)))
        blocks.append(Tiles(tuple(shown.tile(image) for image in images[:_MOST_IN_GROUP])))
        if len(images) > _MOST_IN_GROUP:
            blocks.append(Text(f"And {len(images) - _MOST_IN_GROUP:,} more photos.", small=True))
    return blocks + _more(len(members) - MOST_GROUPS)


def _more(count: int) -> list[Block]:
    return [Text(f"And {count:,} more, in audit.csv.", small=True)] if count > 0 else []


def _by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return kinds


def _title(kind: str) -> str:
    words = kind.replace("_", " ")
    return _TITLES.get(kind, words[:1].upper() + words[1:])


def _sentence(finding: Finding) -> str:
    """Returns a finding as a sentence of its own, its photo named where the message begins with what it does."""
    message = finding.message.removesuffix(" as")
    if not finding.image:
        return f"{message[:1].upper()}{message[1:]}."
    return f"{finding.image} (row {finding.row}) {message}" + (
        ":" if finding.message.endswith(" as") else "."
    )
