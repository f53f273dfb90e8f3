"""Finds the new photos that a run has seen: the same photos, copies of them, and other photos of its cases.

A photo counts as seen where the run trained on it or held it out, as far as the run's folder knows:

    identity    of the same file name, case and size in bytes (`photos_seen.txt`)
    file        the same bytes under any name (SHA-256 of the run's audit)
    look        a near-duplicate of one of the run's photos (perceptual hash, as in the audit)
    case        another photo of one of the run's cases (`cases_seen.txt`)

Photos that a fold held out were trained on by the networks of the other folds, and what `predict` fits was fitted on
them, so they are seen too; and so are the photos of a run whose weights this one started from. Equal case ids are taken
for the same person's: another photo of a patient flatters like a copy, and shows less. Two clinics may number their
patients alike, which nobody but the user can know: the option `other_patients` says so.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images.duplicates import cluster, near_pairs
from skinjax.data.photo_set import PhotoSet, case_identity, read_photos
from skinjax.data.survey import photo_table, survey
from skinjax.files.progress import Progress
from skinjax.models.weights import packages
from skinjax.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.data.audit import AuditReport

WORDS = {
    "identity": "by name, case and size",
    "file": "as the same file",
    "look": "as a near-duplicate",
    "case": "as another photo of one of its cases",
}
"""How a photo was recognised, in words that follow a number of photos."""

_TABLE = "audit_photos.csv"


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """How each of N photos was seen by a run.

    Attributes:
      how: object[N], a key of `WORDS`, or None where the photo is new.
      notes: What could not be compared, in sentences.
    """

    how: NDArray[np.object_]
    notes: tuple[str, ...]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Returns bool[N], the photos that were seen."""
        return np.array([one is not None for one in self.how], bool)

    def counted(self, images: NDArray[np.object_] | None = None) -> str:
        """Returns how many photos were recognised by what, as a phrase.

        Args:
          images: str[N], their names, of which an example each is given; None gives none, as names may be of people.
        """
        counts = Counter(one for one in self.how if one is not None)
        phrases = []
        for key, words in WORDS.items():
            if counts[key]:
                example = "" if images is None else f", such as {images[list(self.how).index(key)]}"
                phrases.append(f"{counts[key]:,} {words}{example}")
        return "; ".join(phrases)


def seen_photos(
    folder: RunFolder,
    photos: PhotoSet,
    report: AuditReport,
    *,
    has_cases: bool = True,
    other_patients: bool = False,
    threads: int = 2,
) -> Seen:
    """Finds the photos that a run has seen.

    Args:
      folder: Of the run.
      photos: The new photos, with cases.
      report: Their audit.
      has_cases: Whether the cases are of people, and not stand-ins for a manifest without `case_id`.
      other_patients: Whether equal case ids are of other people.
      threads: For reading the run's photos, where its audit is missing.
    """
    notes: list[str] = []
    how = np.full(len(photos), None, object)

    def found(key: str, mask: NDArray[np.bool_]) -> None:
        how[mask & np.array([one is None for one in how], bool)] = key

    runs = _lineage(folder)
    identities = frozenset[str]().union(*(one.photos_seen for one in runs))
    if not folder.photos_seen:
        notes.append("The run's folder does not name the photos that it has seen.")
    tables = [_photos_of_run(one, threads) for one in runs]
    complete = all(table is not None for table in tables)
    if not (other_patients and complete):  # of other people the pixels alone decide, where they are known
        found("identity", np.array([one in identities for one in photos.identity_of_each()], bool))
    if not complete:
        notes.append(
            "The run kept no audit, and its photos are not where they were: copies of them under other names or cases "
            "would not be recognised."
        )
    for table in (table for table in tables if table is not None):
        files = report.photos["sha256"]
        found("file", (files.isin(set(table["sha256"]) - {""}) & (files != "")).to_numpy(bool))
        found("look", _look_alike(table, report.hashes))
    if not has_cases:
        notes.append(
            "The manifest has no case_id: whether its people are among those of the run is not known."
        )
    elif not other_patients:
        cases = frozenset[str]().union(*(one.cases_seen or _cases_of_predictions(one, notes) for one in runs))
        ids = [case_identity(case) for case in photos.frame["case_id"]]
        found("case", np.array([one in cases for one in ids], bool))
    return Seen(how, tuple(notes))


