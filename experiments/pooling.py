"""From the predictions of the folds to one file and its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from absl import flags

from experiments import processes
from experiments.inputs import Photos
from experiments.stored_run import audit_table, training_table
from skinjax.data.predictions import read_predictions, write_predictions
from skinjax.report.page import write_report

GROUPS = ("skin_tone", "sex", "age", "body_site", "source")
"""Columns of the manifest whose groups the report looks at, where a photo has them."""


def pool(workdir: Path, folds: int, data: Photos) -> pd.DataFrame | None:
    """Pools the folds' predictions into `predictions/out_of_fold.parquet`; None while a fold is missing.

    Of several processes the first does; the others get None.
    """
    if not processes.is_first():
        return None
    paths = [workdir / "predictions" / f"fold_{fold}.parquet" for fold in range(folds)]
    if missing := [path.name for path in paths if not path.exists()]:
        print(f"no report yet, still to come: {', '.join(missing)}")
        return None
    frame = pd.concat([read_predictions(path) for path in paths], ignore_index=True)
    write_predictions(frame, workdir / "predictions" / "out_of_fold.parquet", data.taxonomy)
    return frame


def report(
    workdir: Path,
    title: str,
    predictions: pd.DataFrame,
    coarse_level: str | None,
    data: Photos,
    config: dict[str, Any],
    notes: Sequence[str],
    **more: Any,
) -> None:
    """Writes `report/index.html` and prints where it is; of several processes the first does.

    `more` goes to `skinjax.report.page.write_report` as it is, such as its `target`, `others` and `extra`, or `curves`
    where those of some networks only are wanted.
    """
    if not processes.is_first():
        return
    curves = pd.read_csv(workdir / "metrics.csv")
    if "age" in predictions:  # text in files, where the report would take each age for a group
        predictions = predictions.assign(age=pd.to_numeric(predictions["age"], errors="coerce"))
    path = write_report(
        workdir / "report",
        title=title,
        predictions=predictions,
        taxonomy=data.taxonomy,
        coarse_level=coarse_level,
        config=config,
        photo_root=data.inputs.root,
        notes=(*data.inputs.notes, *notes),
        audit=audit_table(workdir),
        training=training_table(curves),
        seed=flags.FLAGS.seed,
        subgroups=[name for name in GROUPS if name in predictions and predictions[name].nunique() > 1],
        **{"name": str(config["experiment"]), "curves": curves} | more,
    )
    print(f"report: {path}")
