"""Batch normalisation, and a convolution followed by it: the unit that most backbones are made of.

Batch normalisation (Ioffe & Szegedy 2015) in training subtracts from every channel its mean over photos and places,
divides by its deviation, scales and shifts. Forward takes two sums over the map and backward two more, and those sums
are most of its cost: they go through `skinjax.models.ops.reductions`. Variances are those of the batch, divided
by its number of places (Keras's running variance likewise, PyTorch's divides by one less).

References:
  Ioffe & Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
  ICML 2015.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from skinjax.models.ops.layers import Conv
from skinjax.models.ops.reductions import sums_over_rows

Statistics = tuple[jax.Array, jax.Array]
Activation = Literal["none", "relu", "relu6", "swish"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalize_batch(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: Activation = "none",
    axis_name: str | None = None,
) -> tuple[jax.Array, Statistics]:
    """Normalises a batch by its own statistics, then activates.

    One operation, so that nothing but its input is kept for the way back, where what lies between is computed anew.
    The gradient does not pass through the returned statistics, which are for running averages.

    Args:
      x: Feature maps [N, H, W, C], floating.
      scale: float32 [C].
      bias: float32 [C].
      epsilon: Number added to the variance.
      activation: "none", "relu", "relu6" (min(max(z, 0), 6)), or "swish" (z · sigmoid(z)).
      axis_name: Mapped axis that the batch is spread over; None where it is whole.

    Returns:
      activation(z) with z = (x - mean) / sqrt(variance + epsilon) · scale + bias, of the dtype of `x`, and mean and
      variance, float32 [C].

    Example:
      >>> x = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
      >>> y, (mean, variance) = normalize_batch(x, jnp.ones(1), jnp.zeros(1), 0.0)
      >>> y.ravel().tolist(), mean.item(), variance.item()
      ([-1.0, 1.0], 2.0, 1.0)
      >>> normalize_batch(x, jnp.ones(1), jnp.zeros(1), 0.0, "relu")[0].ravel().tolist()
      [0.0, 1.0]
    """
    return _normalize(x, scale, bias, epsilon, activation, axis_name)[0]


def activate(z: jax.Array, activation: Activation) -> jax.Array:
    """Applies an activation by its name.

    Swish is z / (1 + exp(-z)) and not z times a sigmoid, of which XLA's CPU backend makes two passes over memory.
    """
    if activation == "none":
        return z
    if activation == "swish":
        return z / _one_plus_exp(z)
    return nn.relu(z) if activation == "relu" else nn.relu6(z)


def _one_plus_exp(z: jax.Array) -> jax.Array:
    """Returns 1 + exp(-z), kept finite; below -80 swish and its slope are 0 to float32 anyway."""
    return 1 + jnp.exp(-jnp.maximum(z, -80))


def _slope(z: jax.Array, activation: Activation) -> jax.Array | float:
    """Returns the derivative of the activation; that of the rectifiers is 0 at 0, and of ReLU6 at 6."""
    if activation == "none":
        return 1.0
    if activation == "relu":
        return (z > 0).astype(z.dtype)
    if activation == "relu6":
        return ((z > 0) & (z < 6)).astype(z.dtype)
    gate = 1 / _one_plus_exp(z)
    return gate * (1 + z * (1 - gate))


def _channel_means(sums: tuple[jax.Array, ...], places: int, axis_name: str | None) -> tuple[jax.Array, ...]:
    means = tuple(total.sum(axis=(0, 1)) / places for total in sums)
    return means if axis_name is None else lax.pmean(means, axis_name)


def _places(x: jax.Array) -> int:
    return x.shape[0] * x.shape[1] * x.shape[2]


def _normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: Activation,
    axis_name: str | None,
) -> tuple[tuple[jax.Array, Statistics], jax.Array]:
    sums = sums_over_rows(lambda rows: (rows, rows * rows), x)
    mean, mean_square = _channel_means(sums, _places(x), axis_name)
    variance = jnp.maximum(mean_square - mean * mean, 0)
    inverse = lax.rsqrt(variance + epsilon)
    y = activate((x - mean) * (inverse * scale) + bias, activation).astype(x.dtype)
    return (y, (mean, variance)), inverse


def _normalize_batch_fwd(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: Activation,
    axis_name: str | None,
) -> tuple[tuple[jax.Array, Statistics], tuple[jax.Array, ...]]:
    (y, (mean, variance)), inverse = _normalize(x, scale, bias, epsilon, activation, axis_name)
    return (y, (mean, variance)), (x, scale, bias, mean, inverse)


def _normalize_batch_bwd(
    epsilon: float,
    activation: Activation,
    axis_name: str | None,
    residuals: tuple[jax.Array, ...],
    gradients: tuple[jax.Array, Statistics],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, bias, mean, inverse = residuals
    change = gradients[0]

    def before_activation(x: jax.Array, change: jax.Array) -> jax.Array:
        return change * _slope((x - mean) * (inverse * scale) + bias, activation)

    def terms(rows: jax.Array, changes: jax.Array) -> tuple[jax.Array, jax.Array]:
        changes = before_activation(rows, changes)
        return changes, changes * (rows - mean)

    sums = sums_over_rows(terms, x, change)
    d_bias, d_scale = (total.sum(axis=(0, 1)) for total in sums)
    mean_change, mean_product = _channel_means(sums, _places(x), axis_name)
    slope = inverse * inverse * mean_product
    d_x = (scale * inverse) * (before_activation(x, change) - mean_change - (x - mean) * slope)
    return d_x.astype(x.dtype), d_scale * inverse, d_bias


normalize_batch.defvjp(_normalize_batch_fwd, _normalize_batch_bwd)


class BatchNorm(nn.Module):
    """The layer: parameters `scale` and `bias`, running statistics `mean` and `var`, all float32 [C].

    Attributes:
      epsilon: Number added to the variance.
      momentum: Weight of the old running statistics.
      use_scale: Whether there is a scale.
      axis_name: Mapped axis that the batch is spread over (`jax.pmap`).
      dtype: Dtype of the result.
    """

    epsilon: float
    momentum: float
    use_scale: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, activation: Activation = "none") -> jax.Array:
        """Normalises [N, H, W, C], by the batch's statistics in training and by the running ones else; activates."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels) if self.use_scale else jnp.ones(channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        if not train:
            factor = lax.rsqrt(var.value + self.epsilon) * scale
            return activate((x - mean.value) * factor + bias, activation).astype(self.dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        y, statistics = normalize_batch(x, scale, bias, self.epsilon, activation, axis_name)
        if not self.is_initializing():
            for running, value in zip((mean, var), statistics, strict=True):
                running.value = self.momentum * running.value + (1 - self.momentum) * value
        return y.astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Settings of all batch normalisations of a network.

    Attributes:
      epsilon: Number added to the variance.
      momentum: Weight of the old running statistics.
      use_scale: Whether a learned scale per channel multiplies. Where a rectifier and another normalised layer follow,
        a scale changes nothing that they could not undo, and Inception networks were published without.
      axis_name: Mapped axis over which batch statistics are averaged (`jax.pmap`).
      dtype: Dtype of the computation around it and of its result.
    """

    epsilon: float
    momentum: float
    use_scale: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def __call__(self, x: jax.Array, name: str, *, train: bool, activation: Activation = "none") -> jax.Array:
        """Normalises and activates by the layer of this name; to be called inside of a compact Linen method."""
        layer = BatchNorm(self.epsilon, self.momentum, self.use_scale, self.axis_name, self.dtype, name=name)
        return layer(x, train=train, activation=activation)


def conv_norm(
    x: jax.Array,
    name: str,
    features: int,
    kernel_size: tuple[int, int],
    norm: Norm,
    *,
    train: bool,
    stride: int = 1,
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME",
    activation: Activation = "relu",
    gate: jax.Array | None = None,
) -> jax.Array:
    """Convolves without bias, normalises and activates.

    To be called inside of a compact Linen method, whose module gets the layers `<name>` and `<name>_norm`.

    Args:
      x: Feature maps [N, H, W, in].
      name: Name of the convolution.
      features: Output channels.
      kernel_size: Rows and columns of the kernel.
      norm: Settings of normalisations.
      train: Whether to normalise by the batch's own statistics.
      stride: Step of both spatial axes.
      padding: "SAME" (TensorFlow's), "VALID", or explicit ((top, bottom), (left, right)).
      activation: Function applied last.
      gate: [N, in], factors of each photo's channels before a 1 × 1 convolution.

    Returns:
      Feature maps [N, H', W', features].
    """
    x = Conv(features, kernel_size, stride, padding, dtype=norm.dtype, name=name)(x, gate)
    return norm(x, f"{name}_norm", train=train, activation=activation)
