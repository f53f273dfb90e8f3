"""Batch normalisation, and a convolution followed by it: the unit that all backbones but DenseNet are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.layers import Conv


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

    def layer(self, name: str, *, train: bool) -> nn.BatchNorm:
        """Makes the layer of this name, to be called inside of a compact Linen method."""
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            use_scale=self.use_scale,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name=name,
        )


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
