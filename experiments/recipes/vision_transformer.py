"""A vision transformer in the registry (Dosovitskiy et al. 2021): any Flax Linen module can be a backbone.

    python -m experiments.recipes.vision_transformer --smoke        # built-in photos; all flags of `skinjax hierarchy`

Import this module before `skinjax.load_run`. It records each block's tokens as a map, so that Grad-CAM works.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.cli import main
from skinjax.models.backbones.backbone import FeatureMaps
from skinjax.models.registry import ModelSpec, register

PATCH = 16
VIT_TINY = ModelSpec(
    name="vit_tiny", family="vision_transformer", image_size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    feature_width=192, stem=("patches", "position"), block_names=tuple(f"block_{i:02d}" for i in range(12)),
    top=("norm",), dropout_rate=0.1,
    paper="Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; sizes of Touvron et al., DeiT, ICML 2021",
)  # fmt: skip


class Block(nn.Module):
    """Self-attention and a perceptron, each normalised first and added to its input."""

    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens [N, T, C] to the same shape."""
        width = x.shape[-1]
        y = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        attention = nn.MultiHeadDotProductAttention(max(1, width // 64), dtype=self.dtype, name="attention")
        x = x + attention(y)
        y = nn.Dense(4 * width, dtype=self.dtype, name="widen")(
            nn.LayerNorm(dtype=self.dtype, name="mlp_norm")(x)
        )
        return x + nn.Dense(width, dtype=self.dtype, name="narrow")(nn.gelu(y))


class VisionTransformer(nn.Module):
    """Patches and where they lie, blocks, and a head on the mean token."""

    spec: ModelSpec
    num_classes: int
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array | dict[str, jax.Array]:  # fmt: skip
        """Computes the logits float32[N, num_classes] of photos [N, H, W, 3], or all named features."""
        spec, maps, kernel = self.spec, FeatureMaps(images, offsets, PATCH), (PATCH, PATCH)
        places, width = spec.image_size // PATCH, spec.feature_width
        x = nn.Conv(width, kernel, kernel, "VALID", dtype=self.dtype, name="patches")(images)
        position = self.param("position", nn.initializers.normal(0.02), (1, places, places, width))
        position = jax.image.resize(position, (1, *x.shape[1:]), "bilinear")  # learned for the spec's size
        x = maps.record("stem", x + position.astype(x.dtype))
        for name in spec.block_names:
            tokens = Block(self.dtype, name=name)(x.reshape(len(x), -1, width))
            x = maps.record(name, tokens.reshape(x.shape))
        x = maps.record("top", nn.LayerNorm(dtype=self.dtype, name="norm")(x))
        return maps.classify(
            x, self.num_classes, self.dropout_rate, self.dtype, train=train, features=features
        )


register({"vit_tiny": VIT_TINY}, VisionTransformer)
if __name__ == "__main__":
    main(["hierarchy", "--backbone=vit_tiny", *sys.argv[1:]])
