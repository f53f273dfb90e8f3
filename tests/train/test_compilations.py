"""What is compiled in a whole training, and what in the next one."""

import collections
import re

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
