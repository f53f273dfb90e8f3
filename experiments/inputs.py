"""From flags to photos: a manifest, a public set or the built-in photos, audited, with cases, prepared."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from experiments import processes
from skinjax.data.manifest import as_manifest, fingerprint, read_manifest
from skinjax.data.prepare import Prepared, prepare
from skinjax.data.tables import replacing
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.train.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

PHOTOS_SEEN = "photos_seen.txt"  # in a run's folder: which photos it has trained on or held out
SMOKE_CASES = 4  # a class, with --smoke and photos of one's own


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The photos of a run before they are decoded.

    Attributes:
      frame: the manifest, with `case_id`.
      root: folder that its photos are relative to.
      taxonomy: of its labels.
      synthetic: whether these are the built-in photos.
      notes: sentences for the report.
      audit: the audit's findings, or None where none was made now.
    """

    frame: pd.DataFrame
    root: Path
    taxonomy: Taxonomy
    synthetic: bool
    notes: tuple[str, ...]
    audit: str | None = None

    def prepare(self, workdir: Path, image_size: int, suffix: str = "") -> Photos:
        """Decodes the photos once, or opens them where that was done; those that cannot be read are left out.

        A suffix of the folder's name tells several preparations of a run apart.
        """
        values = flags.FLAGS
        folder = Path(values.prepared) if values.prepared else workdir / "prepared"
        folder = folder.with_name(folder.name + suffix)

        def prepare_photos() -> Prepared:
            with Progress("preparing", len(self.frame), stream=processes.progress_stream()) as progress:
                prepared = prepare(
                    self.frame,
                    self.root,
                    folder,
                    image_size=image_size,
                    fit=values.fit,
                    max_bad_fraction=values.max_bad_fraction,
                    threads=values.threads,
                    replace_other_settings=not values.prepared,
                    progress=lambda done, total: progress.update(done),
                )
                progress.update(len(self.frame))
            return prepared

        prepared = processes.first_alone("preparation", prepare_photos)
        for bad in prepared.bad:
            print(f"left out {bad.image}: {bad.reason}", file=sys.stderr)
        frame = self.frame.iloc[prepared.rows].reset_index(drop=True)
        notes = self.notes
        if prepared.bad:
            names = ", ".join(f"{bad.image} ({bad.reason})" for bad in prepared.bad[:5])
            more = f" and {len(prepared.bad) - 5} more" if len(prepared.bad) > 5 else ""
            notes = (
                *notes,
                f"{len(prepared.bad)} photos could not be read and were left out: {names}{more}.",
            )
        return Photos(dataclasses.replace(self, frame=frame, notes=notes), prepared)


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of a run, decoded.

    Attributes:
      inputs: their manifest, rows in the order of the records.
      prepared: the records.
    """

    inputs: Inputs
    prepared: Prepared

    @property
    def frame(self) -> pd.DataFrame:
        """The manifest's rows, one a record."""
        return self.inputs.frame

    @property
    def taxonomy(self) -> Taxonomy:
        """Of the labels."""
        return self.inputs.taxonomy

    @property
    def labels(self) -> np.ndarray:
        """int32[N], the finest classes."""
        return self.taxonomy.encode(self.frame["label"])

    @property
    def labels_by_name(self) -> np.ndarray:
        """str[N], the names of the finest classes."""
        return self.frame["label"].to_numpy()

    @property
    def cases(self) -> np.ndarray:
        """str[N], the case of each photo."""
        return self.frame["case_id"].to_numpy()

    @property
    def manifest_fingerprint(self) -> str:
        """Identifies photos by name, labels and cases."""
        return fingerprint(self.frame)[:16]

    @property
    def fingerprint(self) -> str:
        """Identifies labels, cases, classes, files and how they were prepared, the same on any machine."""
        classes = hashlib.sha256(self.taxonomy.to_json().encode()).hexdigest()
        return f"{self.manifest_fingerprint}-{classes[:16]}-{self.prepared.fingerprint[:16]}"

    def identities(self) -> frozenset[str]:
        """Identifies each photo by its name, case and size in bytes, whatever its label and wherever it lies."""
        found = []
        for image, case in zip(self.frame["image"], self.frame["case_id"], strict=True):
            path = self.inputs.root / image
            size = path.stat().st_size if path.exists() else -1
            found.append(hashlib.sha256(f"{path.stem}\0{case}\0{size}".encode()).hexdigest()[:16])
        return frozenset(found)

    def where(self, chosen: np.ndarray, taxonomy: Taxonomy, labels: np.ndarray | None = None) -> Photos:
        """Returns the chosen photos, bool[N], as photos of another taxonomy, with other labels, str[n], if given."""
        rows = np.flatnonzero(chosen)
        frame = self.frame.iloc[rows].reset_index(drop=True)
        if labels is not None:
            frame = frame.assign(label=labels)
        prepared = dataclasses.replace(
            self.prepared, source=_Rows(self.prepared.source, rows), rows=self.prepared.rows[rows]
        )
        return Photos(dataclasses.replace(self.inputs, frame=frame, taxonomy=taxonomy), prepared)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Some records of a source."""

    source: Any
    rows: np.ndarray

    def __getitem__(self, index: int) -> dict[str, Any]:
        record: dict[str, Any] = self.source[int(self.rows[index])]
        return record


def read(workdir: Path, prefix: str = "", **spec: Any) -> Inputs:
    """Reads what the data flags name; with none, renders the built-in photos and says so.

    Args:
      workdir: Of the run; built-in photos are rendered into its folder `photos`.
      prefix: Of the names of the flags, such as "other_" for a second set.
      spec: Of the built-in photos, beside what the flags say; see `skinjax.data.synthetic.SyntheticSpec`.

    Raises:
      ValueError: Flags that do not fit together, or everything that is wrong with the manifest.
    """
    manifest, dataset, source, taxonomy = (
        flags.FLAGS[prefix + name].value for name in ("manifest", "dataset", "source", "taxonomy")
    )
    if manifest and dataset:
        raise ValueError(f"--{prefix}manifest and --{prefix}dataset are both given; one is wanted")
    if dataset and not source:
        raise ValueError(
            f"--{prefix}dataset={dataset} wants --{prefix}source, the folder that its publisher's files lie in"
        )
    if not (manifest or dataset):
        for name, value in (("source", source), ("taxonomy", taxonomy)):
            if value:
                raise ValueError(
                    f"--{prefix}{name}={value} is given without --{prefix}manifest or --{prefix}dataset; one is wanted"
                )
    if manifest:
        inputs = _manifest(Path(manifest), taxonomy)
    elif dataset:
        inputs = _dataset(dataset, Path(source), taxonomy)
    else:
        inputs = processes.first_alone("photos", lambda: _synthetic(workdir, spec))
    if flags.FLAGS.smoke and not inputs.synthetic:
        inputs = dataclasses.replace(inputs, frame=_few_cases(inputs.frame))
    return inputs


def refuse_shared_cases(who: str, one: Inputs, other: Inputs) -> None:
    """Refuses two sets that hold photos of the same cases: a network of the one has seen cases of the other.

    Raises:
      ValueError: they share a case id; `who` names the sets.
    """
    shared = sorted(set(one.frame["case_id"].astype(str)) & set(other.frame["case_id"].astype(str)))
    if shared:
        raise ValueError(
            f"{who} have {len(shared):,} cases in common, such as {shared[0]}: give each case to one of them"
        )


def _manifest(path: Path, taxonomy_name: str) -> Inputs:
    taxonomy = load_taxonomy(taxonomy_name) if taxonomy_name else None
    frame = read_manifest(path, taxonomy)
    taxonomy = taxonomy or _flat_taxonomy(frame)
    return Inputs(frame, path.resolve().parent, taxonomy, synthetic=False, notes=())


def _dataset(name: str, source: Path, taxonomy_name: str) -> Inputs:
    from skinjax.data.importers import import_dataset

    frame, report = import_dataset(name, source)
    print(report.text())
    if frame.empty:
        raise ValueError(f"--source={source} holds no photo of {name}")
    taxonomy = load_taxonomy(taxonomy_name) if taxonomy_name else report.taxonomy
    frame = as_manifest(frame, taxonomy)
    return Inputs(frame, source.resolve(), taxonomy, synthetic=False, notes=tuple(report.notes))


def _flat_taxonomy(frame: pd.DataFrame) -> Taxonomy:
    classes = sorted(frame["label"].unique())
    return Taxonomy("labels of the manifest", ("label",), tuple((name,) for name in classes))


def _synthetic(workdir: Path, own: dict[str, Any]) -> Inputs:
    from skinjax.data.synthetic import SyntheticSpec, write_dataset

    values = flags.FLAGS
    size = max(values.image_size, 64)
    spec = SyntheticSpec(
        **({"cases_per_class": values.synthetic_cases, "size": size, "seed": values.seed} | own)
    )
    print(f"No --manifest: rendering the built-in synthetic photos into {workdir / 'photos'}")
    with Progress("rendering", 1, unit="set", stream=processes.progress_stream()) as progress:
        path = write_dataset(workdir / "photos", spec)
        progress.update(1)
    taxonomy = load_taxonomy("synthetic19")
    return Inputs(read_manifest(path, taxonomy), path.parent, taxonomy, synthetic=True, notes=())


def _few_cases(frame: pd.DataFrame) -> pd.DataFrame:
    case = frame["case_id"] if "case_id" in frame else frame["image"]
    order = frame.assign(_case=case).drop_duplicates("_case").groupby("label", sort=False).cumcount()
    chosen = set(case[order.index[order < SMOKE_CASES]])
    return frame[case.isin(chosen)].reset_index(drop=True)


def audited(inputs: Inputs, workdir: Path, *, again: bool = False) -> Inputs:
    """Audits where asked, and lets near-duplicates stand in for cases where there are none.

    What a run was told of the same manifest once is not told again when it resumes, unless `again`.
    """
    return processes.first_alone("audit", lambda: _audited(inputs, workdir, again))


def _audited(inputs: Inputs, workdir: Path, again: bool) -> Inputs:
    needs_cases = "case_id" not in inputs.frame
    told, now = workdir / "audit" / "manifest.txt", fingerprint(inputs.frame)
    known = told.exists() and told.read_text(encoding="utf-8") == now
    if not again and not needs_cases and (known or not flags.FLAGS.audit):
        return inputs
    from skinjax.data.audit import audit_manifest

    with Progress("auditing", len(inputs.frame), stream=processes.progress_stream()) as progress:
        report = audit_manifest(
            inputs.frame,
            inputs.root,
            taxonomy=inputs.taxonomy,
            threads=flags.FLAGS.threads,
            progress=lambda done, total: progress.update(done),
        )
    report.write(workdir / "audit")
    with replacing(told) as temporary:
        temporary.write_text(now, encoding="utf-8")
    print(
        f"audit: {', '.join(f'{count} {kind}' for kind, count in report.counts.items()) or 'nothing found'}"
    )
    inputs = dataclasses.replace(inputs, audit=report.text())
    if needs_cases:
        frame = inputs.frame.assign(case_id=report.stand_in_cases())
        note = (
            f"The manifest has no case_id: {frame['case_id'].nunique()} clusters of near-duplicate photos stand in for "
            "cases, so photos of one patient that look different may lie on both sides of a split."
        )
        print(note, file=sys.stderr)
        inputs = dataclasses.replace(inputs, frame=frame, notes=(*inputs.notes, note))
    return inputs
