"""Two backbones that compile in a second, for tests of studies and not of networks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax

from skinjax.models import registry
from skinjax.models.backbones.backbone import FeatureMaps, Head
from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.registry import ModelSpec

SMALL = ModelSpec(
    name="small", family="small", image_size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), feature_width=32,
    bn_epsilon=1e-3, bn_momentum=0.9, padding="SAME", stem=(), block_names=("block_0", "block_1"), top=(), head="head",
    dropout_rate=0.0, drop_path_rate=0.0, paper="none: for tests", weights="none are published",
)  # fmt: skip
SMALLER = dataclasses.replace(SMALL, name="smaller", image_size=24, feature_width=8)


class Block(nn.Module):
    """A convolution with its normalisation, as one layer of the network, so that it can be taken over."""

    norm: Norm
    width: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Halves the feature maps."""
        return conv_norm(x, "conv", self.width, (3, 3), self.norm, train=train, stride=2)


class Small(nn.Module):
    """Two blocks and a head."""

    num_classes: int
    norm: Norm
    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None, head: Head | None = None,
    ) -> jax.Array | dict[str, jax.Array]:  # fmt: skip
        """Computes the logits float32[N, num_classes] of photos [N, H, W, 3], or all named features."""
        maps, x = FeatureMaps(images, offsets), images
        norm = dataclasses.replace(self.norm, axis_name=self.axis_name)
        for name in SMALL.block_names:
            x = maps.record(name, Block(norm, self.width, name=name)(x, train=train))
        return maps.classify(x, self.num_classes, 0.0, norm.dtype, train=train, features=features, head=head)


def build(spec: ModelSpec, num_classes: int, *, bn_momentum: float, **more: Any) -> Small:
    """Makes the network of a spec."""
    norm = Norm(spec.bn_epsilon, bn_momentum, dtype=more["dtype"])
    return Small(num_classes, norm, spec.feature_width, more["axis_name"])


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Lets the registry know both for a while; a fixture may hold them already when another begins."""
    if SMALL.name in registry.list_models():
        yield
        return
    before = registry._FAMILIES
    registry.register({"small": SMALL, "smaller": SMALLER}, build)
    try:
        yield
    finally:
        registry._FAMILIES = before
