"""Grain loaders over prepared photos.

Training batches come from an endless `grain.IterDataset` whose iterator state is a position and nothing else, so that a
checkpoint that holds it resumes the data order exactly. Evaluation batches come once, in order, the last one padded
and masked, so that every photo is counted exactly once and no second batch shape is compiled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np


@dataclasses.dataclass(frozen=True)
class Subset:
    """Random access to chosen photos, with their labels.

    Attributes:
      source: `source[i]["image"]` is uint8[H, W, 3]; for instance `skinjax.data.prepare.Prepared.source`.
      indices: int64[n], which photos of the source.
      labels: int32[n], the class of each of them.
    """

    source: Any
    indices: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.labels):
            raise ValueError(f"labels has {len(self.labels)} entries, indices has {len(self.indices)}")
        if not len(self.indices):
            raise ValueError("indices is empty, at least one photo is wanted")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        photo = int(self.indices[index])
        return {
            "image": self.source[photo]["image"],
            "label": np.int32(self.labels[index]),
            "photo": np.int64(photo),
        }

    def where(self, chosen: np.ndarray) -> Subset:
        """Returns the photos at the given places of this subset (int or bool array)."""
        return Subset(self.source, self.indices[chosen], self.labels[chosen])


def steps_per_epoch(photo_count: int, batch_size: int) -> int:
    """Returns the full batches in one pass; an epoch of fewer photos than a batch is refused.

    >>> steps_per_epoch(100, 32)
    3
    """
    if photo_count < batch_size:
        raise ValueError(
            f"batch_size is {batch_size}, more than the {photo_count} photos there are to train on"
        )
    return photo_count // batch_size


def training_batches(
    subset: Subset, batch_size: int, seed: int, *, balanced: bool = False, threads: int = 2
) -> grain.IterDataset:
    """Makes an endless stream of shuffled training batches.

    An epoch is `steps_per_epoch` batches, each photo at most once in it, in an order that is new every epoch. With
    `balanced`, classes are drawn equally often instead, each class's photos reshuffled after each pass over it; the
    rarer class is then seen several times an epoch.

    Args:
      subset: the photos to train on.
      batch_size: photos in a batch.
      seed: of the shuffle; the same seed gives the same order.
      balanced: draw the classes equally often.
      threads: reading threads.

    Returns:
      A dataset of `{"image": uint8[B, H, W, 3], "label": int32[B], "photo": int64[B]}`; `photo` indexes the source.
    """
    steps_per_epoch(len(subset), batch_size)
    if balanced:
        classes = [subset.where(subset.labels == label) for label in np.unique(subset.labels)]
        photos = grain.MapDataset.mix(
            [
                grain.MapDataset.source(members).seed(seed + number).shuffle().repeat()
                for number, members in enumerate(classes)
            ],
            weights=[1 / len(classes)] * len(classes),
        )
        batches = photos.batch(batch_size, drop_remainder=True)
    else:
        batches = (
            grain.MapDataset.source(subset)
            .seed(seed)
            .shuffle()
            .batch(batch_size, drop_remainder=True)
            .repeat()
        )
    return batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4))


def evaluation_batches(
    subset: Subset, batch_size: int, *, threads: int = 2
) -> Iterator[dict[str, np.ndarray]]:
    """Yields every photo exactly once, in order, the last batch padded with zeros.

    Args:
      subset: the photos.
      batch_size: photos in a batch, padding included.
      threads: reading threads.

    Yields:
      `{"image": uint8[B, H, W, 3], "label": int32[B], "photo": int64[B], "mask": bool[B]}`, `mask` False for padding.
    """
    batches = grain.MapDataset.source(subset).batch(batch_size, drop_remainder=False)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4)
    for batch in batches.to_iter_dataset(options):
        count = len(batch["label"])
        padded = {
            name: np.concatenate([value, np.zeros((batch_size - count, *value.shape[1:]), value.dtype)])
            for name, value in batch.items()
        }
        yield padded | {"mask": np.arange(batch_size) < count}
