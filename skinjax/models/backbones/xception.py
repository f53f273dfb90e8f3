"""Xception (Chollet 2017): Inception's idea taken to its end, depthwise separable convolutions in residual modules.

`MODULES` is figure 5 of the paper: 36 convolutions in 14 modules, of which the first has two ordinary ones and the
others separable ones (a 3 × 3 depthwise, then a 1 × 1 convolution, nothing in between), each followed by batch
normalisation. Modules 2 to 13 are residual: where they halve the map, by a maximum over 3 × 3 windows, the trunk goes
through a 1 × 1 convolution of stride 2.

There are two rows, which the sizes of the weights cannot tell apart:

* `xception`, as the author's Keras code: "SAME" padding of the pooling, epsilon 1e-3;
* `xception_torch`, as timm's `legacy_xception` and the PyTorch weights behind it: pooling padded by one on every side,
  which differs on maps of even size, epsilon 1e-5.

The named features are "block_01" to "block_14" (Keras's block1 to block14), "pooled", "logits". A map is what the
module hands on: rectified after the first and the last, not rectified between.

References:
  Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax

from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.ops.layers import Conv, DepthwiseConv
from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.ops.pooling import Pads, max_pool
from skinjax.models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Module:
    """One of the fourteen modules.

    Attributes:
      widths: Output channels of its convolutions in order.
      residual: Whether the trunk is added.
      stride: 2 where the module halves the map and widens the trunk.
      first_rectifier: Whether a rectifier stands before its first convolution.
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


POOL_PADDING: Mapping[str, str | Pads] = {"xception": "SAME", "xception_torch": ((1, 1), (1, 1))}


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


class Xception(Backbone):
    """A row of the family."""

    smallest_size: ClassVar[int] = 71

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        x, padding = images, POOL_PADDING[self.spec.name]
        for name, module in MODULES.items():
            x = maps.record(name, Block(module, self.norm, padding, name=name)(x, train=train))
        return x


_SPEC = ModelSpec(
    name="xception",
    family="xception",
    image_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    feature_width=2048,
    block_names=tuple(MODULES),
    dropout_rate=0.5,
    paper="Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017",
    weights="ImageNet weights of Keras's applications (Apache-2.0), .h5",
    imagenet="Keras's file xception_weights_tf_dim_ordering_tf_kernels.h5",
)
SPECS: Mapping[str, ModelSpec] = {
    "xception": _SPEC,
    "xception_torch": dataclasses.replace(
        _SPEC,
        name="xception_torch",
        bn_epsilon=1e-5,
        weights="ImageNet weights of timm's legacy_xception (Apache-2.0)",
        imagenet="timm's file xception-43020ad28.pth",
    ),
}
