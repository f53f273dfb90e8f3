"""Reading Orbax folders that may be damaged, without complaints that come after the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class _PatientLoop(asyncio.SelectorEventLoop):
    """An event loop that ends what still runs on it before it closes."""

    def close(self) -> None:
        """Waits for every task, whatever comes of it, and closes."""
        if not self.is_closed():
            if tasks := asyncio.all_tasks(self):
                self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            super().close()


class _PatientPolicy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = _PatientLoop


@contextlib.contextmanager
def patient_reads() -> Iterator[None]:
    """Lets all of Orbax's reads end before the first one's error is raised.

    Orbax reads the arrays of a folder at once and, where one cannot be read, closes its event loop under the others,
    which Python then prints as a stray traceback each ("Event loop is closed"), whatever runs by that time.
    """
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_PatientPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(policy)
