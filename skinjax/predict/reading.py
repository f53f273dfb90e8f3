"""Photos decoded in threads, ahead of the device and with bounded memory, and put into batches."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

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


PhotoSource = str | os.PathLike[str] | BinaryIO
"""A file, or a photo in memory: a binary file open for reading, such as `io.BytesIO`, with a `name`."""


def photo_name(source: PhotoSource) -> str:
    """Returns what a photo is called in answers: its path, or the name of a photo in memory.

    >>> import io
    >>> photo = io.BytesIO(b"...")
    >>> photo.name = "arm.jpg"
    >>> photo_name(photo), photo_name(Path("clinic/arm.jpg"))
    ('arm.jpg', 'clinic/arm.jpg')
    """
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "photo"))


def lies_within(source: PhotoSource, folder: Path) -> bool:
    """Returns whether a photo is of a folder: a file below it, or in memory the content of one.

    Args:
      source: The photo.
      folder: A folder, resolved; it must not change any more.
    """
    if isinstance(source, str | os.PathLike):
        return Path(source).resolve().is_relative_to(folder)
    data = _content(source)
    return any(path.read_bytes() == data for path in _files_by_size(folder).get(len(data), ()))


@functools.lru_cache(maxsize=4)
def _files_by_size(folder: Path) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found.setdefault(path.stat().st_size, []).append(path)
    return found


def _content(source: BinaryIO) -> bytes:
    source.seek(0)
    return source.read()


def read_photo(source: PhotoSource, size: int, fit: Any) -> Decoded | photos.PhotoError:
    """Decodes one photo, just as `skinjax.data.pipeline.prepare` does, and measures it.

    Args:
      source: The file, or a photo in memory.
      size: Side in pixels.
      fit: How it becomes square, see `skinjax.data.images.photos.fit`.

    Returns:
      The photo, or why it cannot be used.
    """
    try:
        file = source if isinstance(source, str | os.PathLike) else _content(source)
        image = photos.fit(photos.decode(file, target=size), size, mode=fit)
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
