"""Batch normalisation, and a convolution followed by it: the unit that most backbones are made of.

Batch normalisation (Ioffe & Szegedy 2015) in training subtracts from every channel its mean over photos and places,
divides by its deviation, scales and shifts. Forward takes two sums over the map and backward two more, and those sums
are most of its cost: they go through `skinjax.models.reductions`. Variances are those of the batch, divided
by its number of places (Keras's running variance likewise, PyTorch's divides by one less).

References:
  Ioffe & Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift, ICML 2015.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from skinjax.models.layers import Conv
from skinjax.models.reductions import sums_over_rows

Statistics = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None = None
) -> tuple[jax.Array, Statistics]:
    """Normalises a batch by its own statistics.

    The gradient does not pass through the returned statistics, which are for running averages.

    Args:
      x: feature maps [N, H, W, C], floating.
      scale: float32 [C].
      bias: float32 [C].
      epsilon: added to the variance.
      axis_name: mapped axis that the batch is spread over; None where it is whole.

    Returns:
      (x - mean) / sqrt(variance + epsilon) · scale + bias, of the dtype of `x`, and mean and variance, float32 [C].

    Example:
      >>> y, (mean, variance) = normalize_batch(
      ...     jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1), jnp.ones(1), jnp.zeros(1), 0.0
      ... )
      >>> y.ravel().tolist(), mean.item(), variance.item()
      ([-1.0, 1.0], 2.0, 1.0)
    """
    return _normalize(x, scale, bias, epsilon, axis_name)[0]


def _channel_means(sums: tuple[jax.Array, ...], places: int, axis_name: str | None) -> tuple[jax.Array, ...]:
    means = tuple(total.sum(axis=(0, 1)) / places for total in sums)
    return means if axis_name is None else lax.pmean(means, axis_name)


def _places(x: jax.Array) -> int:
    return x.shape[0] * x.shape[1] * x.shape[2]


def _normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, Statistics], jax.Array]:
    sums = sums_over_rows(lambda rows: (rows, rows * rows), x)
    mean, mean_square = _channel_means(sums, _places(x), axis_name)
    variance = jnp.maximum(mean_square - mean * mean, 0)
    inverse = lax.rsqrt(variance + epsilon)
    y = ((x - mean) * (inverse * scale) + bias).astype(x.dtype)
    return (y, (mean, variance)), inverse


def _normalize_batch_fwd(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, Statistics], tuple[jax.Array, ...]]:
    (y, (mean, variance)), inverse = _normalize(x, scale, bias, epsilon, axis_name)
    return (y, (mean, variance)), (x, scale, mean, inverse)


def _normalize_batch_bwd(
    epsilon: float,
    axis_name: str | None,
    residuals: tuple[jax.Array, ...],
    gradients: tuple[jax.Array, Statistics],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, mean, inverse = residuals
    change = gradients[0]

    def terms(rows: jax.Array, changes: jax.Array) -> tuple[jax.Array, jax.Array]:
        return changes, changes * (rows - mean)

    sums = sums_over_rows(terms, x, change)
    d_bias, d_scale = (total.sum(axis=(0, 1)) for total in sums)
    mean_change, mean_product = _channel_means(sums, _places(x), axis_name)
    slope = inverse * inverse * mean_product
    d_x = (scale * inverse) * (change - mean_change - (x - mean) * slope)
    return d_x.astype(x.dtype), d_scale * inverse, d_bias


normalize_batch.defvjp(_normalize_batch_fwd, _normalize_batch_bwd)


class BatchNorm(nn.Module):
    """The layer: parameters `scale` and `bias`, running statistics `mean` and `var`, all float32 [C].

    Attributes:
      epsilon: added to the variance.
      momentum: weight of the old running statistics.
      use_scale: whether there is a scale.
      axis_name: mapped axis that the batch is spread over (`jax.pmap`).
      dtype: dtype of the result.
    """

    epsilon: float
    momentum: float
    use_scale: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises [N, H, W, C], by the batch's statistics in training and by the running ones else."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels) if self.use_scale else jnp.ones(channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        if not train:
            factor = lax.rsqrt(var.value + self.epsilon) * scale
            return ((x - mean.value) * factor + bias).astype(self.dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        y, statistics = normalize_batch(x, scale, bias, self.epsilon, axis_name)
        if not self.is_initializing():
            for running, value in zip((mean, var), statistics, strict=True):
                running.value = self.momentum * running.value + (1 - self.momentum) * value
        return y.astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class Norm:
    """How all batch normalisations of a network are set.

    Attributes:
      epsilon: added to the variance.
      momentum: weight of the old running statistics.
      use_scale: multiplies by a learned scale a channel. Where a rectifier and another normalised layer follow,
        a scale changes nothing that they could not undo, and Inception networks were published without.
      axis_name: mapped axis over which batch statistics are averaged (`jax.pmap`).
      dtype: dtype of the computation around it and of its result.
    """

    epsilon: float
    momentum: float
    use_scale: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def layer(self, name: str, *, train: bool) -> Callable[[jax.Array], jax.Array]:
        """Makes the layer of this name, to be called inside of a compact Linen method."""
        layer = BatchNorm(
            self.epsilon, self.momentum, self.use_scale, self.axis_name, self.dtype, name=name
        )
        return functools.partial(layer, train=train)


def conv_norm(
    x: jax.Array,
    name: str,
    features: int,
    kernel_size: tuple[int, int],
    norm: Norm,
    *,
    train: bool,
    stride: int = 1,
    padding: str = "SAME",
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu,
) -> jax.Array:
    """Convolves without bias, normalises and activates.

    To be called inside of a compact Linen method, whose module gets the layers `<name>` and `<name>_norm`.

    Args:
      x: feature maps [N, H, W, in].
      name: of the convolution.
      features: output channels.
      kernel_size: rows and columns of the kernel.
      norm: how normalisations are set.
      train: whether to normalise by the batch's own statistics.
      stride: step of both spatial axes.
      padding: "SAME" (TensorFlow's) or "VALID".
      activation: applied last; None for none.

    Returns:
      Feature maps [N, H', W', features].
    """
    x = Conv(features, kernel_size, stride, padding, dtype=norm.dtype, name=name)(x)
    x = norm.layer(f"{name}_norm", train=train)(x)
    return x if activation is None else activation(x)
