"""A backbone of one's own in the registry, trained by `skinjax train` as any other: same step, loop and report.

    python -m experiments.recipes.new_backbone                                     # built-in photos, 30 s
    python -m experiments.recipes.new_backbone --manifest=photos/manifest.csv --epochs=20 --workdir=runs/plain

All flags of `skinjax train` count but --backbone. Whoever loads the network again (`skinjax.predict.load.load_run`)
imports this module first, which registers it.
"""

from __future__ import annotations

import sys

import flax.linen as nn
import jax

from skinjax.cli import main
from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.registry import ModelSpec, register

WIDTHS = {"block_0": 16, "block_1": 32, "block_2": 64, "block_3": 128}
PLAIN = ModelSpec(
    name="plain", family="plain", image_size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), feature_width=128,
    block_names=tuple(WIDTHS), bn_momentum=0.9, dropout_rate=0.1, paper="none: a recipe of skinjax",
)  # fmt: skip
DEFAULTS = (
    "--image_size=64", "--synthetic_cases=8", "--epochs=8", "--learning_rate=0.02", "--burn_in=10",
    "--workdir=runs/plain",
)  # fmt: skip


class Block(nn.Module):
    """A 3 × 3 convolution that halves the map, normalised and rectified."""

    width: int
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [N, H, W, in] to [N, H / 2, W / 2, width]."""
        return conv_norm(x, "conv", self.width, (3, 3), self.norm, train=train, stride=2)


class Plain(Backbone):
    """Blocks, each with twice the channels of the one before."""

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one."""
        x = images
        for name, width in WIDTHS.items():
            x = maps.record(name, Block(width, self.norm, name=name)(x, train=train))
        return x


register({"plain": PLAIN}, Plain)


if __name__ == "__main__":
    main(["train", *(() if "--smoke" in sys.argv else DEFAULTS), *sys.argv[1:], "--backbone=plain"])
