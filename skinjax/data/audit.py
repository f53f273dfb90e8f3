"""Finds what is wrong with a data set before anything is trained on it.

`audit_manifest` reads every photo once and looks at the manifest's columns. Each `Finding` is one of

- **error**: a photo that cannot be used, a label that the taxonomy does not know, or one and the same file
  under two labels or two cases (which puts the test photos into the training set);
- **warning**: photos that look the same under two labels or cases, two diagnoses of one lesion, the same file
  listed twice, a column that gives the label away, a name that hides the format, damage beside the pixels, labels,
  cases or files that differ by spelling alone;
- **note**: what is out of the ordinary and handled: alpha, CMYK, 16 bits, EXIF rotation, a label in other letters
  than the class that it is taken for, and so on.

The result depends on the files and the manifest alone, not on the number of threads. Memory holds a few
decoded photos at a time and under 2 KB of facts per photo.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinjax.data.findings import SEVERITIES, AuditReport, Finding, Severity
from skinjax.data.images import duplicates
from skinjax.data.leakage import ColumnFigure, columns_that_predict
from skinjax.data.photo_paths import folder_of
from skinjax.data.spelling import alike, alike_labels, class_hint, id_key, name_key, spelled
from skinjax.data.survey import PhotoRecord, photo_table, survey

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.labels.taxonomy import Taxonomy

__all__ = ["AuditReport", "Finding", "audit_manifest"]

#: Columns that name things or hold the answer, and say nothing about how a photo was taken.
_NOT_SCORED = ("image", "label", "case_id", "lesion_id", "split")
#: Columns that a diagnosis rightly depends on: reported, but no sign of a flaw.
_CLINICAL = ("age", "sex", "body_site")
#: Share of the label's information from which on a column is reported, and how sure it must be.
_EXPLAINED = 0.05
_STANDARD_ERRORS = 3.0

_PHOTO_NOTES = {
    "CMYK": "has CMYK colours, converted without a profile",
    "16-bit": "has 16 bits per channel, of which the upper 8 are kept",
    "palette": "has a palette, expanded",
    "alpha": "has an alpha channel, laid on white",
    "greyscale": "has no colour",
    "animated": "has several frames, of which the first is the photo",
    "rotated by EXIF": "is stored on its side or mirrored, and turned upright",
    "colour profile is not sRGB": "has a colour profile other than sRGB, which is not applied",
}


def audit_manifest(
    frame: pd.DataFrame,
    root: str | os.PathLike[str],
    *,
    taxonomy: Taxonomy | None = None,
    threads: int = 2,
    radius: int = duplicates.RADIUS,
    progress: Callable[[int, int], object] | None = None,
    found: Sequence[Finding] = (),
    rows: Sequence[int] | NDArray[np.int64] | None = None,
) -> AuditReport:
    """Audits a manifest and its photos.

    Args:
      frame: As `skinjax.data.manifest.read_manifest` gives it; `image` and `label` are required, `case_id`
        and `lesion_id` are used where they are there, and every further column is tested for giving the
        label away.
      root: The folder that `image` is relative to.
      taxonomy: Whose finest classes the labels must be; None accepts any label.
      threads: Photos read at a time.
      radius: Bits out of 256 within which two photos are near-duplicates.
      progress: Called with (photos done, photos in all) after each photo.
      found: Findings of reading the manifest, which join the rest.
      rows: Number of each row in the file, for the findings; None counts from 1.

    Returns:
      The report. Bad photos are findings, never exceptions.

    Raises:
      ValueError: A required column is missing, or an argument is out of range.
    """
    absent = [name for name in ("image", "label") if name not in frame]
    if absent:
        there = ", ".join(map(str, frame.columns))
        raise ValueError(f"frame must have the columns image and label, got {there}")
    images = frame["image"].astype(str).tolist()
    labels = frame["label"].astype(str).tolist()
    cases = frame["case_id"].astype(str).tolist() if "case_id" in frame else None
    records = survey(images, root, threads, progress)
    hashes = np.array([record.hash for record in records], np.uint64).reshape(-1, 4)
    look = duplicates.cluster(duplicates.near_pairs(hashes, radius), len(hashes))
    look = np.where(hashes.any(axis=1), look, -1)
    photos = photo_table(records)
    figures = _figures(frame, photos, labels, cases)
    here = [
        *_photo_findings(records),
        *_elsewhere_findings(records, root),
        *_duplicate_findings(images, labels, cases, photos["sha256"].tolist(), look),
        *_label_findings(images, labels, taxonomy),
        *_case_findings(frame, images, labels),
        *_spelling_findings(images, labels, cases),
        *_column_findings(figures),
    ]
    if rows is not None:
        here = [dataclasses.replace(one, row=int(rows[one.row - 1])) if one.row else one for one in here]
    findings = [*found, *here]
    findings.sort(key=lambda found: (SEVERITIES.index(found.severity), found.kind, found.row))
    return AuditReport(
        findings=tuple(findings),
        photos=photos.assign(look=look),
        columns=tuple(figures),
        num_cases=len(set(cases)) if cases is not None else 0,
        num_labels=len(set(labels)),
        hashes=hashes,
    )


def _photo_findings(records: Sequence[PhotoRecord]) -> list[Finding]:
    findings = []
    for row, record in enumerate(records, 1):
        if record.error is not None:
            findings.append(Finding(record.error.kind, "error", record.error.reason, record.image, row))
        elif not record.hash.any():
            message = "is of one colour, or nearly so, and shows nothing"
            findings.append(Finding("one_colour", "warning", message, record.image, row))
        if record.facts is None:
            continue
        for found in record.facts.findings:
            severity: Severity = "note"
            if found == "wrong extension":
                severity, message = "warning", f"is a {record.facts.format} file, whatever its name says"
            elif found in _PHOTO_NOTES:
                message = _PHOTO_NOTES[found]
            else:
                severity, message = "warning", f"has a {found} block, which is left out"
                found = "damaged beside the pixels"
            findings.append(Finding(found.replace(" ", "_").lower(), severity, message, record.image, row))
    return findings


def _elsewhere_findings(records: Sequence[PhotoRecord], root: str | os.PathLike[str]) -> list[Finding]:
    """Says where missing photos lie, if it is one folder below."""
    missing = [
        record.image for record in records if record.error is not None and record.error.kind == "missing"
    ]
    place = folder_of(missing, root) if missing else None
    if place is None or place[0] == ".":
        return []
    message = (
        f"{place[1]:,} of {len(missing):,} missing photos lie in the folder {place[0]}; "
        f"source={os.path.join(root, place[0])} names it as the photos' folder"
    )
    return [Finding("photos_elsewhere", "warning", message)]


def _groups(keys: Sequence[object]) -> list[list[int]]:
    """Positions that share a key, where it is two or more; a missing key (None, "" or -1) shares nothing."""
    members: dict[object, list[int]] = collections.defaultdict(list)
    for position, key in enumerate(keys):
        if key not in (None, "", -1):
            members[key].append(position)
    return [group for group in members.values() if len(group) > 1]


def _duplicate_findings(
    images: Sequence[str],
    labels: Sequence[str],
    cases: Sequence[str] | None,
    fingerprints: Sequence[str],
    look: NDArray[np.int64],
) -> list[Finding]:
    findings = []
    near = [group for group in _groups(look.tolist()) if len({fingerprints[n] for n in group}) > 1]
    kinds: list[tuple[str, str, Severity, Severity, list[list[int]]]] = [
        ("exact_duplicate", "is the same file", "error", "warning", _groups(fingerprints)),
        ("near_duplicate", "looks the same", "warning", "note", near),
    ]
    for kind, words, across, within, groups in kinds:
        for group in groups:
            others = tuple(images[n] for n in group[1:])
            crossed = False
            for what, values in (("labels", labels), ("cases", cases)):
                seen = sorted({values[n] for n in group}) if values is not None else []
                if len(seen) > 1:
                    shown = ", ".join(seen[:4]) + (" and others" if len(seen) > 4 else "")
                    message = f"{words} under {len(seen)} {what} ({shown}) as"
                    found = Finding(
                        f"{kind}_across_{what}", across, message, images[group[0]], group[0] + 1, others
                    )
                    findings.append(found)
                    crossed = True
            if not crossed:
                findings.append(Finding(kind, within, f"{words} as", images[group[0]], group[0] + 1, others))
    return findings


def _label_findings(images: Sequence[str], labels: Sequence[str], taxonomy: Taxonomy | None) -> list[Finding]:
    if taxonomy is None:
        return []
    known = set(taxonomy.classes(taxonomy.finest))
    findings = []
    places: dict[str, list[int]] = collections.defaultdict(list)
    for row, label in enumerate(labels):
        if label not in known:
            places[label].append(row)
    for label, rows in sorted(places.items()):
        message = (
            f"has the label {label!r}, which is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
            + class_hint(label, taxonomy)
            + (f" ({len(rows):,} photos)" if len(rows) > 1 else "")
        )
        others = tuple(images[row] for row in rows[1:])
        findings.append(Finding("unknown_label", "error", message, images[rows[0]], rows[0] + 1, others))
    return findings


def _case_findings(frame: pd.DataFrame, images: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    if "case_id" not in frame:
        message = (
            "no column case_id says whose photo each is: photos that look the same will stand in for a case, and other "
            "photos of one person may lie on both sides of a split (map=case_id=COLUMN names a column of patients)"
        )
        return [Finding("no_case_ids", "warning", message)]
    cases = frame["case_id"].astype(str).tolist()
    findings = []
    hint = "; several lesions, or a contradiction: there is no lesion_id to tell"
    if "lesion_id" in frame:
        hint = ""
        findings += _lesion_findings(frame, cases, images, labels)
    for group in _groups(cases):
        seen = sorted({labels[n] for n in group})
        if len(seen) > 1:
            message = f"is of case {cases[group[0]]}, which has {len(seen)} labels ({', '.join(seen)}){hint}"
            first = images[group[0]]
            findings.append(Finding("case_with_several_labels", "note", message, first, group[0] + 1))
    return findings


def _lesion_findings(
    frame: pd.DataFrame, cases: Sequence[str], images: Sequence[str], labels: Sequence[str]
) -> list[Finding]:
    findings = []
    lesions = frame["lesion_id"].astype(str).where(frame["lesion_id"].notna(), "").tolist()
    keys = [(case, lesion) if lesion else None for case, lesion in zip(cases, lesions, strict=True)]
    for group in _groups(keys):
        seen = sorted({labels[n] for n in group})
        if len(seen) > 1:
            case, lesion = cases[group[0]], lesions[group[0]]
            message = (
                f"shows lesion {lesion} of case {case}, labelled in {len(seen)} ways ({', '.join(seen)})"
            )
            others = tuple(images[n] for n in group[1:])
            first = images[group[0]]
            findings.append(Finding("contradicting_labels", "warning", message, first, group[0] + 1, others))
    cases_of_lesion: dict[str, set[str]] = collections.defaultdict(set)
    for case, lesion in zip(cases, lesions, strict=True):
        if lesion:
            cases_of_lesion[lesion].add(case)
    shared = sum(len(several) > 1 for several in cases_of_lesion.values())
    if shared:
        message = f"{shared:,} lesion_id values stand under several cases; a lesion is (case_id, lesion_id)"
        findings.append(Finding("lesion_id_under_several_cases", "note", message))
    return findings


def _spelling_findings(
    images: Sequence[str], labels: Sequence[str], cases: Sequence[str] | None
) -> list[Finding]:
    """Names that may mean one thing: the later spelling is the finding, its photos are named."""
    kinds: list[tuple[str, str, Sequence[str], list[tuple[str, ...]]]] = [
        ("label_spellings", "labels", labels, alike_labels(labels)),
        ("case_id_spellings", "case ids", cases or [], alike(cases or [], id_key)),
        ("image_name_spellings", "file names", images, alike(images, name_key)),
    ]
    findings = []
    for kind, what, values, groups in kinds:
        places: dict[str, list[int]] = collections.defaultdict(list)
        for row, value in enumerate(values if groups else []):
            places[value].append(row)
        for group in groups:
            shown = ", ".join(f"{spelled(name, group)} ({len(places[name]):,})" for name in group)
            row = min(places[name][0] for name in group[1:])
            message = f"has one of {len(group)} {what} that may be one in several spellings: {shown}"
            findings.append(Finding(kind, "warning", message, images[row], row + 1))
    return findings


def _figures(
    frame: pd.DataFrame, photos: pd.DataFrame, labels: Sequence[str], cases: Sequence[str] | None
) -> list[ColumnFigure]:
    """Scores the manifest's further columns, and what the files themselves give away."""
    usable = (photos["problem"] == "").to_numpy()
    columns: dict[str, list[object]] = {
        str(name): frame[name].tolist() for name in frame.columns if name not in _NOT_SCORED
    }
    # Without cases every photo stands for itself, which can only make a column look better than it is.
    grouping = list(cases) if cases is not None else [str(row) for row in range(len(labels))]
    figures = columns_that_predict(columns, labels, grouping)
    files: Mapping[str, list[object]] = {
        "(file) bytes": photos["bytes"].tolist(),
        "(file) width": photos["width"].tolist(),
        "(file) height": photos["height"].tolist(),
        "(file) format and mode": [
            f"{kind} {mode}" for kind, mode in zip(photos["format"], photos["mode"], strict=True)
        ],
    }
    kept = np.flatnonzero(usable).tolist()
    figures += columns_that_predict(
        {name: [values[n] for n in kept] for name, values in files.items()},
        [labels[n] for n in kept],
        [grouping[n] for n in kept],
    )
    return sorted(figures, key=lambda figure: (-figure.explained, figure.column))


def _column_findings(figures: Sequence[ColumnFigure]) -> list[Finding]:
    findings = []
    for figure in figures:
        if figure.explained < max(_EXPLAINED, _STANDARD_ERRORS * figure.standard_error):
            continue
        message = (
            f"the column {figure.column} alone explains {figure.explained:.0%} of the label's information on "
            f"cases not seen (right for {figure.accuracy:.0%} of photos; the commonest label: "
            f"{figure.baseline:.0%})"
        )
        if figure.explained_by_missing > 0.8 * figure.explained:
            message += ", nearly all by whether it is filled in"
        if figure.column in _CLINICAL:
            findings.append(Finding("clinical_column_predicts_label", "note", message))
        else:
            findings.append(Finding("column_predicts_label", "warning", message))
    return findings
