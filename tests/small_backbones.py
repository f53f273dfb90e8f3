"""Runs an experiment with two backbones that compile in a second: `python tests/small_backbones.py train ...`."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from skinjax.models.features import FeatureMaps
from skinjax.models.normalization import Norm, conv_norm
from skinjax.models.registry import ModelSpec, register

SMALL = ModelSpec(
    name="small", family="small", image_size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), feature_width=32,
    bn_epsilon=1e-3, bn_momentum=0.9, padding="SAME", stem=(), block_names=("block_0", "block_1"), top=(), head="head",
    dropout_rate=0.0, drop_path_rate=0.0, paper="none: for tests", weights="none are published",
)  # fmt: skip
SMALLER = dataclasses.replace(SMALL, name="smaller", image_size=24, feature_width=8)


class Small(nn.Module):
    """Two convolutions and a head."""

    num_classes: int
    norm: Norm
    width: int

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array | dict[str, jax.Array]:  # fmt: skip
        """Computes the logits float32[N, num_classes] of photos [N, H, W, 3], or all named features."""
        maps, x = FeatureMaps(images, offsets), images
        for name in SMALL.block_names:
            x = conv_norm(x, name, self.width, (3, 3), self.norm, train=train, stride=2)
            x = maps.record(name, x)
        return maps.classify(x, self.num_classes, 0.0, self.norm.dtype, train=train, features=features)


def build(spec: ModelSpec, num_classes: int, *, bn_momentum: float, **more: Any) -> Small:
    """Makes the network of a spec."""
    norm = Norm(spec.bn_epsilon, bn_momentum, True, more["axis_name"], more["dtype"])
    return Small(num_classes, norm, spec.feature_width)


if __name__ == "__main__":
    register({"small": SMALL, "smaller": SMALLER}, build)
    sys.argv = [f"experiments.{sys.argv[1]}", *sys.argv[2:]]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
