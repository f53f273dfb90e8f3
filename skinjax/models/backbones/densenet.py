"""DenseNet (Huang et al. 2017): every layer of a dense block reads what all earlier ones of the block wrote.

`LAYERS` is table 1 of the paper, the number of layers in each of the four dense blocks. A layer normalises, rectifies
and convolves 1 × 1 to four times the growth rate, then normalises, rectifies and convolves 3 × 3 to the growth
rate of 32, and its output is put behind its input. A transition between dense blocks halves channels and map. The stem
is a 7 × 7 convolution of stride 2 and a maximum over 3 × 3 windows; before the head come normalisation, rectifier and
mean. Padding is the same on both sides, and epsilon is Keras's 1.001e-5 (PyTorch's 1e-5 is the same to 1e-8).

What repeats is counted as a block, as it is in EfficientNet: `block_names` are the layers "dense_1_01" to "dense_4_16"
(Keras's conv2_block1 to conv5_block16) and the three transitions, 61 in all for DenseNet121.

The named features are "stem", the blocks, "top", "pooled", "logits".

References:
  Huang et al., Densely Connected Convolutional Networks, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.ops.layers import Conv
from skinjax.models.ops.normalization import Norm
from skinjax.models.ops.pooling import average_pool, max_pool
from skinjax.models.spec import ModelSpec

LAYERS: Mapping[str, tuple[int, ...]] = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
STEM_FEATURES, GROWTH, BOTTLENECK = 64, 32, 4


def plan_blocks(layers: tuple[int, ...]) -> Iterator[str]:
    """Yields the names of the dense layers and transitions in order.

    Example:
      >>> list(plan_blocks((2, 1)))
      ['dense_1_01', 'dense_1_02', 'transition_1', 'dense_2_01']
    """
    for number, count in enumerate(layers, 1):
        yield from (f"dense_{number}_{layer:02d}" for layer in range(1, count + 1))
        if number < len(layers):
            yield f"transition_{number}"


class DenseLayer(nn.Module):
    """A layer of a dense block: what it computes is put behind what it read."""

    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, C] to [N, H, W, C + 32]."""
        dtype = self.norm.dtype
        y = self.norm(x, "bottleneck_norm", train=train, activation="relu")
        y = Conv(BOTTLENECK * GROWTH, dtype=dtype, name="bottleneck")(y)
        y = self.norm(y, "conv_norm", train=train, activation="relu")
        y = Conv(GROWTH, (3, 3), dtype=dtype, name="conv")(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Halves the channels by a 1 × 1 convolution and the map by a mean over 2 × 2 windows.

    The mean is taken before the convolution, not after it as in the paper. Both are linear, so the result is the same
    to rounding, for a quarter of the work.
    """

    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, C] to [N, H // 2, W // 2, C // 2]."""
        y = self.norm(x, "norm", train=train, activation="relu")
        y = average_pool(y, 2, 2, "VALID")
        return Conv(x.shape[-1] // 2, dtype=self.norm.dtype, name="conv")(y)


class DenseNet(Backbone):
    """A member of the family."""

    smallest_size: ClassVar[int] = 32

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        x = Conv(STEM_FEATURES, (7, 7), 2, ((3, 3), (3, 3)), dtype=self.dtype, name="stem")(images)
        x = self.norm(x, "stem_norm", train=train, activation="relu")
        x = maps.record("stem", max_pool(x, 3, 2, ((1, 1), (1, 1))))
        for name in self.spec.block_names:
            block = DenseLayer if name.startswith("dense") else Transition
            x = maps.record(name, block(self.norm, name=name)(x, train=train))
        return maps.record("top", self.norm(x, "top_norm", train=train, activation="relu"))


def _feature_width(layers: tuple[int, ...]) -> int:
    width = STEM_FEATURES
    for number, count in enumerate(layers, 1):
        width += count * GROWTH
        width = width // 2 if number < len(layers) else width
    return width


SPECS: Mapping[str, ModelSpec] = {
    name: ModelSpec(
        name=name,
        family="densenet",
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        feature_width=_feature_width(layers),
        stem=("stem", "stem_norm"),
        block_names=tuple(plan_blocks(layers)),
        top=("top_norm",),
        bn_epsilon=1.001e-5,
        bn_folds=(("stem_norm", "stem"), ("conv_norm", "bottleneck")),
        padding="as given, the same on both sides",
        paper="Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        weights="ImageNet weights of Keras's applications (Apache-2.0), torchvision (BSD-3-Clause) and timm",
        imagenet=f"hf:timm/{name}.tv_in1k",
    )
    for name, layers in LAYERS.items()
}
