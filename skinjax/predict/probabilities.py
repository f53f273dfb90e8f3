"""Probabilities of many photos by a run's networks, as a stream with bounded memory."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images import photos
from skinjax.predict.networks import Forward, Predictor
from skinjax.predict.reading import ahead, batches

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoProbabilities:
    """Output of a predictor for the photos that could be read.

    Attributes:
      rows: int64[n], which of the photos these are, ascending.
      probs: Level -> float32[n, K], for the levels with networks; not calibrated.
      unreadable: Why each other photo could not be read, by its row.
    """

    rows: NDArray[np.int64]
    probs: dict[str, NDArray[np.float32]]
    unreadable: dict[int, str]


def photo_probabilities(
    predictor: Predictor,
    paths: Sequence[Path],
    columns: pd.DataFrame | None = None,
    *,
    batch_size: int = 16,
    threads: int = 2,
    progress: Callable[[int], object] = lambda done: None,
) -> PhotoProbabilities:
    """Computes what a run's networks say of photos, which are decoded and resized as those of the run were.

    Args:
      predictor: Networks of a run.
      paths: N files.
      columns: What networks may read beside them, N rows; None, and columns that it lacks, are unknown.
      batch_size: Photos the device computes at a time; the last batch is padded, so nothing is compiled twice.
      threads: For reading photos.
      progress: Called with the number of photos that have been read, as they come.

    Returns:
      Probabilities by level, as the mean over the folds and transforms of the predictor.
    """
    size = predictor.image_size
    unreadable: dict[int, str] = {}
    rows: list[int] = []
    found: dict[str, list[NDArray[np.float32]]] = {level: [] for level in predictor.levels}
    waiting: deque[tuple[int, Forward]] = deque()

    def read(row: int) -> NDArray[np.uint8] | photos.PhotoError:
        try:
            return photos.fit(photos.decode(paths[row], target=size), size, mode=predictor.fit)
        except photos.PhotoError as error:
            return error

    def readable(pool: ThreadPoolExecutor) -> Iterator[NDArray[np.uint8]]:
        for row, image in enumerate(ahead(pool, read, range(len(paths)), 2 * batch_size + threads)):
            if isinstance(image, photos.PhotoError):
                unreadable[row] = image.reason
            else:
                rows.append(row)
                yield image
            progress(row + 1)

    def settle() -> None:
        count, forward = waiting.popleft()
        for level, probs in forward.probabilities().items():
            found[level].append(probs[:count])

    answered = 0
    with ThreadPoolExecutor(threads) as pool:
        for some in batches(readable(pool), batch_size):
            images = np.zeros((batch_size, size, size, 3), np.uint8)
            images[: len(some)] = some
            these = None if columns is None else columns.iloc[rows[answered : answered + len(some)]]
            answered += len(some)
            waiting.append((len(some), predictor.forward(images, these)))
            if len(waiting) > 1:  # one batch is computed while the next one is read
                settle()
        while waiting:
            settle()
    classes = {level: len(predictor.taxonomy.classes(level)) for level in found}
    return PhotoProbabilities(
        rows=np.asarray(rows, np.int64),
        probs={
            level: np.concatenate([np.zeros((0, classes[level]), np.float32), *parts])
            for level, parts in found.items()
        },
        unreadable=unreadable,
    )
