"""Photos in, a table of answers out."""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skinjax.data.columns import unknown_columns
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.answers import Answer, csv_header
from skinjax.predict.decisions import DecisionOptions
from skinjax.predict.degrees import degrees_of
from skinjax.predict.networks import Predictor, Runtime, load_predictor
from skinjax.predict.photos import AnswerContext, predict_photos, prepare_answers
from skinjax.predict.reading import find_photos
from skinjax.runs.folder import RunFolder

_LOG = logging.getLogger(__name__)
NOT_CALIBRATED = (
    "the run has no stored predictions of these networks: probabilities are not calibrated, and sets hold every "
    "class"
)
ONE_BY_ONE = 8  # photos up to which each is computed by itself, without padding a batch


def read_answers(source: str | os.PathLike[str] | io.StringIO) -> pd.DataFrame:
    """Reads a table of answers; empty cells are missing, and a class called NA is not.

    Args:
      source: `predictions.csv` of an answer.
    """
    return pd.read_csv(source, keep_default_na=False, na_values=[""])


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A run that is ready to answer.

    Attributes:
      predictor: Its networks.
      context: Settings that turn network outputs into answers.
    """

    predictor: Predictor
    context: AnswerContext


def open_answers(
    workdir: str | os.PathLike[str],
    fold: int,
    stages: Sequence[str] = (),
    runtime: Runtime = "jax",
    **options: Any,
) -> Opened:
    """Reads the networks of a run, and fits what their answers rest on.

    Args:
      workdir: Folder of the run.
      fold: Whose networks answer; -1 for the mean over all folds.
      stages: Which networks answer, one per level; by default as `skinjax.predict.networks.load_predictor` chooses.
      runtime: Library that computes the networks; `onnx` needs the extra `export`.
      options: Of `skinjax.predict.decisions.DecisionOptions`.

    Raises:
      ValueError: An option out of range, or networks that cannot answer together.
    """
    folder = RunFolder.read(workdir)
    predictor = load_predictor(folder.path, fold, stages, runtime=runtime)
    degrees = degrees_of(predictor.taxonomy, folder.options.get("degrees", ""))
    decision_options = DecisionOptions(**{"degree_of_class": degrees} | options)
    context = prepare_answers(predictor, decision_options, folder.photo_root, say=_LOG.warning)
    if not context.decisions.photos:
        _LOG.warning(NOT_CALIBRATED)
    if context.target is not None:
        _LOG.info("%s", context.target.note())
    return Opened(predictor, context)


def answers_table(
    opened: Opened,
    photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | pd.DataFrame,
    columns: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Answers photos with the networks of a run.

    Args:
      opened: The run.
      photos: Photos and folders of photos, or a single one; or a frame with a column `image` and the columns that
        networks read beside the photos.
      columns: What networks may read beside the photos, a row for each of `photos`, which are then no folders; None for
        nothing.

    Returns:
      A row per photo, with the columns of `skinjax.predict.answers.csv_header`.

    Raises:
      ValueError: A frame without photos' names, or columns of other photos.
    """
    predictor = opened.predictor
    if isinstance(photos, pd.DataFrame):
        if "image" not in photos:
            raise ValueError(f"photos must have a column image, got {', '.join(map(str, photos))}")
        columns = photos if columns is None else columns
        given: Iterable[str | os.PathLike[str]] = photos["image"].astype(str).tolist()
    else:
        given = [photos] if isinstance(photos, str | os.PathLike) else photos
    paths, _ = find_photos([Path(path) for path in given])
    if columns is not None and len(columns) != len(paths):
        raise ValueError(f"columns must have a row per photo, got {len(columns)} for {len(paths)} photos")
    for note in unknown_columns(predictor.coding, columns):
        _LOG.warning("%s", note)
    batch_size = 1 if len(paths) <= ONE_BY_ONE else 16
    answers = predict_photos(predictor, paths, opened.context, batch_size=batch_size, columns=columns)
    return _table(answers, predictor.taxonomy)


def _table(answers: Iterable[Answer], taxonomy: Taxonomy) -> pd.DataFrame:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(csv_header(taxonomy))
    rows.writerows(one.to_row(taxonomy) for one in answers)
    text.seek(0)
    return read_answers(text)
