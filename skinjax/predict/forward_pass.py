"""Forward passes of networks as pure functions, and the same compiled by XLA.

Networks of one backbone differ in their head alone, so `body_function` is traced and compiled once for all of them;
`network_function` is a whole network of any kind. Both give the maps and features that photos are compared by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from skinjax.models import compilation, registry
from skinjax.models.pixels import normalize

Body = tuple[jax.Array, tuple[jax.Array, jax.Array], jax.Array]
"""The last map [B, h, w, C], two textures float32[B, 2 C], and the means of the last map, float32[B, C]."""


def early_map(spec: registry.ModelSpec) -> str:
    """Returns the name of the map a third of the way in, which still knows texture that the last may have dropped.

    >>> early_map(registry.spec("efficientnet_b0"))
    'block_05'
    """
    return spec.map_names[len(spec.map_names) // 3]


def texture(feature_map: jax.Array) -> jax.Array:
    """Returns what a map says of light, colour and texture: its means and standard deviations, float32[B, 2 C].

    Args:
      feature_map: [B, h, w, C].

    >>> texture(jnp.array([[[[1.0], [3.0]]]])).tolist()
    [[2.0, 1.0]]
    """
    x = feature_map.astype(jnp.float32)
    return jnp.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=-1)


def body_function(backbone: str, precision: str) -> Callable[[Any, jax.Array], Body]:
    """Returns the function (variables, uint8[B, H, W, 3]) -> last map, two textures, means of the last map.

    Args:
      backbone: Name in the registry.
      precision: Dtype of the computation.

    Returns:
      The function; its variables have a head of one output, as `skinjax.predict.networks.Loaded.body`. The textures
      are of the first map and of `early_map`.
    """
    spec = registry.spec(backbone)
    model = registry.create(backbone, 1, dtype=jnp.dtype(precision))
    first, early, last = spec.map_names[0], early_map(spec), spec.map_names[-1]

    def run(variables: Any, images: jax.Array) -> Body:
        named = model.apply(variables, normalize(images, spec), features=True)
        return named[last], (texture(named[first]), texture(named[early])), named["pooled"]

    return run


def network_function(model: nn.Module, spec: registry.ModelSpec) -> Callable[..., Any]:
    """Returns the function (variables, uint8[B, H, W, 3]) -> the fields of `skinjax.predict.networks.Output`.

    Of a network that reads columns they come third, float32[B, D].

    Args:
      model: Any registered module; of its feature maps those are taken that it gives.
      spec: Its specification.
    """
    names = registry.feature_maps(model, spec)

    def run(
        variables: Any, images: jax.Array, *table: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array | None]:
        pixels = normalize(images, spec)
        if not names:
            logits = model.apply(variables, pixels, *table, train=False).astype(jnp.float32)
            return jax.nn.softmax(logits), (logits,), None
        named = model.apply(variables, pixels, *table, train=False, features=True)
        last = named[names[-1]]
        textures = (texture(named[names[0]]), texture(named[names[len(names) // 3]]))
        means = last.astype(jnp.float32).mean(axis=(1, 2))
        return jax.nn.softmax(named["logits"].astype(jnp.float32)), (*textures, means), last

    return run


@functools.lru_cache(maxsize=16)
def compiled_body(backbone: str, precision: str) -> Callable[[Any, jax.Array], Body]:
    """Returns `body_function` jitted."""
    return compilation.jit(body_function(backbone, precision))


@functools.lru_cache(maxsize=16)
def compiled_network(model: nn.Module, spec: registry.ModelSpec) -> Callable[..., Any]:
    """Returns `network_function` jitted."""
    return compilation.jit(network_function(model, spec))


@functools.cache
def compiled_head() -> Callable[..., jax.Array]:
    """Returns the jitted function (kernel, bias, pooled, precision) -> probabilities float32[B, K], as the head's."""

    def read(kernel: jax.Array, bias: jax.Array, pooled: jax.Array, precision: str) -> jax.Array:
        dtype = jnp.dtype(precision)
        logits = pooled.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)
        return jax.nn.softmax(logits.astype(jnp.float32))

    return jax.jit(read, static_argnames="precision")
