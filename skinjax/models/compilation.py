"""XLA compilation options for these networks, for the transformation that is outermost.

On CPU, jaxlib 0.10 hands convolutions and matrix products to YNNPACK, which takes up to six times as long for dense
convolutions as XLA's own call of Eigen; and of vectors of 512 bits, where a CPU has them, XLA uses only half. `jit` and
`pmap` here are JAX's own with options that change that; skinjax's training step and prediction are compiled so:

    predict = compilation.jit(model.apply)
    step = compilation.jit(update, gradients=True)  # whose matrix products are faster by YNNPACK

A notebook or a program that calls `jax.jit` itself gets the former for all that it compiles, by its environment:

    XLA_FLAGS=$(python -m skinjax.models.compilation) jupyter lab

The options change speed, and results within rounding. JAX takes them for the outermost transformation alone: what `jit`
and `pmap` return may be called under `jax.jit`, `jax.grad`, `jax.vmap` and the like, and is then compiled with what is
around it, by that one's options.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.extend import core

_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
_CPU = {_YNNPACK: "", "xla_cpu_prefer_vector_width": "512"}


def compiler_options(*, gradients: bool = False) -> dict[str, str]:
    """Returns options for the devices that JAX uses; none where they are not CPUs or where jaxlib does not know them.

    Args:
      gradients: Whether the program is a training step, most of whose matrix products are gradients.

    Example:
      >>> double = jax.jit(lambda x: 2 * x, compiler_options=compiler_options())
      >>> double(1.5).item()
      3.0
    """
    return dict(_known_options(gradients)) if jax.default_backend() == "cpu" else {}


@functools.cache
def _known_options(gradients: bool) -> dict[str, str]:
    options = _CPU | ({_YNNPACK: "LIBRARY_FUSION_TYPE_DOT"} if gradients else {})
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # an experimental option may go with any release
        return {}
    return options


def xla_flags() -> str:
    """Returns the options as a value for the environment variable `XLA_FLAGS`, read by XLA when a process starts."""
    return " ".join(f"--{name}={value}" for name, value in compiler_options().items())


def is_outermost() -> bool:
    """Returns whether what is called here is computed, and not traced by a transformation around it.

    Example:
      >>> is_outermost(), jax.eval_shape(lambda: jax.numpy.ones(1 + is_outermost())).shape
      (True, (1,))
    """
    return bool(core.get_opaque_trace_state() == _outside())


@functools.cache
def _outside() -> Any:
    with ThreadPoolExecutor(
        1
    ) as pool:  # a new thread has no transformation around it, wherever this is asked first
        return pool.submit(core.get_opaque_trace_state).result()


def jit(function: Callable[..., Any], *, gradients: bool = False, **arguments: Any) -> Any:
    """Compiles a function as `jax.jit` does, with `compiler_options`.

    It asks JAX for its devices; in a run of several processes call it after `jax.distributed.initialize`.

    Args:
      function: The function, pure.
      gradients: Whether it is a training step.
      **arguments: As `jax.jit` takes them, but for `compiler_options`.

    Example:
      >>> jit(lambda x: 2 * x)(1.5).item()
      3.0
    """
    nested = jax.jit(function, **arguments)
    if not (options := compiler_options(gradients=gradients)):
        return nested
    compiled = jax.jit(function, compiler_options=options, **arguments)

    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        return (compiled if is_outermost() else nested)(*values, **named)

    for name in ("lower", "trace", "eval_shape", "clear_cache", "_cache_size"):
        setattr(call, name, getattr(compiled, name))
    return call


def pmap(
    function: Callable[..., Any], axis_name: str, *, gradients: bool = False, **arguments: Any
) -> Callable[..., Any]:
    """Maps a function over devices as `jax.pmap` does, with `compiler_options`, which that does not take.

    Args:
      function: The function, pure, of positional arguments.
      axis_name: Name of the mapped axis.
      gradients: Whether it is a training step.
      **arguments: As `jax.pmap` takes them.

    Returns:
      The mapped function, of positional arguments alone. It compiles for each new set of shapes and dtypes.

    Example:
      >>> pmap(lambda x: x / jax.lax.psum(x, "data"), "data")(jax.numpy.ones((1, 2))).tolist()
      [[1.0, 1.0]]
    """
    mapped = jax.pmap(function, axis_name, **arguments)
    if not (options := compiler_options(gradients=gradients)):
        return mapped
    programs: dict[Any, Callable[..., Any]] = {}

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        if not is_outermost():
            return mapped(*values)
        leaves, tree = jax.tree.flatten(values)
        kind = tree, tuple(jax.typeof(leaf) for leaf in leaves)
        if kind not in programs:
            programs[kind] = mapped.lower(*values).compile(compiler_options=options)
        return programs[kind](*values)

    return call


if __name__ == "__main__":
    print(xla_flags())
