"""ONNX Runtime as a second way to compute a forward pass: a traced function as a graph in memory, and its session."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from skinjax.predict.export.decision import NOTICE


def check_installed() -> None:
    """Refuses the runtime where it is not installed.

    Raises:
      ValueError: Naming the packages that are missing.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f'runtime=onnx needs {" and ".join(missing)}: pip install "skinjax[export]"')


def onnx_session(function: Callable[..., Any], image_size: int, columns: int = 0) -> Callable[..., Any]:
    """Writes a pure function as an ONNX graph and opens it in ONNX Runtime, on the CPU with all of its cores.

    Args:
      function: (uint8[B, S, S, 3][, float32[B, D]]) -> a tree of arrays with B rows, None among them; its variables
        are constants of the graph.
      image_size: S.
      columns: D; 0 for none.

    Returns:
      The function, of numpy arrays, for any B.

    Raises:
      ValueError: A package is missing, or the function has an operation that cannot be written as ONNX.

    Example:
      >>> double = onnx_session(lambda images: {"sum": 2.0 * images.astype(jnp.float32).sum(axis=(1, 2, 3))}, 2)
      >>> double(np.ones((3, 2, 2, 3), np.uint8))["sum"].tolist()
      [24.0, 24.0, 24.0]
    """
    check_installed()
    import onnxruntime

    from skinjax.predict.export.operators import emit
    from skinjax.predict.export.program import trace

    (count,) = jax_export.symbolic_shape("n")
    shapes = [jax.ShapeDtypeStruct((count, image_size, image_size, 3), jnp.uint8)]
    if columns:
        shapes.append(jax.ShapeDtypeStruct((count, columns), jnp.float32))
    inputs = ("images", "columns")[: len(shapes)]
    structure: Any = None

    def leaves(*arguments: jax.Array) -> list[jax.Array]:
        nonlocal structure
        found, structure = jax.tree.flatten(function(*arguments))
        return found

    program = trace(leaves, *shapes)
    outputs = [f"output_{number}" for number in range(len(program.outputs))]
    model = emit(program, inputs, outputs).finished({}, NOTICE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _cores()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(*arguments: np.ndarray) -> Any:
        named = dict(zip(inputs, map(np.asarray, arguments), strict=True))
        return jax.tree.unflatten(structure, session.run(outputs, named))

    return run


def _cores() -> int:
    """Returns the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
