"""XLA compilation options for these networks, for the `jax.jit` that is outermost.

On CPU, jaxlib 0.10 hands convolutions and matrix products to YNNPACK, which takes two to six times as long for dense
convolutions as XLA's own call of Eigen; and of vectors of 512 bits, where a CPU has them, XLA uses only half. Options
are a mapping that `jax.jit` takes:

    predict = jax.jit(model.apply, compiler_options=compiler_options())

skinjax's own training step and prediction are compiled so. They change speed, and results within rounding.
"""

from __future__ import annotations

import functools

import jax

_CPU = {"xla_cpu_experimental_ynn_fusion_type": "", "xla_cpu_prefer_vector_width": "512"}


@functools.cache
def compiler_options() -> dict[str, str]:
    """Options for the devices that JAX uses; none where they are not CPUs or where jaxlib does not know them.

    Example:
      >>> double = jax.jit(lambda x: 2 * x, compiler_options=compiler_options())
      >>> double(1.5).item()
      3.0
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_CPU).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # an experimental option may go with any release
        return {}
    return dict(_CPU)
