"""Checks a manifest and its photos, and writes what it found (thesis, chapter 2).

Unreadable and damaged photos, duplicates across cases and labels, labels that the taxonomy lacks, cases that contradict
themselves, and columns that give the label away.

    skinjax audit_data --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/audit
    skinjax audit_data --dataset=ham10000 --source=HAM10000
    skinjax audit_data --smoke

Writes `audit/audit.txt` (printed too), `audit.csv`, `audit.json` and `audit_photos.csv` to --workdir. Exit
code 0 whatever it finds. Times: benchmarks/results/ground.md.
"""

from __future__ import annotations

import dataclasses
import os

from skinjax.data.photo_set import PhotoSet
from skinjax.runs.folder import RunFolder
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions

NAME = "audit"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PreparationOptions, RunOptions):
    """Options of the audit; those of preparation change nothing, and let another study's flagfile serve here."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The findings, as `headline`; the folder `audit` of `workdir` has them as tables."""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Checks photos and their manifest.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder that the findings are written to, made if missing.

    Returns:
      The findings.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    with RunFolder.open(workdir, NAME, config) as folder:
        read = inputs.photos_of(photos, config, folder)
        inputs.audited(read, config, folder, again=True)
        text = (folder.audit / "audit.txt").read_text(encoding="utf-8").rstrip()
        return Result(NAME, folder.path, (text, f"written to {folder.audit}"))
