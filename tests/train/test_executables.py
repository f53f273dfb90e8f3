"""Compiled programs in files: found again, told apart, and made anew where a file is damaged."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.compilation import compiler_options
from skinjax.train import executables
from skinjax.train.executables import Kept, kept


@functools.partial(jax.jit, donate_argnums=0)
def step(state, batch, rate):
    return {"w": state["w"] - rate * batch.sum(axis=0)}, (batch**2).mean()


def arguments(rows: int = 4):
    return {"w": jnp.arange(3.0)}, jnp.arange(3.0 * rows).reshape(rows, 3), 0.5


def expected(rows: int = 4):
    batch = np.arange(3.0 * rows).reshape(rows, 3)
    return np.arange(3.0) - 0.5 * batch.sum(axis=0), (batch**2).mean()


def check(found, rows: int = 4) -> None:
    np.testing.assert_allclose(found[0]["w"], expected(rows)[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected(rows)[1], rtol=1e-6)


@pytest.fixture
def compilations(monkeypatch):
    """Names of the programs that are compiled."""
    for gradients in (False, True):  # looks by a compilation, the first time, whether they are known
        compiler_options(gradients=gradients)
    names = []
    real = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self, *given: names.append("step") or real(self, *given)
    )
    return names


def test_a_program_is_compiled_once_and_found_by_the_next_process(tmp_path, compilations):
    first = Kept(step, "step", tmp_path)
    for _ in range(3):
        check(first(*arguments()))
    assert len(compilations) == 1
    second = Kept(step, "step", tmp_path)  # as a process that starts has it
    state, batch, rate = arguments()
    check(second(state, batch, rate))
    assert state["w"].is_deleted()  # its memory was given to the result
    assert len(compilations) == 1
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["step"]


def test_inside_another_transformation_nothing_is_kept(tmp_path):
    program = Kept(step, "step", tmp_path)
    check(jax.jit(program)(*arguments()))
    assert list(tmp_path.iterdir()) == []
    check(program(*arguments()))
    assert len(list(tmp_path.iterdir())) == 1


def test_other_shapes_other_functions_and_other_processes_have_files_of_their_own(tmp_path, monkeypatch):
    program = Kept(step, "step", tmp_path)
    for rows in (4, 5, 4):
        check(program(*arguments(rows)), rows)
    assert len(list(tmp_path.iterdir())) == 2
    Kept(jax.jit(lambda a, b, c: (a, b * c)), "step", tmp_path)(*arguments())
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    Kept(step, "step", tmp_path)(*arguments())
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(executables, "compiler_options", lambda **_: {"xla_cpu_enable_fast_math": "false"})
    Kept(step, "step", tmp_path)(*arguments())
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("damage", [b"", b"no pickle", "cut"])
def test_a_damaged_file_is_told_and_replaced(tmp_path, compilations, caplog, damage):
    check(Kept(step, "step", tmp_path)(*arguments()))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else damage)
    check(Kept(step, "step", tmp_path)(*arguments()))
    assert "cannot be read and is made anew" in caplog.text
    assert len(compilations) == 2
    check(Kept(step, "step", tmp_path)(*arguments()))
    assert len(compilations) == 2


def test_only_further_processes_on_cpus_keep_their_own(tmp_path, monkeypatch):
    assert kept(step, "step") is step  # the only process
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        check(kept(step, "step")(*arguments()))
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [executables.FOLDER]
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert kept(step, "step") is step
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.undo()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
