"""Locks files between processes; a lock ends with the process that holds it, however it ends.

POSIX systems lock by `flock`. Windows, which has no `fcntl`, locks bytes of the file: a shared lock takes one byte of
many, an exclusive lock all of them; and as it cannot open a folder, the lock of a folder is a file beside it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ModuleNotFoundError:
    import msvcrt

    _POSIX = False
else:
    _POSIX = True

_POLL_SECONDS = 0.01
_BYTES = 64  # how many shared locks Windows can hold at once


class HeldError(OSError):
    """Another process holds the lock."""


class Lock:
    """An exclusive or shared lock on a file; use as a context manager, or call `release`.

    Args:
      path: The file, made if missing, or a folder.
      shared: Whether other holders of shared locks are let in.
      wait: Whether to wait for those who hold locks that exclude this one.

    Raises:
      HeldError: Another process holds a lock that excludes this one, and `wait` is False.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Lock(f"{folder}/.lock", shared=True):
    ...     Lock(f"{folder}/.lock", shared=True).release()  # shared locks let each other in
    ...     try:
    ...         Lock(f"{folder}/.lock")
    ...     except HeldError as error:
    ...         print("held")
    held
    """

    def __init__(self, path: str | os.PathLike[str], *, shared: bool = False, wait: bool = False) -> None:
        self._descriptor: int | None = _open(Path(path))
        while True:
            try:
                _acquire(self._descriptor, shared)
            except BlockingIOError as error:
                if wait:
                    time.sleep(_POLL_SECONDS)
                    continue
                self.release()
                raise HeldError(f"{path} is locked by another process") from error
            return

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Lets others in; does nothing where that is done."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if _POSIX:

    def _open(path: Path) -> int:
        return os.open(path, os.O_RDONLY if path.is_dir() else os.O_CREAT | os.O_RDWR, 0o644)

    def _acquire(descriptor: int, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

else:

    def _open(path: Path) -> int:
        file = path.with_name(f"{path.name}.lock") if path.is_dir() else path
        return os.open(file, os.O_CREAT | os.O_RDWR, 0o644)

    def _acquire(descriptor: int, shared: bool) -> None:
        places = [(place, 1) for place in range(_BYTES)] if shared else [(0, _BYTES)]
        for place, count in places:
            os.lseek(descriptor, place, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, count)  # type: ignore[attr-defined]
            except OSError:
                continue
            return
        raise BlockingIOError
