"""The TFDS builder of decoded photos, without TensorFlow; its base serves `skinjax.data.tfds` as well.

Photos are written shard by shard (`tfds.core.ShardBasedBuilder`). TFDS's usual builder holds a split in memory until it
is finished, and beyond 1 GiB it needs TensorFlow; of a shard it holds the photos, so that memory is bounded whatever
their number.

A photo is stored as its raw bytes (`Tensor(..., encoding="bytes")`), so that reading one back is a copy and not a
decode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

SHARD_BYTES = 128 * 2**20  # of pixels held in memory while one shard is written

Shard = Callable[[], Iterator[tuple[int, dict[str, Any]]]]
"""Yields the key and the features of each photo of a shard."""


class PhotoInfo(tfds.core.DatasetInfo):
    """Facts of a data set that no server knows."""

    def initialize_from_bucket(self) -> None:
        """Looks nothing up. TFDS's own method leaves an empty temporary folder behind for every builder."""


class PhotoBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that downloads nothing."""

    # TFDS looks for checksums of downloads beside the code, and finds the code by a package that it does not declare.
    code_path = None


class PreparedPhotos(PhotoBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Square uint8 RGB photos of one size, with the manifest row that each came from.

    Training keeps its photos so: without labels, which may change while the photos stay. `skinjax.data.tfds` has the
    builders that TFDS knows by name.
    """

    VERSION = tfds.core.Version("1.1.0")
    SPLIT = "photos"

    def __init__(self, *, image_size: int, shards: Sequence[Shard] = (), data_dir: str):
        """Makes a builder.

        Args:
          image_size: Side of the photos in pixels.
          shards: Each yields (row, {"image": uint8[image_size, image_size, 3], "row": row}).
          data_dir: Folder of the records.
        """
        self.image_size = image_size
        self.shards = tuple(shards)
        super().__init__(data_dir=data_dir, file_format="array_record")

    def __reduce__(self) -> tuple[Any, ...]:
        """Opens the written photos in another process by their folder."""
        return tfds.builder_from_directory, (str(self.data_dir),)

    def _info(self) -> PhotoInfo:
        return PhotoInfo(
            builder=self,
            description="Photos decoded once: upright, RGB, resized.",
            features=tfds.features.FeaturesDict({"image": pixels(self.image_size), "row": np.int64}),
            disable_shuffling=True,  # records stay in the manifest's order; the loader shuffles
        )

    def _shard_iterators_per_split(self, dl_manager: object) -> dict[str, tuple[Shard, ...]]:
        return {self.SPLIT: self.shards}


def pixels(image_size: int) -> tfds.features.Tensor:
    """Returns the feature of square photos that are stored as raw bytes.

    Args:
      image_size: Their side in pixels.
    """
    return tfds.features.Tensor(shape=(image_size, image_size, 3), dtype=np.uint8, encoding="bytes")


def shard_rows(photo_count: int, image_size: int, most: int | None = None) -> list[range]:
    """Divides photos into shards that are written one at a time.

    Args:
      photo_count: How many photos there are.
      image_size: Side in pixels of each, in memory.
      most: Photos that a shard has at most, where memory allows as many.

    Returns:
      The rows of each shard, in order.

    >>> shard_rows(2000, 224)
    [range(0, 891), range(891, 1782), range(1782, 2000)]
    """
    size = max(1, min(SHARD_BYTES // (image_size * image_size * 3), most or photo_count))
    return [range(first, min(first + size, photo_count)) for first in range(0, photo_count, size)]
