"""Refusals before processes look for each other; `tests/train/test_parallel.py` has real ones."""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from skinjax.runs import processes
from skinjax.train.checkpoints import Checkpoints, Record
from skinjax.train.state import Totals, TrainState


def test_flags_that_are_not_all_there_are_named():
    with pytest.raises(
        ValueError, match=r"several processes need processes=\.\.\. and process_index=\.\.\. too"
    ):
        processes.join("localhost:1234")
    with pytest.raises(ValueError, match="process_index=2 must be below processes=2"):
        processes.join("localhost:1234", 2, 2)


def test_pods_without_flags_and_without_the_package_say_what_they_need(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    processes.join()  # a pod that is not of an indexed job is alone
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    with pytest.raises(
        ValueError, match=r"coordinator=\.\.\., processes=\.\.\. and process_index=.*jobset\.yaml"
    ):
        processes.join()


def test_a_step_of_one_task_is_alone(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")  # of the job, of which this step has one
    processes.join()
    assert not processes.are_several()


# As Gloo, JAX's coordination service and NCCL word it.
LOST = (
    "UNKNOWN: Gloo AllGather failed: [external/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer",
    "INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout.",
    "RPC: /xla.coordination.CoordinationService/PollForError",
    "INTERNAL: NCCL operation ncclAllReduce failed: remote process exited or there was a network error",
)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
@pytest.mark.parametrize("message", LOST)
def test_a_process_that_ended_is_told_from_the_error_or_its_cause(monkeypatch, message, kind):
    def saved():
        try:
            raise kind(message)
        except kind as error:
            raise OSError("network: a checkpoint could not be written") from error

    with pytest.raises(OSError, match="could not be written") as caught:
        saved()
    assert not processes.another_ended(caught.value)  # there is no other
    monkeypatch.setattr(processes, "are_several", lambda: True)
    assert processes.another_ended(caught.value)
    assert processes.another_ended(kind(message))
    assert not processes.another_ended(OSError("No space left on device"))


def test_a_checkpoint_that_another_process_left_unread_is_not_damaged(monkeypatch, tmp_path):
    state = TrainState(jnp.int32(1), {"x": jnp.zeros(3)}, {}, {}, {}, jax.random.key(0), Totals.zero())

    def broken(*arguments, **items):
        raise ValueError(LOST[0])

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, Record())
        checkpoints.wait()
        monkeypatch.setattr(checkpoints, "_read", broken)
        with pytest.raises(ValueError, match="none of the checkpoints can be read"):
            checkpoints.restore(state)
        monkeypatch.setattr(processes, "are_several", lambda: True)
        with pytest.raises(ValueError, match=r"^UNKNOWN: Gloo"):
            checkpoints.restore(state)
