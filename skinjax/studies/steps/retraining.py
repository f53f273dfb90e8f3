"""Start set and evolved set trained again, under seeds of their own, for a comparison that the search did not make."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skinjax.data import predictions
from skinjax.data.photo_set import PreparedPhotos
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import candidates, networks
from skinjax.studies.steps.search_cases import Division
from skinjax.train.state import Recipe

if TYPE_CHECKING:
    from skinjax.studies.evolution import Config

SETS = ("start", "evolved")


def retrain(
    config: Config, folder: RunFolder, data: PreparedPhotos, division: Division, recipes: Sequence[Recipe]
) -> np.ndarray:
    """Trains start and evolved set under several seeds on the division's cases for that.

    Predictions are stored per seed and set, and not made again. A network that diverges answers every class alike.

    Args:
      config: The study's options.
      folder: Of the run.
      data: The photos.
      division: Of them.
      recipes: Of the start set and of the evolved one.

    Returns:
      float64[2, R, n, K], the probabilities that the sets' networks give to the test photos.
    """
    taxonomy = data.taxonomy
    for seed in range(config.retrain_seeds):
        paths = [folder.predictions_file(f"{name}_{seed}") for name in SETS]
        if all(path.exists() for path in paths):
            continue
        described = networks.describe(config, f"retrain_{seed}", 0, taxonomy.finest, taxonomy.classes())
        title = f"start and evolved set again, seed {seed + 1} of {config.retrain_seeds}"
        population = candidates.train(config, described, data, division.train, division.test, recipes, title)
        for path, logits in zip(paths, np.nan_to_num(population.logits), strict=True):
            frame = networks.predictions_of(data, division.test, logits)
            predictions.write_predictions(frame, path, taxonomy)
    read = functools.partial(_probabilities, folder, data, division)
    return np.array([[read(name, seed) for seed in range(config.retrain_seeds)] for name in SETS])


def count_diverged(probs: np.ndarray) -> int:
    """Returns how many networks, float64[R, n, K], answer every class alike, as `retrain` stores what diverged."""
    return int((np.ptp(probs, axis=(1, 2)) == 0).sum())


def _probabilities(
    folder: RunFolder, data: PreparedPhotos, division: Division, name: str, seed: int
) -> np.ndarray:
    path = folder.predictions_file(f"{name}_{seed}")
    frame = predictions.read_predictions(path)
    if list(frame["image"]) != list(data.frame["image"][division.test]):
        raise ValueError(f"{path} holds predictions of other photos; name another workdir")
    return predictions.probabilities(frame, data.taxonomy)
