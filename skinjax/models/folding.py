"""Folding batch normalisation into the convolution before it, for networks that will not be trained further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from skinjax.models.spec import ModelSpec


def fold_batch_norm(variables: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """Moves every normalisation that follows a convolution into that convolution's kernel.

    What is left of the normalisation is its shift: mean 0, deviation 1, scale 1. The same module computes the same
    from the result, to rounding; fewer numbers differ from 0 and 1, which is what exports and quantisation need.
    It must not be trained further: the batch's own statistics would undo it. Normalisations that stand *before* a
    convolution (DenseNet's, but for its stem's and its bottlenecks') stay as they are.

    Args:
      variables: {"params": ..., "batch_stats": ...} of a network of this spec.
      spec: Its row in the registry.

    Returns:
      Variables of the same tree and shapes. The argument is not changed.

    Example:
      >>> import jax
      >>> from skinjax.models.registry import create, init_variables, spec
      >>> row = spec("efficientnet_nano")
      >>> variables = init_variables(create(row.name, num_classes=2), jax.random.key(0))
      >>> folded = fold_batch_norm(variables, row)
      >>> float(folded["batch_stats"]["stem_norm"]["mean"].max())
      0.0
    """
    params, statistics = _fold(variables["params"], variables["batch_stats"], spec)
    return {**variables, "params": params, "batch_stats": statistics}


def _fold(
    params: Mapping[str, Any], statistics: Mapping[str, Any], spec: ModelSpec
) -> tuple[dict[str, Any], dict[str, Any]]:
    params, statistics = dict(params), dict(statistics)
    for name, values in statistics.items():
        if "mean" not in values:
            params[name], statistics[name] = _fold(params[name], values, spec)
            continue
        convolution = _convolution_before(name, spec)
        if convolution not in params:
            continue
        norm = params[name]
        factor = lax.rsqrt(values["var"] + spec.bn_epsilon) * norm.get("scale", 1.0)
        # Output channels are the last axis, of depthwise kernels too.
        kernel = params[convolution]["kernel"] * factor
        params[convolution] = {**params[convolution], "kernel": kernel}
        params[name] = {
            **{key: jnp.ones_like(value) for key, value in norm.items() if key == "scale"},
            "bias": norm["bias"] - values["mean"] * factor,
        }
        statistics[name] = {
            "mean": jnp.zeros_like(values["mean"]),
            "var": jnp.full_like(values["var"], 1 - spec.bn_epsilon),
        }
    return params, statistics


def _convolution_before(name: str, spec: ModelSpec) -> str:
    """Returns the convolution whose output the normalisation reads; no layer's name where it reads something else."""
    return name.removesuffix("_norm") if spec.bn_folds is None else dict(spec.bn_folds).get(name, "")
