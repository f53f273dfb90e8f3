"""Layers that the backbones share: convolutions, squeeze-and-excitation, stochastic depth.

Feature maps are [N, H, W, C]. Every layer computes in its `dtype` and keeps its parameters in float32.
Kernels have the shapes that Keras gives them ([k, k, in, out]; depthwise [k, k, 1, channels]), 1 × 1
kernels included.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from skinjax.models.ops.depthwise import depthwise_conv
from skinjax.models.ops.gated import project_gated
from skinjax.models.ops.reductions import spatial_mean


def fan_out_deviation(shape: tuple[int, ...]) -> float:
    """Returns the standard deviation sqrt(2 / fan-out) with which a convolution's kernel [k_h, k_w, in, out] starts.

    Fan-out is k_h · k_w · out. In a depthwise kernel [k_h, k_w, 1, channels] every output belongs to a group
    of its own, so there it is k_h · k_w: the rule that EfficientNet was published with (He et al. 2015, in
    the backward direction). A kernel of a single input channel is taken for a depthwise one.

    Example:
      >>> fan_out_deviation((3, 3, 16, 50)), round(fan_out_deviation((3, 3, 1, 50)), 4)
      (0.06666666666666667, 0.4714)
    """
    rows, columns, inputs, outputs = shape
    return math.sqrt(2 / (rows * columns * (1 if inputs == 1 else outputs)))


def fan_in_limit(shape: tuple[int, ...]) -> float:
    """Returns the limit 1 / sqrt(in) of the even distribution with which a dense kernel [in, out] starts.

    EfficientNet's code has 1 / sqrt(out), which for ImageNet's 1,000 classes is nearly the same. With the six
    or nineteen classes of a skin taxonomy it would start the logits ten times larger than that, and the
    first steps of SGD would go into undoing it.
    """
    return 1 / math.sqrt(shape[0])


def fan_out_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a convolution's kernel from a normal distribution of `fan_out_deviation`."""
    return fan_out_deviation(shape) * jax.random.normal(key, shape, dtype)


def fan_in_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a dense kernel evenly from within ± `fan_in_limit`."""
    limit = fan_in_limit(shape)
    return jax.random.uniform(key, shape, dtype, -limit, limit)


class Conv(nn.Module):
    """Dense convolution; of 1 × 1 kernels with stride 1 a matrix product, which is faster on every platform.

    Attributes:
      features: Output channels.
      kernel_size: Rows and columns of the kernel.
      stride: Step of both spatial axes.
      padding: "SAME" (TensorFlow's), "VALID", or explicit ((top, bottom), (left, right)).
      use_bias: Whether a bias per channel is added.
      dtype: Dtype of the computation and of the result.
    """

    features: int
    kernel_size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, gate: jax.Array | None = None) -> jax.Array:
        """Maps [N, H, W, in] to [N, H', W', features].

        Args:
          x: Feature maps.
          gate: [N, in], factors of each photo's channels before the convolution.

        Raises:
          ValueError: There is a gate, and the kernel is not 1 × 1 with stride 1.
        """
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", fan_out_normal, shape).astype(self.dtype)
        x = x.astype(self.dtype)
        if gate is not None:
            if self.kernel_size != (1, 1) or self.stride != 1:
                raise ValueError(
                    f"gate needs kernel_size (1, 1) and stride 1, got {self.kernel_size} and {self.stride}"
                )
            y = project_gated(x, gate.astype(self.dtype), kernel[0, 0])
        elif self.kernel_size == (1, 1) and self.stride == 1:
            # In two dimensions: XLA's CPU product over four-dimensional maps has a gradient ten times slower.
            y = jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0]).reshape(*x.shape[:-1], self.features)
        else:
            strides = (self.stride, self.stride)
            numbers = ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(x, kernel, strides, self.padding, dimension_numbers=numbers)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class DepthwiseConv(nn.Module):
    """Convolution by one k × k filter per channel, without bias.

    Attributes:
      kernel_size: Rows and columns of the kernel.
      stride: Step of both spatial axes.
      padding: "SAME" (TensorFlow's), "VALID", or explicit ((top, bottom), (left, right)).
      dtype: Dtype of the computation and of the result.
    """

    kernel_size: tuple[int, int]
    stride: int = 1
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [N, H, W, C] to [N, H', W', C]."""
        kernel = self.param("kernel", fan_out_normal, (*self.kernel_size, 1, x.shape[-1]))
        return depthwise_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): a factor for every channel, from the averages of all channels.

    The map is scaled where it is convolved next, by `Conv`.

    Attributes:
      hidden: Channels of the bottleneck.
      dtype: Dtype of the computation and of the result.
    """

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [N, H, W, C] to factors [N, C] in (0, 1)."""
        pooled = spatial_mean(x)[:, None, None]
        hidden = nn.swish(Conv(self.hidden, use_bias=True, dtype=self.dtype, name="reduce")(pooled))
        gate = nn.sigmoid(Conv(x.shape[-1], use_bias=True, dtype=self.dtype, name="expand")(hidden))
        return jnp.squeeze(gate, (1, 2))


DATA_AXIS = "data"  # the mapped axis that a batch is spread over, under `jax.pmap` and `jax.shard_map`


def keep_photos(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """Draws which entries dropout keeps, the same for a photo wherever its batch is computed.

    Inside of a mapped axis called `DATA_AXIS` the draws are those of the whole batch, of which every device takes its
    part: a batch spread over devices is dropped as on one.

    Args:
      key: Random key, the same on all devices.
      rate: Probability in [0, 1) that an entry is dropped.
      shape: [N, ...] with N the photos on this device.

    Returns:
      bool of the shape, True where kept.
    """
    try:
        index, devices = lax.axis_index(DATA_AXIS), lax.axis_size(DATA_AXIS)
    except NameError:  # not mapped
        return jax.random.bernoulli(key, 1 - rate, shape)
    whole = jax.random.bernoulli(key, 1 - rate, (shape[0] * devices, *shape[1:]))
    return lax.dynamic_slice_in_dim(whole, index * shape[0], shape[0])


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014): in training zeroes entries and divides the others by the share that is kept.

    Needs the "dropout" random stream.

    Attributes:
      rate: Probability in [0, 1) that an entry is dropped.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [N, ...] to the same shape."""
        if not train or self.rate == 0:
            return x
        kept = keep_photos(self.make_rng("dropout"), self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros((), x.dtype))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training drops a whole residual branch, photo by photo.

    What is kept is divided by the probability of being kept, so the expectation is that of evaluation,
    where the layer does nothing. Needs the "dropout" random stream.

    Attributes:
      rate: Probability in [0, 1) that a photo's branch is dropped.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps the branch's output [N, ...] to the same shape."""
        if not train or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = keep_photos(self.make_rng("dropout"), self.rate, shape)
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros((), x.dtype))
