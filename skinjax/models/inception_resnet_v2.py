"""Inception-ResNet-v2 (Szegedy et al. 2017), in the form whose ImageNet weights its authors published.

`BLOCKS` lists the 43 modules in order: mixed_5b, ten of Inception-ResNet-A ("block35", for its 35 × 35 maps), the
reduction mixed_6a, twenty of -B ("block17"), the reduction mixed_7a, ten of -C ("block8"); then a 1 × 1
convolution ("top"), mean, dropout, head. A residual module adds its branches, brought to the trunk's width by a 1 × 1
convolution with bias, `scale` times to the trunk; a rectifier follows, but for the last.

The published weights' network differs from the paper's figures in its stem (that of InceptionV3) and in widths; so
do Keras's and timm's, which are followed here. `inception_resnet_v2` normalises without a scale (TensorFlow, Keras),
`inception_resnet_v2_torch` with one (timm).

How a module is called, its named features and its variables are as in `skinjax.models.efficientnet`.

References:
  Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, AAAI 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.branches import MAX_POOL, MEAN_POOL, Branch, conv, reduce, run_branches
from skinjax.models.features import FeatureMaps
from skinjax.models.inception_v3 import SMALLEST_SIZE, STEM_LAYERS, run_stem
from skinjax.models.layers import Conv
from skinjax.models.normalization import Norm, conv_norm
from skinjax.models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Block:
    """A module: its branches and, where it is residual, how they are added to the trunk.

    Attributes:
      name: name of its layer.
      branches: the table of its branches.
      scale: factor of the branches; None for a module that replaces the trunk.
      rectified: whether a rectifier follows.
    """

    name: str
    branches: tuple[Branch, ...]
    scale: float | None = None
    rectified: bool = True


_A: tuple[Branch, ...] = ((conv(32),), (conv(32), conv(32, 3)), (conv(32), conv(48, 3), conv(64, 3)))
_B: tuple[Branch, ...] = ((conv(192),), (conv(128), conv(160, 1, 7), conv(192, 7, 1)))
_C: tuple[Branch, ...] = ((conv(192),), (conv(192), conv(224, 1, 3), conv(256, 3, 1)))
BLOCKS: tuple[Block, ...] = (
    Block(
        "mixed_5b",
        (
            (conv(96),),
            (conv(48), conv(64, 5)),
            (conv(64), conv(96, 3), conv(96, 3)),
            (MEAN_POOL, conv(64)),
        ),
    ),
    *(Block(f"block35_{i:02d}", _A, 0.17) for i in range(1, 11)),
    Block("mixed_6a", ((reduce(384),), (conv(256), conv(256, 3), reduce(384)), (MAX_POOL,))),
    *(Block(f"block17_{i:02d}", _B, 0.1) for i in range(1, 21)),
    Block(
        "mixed_7a",
        (
            (conv(256), reduce(384)),
            (conv(256), reduce(288)),
            (conv(256), conv(288, 3), reduce(320)),
            (MAX_POOL,),
        ),
    ),
    *(Block(f"block8_{i:02d}", _C, 0.2) for i in range(1, 10)),
    Block("block8_10", _C, 1.0, rectified=False),
)
TOP_FEATURES = 1536
BN_SCALE: Mapping[str, bool] = {"inception_resnet_v2": False, "inception_resnet_v2_torch": True}


class Mixed(nn.Module):
    """An Inception module, residual or not."""

    block: Block
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, in] to [N, H', W', out]; a residual module keeps the shape."""
        y = run_branches(x, self.block.branches, self.norm, train=train)
        if self.block.scale is None:
            return y
        y = Conv(x.shape[-1], use_bias=True, dtype=self.norm.dtype, name="up")(y)
        x = x + y * self.block.scale
        return nn.relu(x) if self.block.rectified else x


class InceptionResNetV2(nn.Module):
    """The network; see `skinjax.models.efficientnet` for how networks are called.

    Attributes:
      num_classes: outputs of the head.
      bn_scale: whether normalisation has a scale.
      dropout_rate: dropout before the head.
      bn_epsilon: added to the variance in every normalisation.
      bn_momentum: weight of the old running statistics.
      axis_name: mapped axis over which batch statistics are averaged; for `jax.pmap` only.
      dtype: dtype of the computation; parameters, running statistics and logits are float32.
    """

    num_classes: int
    bn_scale: bool = False
    dropout_rate: float = 0.2
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.99
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool = False,
        features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes the logits float32 [N, num_classes] of photos [N, H, W, 3], or all named features."""
        norm = Norm(self.bn_epsilon, self.bn_momentum, self.bn_scale, self.axis_name, self.dtype)
        maps = FeatureMaps(images, offsets, SMALLEST_SIZE)
        x = maps.record("stem", run_stem(images, norm, train=train))
        for block in BLOCKS:
            x = maps.record(block.name, Mixed(block, norm, name=block.name)(x, train=train))
        x = maps.record("top", conv_norm(x, "top", TOP_FEATURES, (1, 1), norm, train=train))
        return maps.classify(
            x, self.num_classes, self.dropout_rate, self.dtype, train=train, features=features
        )


PAPER = "Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, AAAI 2017"
_WEIGHTS = {
    "inception_resnet_v2": "ImageNet weights of Keras's applications (Apache-2.0), .h5",
    "inception_resnet_v2_torch": "ImageNet weights of timm's inception_resnet_v2 (Apache-2.0)",
}
SPECS: Mapping[str, ModelSpec] = {
    name: ModelSpec(
        name=name,
        family="inception_resnet_v2",
        image_size=299,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        feature_width=TOP_FEATURES,
        bn_epsilon=1e-3,
        bn_momentum=0.99,
        padding="SAME",
        stem=STEM_LAYERS,
        block_names=tuple(block.name for block in BLOCKS),
        top=("top", "top_norm"),
        head="head",
        dropout_rate=0.2,
        drop_path_rate=0.0,
        paper=PAPER,
        weights=_WEIGHTS[name],
    )
    for name in BN_SCALE
}


def build(
    spec: ModelSpec,
    num_classes: int,
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    dropout_rate: float,
    drop_path_rate: float,
    bn_momentum: float,
) -> InceptionResNetV2:
    """Builds the network of a spec of this family."""
    return InceptionResNetV2(
        num_classes, BN_SCALE[spec.name], dropout_rate, spec.bn_epsilon, bn_momentum, axis_name, dtype
    )
