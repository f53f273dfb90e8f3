"""Refusals before processes look for each other; `tests/train/test_parallel.py` has real ones."""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from skinjax.cli.launch import ProcessOptions, guarded
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
    "UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:538] Read error [127.0.0.1]:55449",
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
    assert processes.another_ended(ExceptionGroup("two", [KeyError("a"), kind(message)]))
    assert not processes.another_ended(OSError("No space left on device"))


def test_a_name_of_a_file_tells_nothing_of_processes(monkeypatch):
    monkeypatch.setattr(processes, "are_several", lambda: True)
    assert not processes.another_ended(
        ValueError("/home/Gloor/manifest.csv: row 3, label must be one of a, b")
    )
    for name in ("/scratch/NCCL-tests/manifest.csv", "Barrier failed because/x.csv"):
        assert not processes.another_ended(FileNotFoundError(2, "No such file or directory", name))


def test_an_error_that_is_its_own_cause_comes_to_an_end(monkeypatch):
    monkeypatch.setattr(processes, "are_several", lambda: True)
    error = ValueError("a")
    error.__cause__ = error
    assert not processes.another_ended(error)


class Lost:
    """A checkpointer whose process has lost another."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def restore(self, *_):
        raise ValueError(LOST[0])


def test_nor_is_the_best_network(monkeypatch, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(ocp, "StandardCheckpointer", Lost)
        with pytest.raises(ValueError, match="cannot be read; delete"):
            checkpoints.load_best(1, {"x": jnp.zeros(3)})
        monkeypatch.setattr(processes, "are_several", lambda: True)
        with pytest.raises(ValueError, match=r"^UNKNOWN: Gloo"):
            checkpoints.load_best(1, {"x": jnp.zeros(3)})


def caused(error: Exception) -> Exception:
    error.__cause__ = ValueError(LOST[0])
    return error


@pytest.mark.parametrize(
    "error",
    [ValueError(LOST[0]), caused(TimeoutError()), caused(KeyError("key")), RuntimeError(), RuntimeError("a")],
)
def test_whatever_its_type_the_command_ends_with_the_code_to_start_again(monkeypatch, capsys, error):
    def work():
        raise error

    monkeypatch.setattr(processes, "join", lambda *_: None)
    with pytest.raises(type(error)):
        guarded(work, "train", ProcessOptions(traceback=True), [])
    monkeypatch.setattr(processes, "are_several", lambda: True)
    with pytest.raises(SystemExit) as ended:
        guarded(work, "train", ProcessOptions(), [])
    assert ended.value.code == 75
    assert "another process of this run has ended; start all of them again" in capsys.readouterr().err


def test_processes_that_did_not_find_each_other_are_refused(monkeypatch, capsys):
    def join(*_):
        raise caused(ValueError("the processes of this run did not find each other at a:1"))

    monkeypatch.setattr(processes, "join", join)
    monkeypatch.setattr(processes, "are_several", lambda: True)
    with pytest.raises(SystemExit) as ended:
        guarded(lambda: None, "train", ProcessOptions(), [])
    assert ended.value.code == 2
    assert "did not find each other" in capsys.readouterr().err


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
