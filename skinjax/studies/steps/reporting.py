"""From the predictions of a run to its report and result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.data.predictions import Predictions, read_predictions, write_predictions
from skinjax.files.locks import Lock
from skinjax.report.figures.contact_sheet import Explain
from skinjax.report.page import ReportContext, write_report
from skinjax.report.study import Noun, Study
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import training_table
from skinjax.studies.result import StudyResult

GROUPS = ("skin_tone", "sex", "age", "body_site", "source")
"""Columns of the manifest whose groups the report looks at, where a photo has them."""

Found = TypeVar("Found", bound=StudyResult)
_LOG = logging.getLogger(__name__)


def missing_folds(folder: RunFolder, folds: int) -> list[str]:
    """Returns the names of the folds' predictions that are still to come.

    Args:
      folder: Of the run.
      folds: How many folds there are.
    """
    paths = [folder.predictions_file(f"fold_{fold}") for fold in range(folds)]
    return [path.name for path in paths if not path.exists()]


def pool(folder: RunFolder, folds: int, data: PreparedPhotos) -> pd.DataFrame:
    """Pools the folds' predictions into `predictions/out_of_fold.parquet`.

    Args:
      folder: Of the run, which has the predictions of all folds.
      folds: How many.
      data: The photos.
    """
    files = [folder.predictions_file(f"fold_{fold}") for fold in range(folds)]
    frame = pd.concat([read_predictions(path) for path in files], ignore_index=True)
    write_predictions(frame, folder.predictions_file("out_of_fold"), data.taxonomy)
    return frame


def report(
    folder: RunFolder,
    title: str,
    predictions: pd.DataFrame,
    coarse_level: str | None,
    data: PreparedPhotos | PhotoSet,
    document: Mapping[str, Any],
    notes: Sequence[str],
    *,
    name: str = "",
    noun: Noun = "network",
    target: Sequence[str] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
    **more: Any,
) -> None:
    """Writes the report of a run; of several processes the first does.

    Args:
      folder: Of the run.
      title: Heading of the page.
      predictions: What it is about.
      coarse_level: The level that is fused with the finest; None for none.
      data: The photos.
      document: What `config.json` holds.
      notes: Sentences to be read beside the result.
      name: Of the model; empty for the study's name.
      noun: What answered, for people.
      target: Classes of one level that count as positive.
      others: Name -> predictions of another model for the same photos.
      more: Further fields of `skinjax.report.context.ReportContext`, such as `extra`, or `curves` where those of some
        networks only are shown.
    """
    if not processes.is_first():
        return
    photos = data.photos if isinstance(data, PreparedPhotos) else data
    curves = folder.metrics
    if "age" in predictions:  # text in files, where the report would take each age for a group
        predictions = predictions.assign(age=pd.to_numeric(predictions["age"], errors="coerce"))
    study = Study.from_predictions(
        Predictions.from_frame(predictions, data.taxonomy),
        name=name or folder.study,
        coarse_level=coarse_level,
        target=target,
        seed=document["config"]["seed"],
        noun=noun,
    )
    context = ReportContext(
        title=title,
        config=document,
        photo_root=photos.root,
        notes=(*photos.notes, *folder.remarks, *notes),
        audit=folder.audit_table,
        training=None if curves is None else training_table(curves),
        subgroups=[group for group in GROUPS if group in predictions and predictions[group].nunique() > 1],
        others={key: Predictions.from_frame(frame, data.taxonomy) for key, frame in (others or {}).items()},
        **{"curves": curves, "explain": _explain(folder, photos, predictions)} | more,
    )
    with Lock(folder.path / ".lock_report", wait=True):  # the last two folds may end at the same moment
        write_report(folder.report, study, context)


def _explain(folder: RunFolder, photos: PhotoSet, predictions: pd.DataFrame) -> Explain | None:
    """Returns what draws where the run's networks looked; None where it keeps none, or several processes share one."""
    if not folder.folds or processes.are_several():
        return None

    def draw(rows: NDArray[np.integer], classes: NDArray[np.integer]) -> Sequence[Image.Image | None]:
        from skinjax.predict.attention import attention_pictures

        chosen = predictions.iloc[rows].reset_index(drop=True)
        paths = [photos.root / image for image in chosen["image"]]
        return attention_pictures(folder.path, paths, chosen["fold"].to_numpy(), classes, chosen)

    return draw


def result_of(kind: type[Found], folder: RunFolder, pending: Sequence[str] = (), **more: Any) -> Found:
    """Returns the result of a run, from what its folder holds.

    Args:
      kind: Class of the result.
      folder: Of the run.
      pending: Names of the predictions that are still to come, where the run has not finished.
      more: Further fields of the result.
    """
    if pending or not folder.finished:
        waiting = f"no report yet, still to come: {', '.join(pending)}" if pending else "no report yet"
        return kind(folder.study, folder.path, (waiting,), **more)
    try:
        files = list(folder.predictions.values())
    except ValueError:  # a study that keeps none, or found nothing worth training again
        files = []
    return kind.of_page(
        folder.study, folder.path, folder.page, predictions_file=files[0] if files else None, **more
    )
