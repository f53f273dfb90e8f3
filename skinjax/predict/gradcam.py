"""Grad-CAM: the places of a photo that speak for a class (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74).

With A_k the channels of a feature map [h, w] and y the score that is explained,

    map = relu(sum_k a_k A_k),    a_k = mean over places of dy / dA_k

Which maps a network gives is known (`skinjax.models.registry.feature_maps`): nothing is searched for or guessed. The
head of every `Backbone` is a dense layer on the mean of the last map, so there a_k is the head's weight over h w,
exactly, and no gradient has to be computed: `class_activation`, the class activation map of Zhou et al. 2016.
`grad_cam` differentiates, and takes any map of any network that gives maps.

**What is explained** is one class, or several as one (a meta-class by a network of its sub-classes): y is
log sum exp of their logits, which for one class is its logit.

Maps say where the network looked, not that it was right, nor why a doctor would look there. `randomization` checks that
they depend on what was learned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray

from skinjax.models import compilation
from skinjax.models.pixels import normalize
from skinjax.models.registry import feature_maps
from skinjax.models.spec import ModelSpec


def grad_cam(
    model: nn.Module,
    variables: Any,
    spec: ModelSpec,
    images: NDArray[np.uint8],
    members: NDArray[np.bool_],
    layer: str | None = None,
    table: NDArray[np.floating] | None = None,
) -> jax.Array:
    """Computes Grad-CAM by differentiation, at any feature map of any backbone.

    Args:
      model: A network of `skinjax.models`.
      variables: Of the network.
      spec: Its specification.
      images: uint8[N, H, W, 3].
      members: bool[N, K], which classes are explained, at least one per photo.
      layer: Name of the feature map, one of `skinjax.models.registry.feature_maps`; the last by default.
      table: float[N, D], encoded columns of a network that reads them; None for none.

    Returns:
      float32[N, h, w], at least 0, of the map's size and in the score's units.

    Raises:
      ValueError: The network gives no maps or not this one, or the members do not fit.

    References:
      Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    layer = check_layer(model, spec, layer)
    members = _members(members, len(images))
    more = () if table is None else (table,)
    result: jax.Array = compiled_grad_cam(model, spec, layer)(variables, jnp.asarray(images), members, *more)
    return result


@functools.lru_cache(maxsize=16)
def compiled_grad_cam(model: nn.Module, spec: ModelSpec, layer: str) -> Callable[..., jax.Array]:
    """Returns the jitted function (variables, images, members, [columns]) -> maps of `grad_cam`, arguments checked."""

    def compute(variables: Any, images: jax.Array, members: jax.Array, *table: jax.Array) -> jax.Array:
        pixels = normalize(images, spec)
        shapes = jax.eval_shape(functools.partial(model.apply, features=True), variables, pixels, *table)
        _check_classes(members.shape, shapes["logits"].shape)

        def score(offset: jax.Array) -> tuple[jax.Array, jax.Array]:
            named = model.apply(variables, pixels, *table, features=True, offsets={layer: offset})
            chosen = jnp.where(members, named["logits"], -jnp.inf)
            # Photos do not touch each other in evaluation, so one sum gives the gradient of each.
            return jax.nn.logsumexp(chosen, axis=-1).sum(), named[layer]

        zeros = jnp.zeros(shapes[layer].shape, jnp.float32)
        gradient, activations = jax.grad(score, has_aux=True)(zeros)
        weights = gradient.mean(axis=(1, 2))
        return _weighted(activations, weights)

    return compilation.jit(compute)


def class_activation(
    last_map: NDArray[np.floating],
    kernel: NDArray[np.floating],
    bias: NDArray[np.floating],
    members: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Computes `grad_cam` at the last map, from the map and the head alone.

    Args:
      last_map: float[N, h, w, C].
      kernel: float[C, K], the head's weights.
      bias: float[K].
      members: bool[N, K], which classes are explained, at least one per photo.

    Returns:
      float32[N, h, w], at least 0.

    Raises:
      ValueError: The members do not fit.

    Example:
      >>> last_map = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # two places, two channels
      >>> class_activation(last_map, np.array([[2.0, 0.0], [-4.0, 0.0]]), np.zeros(2), np.array([[True, False]]))
      array([[[1.],
              [0.]]], dtype=float32)
    """
    activations = np.asarray(last_map, np.float32)
    chosen = _members(members, len(activations))
    kernel = np.asarray(kernel, np.float32)
    _check_classes(chosen.shape, (len(chosen), kernel.shape[1]))
    logits = np.where(chosen, activations.mean(axis=(1, 2)) @ kernel + bias, -np.inf)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))  # d logsumexp / d logit
    shares /= shares.sum(axis=1, keepdims=True)
    places = activations.shape[1] * activations.shape[2]
    weights = (shares @ kernel.T / places).astype(np.float32)
    maps = np.einsum("nhwc,nc->nhw", activations, weights)
    return np.maximum(maps, 0).astype(np.float32)


def _weighted(activations: jax.Array, weights: jax.Array) -> jax.Array:
    maps = jnp.einsum(
        "nhwc,nc->nhw", activations.astype(jnp.float32), weights, precision=jax.lax.Precision.HIGHEST
    )
    return jax.nn.relu(maps)


def check_layer(model: nn.Module, spec: ModelSpec, layer: str | None) -> str:
    """Returns the name of the feature map that is explained.

    Args:
      model: A network of the spec.
      spec: Its specification.
      layer: Name of a map; None for the last.

    Raises:
      ValueError: The network gives no such map, or none at all.
    """
    names = feature_maps(model, spec)
    if not names:
        raise ValueError(
            f"model must give named feature maps to be explained by Grad-CAM, got {spec.name}, which gives none"
        )
    if layer is not None and layer not in names:
        raise ValueError(f"layer must be a feature map of {spec.name}, {', '.join(names)}; got {layer!r}")
    return layer or names[-1]


def _check_classes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise ValueError(f"members must be bool{list(expected)}, a column per class, got bool{list(shape)}")


def _members(members: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    chosen = np.asarray(members)
    if chosen.dtype != bool or chosen.ndim != 2 or len(chosen) != count:
        raise ValueError(f"members must be bool[{count}, K], got {chosen.dtype}{list(chosen.shape)}")
    if not chosen.any(axis=1).all():
        raise ValueError("members must name at least one class per photo, got none for some")
    return chosen
