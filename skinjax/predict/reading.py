"""Photos decoded in threads, ahead of the device and with bounded memory, and put into batches."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images import photos
from skinjax.data.images.listing import ENDINGS, list_photos
from skinjax.data.images.quality import Quality, measure

_LOG = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A photo as a network is fed it.

    Attributes:
      image: uint8[size, size, 3].
      quality: Measured on it.
    """

    image: NDArray[np.uint8]
    quality: Quality


def read_photo(path: str | os.PathLike[str], size: int, fit: Any) -> Decoded | photos.PhotoError:
    """Decodes one photo, just as `skinjax.data.pipeline.prepare` does, and measures it.

    Args:
      path: The file.
      size: Side in pixels.
      fit: How it becomes square, see `skinjax.data.images.photos.fit`.

    Returns:
      The photo, or why it cannot be used.
    """
    try:
        image = photos.fit(photos.decode(path, target=size), size, mode=fit)
    except photos.PhotoError as error:
        return error
    return Decoded(image, measure(image))


def find_photos(names: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], int]:
    """Returns the photos that files and folders name, in order, each once.

    Args:
      names: Files, which are taken whatever they are called, and folders, of which all files at any depth are that are
        called like a photo, in the order of their paths; hidden ones are not.

    Returns:
      Paths, and how many files of the folders were passed over; a warning names them, and folders that are links.

    Raises:
      ValueError: A name that is no file or folder, or a folder without photos.
    """
    found: dict[Path, None] = {}
    passed = 0
    for name in names:
        path = Path(name)
        if path.is_dir():
            listing = list_photos(path)
            told = listing.told()
            if not listing.photos:
                raise ValueError(
                    f"{path} holds no photo ({', '.join(ENDINGS)})" + "".join(f"; {one}" for one in told)
                )
            for sentence in told:
                _LOG.warning("%s: %s", path, sentence)
            passed += len(listing.passed)
            found.update(dict.fromkeys(sorted(path / inside for inside in listing.photos)))
        else:
            found[path] = None
    return list(found), passed


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], lookahead: int
) -> Iterator[Result]:
    """Maps in order in threads with at most `lookahead` results waiting, so that memory stays bounded.

    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(ahead(pool, abs, [-1, -2, -3], lookahead=2))
    [1, 2, 3]
    """
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= lookahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter.

    >>> list(batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
