"""Grain loaders over prepared photos.

Which photos an update sees is a function of the seed and the update's number alone. `training_dataset` is that function
as a `grain.MapDataset`: its element u is the batch of update u, or one process's rows of it. A slice of it is the rest
of a run, so the position is all the state that there is (Grain's iterators give it as `get_state()`, checkpoints as the
number of updates), and a run that is resumed at any update, on another number of processes, threads or workers, goes on
with the very photos that it would have seen. Grain reads ahead and keeps the order. Numbers of photos are shuffled,
mixed and batched in numpy before Grain is asked, which takes a few µs per batch where Grain's own transforms take
hundreds (`benchmarks/results/input.md`). Evaluation batches come once, in order, the last one padded and masked, so
that every photo is counted exactly once and no second batch shape is compiled.

Threads are enough where copying is all there is to do, as with `skinjax.data.pipeline.prepare.Prepared.source`.
Worker processes serve sources that compute in Python. They are started afresh (`spawn`), so a script that uses them
keeps its work under `if __name__ == "__main__":`, and the source has to be picklable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from skinjax.data.pipeline.reading import Batch, BatchReader, LoadingError, in_order

__all__ = [
    "Batch",
    "LoadingError",
    "Subset",
    "evaluation_batches",
    "steps_per_epoch",
    "training_batches",
    "training_dataset",
]


@dataclasses.dataclass(frozen=True)
class Subset:
    """Random access to chosen photos, with their labels.

    Attributes:
      source: `source[i]["image"]` is uint8[H, W, 3]; for instance `skinjax.data.pipeline.prepare.Prepared.source`.
      indices: int64[n], which photos of the source.
      labels: int32[n], the class of each of them.
      table: float32[M, D], encoded columns of every photo of the source; None for networks that read photos alone.
    """

    source: Any
    indices: np.ndarray
    labels: np.ndarray
    table: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.labels):
            raise ValueError(
                f"labels must have one entry per index, got {len(self.labels)} for {len(self.indices)}"
            )
        if not len(self.indices):
            raise ValueError("indices must have at least one photo, got none")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        photo = int(self.indices[index])
        one = {
            "image": self.source[photo]["image"],
            "label": np.int32(self.labels[index]),
            "photo": np.int64(photo),
        }
        return one if self.table is None else one | {"table": self.table[photo]}

    def where(self, chosen: np.ndarray) -> Subset:
        """Returns the photos at the given places of this subset (int or bool array)."""
        return Subset(self.source, self.indices[chosen], self.labels[chosen], self.table)

    def read(self, places: np.ndarray) -> Batch:
        """Reads the photos at the given places of this subset.

        Args:
          places: int[b], at least one.

        Returns:
          `{"image": uint8[b, H, W, 3], "label": int32[b], "photo": int64[b]}`; `photo` indexes the source. With a
          table `"table": float32[b, D]` too.

        >>> source = [{"image": np.full((2, 2, 3), number, np.uint8)} for number in range(9)]
        >>> batch = Subset(source, np.arange(9), np.arange(9) % 3).read(np.array([7, 2]))
        >>> batch["photo"].tolist(), batch["label"].tolist(), batch["image"].shape
        ([7, 2], [1, 2], (2, 2, 2, 3))
        """
        photos = np.asarray(self.indices[places], np.int64)
        first = self.source[int(photos[0])]["image"]
        images = np.empty((len(photos), *first.shape), np.uint8)
        images[0] = first
        for row, photo in enumerate(photos[1:].tolist(), start=1):
            images[row] = self.source[photo]["image"]
        batch = {"image": images, "label": np.asarray(self.labels[places], np.int32), "photo": photos}
        return batch if self.table is None else batch | {"table": self.table[photos]}


def steps_per_epoch(photo_count: int, batch_size: int) -> int:
    """Returns the full batches in one pass; an epoch of fewer photos than a batch is refused.

    >>> steps_per_epoch(100, 32)
    3
    """
    if photo_count < batch_size:
        raise ValueError(
            f"batch_size must be at most {photo_count}, the photos to train on, got {batch_size}"
        )
    return photo_count // batch_size


def training_dataset(
    subset: Subset,
    batch_size: int,
    seed: int,
    *,
    steps: int,
    balanced: bool = False,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.MapDataset[Batch]:
    """Returns the shuffled training batches by the number of their update, 0 to `steps - 1`, for any Grain pipeline.

    An epoch is `steps_per_epoch` batches, each photo at most once in it, in an order that is new every epoch. With
    `balanced`, classes are drawn equally often instead, each class's photos reshuffled after each pass over it; the
    rarer class is then seen several times per epoch.

    The batch of an update depends on the seed and the update's number alone. With several processes, each gets its
    rows of it: those of all processes, one after the other, are the rows that a single process would get.

    Args:
      subset: the photos to train on.
      batch_size: photos of an update, over all processes.
      seed: of the shuffle, in [0, 2**32); the same seed gives the same order.
      steps: number of updates of the whole run.
      balanced: draw the classes equally often.
      process_index: which process this is.
      process_count: how many processes share a batch.

    Returns:
      A dataset of `{"image": uint8[b, H, W, 3], "label": int32[b], "photo": int64[b]}` with
      b = `batch_size // process_count`; `photo` indexes the source.

    Raises:
      ValueError: An argument is out of range, or `batch_size` cannot be shared evenly.
      LoadingError: Photos cannot be read (when an element is asked for).

    >>> source = [{"image": np.full((2, 2, 3), number, np.uint8)} for number in range(9)]
    >>> nine = Subset(source, np.arange(9), np.arange(9) % 3)
    >>> dataset = training_dataset(nine, 4, 0, steps=6).map(lambda batch: batch["photo"].tolist())
    >>> iterator = iter(dataset.to_iter_dataset())
    >>> first, state, second = next(iterator), iterator.get_state(), next(iterator)
    >>> resumed = iter(dataset.to_iter_dataset())
    >>> resumed.set_state(state)
    >>> next(resumed) == second == dataset[1]
    True
    """
    steps_per_epoch(len(subset), batch_size)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
    rows = _rows(batch_size, process_index, process_count)
    classes = _classes(subset.labels) if balanced else None
    order = _Order(classes, len(subset), batch_size, seed)
    return grain.MapDataset.range(steps).map(BatchReader(_TrainingRows(subset, order, rows)))


def training_batches(
    subset: Subset,
    batch_size: int,
    seed: int,
    *,
    first: int = 0,
    steps: int,
    balanced: bool = False,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yields the training batches of the updates `first`, `first + 1`, ..., `steps - 1`, read ahead.

    Args:
      subset: as for `training_dataset`, like all that is not here.
      batch_size: photos of an update, over all processes.
      seed: of the shuffle.
      first: Number of the first update, from 0.
      steps: number of updates of the whole run; those from it on are not read.
      balanced: draw the classes equally often.
      process_index: which process this is.
      process_count: how many processes share a batch.
      threads: reading threads, where there are no worker processes.
      workers: processes that read; 0 reads in this one.

    Yields:
      The elements of `training_dataset` from `first` on.

    Raises:
      ValueError: An argument is out of range, or `batch_size` cannot be shared evenly.
      LoadingError: Photos cannot be read, or a worker process has died (while iterating).

    >>> source = [{"image": np.full((2, 2, 3), number, np.uint8)} for number in range(9)]
    >>> nine = Subset(source, np.arange(9), np.arange(9) % 3)
    >>> whole = [batch["photo"].tolist() for batch in training_batches(nine, 4, 0, steps=5)]
    >>> resumed = training_batches(nine, 4, 0, first=3, steps=5, process_index=1, process_count=2)
    >>> [batch["photo"].tolist() for batch in resumed] == [photos[2:] for photos in whole[3:]]
    True
    """
    dataset = training_dataset(
        subset,
        batch_size,
        seed,
        steps=steps,
        balanced=balanced,
        process_index=process_index,
        process_count=process_count,
    )
    if not 0 <= first <= steps:
        raise ValueError(f"first must lie in [0, steps], got {first} with {steps} steps")
    return in_order(dataset[first:], threads, workers)


