"""The manifest that training may use: what an audit found is mended where that is certain, else left out, and told."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinjax.data.manifest import write_manifest

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.data.findings import AuditReport, Finding
    from skinjax.labels.taxonomy import Taxonomy

__all__ = ["Mended", "label_in_words", "mend", "paths_from", "write_mended"]

#: Findings of reading the manifest whose message says all.
_READ = ("columns_renamed", "index_column", "paths_made_relative", "skin_types_as_numbers")
_LEFT_OUT = ("empty_image", "empty_label", "empty_case_id", "unusable_path", "listed_twice")
_EMPTIED = ("unknown_split", "unknown_skin_tone")
#: Findings that only a person can decide on.
_LEFT = {
    "near_duplicate_across_labels": "photos that look the same under several labels",
    "contradicting_labels": "lesions that are labelled in several ways",
    "one_colour": "photos of one colour, which show nothing",
    "case_id_spellings": "case ids that may be one in several spellings",
    "label_spellings": "labels that may be one in several spellings",
    "column_predicts_label": "columns that give the label away",
}
_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Mended:
    """A manifest that training may use.

    Attributes:
      frame: The manifest frame of the photos that are left.
      changes: A sentence for each kind of change.
      left: A sentence for each kind of finding that a person has to decide on.
    """

    frame: pd.DataFrame
    changes: tuple[str, ...]
    left: tuple[str, ...]


def label_in_words(finding: Finding) -> str:
    """Returns what a label was taken for, as a phrase.

    Args:
      finding: Of the kind `label_resolved`.
    """
    return finding.message.removeprefix("has the label ").replace(", which is", "")


def mend(frame: pd.DataFrame, report: AuditReport, taxonomy: Taxonomy | None = None) -> Mended:
    """Mends a manifest by what its audit found.

    Photos that cannot be used, labels that the taxonomy lacks, further copies of a file and files that stand under
    several labels are left out; cases whose photos look the same become one, so that no split parts them.

    Args:
      frame: The manifest as it was audited.
      report: The audit's.
      taxonomy: Whose finest classes the labels must be; None accepts any label.

    Returns:
      The manifest of the photos that are left, and what was changed.

    Raises:
      ValueError: No photo is left.
    """
    changes = _by_reading(report)
    kept = np.ones(len(frame), bool)
    labels = frame["label"].astype(str).to_numpy(object)

    def leave_out(mask: NDArray[np.bool_], words: str) -> None:
        if (mask & kept).any():
            changes.append(f"Left out: {_counted(int((mask & kept).sum()), words)}.")
            kept[mask] = False

    problem = report.photos["problem"].to_numpy(object)
    kinds = collections.Counter(str(kind).replace("_", " ") for kind in problem if kind)
    listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    leave_out(problem != "", f"photos that cannot be used ({listed})")
    if taxonomy is not None:
        unknown = ~np.isin(labels.astype(str), taxonomy.classes())
        names = list(dict.fromkeys(labels[unknown & kept]))
        leave_out(
            unknown,
            f"photos whose label is no {taxonomy.finest} of taxonomy {taxonomy.name!r} ({_listed(names)})",
        )
    if "case_id" in frame:
        frame, told = _one_case(frame, report)
        changes += told
    several, copy = _copies(report.photos["sha256"].tolist(), labels)
    leave_out(several, "photos whose file stands under several labels, of which not all can be right")
    leave_out(copy, "further copies of a file that is listed already")
    if "case_id" not in frame:
        looks = len(set(np.asarray(report.stand_in_cases(), object)[kept]))
        changes.append(
            f"No case ids: {looks:,} groups of near-duplicate photos will stand in for cases; add a column case_id "
            "if you know whose photo is whose."
        )
    if not kept.any():
        raise ValueError(f"no photo of {len(frame):,} is left: {' '.join(changes)}")
    counts = report.counts
    left = tuple(
        f"Left as found, for a person to decide: {words} ({counts[kind]:,})."
        for kind, words in _LEFT.items()
        if counts.get(kind)
    )
    return Mended(frame[kept].reset_index(drop=True), tuple(changes), left)


def paths_from(out: Path, root: Path) -> str | None:
    """Returns what paths that start from the photos' folder must begin with in a manifest elsewhere.

    Args:
      out: The manifest to be written.
      root: Folder that the photos' paths are relative to.

    Returns:
      An empty text or a folder with its slash; None where the photos do not lie below the manifest's folder.
    """
    folder, photos = os.path.realpath(out.parent), os.path.realpath(root)
    below = Path(os.path.relpath(photos, folder)).as_posix() if folder != photos else ""
    return None if below.startswith("..") else f"{below}/" if below else ""


def write_mended(mended: Mended, out: Path, root: Path) -> str:
    """Writes a mended manifest, whole or not at all.

    Args:
      mended: The manifest.
      out: A `.csv` or `.parquet` file to make or replace.
      root: Folder that its photos' paths are relative to.

    Returns:
      A sentence that says how to use it.
    """
    start = paths_from(out, root)
    write_manifest(mended.frame.assign(image=(start or "") + mended.frame["image"]), out)
    words = f"The mended manifest lists {_counted(len(mended.frame), 'photos')}: --manifest={out}"
    return f"{words} --source={root}" if start is None else words


def _counted(number: int, words: str) -> str:
    """Returns a number with words that begin with what is counted: `1 photo` of `photos`."""
    one = words.replace("photos", "photo", 1).replace("copies", "copy", 1)
    return f"{number:,} {one if number == 1 else words}"


def _by_reading(report: AuditReport) -> list[str]:
    """Returns sentences about what reading the manifest has mended already."""
    changes = []
    for finding in report.findings:
        if finding.kind in _READ:
            changes.append(f"{finding.message[0].upper()}{finding.message[1:]}.")
        elif finding.kind in _LEFT_OUT:
            changes.append(f"Rows left out: {finding.message}.")
        elif finding.kind in _EMPTIED:
            changes.append(f"Cells emptied: {finding.message}.")
    found = [finding for finding in report.findings if finding.kind == "label_resolved"]
    if found:
        photos = sum(1 + len(finding.others) for finding in found)
        told = [label_in_words(finding) for finding in found[:_SHOWN]]
        told += [f"and {len(found) - _SHOWN:,} more labels"] if len(found) > _SHOWN else []
        changes.append(f"Labels written as their class, of {_counted(photos, 'photos')}: {', '.join(told)}.")
    return changes


def _one_case(frame: pd.DataFrame, report: AuditReport) -> tuple[pd.DataFrame, list[str]]:
    """Returns a manifest in which photos that look the same are of one case, the first of theirs."""
    cases = frame["case_id"].astype(str).tolist()
    parent = {case: case for case in cases}

    def first(case: str) -> str:
        while parent[case] != case:
            parent[case] = parent[parent[case]]
            case = parent[case]
        return case

    place = {case: number for number, case in enumerate(dict.fromkeys(cases))}
    seen: dict[object, str] = {}
    for keys in (report.photos["look"].tolist(), report.photos["sha256"].tolist()):
        seen.clear()
        for key, case in zip(keys, cases, strict=True):
            if key in (-1, ""):
                continue
            one, other = sorted((first(seen.setdefault(key, case)), first(case)), key=place.__getitem__)
            parent[other] = one
    merged = {case: first(case) for case in place if first(case) != case}
    if not merged:
        return frame, []
    new = [first(case) for case in cases]
    shown = ", ".join(f"{case!r} into {found!r}" for case, found in list(merged.items())[:_SHOWN])
    more = f" and {len(merged) - _SHOWN:,} more" if len(merged) > _SHOWN else ""
    mended = frame.assign(case_id=new)
    if "lesion_id" in frame:
        # A lesion is (case_id, lesion_id): the same id of a case that was merged is of another lesion.
        lesions = [
            f"{case}:{lesion}" if lesion and case in merged else lesion
            for case, lesion in zip(cases, frame["lesion_id"].astype(str), strict=True)
        ]
        mended = mended.assign(lesion_id=lesions)
    return mended, [f"Cases whose photos look the same are one: {shown}{more}."]


def _copies(fingerprints: Sequence[str], labels: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns bool[N] of files that stand under several labels, and of further copies of a file."""
    members: dict[str, list[int]] = collections.defaultdict(list)
    for row, key in enumerate(fingerprints):
        if key:
            members[key].append(row)
    several, copy = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for rows in members.values():
        if len({labels[row] for row in rows}) > 1:
            several[rows] = True
        else:
            copy[rows[1:]] = True
    return several, copy


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
