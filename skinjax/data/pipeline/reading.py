"""Reading the elements of a Grain dataset ahead, in order, by threads or by processes.

Threads are Grain's own. Processes are an executor's: it notices a dead one at once, whatever it died of, and they end
with the process that started them. Grain's `mp_prefetch` waits for ever for one that exits with 0, leaves its own
running when their parent is killed, needs the flags of the process parsed, and is no faster
(`benchmarks/results/input.md`).
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
class BatchReader:
    """A reader whose failures say in one sentence what could not be read.

    Attributes:
      read: Returns the batch of a number.
    """

    read: Callable[[int], Batch]

    def __call__(self, number: int) -> Batch:
        """Returns a batch.

        Args:
          number: Of the batch.

        Raises:
          LoadingError: It cannot be read.
        """
        try:
            return self.read(number)
        except Exception as error:
            raise LoadingError(
                f"the photos of batch {number} cannot be read ({type(error).__name__}: {error})"
            ) from error


def in_order(dataset: grain.MapDataset[Batch], threads: int, workers: int) -> Iterator[Batch]:
    """Yields a dataset's elements, read ahead.

    Args:
      dataset: Batches.
      threads: Reading threads, where there are no worker processes.
      workers: Processes that read; 0 reads in this one.

    Raises:
      ValueError: An argument is out of range, or the dataset cannot be pickled for worker processes.
      LoadingError: Photos cannot be read, or a worker process has died (while iterating).
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if not workers:
        return _from_threads(dataset, threads)
    try:
        pickle.dumps(dataset)
    except Exception as error:
        raise ValueError(
            f"the photos cannot be handed to worker processes: {error}; use workers=0"
        ) from error
    return _from_workers(dataset, workers)


def _from_threads(dataset: grain.MapDataset[Batch], threads: int) -> Iterator[Batch]:
    if not len(dataset):
        return
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(_BATCHES_AHEAD, threads))
    iterator = iter(dataset.to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()


def _from_workers(dataset: grain.MapDataset[Batch], workers: int) -> Iterator[Batch]:
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(dataset,)
    )
    waiting: deque[Future[_Shared]] = deque()
    try:
        numbers = iter(range(len(dataset)))
        for number in itertools.islice(numbers, 2 * workers):
            waiting.append(pool.submit(_read_in_worker, number))
        while waiting:
            shared = waiting.popleft().result()
            for number in itertools.islice(numbers, 1):
                waiting.append(pool.submit(_read_in_worker, number))
            yield _open(shared)
    except BrokenProcessPool as error:
        raise LoadingError(
            "a worker process that reads photos has died; it may have been killed for lack of memory, or the script "
            "does its work outside of `if __name__ == '__main__':`"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        for future in waiting:
            if not future.cancelled() and not future.exception():
                _open(future.result())


_Shared = dict[str, Any]  # by name, where in shared memory an array lies
_dataset: grain.MapDataset[Batch] | None = None  # a worker's


def _start_worker(dataset: grain.MapDataset[Batch]) -> None:
    global _dataset
    _dataset = dataset
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starting process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it has gone, killed ones included."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_in_worker(number: int) -> _Shared:
    assert _dataset is not None
    shared = {}
    for name, values in _dataset[number].items():
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
