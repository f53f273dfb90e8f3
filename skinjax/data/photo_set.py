"""Sets of photos: a manifest or a public data set with its folder and classes, audited and decoded on demand.

photos = read_photos("mine/manifest.csv", taxonomy="mine/classes.csv")
print(photos.audit().text())
prepared = photos.prepare("cache/224", image_size=224)
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.column_names import as_entries
from skinjax.data.findings import Finding
from skinjax.data.manifest import ManifestError, as_manifest, fingerprint, inspect_manifest
from skinjax.data.mending import label_in_words
from skinjax.data.pipeline.prepare import Fit, Prepared, prepare
from skinjax.data.spelling import alike_labels, spelled
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.data.audit import AuditReport

_LOG = logging.getLogger(__name__)
_SHOWN_LABELS = 6
_ADVICE = (
    "Mend them in the table, or let `skinjax audit` with these flags and --fix=mended.csv write one without what is "
    "wrong."
)
Progress = Callable[[int, int], None]  # photos done, photos in all


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSet:
    """Labelled photos of one folder, before they are decoded.

    Attributes:
      frame: The manifest (`skinjax.data.manifest`), N rows; `case_id` may be missing.
      root: Folder that its photos are relative to.
      taxonomy: Of its labels.
      synthetic: Whether these are the built-in photos.
      notes: Sentences that a report on these photos must show.
      origin: What the photos were read from, as the options `manifest`, `dataset`, `source`, `taxonomy` and `map` name
        it.
      findings: What reading the manifest resolved, and where asked for what is wrong with it, which the audit tells.
      rows: int64[N], the number of each photo's row in the file of the manifest, for the audit; None counts from 1.
    """

    frame: pd.DataFrame
    root: Path
    taxonomy: Taxonomy
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    rows: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        cases = f"{self.frame['case_id'].nunique():,} cases" if self.has_cases else "no case ids"
        return f"PhotoSet({len(self):,} photos, {cases}, {len(self.taxonomy.classes())} classes, {self.root})"

    @property
    def has_cases(self) -> bool:
        """Returns whether the manifest names the case of each photo."""
        return "case_id" in self.frame

    @property
    def labels(self) -> np.ndarray:
        """Returns int32[N], the finest classes."""
        return self.taxonomy.encode(self.frame["label"])

    @property
    def labels_by_name(self) -> np.ndarray:
        """Returns str[N], the names of the finest classes."""
        return self.frame["label"].to_numpy()

    @property
    def cases(self) -> np.ndarray:
        """Returns str[N], the case of each photo, where the manifest names it."""
        return self.frame["case_id"].to_numpy()

    @property
    def fingerprint(self) -> str:
        """Identifies photos by name, labels and cases, the same on any machine."""
        return fingerprint(self.frame)

    def identities(self) -> frozenset[str]:
        """Identifies each photo by its name, case and size in bytes, whatever its label and wherever it lies."""
        return frozenset(self.identity_of_each())

    def identity_of_each(self) -> list[str]:
        """Returns the identity of each photo in order, N texts; see `identities`."""
        found = []
        for image, case in zip(self.frame["image"], self.frame["case_id"], strict=True):
            path = self.root / image
            size = path.stat().st_size if path.exists() else -1
            found.append(hashlib.sha256(f"{path.stem}\0{case}\0{size}".encode()).hexdigest()[:16])
        return found

    def audit(self, *, threads: int = 2, progress: Progress | None = None) -> AuditReport:
        """Checks the photos and their manifest: unreadable, duplicate and leaking photos, labels and cases.

        Args:
          threads: For reading photos.
          progress: Called with (photos done, photos in all) now and then.

        Returns:
          The findings; `text()` tells them and `write(folder)` keeps them.
        """
        from skinjax.data.audit import audit_manifest

        return audit_manifest(
            self.frame,
            self.root,
            taxonomy=self.taxonomy,
            threads=threads,
            progress=progress,
            found=self.findings,
            rows=self.rows,
        )

    def with_stand_in_cases(self, report: AuditReport) -> PhotoSet:
        """Returns the same photos with clusters of near-duplicates standing in for cases, and a note that says so.

        Args:
          report: What `audit` found.
        """
        frame = self.frame.assign(case_id=report.stand_in_cases())
        note = (
            f"The manifest has no case_id: {frame['case_id'].nunique()} clusters of near-duplicate photos stand in for "
            "cases, so photos of one patient that look different may lie on both sides of a split."
        )
        return dataclasses.replace(self, frame=frame, notes=(*self.notes, note))

    def few_cases(self, per_class: int) -> PhotoSet:
        """Returns the photos of the first cases of each class.

        Args:
          per_class: Cases of each class.
        """
        case = self.frame["case_id"] if self.has_cases else self.frame["image"]
        order = self.frame.assign(_case=case).drop_duplicates("_case").groupby("label", sort=False).cumcount()
        chosen = set(case[order.index[order < per_class]])
        return self.chosen(np.flatnonzero(case.isin(chosen)))

    def chosen(self, rows: npt.NDArray[np.int64], **changes: Any) -> PhotoSet:
        """Returns some of the photos.

        Args:
          rows: int64, their positions.
          changes: Other values of attributes, beside `frame` and `rows`.
        """
        numbers = None if self.rows is None else self.rows[rows]
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return dataclasses.replace(self, frame=frame, rows=numbers, **changes)

    def prepare(
        self,
        folder: str | os.PathLike[str],
        image_size: int,
        *,
        fit: Fit = "stretch",
        max_bad_fraction: float = 0.01,
        threads: int = 2,
        replace_other_settings: bool = True,
        progress: Progress | None = None,
    ) -> PreparedPhotos:
        """Decodes the photos once, or opens what was decoded before; unreadable photos are named and left out.

        Args:
          folder: Where the decoded photos are kept; see `skinjax.data.pipeline.prepare.prepare`.
          image_size: Side of the square photos in pixels.
          fit: How a photo becomes square.
          max_bad_fraction: Largest share of photos that may be unreadable.
          threads: For decoding.
          replace_other_settings: Whether photos decoded with other settings may be replaced.
          progress: Called with (photos done, photos in all) now and then.

        Returns:
          The decoded photos, with those rows of the manifest that could be read.

        Raises:
          ValueError: Too many photos are unreadable, or the folder holds something else.
        """
        prepared = prepare(
            self.frame,
            self.root,
            folder,
            image_size=image_size,
            fit=fit,
            max_bad_fraction=max_bad_fraction,
            threads=threads,
            replace_other_settings=replace_other_settings,
            progress=progress,
        )
        for bad in prepared.bad:
            _LOG.warning("left out %s: %s", bad.image, bad.reason)
        notes = self.notes
        if prepared.bad:
            names = ", ".join(f"{bad.image} ({bad.reason})" for bad in prepared.bad[:5])
            more = f" and {len(prepared.bad) - 5} more" if len(prepared.bad) > 5 else ""
            note = f"{len(prepared.bad)} photos could not be read and were left out: {names}{more}."
            notes = (*notes, note)
        return PreparedPhotos(self.chosen(prepared.rows, notes=notes), prepared)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedPhotos:
    """Decoded photos with their manifest.

    Attributes:
      photos: The photos that could be read, rows in the order of the records.
      prepared: The records.
    """

    photos: PhotoSet
    prepared: Prepared

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def frame(self) -> pd.DataFrame:
        """Returns the manifest's rows, one per record."""
        return self.photos.frame

    @property
    def taxonomy(self) -> Taxonomy:
        """Returns the taxonomy of the labels."""
        return self.photos.taxonomy

    @property
    def labels(self) -> np.ndarray:
        """Returns int32[N], the finest classes."""
        return self.photos.labels

    @property
    def labels_by_name(self) -> np.ndarray:
        """Returns str[N], the names of the finest classes."""
        return self.photos.labels_by_name

    @property
    def cases(self) -> np.ndarray:
        """Returns str[N], the case of each photo."""
        return self.photos.cases

    @property
    def fingerprint(self) -> str:
        """Identifies labels, cases, classes, files and how they were prepared, the same on any machine."""
        classes = hashlib.sha256(self.taxonomy.to_json().encode()).hexdigest()
        return f"{self.photos.fingerprint[:16]}-{classes[:16]}-{self.prepared.fingerprint[:16]}"

    def identities(self) -> frozenset[str]:
        """Identifies each photo by its name, case and size in bytes, whatever its label and wherever it lies."""
        return self.photos.identities()

    def where(
        self, chosen: np.ndarray, taxonomy: Taxonomy, labels: np.ndarray | None = None
    ) -> PreparedPhotos:
        """Returns chosen photos as photos of another taxonomy.

        Args:
          chosen: bool[N].
          taxonomy: Of their labels from now on.
          labels: str[n], the labels of the chosen photos; None keeps those they have.
        """
        rows = np.flatnonzero(chosen)
        photos = self.photos.chosen(rows, taxonomy=taxonomy)
        if labels is not None:
            photos = dataclasses.replace(photos, frame=photos.frame.assign(label=labels))
        prepared = dataclasses.replace(
            self.prepared, source=_Rows(self.prepared.source, rows), rows=self.prepared.rows[rows]
        )
        return PreparedPhotos(photos, prepared)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Some records of a source."""

    source: Any
    rows: np.ndarray

    def __getitem__(self, index: int) -> dict[str, Any]:
        record: dict[str, Any] = self.source[int(self.rows[index])]
        return record


def case_identity(case: object) -> str:
    """Identifies a case without naming it.

    Args:
      case: Its id.

    >>> case_identity("PAT_1") == case_identity("PAT_1"), len(case_identity("PAT_1"))
    (True, 16)
    """
    return hashlib.sha256(f"case\0{case}".encode()).hexdigest()[:16]


def read_photos(
    manifest: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    source: str | os.PathLike[str] | None = None,
    taxonomy: str | os.PathLike[str] | Taxonomy | None = None,
    map: Mapping[str, str] | Sequence[str] = (),
    inspect: bool = False,
) -> PhotoSet:
    """Reads a manifest, or a public data set as its publisher ships it.

    Args:
      manifest: CSV, Excel or Parquet file with columns `image`, `label` and `case_id`; the photos lie beside it.
      dataset: Name of a data set (`skinjax.data.importers`), or "folders" for a folder per class; instead of a
        manifest.
      source: Folder of the data set, or of the manifest's photos where they do not lie beside it.
      taxonomy: Catalogue name, file or `Taxonomy` of the labels. None takes the data set's own; of a manifest, a flat
        one of its labels.
      map: The manifest's own names of columns, such as `{"image": "Filename", "case_id": "Patient ID"}`.
      inspect: Whether faults of the manifest become findings of the audit, and rows without a usable photo are left
        out, instead of an error.

    Returns:
      The photos, none of them opened yet.

    Raises:
      ValueError: Arguments that do not fit together, or everything that is wrong with the manifest.
    """
    if manifest and dataset:
        raise ValueError(f"manifest={manifest} and dataset={dataset} are both given; give one of them")
    if dataset and not source:
        raise ValueError(f"dataset={dataset} needs source=FOLDER, where its publisher's files lie")
    if not (manifest or dataset):
        others = (("source", source), ("taxonomy", taxonomy), ("map", ",".join(as_entries(map))))
        given = [f"{name}={value}" for name, value in others if value]
        raise ValueError(
            f"{given[0]} is given without manifest=FILE or dataset=NAME; give one of them"
            if given
            else "photos must be named by manifest=FILE or dataset=NAME with source=FOLDER"
        )
    entries = as_entries(map)
    if entries and dataset:
        raise ValueError(f"map={','.join(entries)} must be given with manifest=FILE, got dataset={dataset}")
    named: Taxonomy | None = None
    if isinstance(taxonomy, Taxonomy):
        named = taxonomy
    elif taxonomy:
        named = load_taxonomy(os.fspath(taxonomy))
    origin = {
        "manifest": os.fspath(manifest or ""),
        "dataset": dataset or "",
        "source": os.fspath(source or ""),
        "taxonomy": "" if isinstance(taxonomy, Taxonomy) else os.fspath(taxonomy or ""),
        "map": entries,
    }
    if dataset:
        return _dataset(dataset, Path(source or ""), named, origin)
    path = Path(manifest or "")
    root = Path(source) if source else path.parent
    if source and not root.is_dir():
        raise ValueError(f"source={source} must be the folder of the manifest's photos, but there is none")
    reading = inspect_manifest(path, named, map=entries, root=root)
    if reading.problems and not (inspect and len(reading.frame)):
        raise ManifestError(str(path), reading.problems, _ADVICE if len(reading.frame) else "")
    frame = reading.frame
    notes = tuple(_resolved(reading.findings) + ([] if named else _spellings(frame)))
    for note in notes:
        _LOG.warning("%s", note)
    return PhotoSet(
        frame,
        root.resolve(),
        named or flat_taxonomy(frame),
        notes=notes,
        origin=origin,
        findings=reading.findings,
        rows=reading.rows,
    )


def refuse_shared_cases(who: str, one: PhotoSet, other: PhotoSet) -> None:
    """Refuses two sets that hold photos of the same cases: a network of the one has seen cases of the other.

    Args:
      who: Names the sets, for the message.
      one: The first set.
      other: The second.

    Raises:
      ValueError: They share a case id.
    """
    shared = sorted(_cases(one.frame["case_id"]) & _cases(other.frame["case_id"]))
    if shared:
        raise ValueError(
            f"{who} must have no case in common, got {len(shared):,} in both, such as {shared[0]}"
        )


def _cases(ids: Iterable[Any]) -> set[str]:
    return set(map(str, ids))


def _dataset(name: str, source: Path, taxonomy: Taxonomy | None, origin: Mapping[str, Any]) -> PhotoSet:
    from skinjax.data.importers import import_dataset

    frame, report = import_dataset(name, source)
    _LOG.info("%s", report.text())
    if frame.empty:
        raise ValueError(f"source={source} holds no photo of {name}")
    tree = taxonomy or report.taxonomy
    return PhotoSet(
        as_manifest(frame, tree), source.resolve(), tree, notes=tuple(report.notes), origin=origin
    )


def _spellings(frame: pd.DataFrame) -> list[str]:
    """Returns a sentence for each class that labels without a taxonomy may spell in several ways."""
    return [
        f"The labels {' and '.join(spelled(name, group) for name in group)} count as different classes, "
        "but may be one."
        for group in alike_labels(sorted(frame["label"].unique()))
    ]


def _resolved(findings: Iterable[Finding]) -> list[str]:
    """Returns a sentence about labels that were taken for a class of another spelling, where there are any."""
    found = [finding for finding in findings if finding.kind == "label_resolved"]
    told = "; ".join(map(label_in_words, found[:_SHOWN_LABELS]))
    more = f"; and {len(found) - _SHOWN_LABELS:,} more" if len(found) > _SHOWN_LABELS else ""
    return (
        [f"Labels that differ from a class by case, blanks or such were resolved: {told}{more}."]
        if told
        else []
    )


def flat_taxonomy(frame: pd.DataFrame) -> Taxonomy:
    """Returns a taxonomy of one level, with the labels that a frame has as classes.

    Args:
      frame: With a column `label`.
    """
    classes = sorted(frame["label"].unique())
    return Taxonomy("labels of the manifest", ("label",), tuple((name,) for name in classes))
