"""What a finished run's folder holds, for whoever reports on it again; imports nothing that trains."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

POOLED = ("out_of_fold.parquet", "held_out.parquet", "two_stage_test.parquet")
"""The predictions that a report is written on, by the experiment that made them."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoredRun:
    """A run, as its folder tells of it.

    Attributes:
      predictions: path of its predictions.
      taxonomy: of its labels.
      config: its `config.json`.
      curves: its `metrics.csv`, or None.
      training: how long each network was trained, or None.
      audit: findings of the audit by kind, or None.
      photo_root: folder of its photos, None where that is not there any more.
    """

    predictions: Path
    taxonomy: Taxonomy
    config: dict[str, Any]
    curves: pd.DataFrame | None
    training: pd.DataFrame | None
    audit: pd.DataFrame | None
    photo_root: Path | None


def read_run(workdir: Path) -> StoredRun:
    """Reads the folder of a finished run.

    Raises:
      ValueError: it is no run's, or the run has not finished.
    """
    if not (workdir / "config.json").is_file():
        raise ValueError(f"--workdir={workdir} is not the folder of a run: it has no config.json")
    try:
        config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
        config["flags"].get("manifest")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{workdir / 'config.json'} is not the configuration of a run") from error
    found = [path for name in POOLED if (path := workdir / "predictions" / name).is_file()]
    others = sorted(path.stem for path in (workdir / "predictions").glob("*.parquet"))
    if not found and others and (workdir / "report" / "index.html").is_file():
        raise ValueError(
            f"--workdir={workdir} has predictions of a network each ({', '.join(others)}): give those by --predictions"
        )
    if not found:
        raise ValueError(
            f"--workdir={workdir} has no predictions/{' or '.join(POOLED)}: the run has not finished; the command that "
            "began it goes on"
        )
    import pandas as pd

    curves = pd.read_csv(workdir / "metrics.csv") if (workdir / "metrics.csv").is_file() else None
    return StoredRun(
        predictions=found[0],
        taxonomy=load_taxonomy(workdir / "taxonomy.json"),
        config=config,
        curves=curves,
        training=None if curves is None else training_table(curves),
        audit=audit_table(workdir),
        photo_root=photo_root(workdir, config["flags"]),
    )


def training_table(curves: pd.DataFrame) -> pd.DataFrame:
    """How many epochs each network was trained, and on how many photos, from `metrics.csv`."""
    groups = curves[curves["split"] == "train"].groupby(["stage", "fold"], as_index=False, sort=False)
    table = groups.agg(epochs=("epoch", "max"), **{"photos an epoch": ("photos", "max")})
    return table.rename(columns={"stage": "network"})


def audit_table(workdir: Path) -> pd.DataFrame | None:
    """The findings of the audit by kind: how many, and the first of them in words."""
    path = workdir / "audit" / "audit.csv"
    if not path.exists():
        return None
    import pandas as pd

    findings = pd.read_csv(path, dtype=str, keep_default_na=False)
    kinds = findings.groupby(["severity", "kind"], sort=False, as_index=False)
    return kinds.agg(count=("message", "size"), photo=("image", "first"), first=("message", "first"))


def photo_root(workdir: Path, flags: dict[str, Any]) -> Path | None:
    """The folder that the photos of a run lie in, None where it is not there any more.

    Args:
      workdir: folder of the run.
      flags: that it was made with.
    """
    if flags.get("manifest"):
        root = Path(flags["manifest"]).parent
    elif flags.get("dataset"):
        root = Path(flags.get("source") or "")
    else:
        root = workdir / "photos"
    return root if root.is_dir() else None
