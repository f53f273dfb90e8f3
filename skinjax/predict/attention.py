"""Pictures of where a run's networks looked: Grad-CAM of held-out photos, by the fold that has not seen them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skinjax.data.images.photos import PhotoError, decode
from skinjax.predict.gradcam import class_activation
from skinjax.predict.networks import Predictor, load_predictor
from skinjax.predict.overlay import blended, over_photo
from skinjax.predict.reading import read_photo

_LOG = logging.getLogger(__name__)


def attention_pictures(
    workdir: Path,
    paths: Sequence[Path],
    folds: NDArray[np.integer],
    classes: NDArray[np.integer],
    frame: pd.DataFrame | None = None,
    side: int = 128,
) -> list[Image.Image | None]:
    """Draws photos with the places over them that spoke for a class, by the finest network of each photo's fold.

    Args:
      workdir: Folder of a run whose networks are kept.
      paths: N photos.
      folds: int[N], the fold whose networks have not seen each photo.
      classes: int[N], the class of the taxonomy's finest level that is explained.
      frame: N rows of columns that networks may read beside photos; None for none.
      side: The longer side of a picture in pixels.

    Returns:
      N pictures; None for a photo that cannot be read, and where the fold has no network of the taxonomy's classes
      that ends in a dense layer on the mean of its last map.
    """
    pictures: list[Image.Image | None] = [None] * len(paths)
    for fold in np.unique(folds):
        try:
            predictor = load_predictor(workdir, int(fold))
        except (ValueError, OSError) as error:
            _LOG.debug("no pictures of where fold %d looked: %s", fold, error)
            continue
        rows = np.flatnonzero(folds == fold)
        for row, values in zip(rows, _maps(predictor, paths, rows, classes, frame), strict=True):
            if values is not None:
                pictures[int(row)] = _picture(paths[int(row)], values, predictor, side)
    return pictures


def _maps(
    predictor: Predictor,
    paths: Sequence[Path],
    rows: NDArray[np.integer],
    classes: NDArray[np.integer],
    frame: pd.DataFrame | None,
) -> list[NDArray[np.float32] | None]:
    """Returns float32[h, w] for each of some photos; batches are all of one size, so that one program is compiled."""
    loaded = predictor.members[0][predictor.taxonomy.finest]
    if not loaded.pools:
        return [None] * len(rows)
    size = predictor.image_size
    batch, known = np.zeros((len(paths), size, size, 3), np.uint8), np.zeros(len(rows), bool)
    for place, row in enumerate(rows):
        photo = read_photo(paths[int(row)], size, predictor.fit)
        if not isinstance(photo, PhotoError):
            batch[place], known[place] = photo.image, True
    output = loaded.run(batch, None if frame is None else frame.iloc[rows])
    members = np.eye(len(predictor.taxonomy.classes()), dtype=bool)[classes[rows]]
    last_map = np.asarray(output.last_map, np.float32)[: len(rows)]
    values = class_activation(last_map, np.asarray(loaded.kernel), np.asarray(loaded.bias), members)
    return [one if sound else None for one, sound in zip(values, known, strict=True)]


def _picture(path: Path, values: NDArray[np.float32], predictor: Predictor, side: int) -> Image.Image:
    picture = Image.fromarray(decode(path, target=side))
    picture.thumbnail((side, side))
    return blended(picture, over_photo(values, (picture.height, picture.width), predictor.fit))
