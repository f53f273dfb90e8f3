"""Fills a folder as a whole: what is being written is seen by nobody until it is complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from skinjax.files.locks import HeldError, Lock


@contextlib.contextmanager
def filling(folder: str | Path, last: str) -> Iterator[Path]:
    """Gives a hidden folder beside `folder`; what lies in it when the block ends well is moved into that one.

    A process that is killed inside the block changes nothing in `folder`; what it left beside it goes when the
    folder is filled the next time. `last` is taken away first and moved last, so that it stands in `folder` only
    beside what belongs to it. Other files there stay.

    Args:
      folder: Made if missing.
      last: The file that the others belong to, such as `index.html`.

    Yields:
      The hidden folder, empty.

    Raises:
      ValueError: Another process is filling the same folder, or `folder` is a file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     with filling(f"{root}/report", last="index.html") as hidden:
    ...         _ = (hidden / "index.html").write_text("all of it")
    ...     [path.name for path in Path(root).iterdir()]
    ['report']
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder, but is a file")
    hidden = folder.absolute().parent / f".{folder.absolute().name}.unfinished"
    hidden.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock(hidden)
    except HeldError as error:
        raise ValueError(f"{folder} is being written by another process; wait for it to end") from error
    with lock:
        try:
            _empty(hidden)
            yield hidden
            _move(hidden, folder, last)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _move(source: Path, target: Path, last: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    (target / last).unlink(missing_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.name == last):
        _remove(target / path.name)
        path.replace(target / path.name)
