"""What is compiled in a whole training, and what in the next one."""

import collections
import re
import socket

import numpy as np
import pytest

from tests.train.test_parallel import start

pytestmark = pytest.mark.slow


def logged(tmp_path, name: str) -> str:
    """The log of two epochs of four updates, and of predictions whose last batch is not full."""
    logging = {"JAX_LOG_COMPILES": "1", "JAX_EXPLAIN_CACHE_MISSES": "1"}
    every = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    process = start(tmp_path / name, tmp_path / f"{name}.npz", **logging, **every)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_the_step_is_compiled_once_and_a_second_start_compiles_nothing(tmp_path):
    first = logged(tmp_path, "first")
    compiled = collections.Counter(re.findall(r"Finished XLA compilation of jit\((\w+)\)", first))
    assert compiled["train_step"] == compiled["predict"] == 1
    assert "PERSISTENT COMPILATION CACHE MISS for 'jit_train_step'" in first
    second = logged(tmp_path, "second")
    assert "Persistent compilation cache hit for 'jit_train_step'" in second
    assert "PERSISTENT COMPILATION CACHE MISS" not in second


def test_every_process_of_two_finds_its_compilations_again(tmp_path):
    """JAX keeps those of the first process alone on CPUs (`skinjax.train.executables`)."""
    compiled = {}
    for time in ("first", "second"):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        shared = [f"--coordinator=localhost:{port}", "--processes=2"]
        logging = {"JAX_LOG_COMPILES": "1"}
        pair = [
            start(tmp_path / time, tmp_path / f"{time}.npz", *shared, f"--index={index}", **logging)
            for index in range(2)
        ]
        for index, process in enumerate(pair):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
            compiled[time, index] = re.findall(
                r"Finished XLA compilation of jit\((train_step|predict)\)", output
            )
    assert sorted(compiled["first", 1]) == ["predict", "train_step"]
    assert compiled["second", 1] == []
    with np.load(tmp_path / "first.npz") as first, np.load(tmp_path / "second.npz") as second:
        assert all(np.array_equal(first[name], second[name]) for name in first)
