"""Columns of the manifest that networks read beside a photo: their encoding, and what they add."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinjax.data import predictions
from skinjax.data.column_leaks import column_leaks
from skinjax.data.columns import ColumnCoding, fit_columns
from skinjax.data.photo_set import PreparedPhotos
from skinjax.report.blocks import Section
from skinjax.report.sections.metadata import metadata_section
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.studies.steps import networks
from skinjax.studies.steps.options import TrainingConfig

ALONE = "photos_alone"
"""Stage of the network that reads no columns, trained for comparison."""


def coding(config: TrainingConfig, data: PreparedPhotos, train: np.ndarray) -> ColumnCoding | None:
    """Returns the encoding of the options' columns by the photos that a network is trained on; None without columns.

    Which columns are silent is decided by all photos, so that all folds agree; that can only take information away.

    Args:
      config: The study's options.
      data: All photos.
      train: bool[N], the photos that are trained on.
    """
    if not config.columns:
        return None
    frame = data.frame
    leaks = column_leaks(frame, config.columns, frame["label"], frame["case_id"])
    silent = [leak.column for leak in leaks if leak.silent]
    return fit_columns(frame[train], config.columns, silent, check=False)


def train_alone(
    trainer: networks.Trainer,
    network: Network,
    data: PreparedPhotos,
    train: np.ndarray,
    held_out: np.ndarray,
    title: str,
    *file: str,
) -> pd.DataFrame:
    """Trains the same network on photos alone, from the same weights and in the same order, and stores what it says.

    Args:
      trainer: What the networks of the run have in common.
      network: The one that reads columns, of the finest level.
      data: All photos.
      train: bool[N], the photos that are trained on.
      held_out: bool[N], the photos that are predicted.
      title: For the progress line.
      file: Name of the stored predictions, preceded by those of folders.

    Returns:
      The predictions of the photos held out.
    """
    config = trainer.config
    alike = dataclasses.replace(network, columns=None, columns_fusion="concat")
    fitted = trainer.train(
        dataclasses.replace(alike, stage=ALONE), networks.start_variables(config, alike), data, data.labels, train,
        held_out, f"{title}, photos alone", config.epochs, seed=networks.seed_of(config, network.stage, network.fold),
    )  # fmt: skip
    frame = networks.predictions_of(data, held_out, fitted.logits, network.fold)
    if processes.is_first():
        predictions.write_predictions(frame, trainer.folder.predictions_file(*file), data.taxonomy)
    return frame


def pool(folder: RunFolder, count: int, data: PreparedPhotos) -> pd.DataFrame:
    """Pools the predictions on photos alone into `predictions/photos_alone.parquet`, once all folds are there.

    Args:
      folder: Of the run.
      count: How many folds there are.
      data: The photos.
    """
    files = [folder.predictions_file(ALONE, f"fold_{fold}") for fold in range(count)]
    frame = pd.concat([predictions.read_predictions(file) for file in files], ignore_index=True)
    predictions.write_predictions(frame, folder.predictions_file(ALONE), data.taxonomy)
    return frame


def told(
    config: TrainingConfig,
    data: PreparedPhotos,
    fused: pd.DataFrame,
    alone: pd.DataFrame,
    extra: Sequence[Section] = (),
) -> dict[str, Any]:
    """Returns what a report says of the columns, as fields of `skinjax.report.context.ReportContext`.

    Args:
      config: The study's options.
      data: The photos.
      fused: Predictions of the network that reads photos and columns.
      alone: Of the one that reads photos alone, in any order.
      extra: Other sections, which come first.
    """
    taxonomy = data.taxonomy
    alone = alone.set_index("image").loc[fused["image"]].reset_index()
    section, finding = metadata_section(
        taxonomy.encode(fused["label"]),
        fused["case_id"].to_numpy(str),
        predictions.probabilities(fused, taxonomy),
        predictions.probabilities(alone, taxonomy),
        config.columns,
        config.columns_fusion,
        seed=config.seed,
    )
    return {"extra": [*extra, section], "verdict": [finding]}
