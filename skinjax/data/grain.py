"""Photos as a Grain dataset, for input pipelines of one's own; `skinjax.as_grain` is its name for short.

    photos = skinjax.read_photos("mine/manifest.csv").prepare("cache/224", image_size=224)
    dataset = skinjax.as_grain(photos).seed(0).shuffle().repeat().batch(32).to_iter_dataset()

`experiments/recipes/own_input.py` is a pipeline with classes drawn evenly, augmentation and resuming. The studies' own
order of photos is `skinjax.data.pipeline.loader.training_dataset`, and `skinjax.data.tfds` writes photos for others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grain
import numpy as np

from skinjax.data.images.photos import decode
from skinjax.data.photo_set import PhotoSet, PreparedPhotos


def as_grain(photos: PhotoSet | PreparedPhotos) -> grain.MapDataset[dict[str, Any]]:
    """Returns photos as a Grain dataset of single examples, in the order of their manifest.

    Args:
      photos: Prepared photos, which are all of one size and quick to read, or photos that are decoded as they are
        asked for, each in its own size.

    Returns:
      A dataset of `{"image": uint8[H, W, 3], "label": int32, "case_id": str, "row": int64}`: the number of the finest
      class and the row of `photos.frame`; without `case_id` where the manifest has none. It can be pickled, and read
      from several threads.

    Raises:
      PhotoError: A photo that is not prepared cannot be read (when it is asked for).

    >>> import tempfile
    >>> import pandas as pd
    >>> from PIL import Image
    >>> from skinjax.labels.taxonomy import Taxonomy
    >>> scratch = tempfile.TemporaryDirectory()
    >>> folder = Path(scratch.name)
    >>> Image.new("RGB", (12, 10), "red").save(folder / "a.png")
    >>> frame = pd.DataFrame({"image": ["a.png"], "label": ["naevus"], "case_id": ["7"]})
    >>> photos = PhotoSet(frame, folder, Taxonomy("mine", ("class",), (("melanoma",), ("naevus",))))
    >>> example = as_grain(photos)[0]
    >>> example["image"].shape, int(example["label"]), example["case_id"]
    ((10, 12, 3), 1, '7')
    >>> scratch.cleanup()
    """
    if isinstance(photos, PreparedPhotos):
        found, read = photos.photos, partial(_record, photos.prepared.source)
    else:
        found, read = photos, partial(_file, [photos.root / image for image in photos.frame["image"]])
    cases = found.frame["case_id"].astype(str).to_numpy(str) if found.has_cases else None
    return grain.MapDataset.source(_Examples(read, found.labels, cases))


@dataclasses.dataclass(frozen=True)
class _Examples:
    """Random access to photos with what is known of them."""

    read: Callable[[int], np.ndarray]
    labels: np.ndarray
    cases: np.ndarray | None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        example = {"image": self.read(row), "label": np.int32(self.labels[row]), "row": np.int64(row)}
        return example if self.cases is None else example | {"case_id": str(self.cases[row])}


def _record(source: Any, row: int) -> np.ndarray:
    image: np.ndarray = source[row]["image"]
    return image


def _file(paths: list[Path], row: int) -> np.ndarray:
    return decode(paths[row])