def evaluation_batches(
    subset: Subset,
    batch_size: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yields every photo exactly once, in order, the last batch padded with zeros.

    Args:
      subset: the photos.
      batch_size: photos in a batch over all processes, padding included.
      process_index: which process this is.
      process_count: how many processes share a batch; each yields as many batches as the others.
      threads: reading threads, where there are no worker processes.
      workers: processes that read; 0 reads in this one.

    Yields:
      `{"image": uint8[b, H, W, 3], "label": int32[b], "photo": int64[b], "mask": bool[b]}` with
      b = `batch_size // process_count`, this process's rows; `mask` is False for padding.

    Raises:
      ValueError: An argument is out of range, or `batch_size` cannot be shared evenly.
      LoadingError: Photos cannot be read, or a worker process has died (while iterating).
    """
    rows = _rows(batch_size, process_index, process_count)
    count = -(-len(subset) // batch_size)
    dataset = grain.MapDataset.range(count).map(BatchReader(_EvaluationRows(subset, batch_size, rows)))
    return in_order(dataset, threads, workers)


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """Returns the rows of a global batch that are one process's."""
    if process_count < 1 or batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} cannot be shared evenly by process_count {process_count}; "
            "it must be a multiple of it"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must lie in [0, {process_count}), got {process_index}")
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def _classes(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.flatnonzero(labels == label) for label in np.unique(labels))


