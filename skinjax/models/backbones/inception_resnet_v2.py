"""Inception-ResNet-v2 (Szegedy et al. 2017), in the form whose ImageNet weights its authors published.

`BLOCKS` lists the 43 modules in order: mixed_5b, ten of Inception-ResNet-A ("block35", for its 35 × 35 maps), the
reduction mixed_6a, twenty of -B ("block17"), the reduction mixed_7a, ten of -C ("block8"); then a 1 × 1
convolution ("top"), mean, dropout, head. A residual module adds its branches, brought to the trunk's width by a 1 × 1
convolution with bias, `scale` times to the trunk; a rectifier follows, but for the last.

The published weights' network differs from the paper's figures in its stem (that of InceptionV3) and in widths; so
do Keras's and timm's, which are followed here. `inception_resnet_v2` normalises without a scale (TensorFlow, Keras),
`inception_resnet_v2_torch` with one (timm).

References:
  Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, AAAI 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax

from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.backbones.branches import MAX_POOL, MEAN_POOL, Branch, conv, reduce, run_branches
from skinjax.models.backbones.inception_v3 import SMALLEST_SIZE, STEM_LAYERS, run_stem
from skinjax.models.ops.layers import Conv
from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Block:
    """A module: its branches and, where it is residual, how they are added to the trunk.

    Attributes:
      name: Name of its layer.
      branches: The table of its branches.
      scale: Factor of the branches; None for a module that replaces the trunk.
      rectified: Whether a rectifier follows.
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


class InceptionResNetV2(Backbone):
    """A row of the family."""

    smallest_size: ClassVar[int] = SMALLEST_SIZE

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        norm = dataclasses.replace(self.norm, use_scale=BN_SCALE[self.spec.name])
        x = maps.record("stem", run_stem(images, norm, train=train))
        for block in BLOCKS:
            x = maps.record(block.name, Mixed(block, norm, name=block.name)(x, train=train))
        return maps.record("top", conv_norm(x, "top", TOP_FEATURES, (1, 1), norm, train=train))


_SPEC = ModelSpec(
    name="inception_resnet_v2",
    family="inception_resnet_v2",
    image_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    feature_width=TOP_FEATURES,
    stem=STEM_LAYERS,
    block_names=tuple(block.name for block in BLOCKS),
    top=("top", "top_norm"),
    dropout_rate=0.2,
    paper="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, "
    "AAAI 2017",
    weights="ImageNet weights of Keras's applications (Apache-2.0), .h5",
    imagenet="Keras's file inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
)
SPECS: Mapping[str, ModelSpec] = {
    "inception_resnet_v2": _SPEC,
    "inception_resnet_v2_torch": dataclasses.replace(
        _SPEC,
        name="inception_resnet_v2_torch",
        weights="ImageNet weights of timm's inception_resnet_v2 (Apache-2.0)",
        imagenet="hf:timm/inception_resnet_v2.tf_in1k",
    ),
}
