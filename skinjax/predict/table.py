"""Photos in, a table of answers out."""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from skinjax.data.columns import unknown_columns
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.answers import Answer, csv_header
from skinjax.predict.decisions import DecisionOptions
from skinjax.predict.degrees import degrees_of
from skinjax.predict.networks import Predictor
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


def decision_options(predictor: Predictor, **options: Any) -> DecisionOptions:
    """Returns the options of a run's answers: those given, and the degrees of the run.

    Args:
      predictor: Its networks.
      options: Of `skinjax.predict.decisions.DecisionOptions`.

    Raises:
      ValueError: An option that is unknown or out of range.
    """
    known = [field.name for field in dataclasses.fields(DecisionOptions)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"options must be among {', '.join(known)}, got {', '.join(unknown)}")
    named = RunFolder.read(predictor.workdir).options.get("degrees", "")
    return DecisionOptions(**{"degree_of_class": degrees_of(predictor.taxonomy, named)} | options)


def answer_context(predictor: Predictor, options: DecisionOptions) -> AnswerContext:
    """Fits what a run's answers rest on.

    Args:
      predictor: Its networks.
      options: Of `decision_options`.

    Raises:
      ValueError: Networks that cannot answer together.
    """
    folder = RunFolder.read(predictor.workdir)
    return prepare_answers(predictor, options, folder.photo_root, say=_LOG.warning)


def answers_table(
    predictor: Predictor,
    context: AnswerContext,
    photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | pd.DataFrame,
    columns: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Answers photos with the networks of a run.

    Args:
      predictor: Its networks.
      context: Of `answer_context`.
      photos: Photos and folders of photos, or a single one; or a frame with a column `image` and the columns that
        networks read beside the photos.
      columns: What networks may read beside the photos, a row for each of `photos`, which are then no folders; None for
        nothing.

    Returns:
      A row per photo, with the columns of `skinjax.predict.answers.csv_header`.

    Raises:
      ValueError: A frame without photos' names, or columns of other photos.
    """
    if not context.decisions.photos:
        _LOG.warning(NOT_CALIBRATED)
    if context.target is not None:
        _LOG.info("%s", context.target.note())
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
    answers = predict_photos(predictor, paths, context, batch_size=batch_size, columns=columns)
    return _table(answers, predictor.taxonomy)


def _table(answers: Iterable[Answer], taxonomy: Taxonomy) -> pd.DataFrame:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(csv_header(taxonomy))
    rows.writerows(one.to_row(taxonomy) for one in answers)
    text.seek(0)
    return read_answers(text)
