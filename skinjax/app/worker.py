"""One thread that computes, and a bounded number of people who wait for it.

A photo's answer keeps all cores busy, so two at once would only make both late. Forms are read a few at a time as well:
what waits in memory is then `reading` forms at most, however many people send at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class BusyError(RuntimeError):
    """So many people wait already that one more is sent away."""


class Worker:
    """The thread and its queue; to be used from one event loop.

    Args:
      waiting: People at most who are served or wait.
      reading: Forms that are held in memory at a time.
    """

    def __init__(self, waiting: int = 60, reading: int = 3) -> None:
        self._waiting = waiting
        self._served = 0
        self._slots = asyncio.Semaphore(reading)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="answers")

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn to send a form and have it answered.

        Raises:
          BusyError: Too many wait already.
        """
        if self._served >= self._waiting:
            raise BusyError
        self._served += 1
        try:
            async with self._slots:
                yield
        finally:
            self._served -= 1

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Has the thread do something, after what was given to it before.

        Args:
          work: What to do; it goes on where the one who waits for it has left.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Ends the thread when its work is done."""
        self._pool.shutdown(cancel_futures=True)
