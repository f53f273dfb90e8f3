"""Reads the files of many photos in one pass: what each is, its fingerprint, and what it looks like.

A few threads read ahead by a bounded number of photos and results come back in order, so memory holds a few
decoded photos at a time, whatever their number, and the result is the same for any number of threads.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images.duplicates import HASH_SIDE, fingerprint, perceptual_hash
from skinjax.data.images.photos import PhotoError, PhotoFacts, decode, inspect, read_bytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PhotoRecord", "in_order", "photo_table", "survey"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoRecord:
    """The contents of one photo's file, or why it cannot be used.

    Attributes:
      image: The path as asked for.
      error: Why it cannot be used, or None.
      facts: What its header says, or None where that could not be read.
      sha256: Fingerprint of the bytes, empty where they could not be read.
      hash: uint64[4] of `perceptual_hash`, zeros where there are no pixels.
    """

    image: str
    error: PhotoError | None
    facts: PhotoFacts | None
    sha256: str
    hash: NDArray[np.uint64]


def survey(
    images: Sequence[str],
    root: str | os.PathLike[str],
    threads: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> list[PhotoRecord]:
    """Reads and decodes every photo once.

    Args:
      images: Paths, relative to `root`.
      root: The folder.
      threads: Photos read at a time.
      progress: Called with (photos done, photos in all) after each photo, in the caller's thread.

    Returns:
      One record per photo, in order. A photo that cannot be used is a record with an error, never an
      exception.

    Raises:
      ValueError: `threads` is below 1.
    """
    folder = Path(root)
    records = []
    for record in in_order(lambda image: _read(folder, image), images, threads):
        records.append(record)
        if progress is not None:
            progress(len(records), len(images))
    return records


def _read(folder: Path, image: str) -> PhotoRecord:
    facts, sha256, look = None, "", np.zeros(4, np.uint64)
    try:
        data = read_bytes(folder / image)
        sha256 = fingerprint(data)
        facts = inspect(data, name=image)
        look = perceptual_hash(decode(data, target=HASH_SIDE))
    except PhotoError as error:
        return PhotoRecord(image, PhotoError(error.kind, error.reason, image), facts, sha256, look)
    return PhotoRecord(image, None, facts, sha256, look)


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int, ahead: int = 4
) -> Iterator[_Result]:
    """Applies a function in threads and gives the results in the items' order.

    Unlike `ThreadPoolExecutor.map`, which starts on all items at once, at most `ahead * threads` are under
    way.

    Args:
      function: Called in several threads.
      items: Its arguments.
      threads: Number of threads.
      ahead: Items begun or waiting, per thread.

    Yields:
      `function(item)` for each item.

    Raises:
      ValueError: `threads` is below 1.

    >>> list(in_order(str.upper, "abc", threads=2))
    ['A', 'B', 'C']
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    executor = ThreadPoolExecutor(threads, thread_name_prefix="photos")
    try:
        remaining = iter(items)
        waiting: collections.deque[Future[_Result]] = collections.deque(
            executor.submit(function, item) for item in itertools.islice(remaining, ahead * threads)
        )
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(executor.submit(function, item) for item in itertools.islice(remaining, 1))
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def photo_table(records: Sequence[PhotoRecord]) -> pd.DataFrame:
    """Lays records out as a table, one row per photo.

    Args:
      records: As `survey` gives them.

    Returns:
      Columns `image`, `problem` (a `PhotoError` kind, empty for a usable photo), `reason`, `bytes`,
      `width`, `height`, `bits`, `orientation`, `frames` (0 where not known), `format`, `mode`, `findings`
      (joined by "; "), `sha256` and `hash` (64 hexadecimal digits).
    """
    import pandas as pd

    numbers, words = ("bytes", "width", "height", "bits", "orientation", "frames"), ("format", "mode")
    columns: dict[str, list[object]] = {
        "image": [record.image for record in records],
        "problem": [record.error.kind if record.error else "" for record in records],
        "reason": [record.error.reason if record.error else "" for record in records],
    }
    columns |= {name: [getattr(record.facts, name, 0) for record in records] for name in numbers}
    columns |= {name: [getattr(record.facts, name, "") for record in records] for name in words}
    columns["findings"] = ["; ".join(record.facts.findings) if record.facts else "" for record in records]
    columns["sha256"] = [record.sha256 for record in records]
    columns["hash"] = [record.hash.astype(">u8").tobytes().hex() for record in records]
    return pd.DataFrame(columns)