def _lineage(folder: RunFolder) -> list[RunFolder]:
    """Returns a run, and those whose weights it or one of them started from."""
    found = [folder]
    for one in found:
        options = one.options
        for name in options.get("backbones") or [options.get("backbone", "")]:
            weights = (options.get("pretrained") or "").replace("{backbone}", str(name))
            for parent in packages.folders_of(weights):
                known = {each.path.absolute() for each in found}
                if parent not in known and (parent / "photos_seen.txt").is_file():
                    found.append(RunFolder(parent, ""))
    return found


def _look_alike(table: pd.DataFrame, new: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns bool[N], which photos are in a cluster of near-duplicates with one of the run's."""
    known = np.array(
        [np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64) for text in table["hash"]], np.uint64
    )
    both = np.concatenate([known.reshape(-1, 4), new])
    look = cluster(near_pairs(both), len(both))
    alike = np.isin(look[len(table) :], look[: len(table)])
    return alike & new.any(axis=1)


def _photos_of_run(folder: RunFolder, threads: int) -> pd.DataFrame | None:
    """Returns `sha256` and `hash` of the run's photos, from its audits, or else from the photos; None without both."""
    import pandas as pd

    places = [one.audit / _TABLE for one in (folder, folder.part("a"), folder.part("b"))]
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in places if path.is_file()]
    if not tables:
        seen = folder.photos_seen
        for photos in _sources(folder):
            frame = photos.frame
            if photos.has_cases and seen:  # a run on few cases has not seen all
                frame = frame[[one in seen for one in photos.identity_of_each()]]
            with Progress("looking at the run's photos", len(frame)) as progress:
                records = survey(
                    frame["image"].tolist(), photos.root, threads, lambda done, total: progress.update(done)
                )
            tables.append(photo_table(records))
    return pd.concat(tables, ignore_index=True) if tables else None


def _sources(folder: RunFolder) -> Iterator[PhotoSet]:
    """Reads the manifests that a run was made of, where they and their photos are still there."""
    options = folder.options
    named = [
        {name: options.get(f"{prefix}{name}") or None for name in ("manifest", "dataset", "source")}
        | {"map": options.get(f"{prefix}map") or ()}
        for prefix in ("", "other_")
    ]
    named += [
        {"manifest": str(one.photos / "manifest.csv")}
        for one in (folder, folder.part("a"), folder.part("b"))
        if (one.photos / "manifest.csv").is_file()
    ]
    for names in named:
        if names["manifest"] or names.get("dataset"):
            try:
                photos = read_photos(**names)
            except (ValueError, OSError):
                continue
            if (photos.root / photos.frame["image"].iloc[0]).is_file():
                yield photos


def _cases_of_predictions(folder: RunFolder, notes: list[str]) -> frozenset[str]:
    """Returns identities of the cases in a run's predictions, for runs of versions that stored no list of cases.

    Answers of a two-stage run for classes left out of training and for photos from elsewhere are of unseen cases.
    """
    from skinjax.data.predictions import read_predictions

    paths = sorted(
        path
        for path in Path(folder.path, "predictions").rglob("*.parquet")
        if not path.stem.endswith(("_left_out", "_foreign"))
    )
    cases = frozenset(case_identity(case) for path in paths for case in read_predictions(path)["case_id"])
    notes.append(
        "The run's folder has no list of its cases: they were taken from its predictions, which may lack some that "
        "were trained on."
    )
    return cases