class _Order:
    """Places in a subset that make an update's batch: a function of the seed and the update alone.

    Permutations are drawn whole, one per pass over the photos or over a class, and the newest of each is kept.
    """

    def __init__(
        self, classes: tuple[np.ndarray, ...] | None, count: int, batch_size: int, seed: int
    ) -> None:
        self._classes, self._count, self._batch_size, self._seed = classes, count, batch_size, seed
        self._newest: dict[int, tuple[int, np.ndarray]] = {}

    def __call__(self, update: int) -> np.ndarray:
        """Returns int64[batch_size]."""
        if self._classes is None:
            epoch, batch = divmod(update, self._count // self._batch_size)
            start = batch * self._batch_size
            return self._permutation(0, epoch, self._count)[start : start + self._batch_size]
        number = update * self._batch_size + np.arange(self._batch_size)
        turns, whose = np.divmod(number, len(self._classes))
        places = np.empty(self._batch_size, np.int64)
        for index in np.unique(whose).tolist():
            members = self._classes[index]
            passes, within = np.divmod(turns, len(members))
            for one in np.unique(passes[whose == index]).tolist():
                chosen = (whose == index) & (passes == one)
                places[chosen] = members[self._permutation(index, one, len(members))[within[chosen]]]
        return places

    def _permutation(self, index: int, number: int, count: int) -> np.ndarray:
        kept, permutation = self._newest.get(index, (-1, np.empty(0, np.int64)))
        if kept != number:
            permutation = np.random.default_rng((self._seed, index, number)).permutation(count)
            self._newest[index] = number, permutation
        return permutation


@dataclasses.dataclass(frozen=True)
class _TrainingRows:
    """Reads one process's rows of an update's batch."""

    subset: Subset
    order: _Order
    rows: slice

    def __call__(self, update: int) -> Batch:
        return self.subset.read(self.order(update)[self.rows])


@dataclasses.dataclass(frozen=True)
class _EvaluationRows:
    """Reads one process's rows of a batch of the photos in order, with zeros beyond the last."""

    subset: Subset
    batch_size: int
    rows: slice

    def __call__(self, number: int) -> Batch:
        places = number * self.batch_size + np.arange(self.rows.start, self.rows.stop)
        mask = places < len(self.subset)
        batch = self.subset.read(np.where(mask, places, 0))
        for values in batch.values():
            values[~mask] = 0
        return batch | {"mask": mask}
