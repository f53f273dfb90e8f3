"""InceptionV3 (Szegedy et al. 2016).

`STEM` and `BLOCKS` are table 1 of the paper as its authors' code has it: seven stem layers, then eleven
Inception modules (figures 5, 6 and 7, with the two that halve the map), mean, dropout, head. Every convolution is
followed by batch normalisation (epsilon 1e-3) and a rectifier.

There are two rows, which differ in what cannot be seen from the sizes of the weights:

* `inception_v3`, as the authors' TensorFlow code and Keras: the mean over a window at the border counts what lies
  on the map, and normalisation has no scale;
* `inception_v3_torch`, as torchvision and timm: it counts the padding, and normalisation has a scale.

The named features are "stem", then the spec's blocks "mixed_00" to "mixed_10" (Keras's mixed0 to mixed10), "pooled",
"logits".

References:
  Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax

from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.backbones.branches import (
    MAX_POOL,
    MEAN_POOL,
    Branch,
    Fork,
    Pool,
    Unit,
    conv,
    reduce,
    run_branches,
)
from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.ops.pooling import max_pool
from skinjax.models.spec import ModelSpec

STEM: tuple[tuple[str, Unit | Pool], ...] = (
    ("conv_1a", reduce(32)),
    ("conv_2a", Unit(32, (3, 3), padding="VALID")),
    ("conv_2b", conv(64, 3)),
    ("pool_3a", MAX_POOL),
    ("conv_3b", conv(80)),
    ("conv_4a", Unit(192, (3, 3), padding="VALID")),
    ("pool_5a", MAX_POOL),
)


def _figure_5(pooled: int) -> tuple[Branch, ...]:
    return (
        (conv(64),),
        (conv(48), conv(64, 5)),
        (conv(64), conv(96, 3), conv(96, 3)),
        (MEAN_POOL, conv(pooled)),
    )


def _figure_6(n: int) -> tuple[Branch, ...]:
    return (
        (conv(192),),
        (conv(n), conv(n, 1, 7), conv(192, 7, 1)),
        (conv(n), conv(n, 7, 1), conv(n, 1, 7), conv(n, 7, 1), conv(192, 1, 7)),
        (MEAN_POOL, conv(192)),
    )


_WIDE = Fork((conv(384, 1, 3), conv(384, 3, 1)))
_FIGURE_7: tuple[Branch, ...] = (
    (conv(320),),
    (conv(384), _WIDE),
    (conv(448), conv(384, 3), _WIDE),
    (MEAN_POOL, conv(192)),
)
BLOCKS: tuple[tuple[str, tuple[Branch, ...]], ...] = (
    ("mixed_00", _figure_5(32)),
    ("mixed_01", _figure_5(64)),
    ("mixed_02", _figure_5(64)),
    ("mixed_03", ((reduce(384),), (conv(64), conv(96, 3), reduce(96)), (MAX_POOL,))),
    ("mixed_04", _figure_6(128)),
    ("mixed_05", _figure_6(160)),
    ("mixed_06", _figure_6(160)),
    ("mixed_07", _figure_6(192)),
    (
        "mixed_08",
        ((conv(192), reduce(320)), (conv(192), conv(192, 1, 7), conv(192, 7, 1), reduce(192)), (MAX_POOL,)),
    ),
    ("mixed_09", _FIGURE_7),
    ("mixed_10", _FIGURE_7),
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """Differences between the two variants."""

    bn_scale: bool
    pool_counts_padding: bool


VARIANTS: Mapping[str, Variant] = {
    "inception_v3": Variant(bn_scale=False, pool_counts_padding=False),
    "inception_v3_torch": Variant(bn_scale=True, pool_counts_padding=True),
}
SMALLEST_SIZE = 75  # of which the last modules see one place


class Mixed(nn.Module):
    """An Inception module: branches side by side, joined."""

    branches: tuple[Branch, ...]
    norm: Norm
    counts_padding: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, in] to [N, H', W', out]."""
        return run_branches(x, self.branches, self.norm, train=train, counts_padding=self.counts_padding)


class InceptionV3(Backbone):
    """A row of the family."""

    smallest_size: ClassVar[int] = SMALLEST_SIZE

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        variant = VARIANTS[self.spec.name]
        norm = dataclasses.replace(self.norm, use_scale=variant.bn_scale)
        x = maps.record("stem", run_stem(images, norm, train=train))
        for name, branches in BLOCKS:
            x = Mixed(branches, norm, variant.pool_counts_padding, name=name)(x, train=train)
            x = maps.record(name, x)
        return x


def run_stem(images: jax.Array, norm: Norm, *, train: bool) -> jax.Array:
    """Runs the seven layers before the first module, which Inception-ResNet-v2 has too in Keras's and timm's form."""
    x = images
    for name, layer in STEM:
        if isinstance(layer, Pool):
            x = max_pool(x, 3, 2, "VALID")
        else:
            x = conv_norm(
                x,
                name,
                layer.features,
                layer.kernel,
                norm,
                train=train,
                stride=layer.stride,
                padding=layer.padding,
            )
    return x


STEM_LAYERS = tuple(name + part for name, layer in STEM if isinstance(layer, Unit) for part in ("", "_norm"))
_SPEC = ModelSpec(
    name="inception_v3",
    family="inception_v3",
    image_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    feature_width=2048,
    stem=STEM_LAYERS,
    block_names=tuple(block for block, _ in BLOCKS),
    dropout_rate=0.2,
    paper="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
    weights="ImageNet weights of Keras's applications (Apache-2.0), .h5",
    imagenet="Keras's file inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
)
SPECS: Mapping[str, ModelSpec] = {
    "inception_v3": _SPEC,
    "inception_v3_torch": dataclasses.replace(
        _SPEC,
        name="inception_v3_torch",
        weights="ImageNet weights of torchvision (BSD-3-Clause) and timm's inception_v3",
        imagenet="hf:timm/inception_v3.tv_in1k",
    ),
}
