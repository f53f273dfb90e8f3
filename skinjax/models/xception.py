"""Xception (Chollet 2017): Inception's idea taken to its end, depthwise separable convolutions in residual modules.

`MODULES` is figure 5 of the paper: 36 convolutions in 14 modules, of which the first has two ordinary ones and the
others separable ones (a 3 × 3 depthwise, then a 1 × 1 convolution, nothing in between), each followed by batch
normalisation. Modules 2 to 13 are residual: where they halve the map, by a maximum over 3 × 3 windows, the trunk goes
through a 1 × 1 convolution of stride 2.

There are two rows, which the sizes of the weights cannot tell apart:

* `xception`, as the author's Keras code: "SAME" padding of the pooling, epsilon 1e-3;
* `xception_torch`, as timm's `legacy_xception` and the PyTorch weights behind it: pooling padded by one on every side,
  which differs on maps of even size, epsilon 1e-5.

How a module is called, its named features and its variables are as in `skinjax.models.efficientnet`; the names are
"block_01" to "block_14" (Keras's block1 to block14), "pooled", "logits". A map is what the module hands on: rectified
after the first and the last, not rectified between.

References:
  Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.features import FeatureMaps
from skinjax.models.layers import Conv, DepthwiseConv
from skinjax.models.normalization import Norm, conv_norm
from skinjax.models.pooling import Pads, max_pool
from skinjax.models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Module:
    """One of the fourteen modules.

    Attributes:
      widths: output channels of its convolutions in order.
      residual: whether the trunk is added.
      stride: 2 where the module halves the map and widens the trunk.
      first_rectifier: whether a rectifier stands before its first convolution.
      separable: False for the ordinary convolutions of the first module.
    """

    widths: tuple[int, ...]
    residual: bool = True
    stride: int = 1
    first_rectifier: bool = True
    separable: bool = True


MODULES: Mapping[str, Module] = {
    "block_01": Module((32, 64), residual=False, stride=2, separable=False),
    "block_02": Module((128, 128), stride=2, first_rectifier=False),
    "block_03": Module((256, 256), stride=2),
    "block_04": Module((728, 728), stride=2),
    **{f"block_{number:02d}": Module((728, 728, 728)) for number in range(5, 13)},
    "block_13": Module((728, 1024), stride=2),
    "block_14": Module((1536, 2048), residual=False, first_rectifier=False),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """What the two rows differ in."""

    bn_epsilon: float
    pool_padding: str | Pads


VARIANTS: Mapping[str, Variant] = {
    "xception": Variant(bn_epsilon=1e-3, pool_padding="SAME"),
    "xception_torch": Variant(bn_epsilon=1e-5, pool_padding=((1, 1), (1, 1))),
}
SMALLEST_SIZE = 71


class Block(nn.Module):
    """A module of the table."""

    module: Module
    norm: Norm
    pool_padding: str | Pads

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [N, H, W, in] to [N, H', W', out]."""
        module, trunk = self.module, x
        if not module.separable:
            for number, width in enumerate(module.widths, 1):
                stride = module.stride if number == 1 else 1
                x = conv_norm(
                    x, f"conv_{number}", width, (3, 3), self.norm, train=train, stride=stride, padding="VALID"
                )
            return x
        if module.first_rectifier:
            x = nn.relu(x)
        for number, width in enumerate(module.widths, 1):
            rectified = number < len(module.widths) or not module.residual
            x = DepthwiseConv((3, 3), dtype=self.norm.dtype, name=f"depthwise_{number}")(x)
            x = conv_norm(
                x,
                f"pointwise_{number}",
                width,
                (1, 1),
                self.norm,
                train=train,
                activation="relu" if rectified else "none",
            )
        if not module.residual:
            return x
        if module.stride != 1:
            x = max_pool(x, 3, module.stride, self.pool_padding)
            trunk = Conv(module.widths[-1], (1, 1), module.stride, dtype=self.norm.dtype, name="trunk")(trunk)
            trunk = self.norm(trunk, "trunk_norm", train=train)
        return x + trunk


class Xception(nn.Module):
    """A row of the family; see `skinjax.models.efficientnet` for how networks are called.

    Attributes:
      variant: the row.
      num_classes: outputs of the head.
      dropout_rate: dropout before the head.
      bn_momentum: weight of the old running statistics.
      axis_name: mapped axis over which batch statistics are averaged; for `jax.pmap` only.
      dtype: dtype of the computation; parameters, running statistics and logits are float32.
    """

    variant: Variant
    num_classes: int
    dropout_rate: float = 0.5
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
        norm = Norm(self.variant.bn_epsilon, self.bn_momentum, True, self.axis_name, self.dtype)
        maps = FeatureMaps(images, offsets, SMALLEST_SIZE)
        x = images
        for name, module in MODULES.items():
            x = maps.record(name, Block(module, norm, self.variant.pool_padding, name=name)(x, train=train))
        return maps.classify(
            x, self.num_classes, self.dropout_rate, self.dtype, train=train, features=features
        )


PAPER = "Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017"
_WEIGHTS = {
    "xception": "ImageNet weights of Keras's applications (Apache-2.0), .h5",
    "xception_torch": "ImageNet weights of timm's legacy_xception (Apache-2.0)",
}
SPECS: Mapping[str, ModelSpec] = {
    name: ModelSpec(
        name=name,
        family="xception",
        image_size=299,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        feature_width=2048,
        bn_epsilon=variant.bn_epsilon,
        bn_momentum=0.99,
        padding="SAME",
        stem=(),
        block_names=tuple(MODULES),
        top=(),
        head="head",
        dropout_rate=0.5,
        drop_path_rate=0.0,
        paper=PAPER,
        weights=_WEIGHTS[name],
    )
    for name, variant in VARIANTS.items()
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
) -> Xception:
    """Builds the network of a spec of this family."""
    return Xception(VARIANTS[spec.name], num_classes, dropout_rate, bn_momentum, axis_name, dtype)
