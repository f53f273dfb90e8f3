"""What every backbone does beside its layers: named feature maps, offsets for Grad-CAM, pooling and the head.

A backbone records each map as it is made, and hands the last one to `classify`:

    maps = FeatureMaps(images, offsets, smallest_size=75)
    x = maps.record("stem", ...)
    ...
    return maps.classify(x, head, dropout_rate, train=train, features=features)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.layers import Dropout, fan_in_uniform
from skinjax.models.spec import ModelSpec


class FeatureMaps:
    """The feature maps of one forward pass by name, in order.

    Args:
      images: what the network is given, [N, H, W, 3].
      offsets: what is added to the maps of these names; None for nothing. The gradient of a logit with respect
        to an offset of zeros is the gradient with respect to the map, which Grad-CAM asks for.
      smallest_size: the fewest rows and columns that leave every layer something to look at.

    Raises:
      ValueError: the images are not [N, H, W, 3], or too small.
    """

    def __init__(
        self, images: jax.Array, offsets: Mapping[str, jax.Array] | None = None, smallest_size: int = 1
    ) -> None:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images wants shape [N, H, W, 3], not {list(images.shape)}")
        if min(images.shape[1:3]) < smallest_size:
            raise ValueError(
                f"images wants at least {smallest_size} rows and columns for this backbone, "
                f"not {images.shape[1]} × {images.shape[2]}"
            )
        self._offsets = dict(offsets or {})
        self._named: dict[str, jax.Array] = {}

    def record(self, name: str, x: jax.Array) -> jax.Array:
        """Notes a map [N, h, w, c] by its name and returns it, with its offset where there is one."""
        if name in self._offsets:
            x = x + self._offsets.pop(name).astype(x.dtype)
        self._named[name] = x
        return x

    def classify(
        self, x: jax.Array, num_classes: int, dropout_rate: float, dtype: Any, *, train: bool, features: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Averages the last map, drops, and computes the logits with a dense layer called "head".

        To be called inside of a compact Linen method, whose module gets the layer.

        Args:
          x: the last map [N, h, w, c].
          num_classes: outputs of the head.
          dropout_rate: dropout of the averaged features, in training.
          dtype: dtype of the head's computation.
          train: whether to drop.
          features: whether to return everything that was recorded.

        Returns:
          Logits float32 [N, num_classes], or a dict of the maps by name, "pooled" float32 [N, c] and "logits".

        Raises:
          ValueError: an offset bears the name of no map.
        """
        if self._offsets:
            raise ValueError(
                f"offsets name {sorted(self._offsets)}, but the feature maps are {list(self._named)}"
            )
        pooled = x.astype(jnp.float32).mean(axis=(1, 2))
        kept = Dropout(dropout_rate, name="dropout")(pooled, train=train)
        head = nn.Dense(num_classes, kernel_init=fan_in_uniform, dtype=dtype, name="head")
        logits = head(kept).astype(jnp.float32)
        return self._named | {"pooled": pooled, "logits": logits} if features else logits


def map_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of a backbone's feature maps in order; the last is the one that is averaged for the head.

    Args:
      spec: its row in the registry.

    Example:
      >>> from skinjax.models.registry import spec
      >>> map_names(spec("efficientnet_nano"))[-2:], map_names(spec("inception_v3"))[-1]
      (('block_06', 'top'), 'mixed_10')
    """
    stem, top = ("stem",) if spec.stem else (), ("top",) if spec.top else ()
    return (*stem, *spec.block_names, *top)
