"""Several processes as one run: how they find each other, who writes, who waits, and how a run is asked to end."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import jax
from absl import flags
from jax.experimental import multihost_utils

from skinjax.train.parallel import wait_for_all

Result = TypeVar("Result")
STOPPED_CODE = 75  # the sysexits code for "try again": the state is saved and the same command goes on
HEARTBEAT_SECONDS = 20


def join() -> None:
    """Joins the other processes of the run where there are any: by flags, or as SLURM or Kubernetes say.

    Raises:
      ValueError: flags that do not fit together, or processes that did not find each other.
    """
    values = flags.FLAGS
    given = {name: values[name].value for name in ("coordinator", "processes", "process_index")}
    if any(value not in (None, "") for value in given.values()):
        if missing := [f"--{name}" for name, value in given.items() if value in (None, "")]:
            raise ValueError(f"several processes want {' and '.join(missing)} too")
        if not 0 <= values.process_index < values.processes:
            raise ValueError(
                f"--process_index={values.process_index} is not below --processes={values.processes}"
            )
        arguments = {
            "coordinator_address": values.coordinator,
            "num_processes": values.processes,
            "process_id": values.process_index,
        }
    elif _in_a_cluster():
        arguments = {}
    else:
        return
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=120,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:
        where = values.coordinator or "the address that the cluster gave"
        raise ValueError(
            f"the processes of this run did not find each other at {where} ({str(error).splitlines()[0]})"
        ) from error
    if not is_first():
        sys.stdout = io.StringIO()  # only the first talks


def _in_a_cluster() -> bool:
    """Whether SLURM or Kubernetes started several processes; JAX finds out the rest by itself."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or "1"
    in_step = "SLURM_STEP_NODELIST" in os.environ and tasks.isdecimal() and int(tasks) > 1
    return in_step or ("KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ)


def is_first() -> bool:
    """Whether this process is the one that writes and talks."""
    return jax.process_index() == 0


def are_several() -> bool:
    """Whether this run has several processes."""
    return jax.process_count() > 1


def name() -> str:
    """How messages name this process: nothing where there is only one."""
    return f" (process {jax.process_index()})" if are_several() else ""


def progress_stream() -> TextIO:
    """Where progress is shown: standard error of the first process, nowhere for the others."""
    return sys.stderr if is_first() else io.StringIO()


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


def hold(workdir: Path, fold: int) -> None:
    """Keeps other runs out of a run's folder; runs of single folds keep out only those of the same fold.

    The locks are the operating system's and end with this process, however it ends.

    Args:
      workdir: of the run.
      fold: the one that is trained, or -1 for all.

    Raises:
      ValueError: another process is at work there.
    """
    if not is_first():
        return
    locks = [(".lock", fcntl.LOCK_EX if fold < 0 else fcntl.LOCK_SH)]
    if fold >= 0:
        locks.append((f".lock_fold_{fold}", fcntl.LOCK_EX))
    for name, kind in locks:
        descriptor = os.open(
            workdir / name, os.O_CREAT | os.O_RDWR, 0o644
        )  # open as long as the process lives
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"--workdir={workdir} is in use by another run; wait for it to end, or name another folder"
            ) from error


class Termination:
    """Notes SIGTERM while it is entered, so that training can end at an update whose state is saved."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        if jax.process_count() == 1:  # else JAX notes it
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: object) -> None:
        self._asked = True

    def __call__(self, update: int) -> bool:
        """Whether training is to end after this update; several processes agree on one that all will reach."""
        if jax.process_count() == 1:
            return self._asked
        return bool(multihost_utils.reached_preemption_sync_point(update))
