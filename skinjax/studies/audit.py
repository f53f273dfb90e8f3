"""Checks a manifest and its photos, shows what it found on a page, and mends the manifest (thesis, chapter 2).

Unreadable and damaged photos, duplicates across cases and labels, labels that the taxonomy lacks, cases that contradict
themselves, columns that give the label away, and labels, columns and paths that were read in another spelling.

    skinjax audit --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/audit
    skinjax audit --manifest=Lesions.xlsx --map image=Filename,label=Diagnosis,case_id="Patient ID"
    skinjax audit --manifest=Lesions.xlsx --map=... --taxonomy=classes.csv --fix=photos/mended.csv
    skinjax audit --dataset=ham10000 --source=HAM10000
    skinjax audit --smoke

Writes `audit/index.html`, which shows the photos of each finding and an overview of classes, cases, photos and columns,
and `audit.txt` (printed too), `audit.csv`, `audit.json` and `audit_photos.csv` to --workdir. Exit code 0 whatever it
finds, as far as the manifest is a table with photos and labels. With --fix, what training may use is written as a
manifest, and a sentence names each kind of change: photos that cannot be used, labels that the taxonomy lacks, copies,
and files under several labels are left out, and cases whose photos look the same become one. Times:
benchmarks/results/ground.md.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import ClassVar

from skinjax.data.findings import AuditReport
from skinjax.data.mending import mend, write_mended
from skinjax.data.photo_set import PhotoSet
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions

NAME = "audit"
_TABLES = (".csv", ".parquet")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PreparationOptions, RunOptions):
    """Options of the audit; those of preparation change nothing, and let another study's flagfile serve here."""

    group: ClassVar[str] = "this study"

    fix: str = option(
        "",
        "Write a mended manifest to this file (.csv or .parquet): the photos that training may use.",
        path=True,
        free=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fix and Path(self.fix).suffix.lower() not in _TABLES:
            raise ValueError(f"fix={self.fix} must end in .csv or .parquet")
        if self.fix and self.manifest and os.path.realpath(self.fix) == os.path.realpath(self.manifest):
            raise ValueError(f"fix={self.fix} must be another file than the manifest, which stays as it is")


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The findings, as `headline`; `report` shows them, and the folder `audit` of `workdir` has them as tables."""

    main_table: str = ""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Checks photos and their manifest.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder that the findings are written to, made if missing.

    Returns:
      The findings, and what was mended.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    with RunFolder.open(workdir, NAME, config) as folder:
        read = inputs.photos_of(photos, config, folder, inspect=True)
        report = inputs.audit_report(read, config, folder)
        text = (folder.audit / "audit.txt").read_text(encoding="utf-8").rstrip()
        mended, told = None, ""
        if config.fix:
            out = Path(config.fix)
            mended = mend(read.frame, report, read.taxonomy)
            told = write_mended(mended, out, read.root)
        from skinjax.report.audit_page import (
            write_audit,  # after the photos were read: this takes seconds to import
        )

        page = write_audit(
            folder.audit,
            title=f"Audit of {Path(config.manifest).name or config.dataset or read.root.name}",
            frame=read.frame,
            root=read.root,
            report=report,
            config=config.to_dict(),
            notes=read.notes,
            synthetic=read.synthetic,
            mended=mended,
            told=told,
            taxonomy=read.taxonomy,
        )
        changes = (*mended.changes, *mended.left, told) if mended else _advice(report)
        return Result(NAME, folder.path, (text, *changes, f"written to {folder.audit}"), report=page)


def _advice(report: AuditReport) -> tuple[str, ...]:
    """Returns what to do about errors."""
    if not report.num_errors:
        return ()
    return (
        "",
        "A training leaves out a few unreadable photos, and stops at the other errors: mend them in the table, or add "
        "--fix=mended.csv, which writes a manifest without what is wrong.",
    )
