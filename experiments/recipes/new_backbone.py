"""A backbone of one's own in the registry, trained by `experiments.train` as any other: same step, loop and report.

    python -m experiments.recipes.new_backbone                                     # built-in photos, 30 s
    python -m experiments.recipes.new_backbone --manifest=photos/manifest.csv --epochs=20 --workdir=runs/plain

All flags of experiments.train count but --backbone. Whoever loads the network again (`skinjax.predict.load.load_run`)
imports this module first, which registers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from absl import flags

from experiments import train, workdir
from skinjax.models.features import FeatureMaps
from skinjax.models.normalization import Norm, conv_norm
from skinjax.models.registry import ModelSpec, register

WIDTHS = {"block_0": 16, "block_1": 32, "block_2": 64, "block_3": 128}
PLAIN = ModelSpec(
    name="plain", family="plain", image_size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), feature_width=128,
    bn_epsilon=1e-3, bn_momentum=0.9, padding="SAME", stem=(), block_names=tuple(WIDTHS), top=(), head="head",
    dropout_rate=0.1, drop_path_rate=0.0, paper="none: a recipe of skinjax", weights="none are published",
)  # fmt: skip
DEFAULTS = {
    "image_size": 64, "synthetic_cases": 8, "epochs": 8, "learning_rate": 0.02, "burn_in": 10.0, "workdir": "runs/plain"
}  # fmt: skip


class Block(nn.Module):
    """A 3 × 3 convolution that halves the map, normalised and rectified."""

    width: int
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [N, H, W, in] to [N, H / 2, W / 2, width]."""
        return conv_norm(x, "conv", self.width, (3, 3), self.norm, train=train, stride=2)


class Plain(nn.Module):
    """Blocks, each with twice the channels of the one before, and a head."""

    num_classes: int
    norm: Norm
    dropout_rate: float

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array | dict[str, jax.Array]:  # fmt: skip
        """Computes the logits float32[N, num_classes] of photos [N, H, W, 3], or all named features."""
        maps, x = FeatureMaps(images, offsets), images
        for name, width in WIDTHS.items():
            x = maps.record(name, Block(width, self.norm, name=name)(x, train=train))
        dtype = self.norm.dtype
        return maps.classify(x, self.num_classes, self.dropout_rate, dtype, train=train, features=features)


def build(
    spec: ModelSpec, num_classes: int, *, bn_momentum: float, dropout_rate: float, **more: Any
) -> Plain:
    """Makes the network of the spec, as `skinjax.models.registry.register` wants it."""
    norm = Norm(spec.bn_epsilon, bn_momentum, True, more["axis_name"], more["dtype"])
    return Plain(num_classes, norm, dropout_rate)


register({"plain": PLAIN}, build)


def main() -> None:
    """Trains it on one fold and reports."""
    flags.FLAGS.backbone = "plain"
    train.main()


if __name__ == "__main__":
    for name, value in DEFAULTS.items():
        flags.FLAGS.set_default(name, value)
    workdir.run_script(main)
