"""Grain loaders over prepared photos.

Which photos an update sees is a function of the seed and the update's number alone: indices are shuffled, mixed and
batched, which costs next to nothing, and only then does Grain read this process's rows of the batch. A run that is
resumed at any update, on another number of processes, threads or workers, therefore goes on with the very photos that
it would have seen, and there is no iterator whose state would have to be saved. Evaluation batches come once, in order,
the last one padded and masked, so that every photo is counted exactly once and no second batch shape is compiled.

Threads are enough where copying is all there is to do, as with `skinjax.data.prepare.Prepared.source`. Worker processes
serve sources that compute in Python. They are started afresh (`spawn`), so a script that uses them keeps its work
under `if __name__ == "__main__":`, and the source has to be picklable.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import grain
import numpy as np
from grain.multiprocessing import SharedMemoryArray

Batch = dict[str, np.ndarray]

_BATCHES_AHEAD = 4  # read before they are asked for; by each worker process 2


class LoadingError(ValueError):
    """Photos could not be read, or a process that reads them has died; the message says which."""


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

    def __getitem__(self, index: int) -> Batch:
        photo = int(self.indices[index])
        return {
            "image": self.source[photo]["image"],
            "label": np.int32(self.labels[index]),
            "photo": np.int64(photo),
        }

    def where(self, chosen: np.ndarray) -> Subset:
        """Returns the photos at the given places of this subset (int or bool array)."""
        return Subset(self.source, self.indices[chosen], self.labels[chosen])

    def read(self, places: np.ndarray) -> Batch:
        """Reads the photos at the given places of this subset.

        Args:
          places: int[b], at least one.

        Returns:
          `{"image": uint8[b, H, W, 3], "label": int32[b], "photo": int64[b]}`; `photo` indexes the source.

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
        return {"image": images, "label": np.asarray(self.labels[places], np.int32), "photo": photos}


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
    """Yields the shuffled training batches of the updates `first`, `first + 1`, ..., `steps - 1`.

    An epoch is `steps_per_epoch` batches, each photo at most once in it, in an order that is new every epoch. With
    `balanced`, classes are drawn equally often instead, each class's photos reshuffled after each pass over it; the
    rarer class is then seen several times an epoch.

    The batch of an update depends on the seed and the update's number alone. With several processes, each gets its
    rows of it: those of all processes, one after the other, are the rows that a single process would get.

    Args:
      subset: the photos to train on.
      batch_size: photos of an update, over all processes.
      seed: of the shuffle, in [0, 2**32); the same seed gives the same order.
      first: number of the first update wanted, from 0.
      steps: number of updates of the whole run; those from it on are not read.
      balanced: draw the classes equally often.
      process_index: which process this is.
      process_count: how many processes share a batch.
      threads: reading threads, where there are no worker processes.
      workers: processes that read; 0 reads in this one.

    Yields:
      `{"image": uint8[b, H, W, 3], "label": int32[b], "photo": int64[b]}` with b = `batch_size // process_count`;
      `photo` indexes the source.

    Raises:
      ValueError: an argument is out of range, or `batch_size` cannot be shared evenly.
      LoadingError: photos cannot be read, or a worker process has died (while iterating).

    >>> source = [{"image": np.full((2, 2, 3), number, np.uint8)} for number in range(9)]
    >>> nine = Subset(source, np.arange(9), np.arange(9) % 3)
    >>> whole = [batch["photo"].tolist() for batch in training_batches(nine, 4, 0, steps=5)]
    >>> resumed = training_batches(nine, 4, 0, first=3, steps=5, process_index=1, process_count=2)
    >>> [batch["photo"].tolist() for batch in resumed] == [photos[2:] for photos in whole[3:]]
    True
    """
    steps_per_epoch(len(subset), batch_size)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
    if not 0 <= first <= steps:
        raise ValueError(f"first must lie in [0, steps], got {first} with {steps} steps")
    rows = _rows(batch_size, process_index, process_count)
    classes = _classes(subset.labels) if balanced else None
    order = _Order(classes, len(subset), batch_size, seed)
    return _in_order(_TrainingRows(subset, order, rows), first, steps, threads, workers)


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
      ValueError: an argument is out of range, or `batch_size` cannot be shared evenly.
      LoadingError: photos cannot be read, or a worker process has died (while iterating).
    """
    rows = _rows(batch_size, process_index, process_count)
    count = -(-len(subset) // batch_size)
    return _in_order(_EvaluationRows(subset, batch_size, rows), 0, count, threads, workers)


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a global batch that are one process's."""
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
    """Which places in a subset make an update's batch: a function of the seed and the update alone.

    Permutations are drawn whole, one a pass over the photos or over a class, and the newest of each is kept.
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


@dataclasses.dataclass(frozen=True)
class _Told:
    """A reader whose failures say in one sentence what could not be read."""

    read: Callable[[int], Batch]

    def __call__(self, number: int) -> Batch:
        try:
            return self.read(number)
        except Exception as error:
            raise LoadingError(
                f"the photos of batch {number} cannot be read ({type(error).__name__}: {error})"
            ) from error


def _in_order(
    read: Callable[[int], Batch], first: int, stop: int, threads: int, workers: int
) -> Iterator[Batch]:
    """Yields `read(first)`, ..., `read(stop - 1)`, read ahead."""
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    told = _Told(read)
    if workers:
        try:
            pickle.dumps(told)
        except Exception as error:
            raise ValueError(
                f"the photos cannot be handed to worker processes: {error}; use workers=0"
            ) from error
    return _from_workers(told, first, stop, workers) if workers else _from_threads(told, first, stop, threads)


def _from_threads(read: _Told, first: int, stop: int, threads: int) -> Iterator[Batch]:
    if first == stop:
        return
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(_BATCHES_AHEAD, threads))
    iterator = iter(grain.MapDataset.range(first, stop).map(read).to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()


def _from_workers(read: _Told, first: int, stop: int, workers: int) -> Iterator[Batch]:
    # An executor notices a dead process at once, whatever it died of; Grain's `mp_prefetch` waits for ever for one
    # that exits with 0, and wants absl's flags parsed.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(read,)
    )
    waiting: deque[Future[_Shared]] = deque()
    try:
        numbers = iter(range(first, stop))
        for number in itertools.islice(numbers, 2 * workers):
            waiting.append(pool.submit(_read_in_worker, number))
        while waiting:
            shared = waiting.popleft().result()
            for number in itertools.islice(numbers, 1):
                waiting.append(pool.submit(_read_in_worker, number))
            yield _open(shared)
    except BrokenProcessPool as error:
        raise LoadingError(
            "a worker process that reads photos has died; it may have been killed for want of memory, or the script "
            "does its work outside of `if __name__ == '__main__':`"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        for future in waiting:
            if not future.cancelled() and not future.exception():
                _open(future.result())


_Shared = dict[str, Any]  # by name, where in shared memory an array lies
_read: _Told | None = None  # a worker's


def _start_worker(read: _Told) -> None:
    global _read
    _read = read
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starting process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it has gone, killed ones included."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_in_worker(number: int) -> _Shared:
    assert _read is not None
    shared = {}
    for name, values in _read(number).items():
        array = SharedMemoryArray(values.shape, values.dtype)
        array[...] = values
        shared[name] = array.metadata
    return shared


def _open(shared: _Shared) -> Batch:
    """Arrays over shared memory, which is freed with the last that refers to it."""
    batch = {}
    for name, metadata in shared.items():
        array = SharedMemoryArray.from_metadata(metadata)
        array.unlink_on_del()
        batch[name] = np.asarray(array)
    return batch
