"""Several processes as one run: how they find each other, who writes, who waits, and how a run is asked to end."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import jax
from jax.experimental import multihost_utils

Result = TypeVar("Result")
HEARTBEAT_SECONDS, JOIN_SECONDS = 20, 120
# How CPU collectives, GPU collectives and JAX's coordination service word that a process is gone.
_LOST = re.compile(
    r"Gloo [\w-]+ failed: |NCCL operation \w+ failed|/xla\.coordination\.CoordinationService/"
    r"|tensorflow\.CoordinationServiceError|Barrier failed because|Task \d+ heartbeat timeout"
)


def join(coordinator: str = "", processes: int | None = None, process_index: int | None = None) -> None:
    """Joins the other processes of the run where there are any: those named here, or as SLURM or Kubernetes say.

    Args:
      coordinator: host:port of the first process.
      processes: How many processes the run has.
      process_index: Which of them this one is, from 0.

    Raises:
      ValueError: Arguments that do not fit together, or an address that cannot be used. Where the others do not come
        within `JOIN_SECONDS`, JAX aborts the process.
    """
    given = {"coordinator": coordinator, "processes": processes, "process_index": process_index}
    if any(value not in (None, "") for value in given.values()):
        if missing := [f"{name}=..." for name, value in given.items() if value in (None, "")]:
            raise ValueError(f"several processes need {' and '.join(missing)} too")
        assert processes is not None
        assert process_index is not None
        if not 0 <= process_index < processes:
            raise ValueError(f"process_index={process_index} must be below processes={processes}")
        arguments: dict[str, Any] = {
            "coordinator_address": coordinator,
            "num_processes": processes,
            "process_id": process_index,
        }
    elif _in_a_cluster():
        if _in_kubernetes() and importlib.util.find_spec("kubernetes") is None:
            raise ValueError(
                "the pods of an indexed job find each other by coordinator=..., processes=... and process_index=..., "
                "as in experiments/launch/jobset.yaml, or by the package kubernetes, and there are neither"
            )
        arguments = {}
    else:
        return
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:
        where = coordinator or "the address that the cluster gave"
        raise ValueError(
            f"the processes of this run did not find each other at {where} ({first_line(error)})"
        ) from error


def _in_a_cluster() -> bool:
    """Returns whether SLURM or Kubernetes started several processes; JAX finds out the rest by itself."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or "1"
    in_step = "SLURM_STEP_NODELIST" in os.environ and tasks.isdecimal() and int(tasks) > 1
    return in_step or _in_kubernetes()


def _in_kubernetes() -> bool:
    """Returns whether this is a pod of an indexed job."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ


def is_first() -> bool:
    """Returns whether this process is the one that writes and talks."""
    return not are_several() or jax.process_index() == 0


def are_several() -> bool:
    """Returns whether this run has several processes."""
    # Asked first, as counting processes starts the devices.
    return jax.distributed.is_initialized() and jax.process_count() > 1


def number_and_count() -> tuple[int, int]:
    """Returns the number of this process, from 0, and how many this run has."""
    return jax.process_index(), jax.process_count()


def name() -> str:
    """Returns the name of this process in messages, empty where there is only one."""
    return f" (process {jax.process_index()})" if are_several() else ""


def another_ended(error: BaseException) -> bool:
    """Returns whether an error, or one it arose from, tells that another process of this run has ended.

    The type does not tell: the same broken connection comes as ValueError, RuntimeError, or what Orbax makes of it.
    """
    if not are_several():
        return False
    links, seen = [error], set[int]()
    while links:
        link = links.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        of_a_file = isinstance(link, OSError) and link.filename is not None
        if not of_a_file and _LOST.search(str(link)):
            return True
        links += getattr(link, "exceptions", ())
        earlier = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        links += [earlier] if earlier is not None else []
    return False


def first_line(error: BaseException) -> str:
    r"""Returns the first line of an error's message, or its type where it has none.

    >>> first_line(OSError("full\nTraceback")), first_line(TimeoutError())
    ('full', 'TimeoutError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


def progress_stream() -> TextIO:
    """Returns the stream of progress: standard error of the first process, nowhere for the others."""
    return sys.stderr if is_first() else io.StringIO()


def wait_for_all(name: str) -> None:
    """Waits until every process has come here; does nothing where there is one."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def first_alone(name: str, work: Callable[[], Result]) -> Result:
    """Lets the first process do work whose result lies in files, then the others, who find it done."""
    if is_first():
        result = work()
        wait_for_all(name)
    else:
        wait_for_all(name)
        result = work()
    wait_for_all(f"{name}, all")
    return result


class Termination:
    """Notes SIGTERM while it is entered, so that training can end at an update whose state is saved."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        main = threading.current_thread() is threading.main_thread()  # no other may set handlers
        if jax.process_count() == 1 and main:  # of several processes JAX notes it
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: object) -> None:
        self._asked = True

    def __call__(self, update: int) -> bool:
        """Returns whether training is to end after this update; several processes agree on one that all will reach."""
        if jax.process_count() == 1:
            return self._asked
        return bool(multihost_utils.reached_preemption_sync_point(update))
