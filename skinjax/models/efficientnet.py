"""EfficientNet B0 to B7 (Tan & Le 2019), and a nano of our own for laptops, demonstrations and tests.

A variant is a row of `VARIANTS`: it widens and deepens the seven stages of `STAGES`, which are those of
table 4-2 of the thesis (table 1 of the paper). The network is

    stem (conv 3 × 3 / 2) -> block_00, block_01, ... -> top (conv 1 × 1) -> mean -> dropout -> head

and every block is an MBConv: expand (1 × 1), depthwise (k × k), squeeze-and-excitation, project (1 × 1),
and a residual connection where the block keeps its input's shape. Convolutions pad as TensorFlow's "SAME"
does and are followed by batch normalisation (epsilon 1e-3, momentum 0.99) and, but for the projection, swish.

A module is used as a pure function:

    logits = model.apply(variables, images)                                       # evaluation
    logits, changes = model.apply(variables, images, train=True,                  # training
                                  mutable=["batch_stats"], rngs={"dropout": key})
    named = model.apply(variables, images, features=True)                         # named features

`features=True` returns a dict: "stem", "block_00", ..., "top" (feature maps [N, h, w, c] as the next layer
reads them), "pooled" [N, feature width] and "logits" [N, classes]. The spec has the names in order.
The gradient of a logit with respect to any of the maps, which Grad-CAM asks for, is that with respect to
a zero `offsets={"block_15": zeros}` that is added to the map of that name.

Variables are {"params": ..., "batch_stats": ...}, whose top-level keys are those names and "head".

References:
  Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.features import FeatureMaps
from skinjax.models.layers import DepthwiseConv, DropPath, SqueezeExcite
from skinjax.models.normalization import Norm, conv_norm
from skinjax.models.spec import ModelSpec

BN_EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one shape: the first has the stage's stride, the others stride 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    features: int


STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, features=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, features=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, features=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, features=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, features=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, features=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, features=320),
)
STEM_FEATURES, TOP_FEATURES = 32, 1280


@dataclasses.dataclass(frozen=True)
class Variant:
    """How a member of the family scales the stages, and how it is regularised."""

    width: float
    depth: float
    image_size: int
    dropout_rate: float
    drop_path_rate: float = 0.2
    bn_momentum: float = 0.99


VARIANTS: Mapping[str, Variant] = {
    "efficientnet_b0": Variant(width=1.0, depth=1.0, image_size=224, dropout_rate=0.2),
    "efficientnet_b1": Variant(width=1.0, depth=1.1, image_size=240, dropout_rate=0.2),
    "efficientnet_b2": Variant(width=1.1, depth=1.2, image_size=260, dropout_rate=0.3),
    "efficientnet_b3": Variant(width=1.2, depth=1.4, image_size=300, dropout_rate=0.3),
    "efficientnet_b4": Variant(width=1.4, depth=1.8, image_size=380, dropout_rate=0.4),
    "efficientnet_b5": Variant(width=1.6, depth=2.2, image_size=456, dropout_rate=0.4),
    "efficientnet_b6": Variant(width=1.8, depth=2.6, image_size=528, dropout_rate=0.5),
    "efficientnet_b7": Variant(width=2.0, depth=3.1, image_size=600, dropout_rate=0.5),
    # Ours, in no paper and without pretrained weights: one block a stage, to be trained from scratch in
    # minutes. Its short runs need running statistics that follow quickly, and no stochastic depth.
    "efficientnet_nano": Variant(
        width=0.5, depth=0.25, image_size=96, dropout_rate=0.2, drop_path_rate=0.0, bn_momentum=0.9
    ),
}


@dataclasses.dataclass(frozen=True)
class Block:
    """One MBConv block of a variant, as it is built."""

    name: str
    stage: int
    kernel: int
    stride: int
    expansion: int
    features: int


def scale_features(features: int, width: float) -> int:
    """Scales a number of channels and rounds it to a multiple of 8, by at most 10% downwards.

    Example:
      >>> scale_features(32, 1.8), scale_features(320, 2.0)
      (56, 640)
    """
    scaled = features * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def plan_blocks(width: float, depth: float) -> tuple[Block, ...]:
    """Lists the blocks of a variant in order.

    Example:
      >>> blocks = plan_blocks(width=1.8, depth=2.6)  # EfficientNet-B6
      >>> len(blocks), blocks[-1]
      (45, Block(name='block_44', stage=6, kernel=3, stride=1, expansion=6, features=576))
    """
    blocks: list[Block] = []
    for number, stage in enumerate(STAGES):
        for repeat in range(math.ceil(depth * stage.repeats)):
            blocks.append(
                Block(
                    name=f"block_{len(blocks):02d}",
                    stage=number,
                    kernel=stage.kernel,
                    stride=stage.stride if repeat == 0 else 1,
                    expansion=stage.expansion,
                    features=scale_features(stage.features, width),
                )
            )
    return tuple(blocks)


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation (Tan & Le 2019; Sandler et al. 2018).

    Attributes:
      block: kernel, stride, expansion and output channels.
      drop_path_rate: probability that training drops the residual branch.
      bn_momentum: weight of the old running statistics.
      axis_name: mapped axis over which batch statistics are averaged (`jax.pmap`).
      dtype: dtype of the computation and of the result.
    """

    block: Block
    drop_path_rate: float = 0.0
    bn_momentum: float = 0.99
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, C] to [N, ceil(H / stride), ceil(W / stride), features]."""
        block, inputs = self.block, x
        norm, one = _norm(self), (1, 1)
        if block.expansion != 1:
            expanded = inputs.shape[-1] * block.expansion
            x = conv_norm(x, "expand", expanded, one, norm, train=train, activation="swish")
        kernel = (block.kernel, block.kernel)
        x = DepthwiseConv(kernel, block.stride, dtype=self.dtype, name="depthwise")(x)
        x = norm(x, "depthwise_norm", train=train, activation="swish")
        # The bottleneck is a quarter of the block's input, not of the expanded channels.
        x = SqueezeExcite(max(1, inputs.shape[-1] // 4), dtype=self.dtype, name="squeeze_excite")(x)
        x = conv_norm(x, "project", block.features, one, norm, train=train, activation="none")
        if inputs.shape == x.shape and block.stride == 1:
            x = DropPath(self.drop_path_rate, name="drop_path")(x, train=train) + inputs
        return x


class EfficientNet(nn.Module):
    """A member of the family; see the module's head for how it is called.

    Attributes:
      width: factor of the channels.
      depth: factor of the repeats.
      num_classes: outputs of the head.
      dropout_rate: dropout before the head.
      drop_path_rate: stochastic depth, block i of n having i / n of it.
      bn_momentum: weight of the old running statistics.
      axis_name: mapped axis over which batch statistics are averaged. Needed under `jax.pmap` only: under
        `jax.jit` a batch sharded over devices is one batch, and its statistics are global by themselves.
      dtype: dtype of the computation; parameters, running statistics and logits are float32.
    """

    width: float
    depth: float
    num_classes: int
    dropout_rate: float = 0.2
    drop_path_rate: float = 0.2
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
        """Computes the logits, or all named features.

        Args:
          images: normalised photos, floating [N, H, W, 3] (see `skinjax.models.pixels.normalize`).
          train: True normalises by the batch's own statistics, updates the running ones (the collection
            "batch_stats" must be mutable) and drops (the random stream "dropout" is needed where a rate
            is above 0).
          features: True returns the dict of named features, "logits" among them.
          offsets: added to the feature maps of these names.

        Returns:
          Logits float32 [N, num_classes], or the dict.

        Raises:
          ValueError: an offset bears the name of no feature map.
        """
        blocks = plan_blocks(self.width, self.depth)
        run = functools.partial(conv_norm, norm=_norm(self), train=train, activation="swish")
        maps = FeatureMaps(images, offsets)
        width = scale_features(STEM_FEATURES, self.width)
        x = maps.record("stem", run(images, "stem", width, (3, 3), stride=2))
        for index, block in enumerate(blocks):
            x = MBConv(
                block,
                self.drop_path_rate * index / len(blocks),
                self.bn_momentum,
                self.axis_name,
                self.dtype,
                name=block.name,
            )(x, train=train)
            x = maps.record(block.name, x)
        x = maps.record("top", run(x, "top", scale_features(TOP_FEATURES, self.width), (1, 1)))
        return maps.classify(
            x, self.num_classes, self.dropout_rate, self.dtype, train=train, features=features
        )


def _norm(module: Any) -> Norm:
    """How a module normalises."""
    return Norm(BN_EPSILON, module.bn_momentum, axis_name=module.axis_name, dtype=module.dtype)


def _spec(name: str, variant: Variant) -> ModelSpec:
    ours = name == "efficientnet_nano"
    return ModelSpec(
        name=name,
        family="efficientnet",
        image_size=variant.image_size,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        feature_width=scale_features(TOP_FEATURES, variant.width),
        bn_epsilon=BN_EPSILON,
        bn_momentum=variant.bn_momentum,
        padding="SAME",
        stem=("stem", "stem_norm"),
        block_names=tuple(block.name for block in plan_blocks(variant.width, variant.depth)),
        top=("top", "top_norm"),
        head="head",
        dropout_rate=variant.dropout_rate,
        drop_path_rate=variant.drop_path_rate,
        paper="none: skinjax's own small member of the EfficientNet family" if ours else PAPER,
        weights="none: train from scratch" if ours else WEIGHTS,
    )


PAPER = "Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019"
WEIGHTS = (
    "ImageNet weights as Google published them (Apache-2.0), also under the names tf_efficientnet_b0 to _b7 "
    "in timm; those marked ap (AdvProp) read pixels of mean 0.5 and std 0.5 instead"
)
SPECS: Mapping[str, ModelSpec] = {name: _spec(name, variant) for name, variant in VARIANTS.items()}


def build(
    spec: ModelSpec,
    num_classes: int,
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    dropout_rate: float,
    drop_path_rate: float,
    bn_momentum: float,
) -> EfficientNet:
    """Builds the network of a spec of this family."""
    variant = VARIANTS[spec.name]
    return EfficientNet(
        variant.width,
        variant.depth,
        num_classes,
        dropout_rate,
        drop_path_rate,
        bn_momentum,
        axis_name,
        dtype,
    )
