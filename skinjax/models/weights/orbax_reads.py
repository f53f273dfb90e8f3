"""Reading Orbax folders that may be damaged, without complaints that come after the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def wait_for_all_reads() -> None:
    """Makes Orbax end all of its reads before it raises the error of the first that failed.

    Orbax reads the arrays of a folder at once, on an event loop that it makes for the occasion. Where one of them
    cannot be read it closes the loop under the others, which Tensorstore then prints as a stray traceback each
    ("Event loop is closed"), whatever runs by that time. So what Orbax runs is wrapped, once and for all threads:
    after an error it waits for the other tasks of its own loop. Nothing else of the process is touched, neither
    asyncio's policy nor a notebook's running loop, and a read that succeeds is as before.
    """
    try:
        from orbax.checkpoint._src import asyncio_utils

        run_sync = asyncio_utils.run_sync
    except (ImportError, AttributeError):
        return  # an Orbax that runs its reads in another way, of which nothing is known
    if getattr(run_sync, "waits_for_all", False):
        return

    def run_and_wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_sync(_ending_all(coroutine))

    run_and_wait.waits_for_all = True  # type: ignore[attr-defined]
    asyncio_utils.run_sync = run_and_wait


async def _ending_all(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except Exception:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        raise
