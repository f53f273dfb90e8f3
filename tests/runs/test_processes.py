"""Refusals before processes look for each other; `tests/train/test_parallel.py` has real ones."""

from __future__ import annotations

import importlib.util

import jax
import pytest

from skinjax.runs import processes


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


def test_a_process_that_ended_meanwhile_is_no_fault_of_the_options(monkeypatch):
    """JAX raises ValueError, which the command would take for something that another start only repeats."""

    def broken(name):
        raise ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes.multihost_utils, "sync_global_devices", broken)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        processes.wait_for_all("preparation")
