"""The TFDS builder that stores decoded photos as ArrayRecord, without TensorFlow.

A photo is stored as its raw bytes (`Tensor(..., encoding="bytes")`), so that reading one back is a copy and not a
decode. The photos are written as many splits, called parts: TFDS keeps one split in memory until it is finished,
and parts of bounded size keep that memory bounded whatever the number of photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds

PART_BYTES = 128 * 2**20  # of pixels held in memory while one part is written

Part = Callable[[], Iterator[tuple[int, np.ndarray]]]


class PreparedPhotos(tfds.core.GeneratorBasedBuilder):
    """Square uint8 RGB photos of one size, with the manifest row that each came from."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, image_size: int, parts: Sequence[Part] = (), data_dir: str):
        """Makes a builder over `parts`, each a function that yields (row, uint8[image_size, image_size, 3])."""
        self.image_size = image_size
        self.parts = tuple(parts)
        super().__init__(data_dir=data_dir, file_format="array_record")

    def __getstate__(self) -> dict[str, object]:
        """What opens the written photos again in another process; TFDS's own does not know this constructor."""
        return {"_original_state": {"image_size": self.image_size, "data_dir": str(self._data_dir_root)}}

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (self.image_size, self.image_size, 3)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photos decoded once: upright, RGB, resized.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
                    "row": np.int64,
                }
            ),
            disable_shuffling=True,  # records stay in the manifest's order; the loader shuffles
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator]:
        return {part_name(number): self._generate_examples(part) for number, part in enumerate(self.parts)}

    def _generate_examples(self, part: Part) -> Iterator[tuple[int, dict]]:
        for row, image in part():
            yield row, {"image": image, "row": row}


def part_name(number: int) -> str:
    """Returns the TFDS split name of a part.

    >>> part_name(3)
    'part00003'
    """
    return f"part{number:05d}"


def photos_in_a_part(image_size: int) -> int:
    """Returns how many photos of `image_size` pixels a side fit into one part (at least one)."""
    return max(1, PART_BYTES // (image_size * image_size * 3))
