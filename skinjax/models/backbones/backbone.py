"""The base of the convolutional families: attributes, call signature, named feature maps, pooling and head.

A family is a subclass whose `run` makes the maps, and a table of specs:

    class Plain(Backbone):
        def run(self, images, maps, *, train):
            x = images
            for name, width in WIDTHS.items():
                x = maps.record(name, Block(width, self.norm, name=name)(x, train=train))
            return x

    register({"plain": ModelSpec(name="plain", ...)}, Plain)

The subclass is itself what builds the network of a spec: `Plain(spec, num_classes, dropout_rate=...)`.

A module is used as a pure function:

    logits = model.apply(variables, images)                                       # evaluation
    logits, changes = model.apply(variables, images, train=True,                  # training
                                  mutable=["batch_stats"], rngs={"dropout": key})
    named = model.apply(variables, images, features=True)                         # named features

`features=True` returns a dict: the feature maps [N, h, w, c] that `spec.map_names` lists, as the next layer reads them,
"pooled" [N, feature width] and "logits" [N, classes]. The gradient of a logit with respect to any of the maps, which
Grad-CAM needs, is that with respect to a zero `offsets={"block_15": zeros}` that is added to the map of that name.

Variables are {"params": ..., "batch_stats": ...}, whose top-level keys are the layers that the spec lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.ops.layers import Dropout, fan_in_uniform
from skinjax.models.ops.normalization import Norm
from skinjax.models.spec import ModelSpec

Head = Callable[[jax.Array, Callable[[jax.Array], jax.Array]], jax.Array]
"""From averaged features [N, c], and a function that drops some of an array in training, to logits [N, classes]."""


class FeatureMaps:
    """The feature maps of one forward pass by name, in order.

    Args:
      images: Input of the network, [N, H, W, 3].
      offsets: Arrays that are added to the maps of these names; None for none.
      smallest_size: Fewest rows and columns at which every layer still has a place to look at.

    Raises:
      ValueError: The images are not [N, H, W, 3], or too small.
    """

    def __init__(
        self, images: jax.Array, offsets: Mapping[str, jax.Array] | None = None, smallest_size: int = 1
    ) -> None:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be of shape [N, H, W, 3], got {list(images.shape)}")
        if min(images.shape[1:3]) < smallest_size:
            raise ValueError(
                f"images must have at least {smallest_size} rows and columns for this backbone, "
                f"got {images.shape[1]} × {images.shape[2]}"
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
        self,
        x: jax.Array,
        num_classes: int,
        dropout_rate: float,
        dtype: Any,
        *,
        train: bool,
        features: bool,
        head: Head | None = None,
    ) -> jax.Array | dict[str, jax.Array]:
        """Averages the last map, drops, and computes the logits with a dense layer called "head".

        To be called inside of a compact Linen method, whose module gets the layer.

        Args:
          x: The last map [N, h, w, c].
          num_classes: Outputs of the head.
          dropout_rate: Dropout of the averaged features, in training.
          dtype: Dtype of the head's computation.
          train: Whether to drop.
          features: Whether to return everything that was recorded.
          head: What computes the logits instead, as `skinjax.models.metadata` has it; None for the dense layer.

        Returns:
          Logits float32 [N, num_classes], or a dict of the maps by name, "pooled" float32 [N, c] and "logits".

        Raises:
          ValueError: An offset bears the name of no map.
        """
        if self._offsets:
            raise ValueError(
                f"offsets must name feature maps, {', '.join(self._named)}, got {', '.join(sorted(self._offsets))}"
            )
        pooled = x.astype(jnp.float32).mean(axis=(1, 2))
        dropout = Dropout(dropout_rate, name="dropout")
        if head is None:
            dense = nn.Dense(num_classes, kernel_init=fan_in_uniform, dtype=dtype, name="head")
            logits = dense(dropout(pooled, train=train)).astype(jnp.float32)
        else:
            logits = head(pooled, lambda values: dropout(values, train=train)).astype(jnp.float32)
        return self._named | {"pooled": pooled, "logits": logits} if features else logits


class Backbone(nn.Module):
    """A convolutional network whose head is a dense layer on the mean of its last map.

    Attributes:
      spec: Its row in the registry.
      num_classes: Outputs of the head.
      dropout_rate: Dropout before the head.
      bn_momentum: Weight of the old running statistics.
      axis_name: Mapped axis over which batch statistics are averaged. Needed under `jax.pmap` only: under
        `jax.jit` a batch sharded over devices is one batch, and its statistics are global by themselves.
      dtype: Dtype of the computation; parameters, running statistics and logits are float32.
    """

    spec: ModelSpec
    num_classes: int
    dropout_rate: float = 0.0
    bn_momentum: float = 0.99
    axis_name: str | None = None
    dtype: Any = jnp.float32

    smallest_size: ClassVar[int] = 1
    """Fewest rows and columns of a photo."""

    @property
    def norm(self) -> Norm:
        """Returns the settings of all batch normalisations."""
        return Norm(self.spec.bn_epsilon, self.bn_momentum, axis_name=self.axis_name, dtype=self.dtype)

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the last map of the photos and records every named one.

        Args:
          images: Normalised photos, floating [N, H, W, 3].
          maps: Takes the maps, by the names that the spec lists.
          train: Whether to normalise by the batch's own statistics, and drop.

        Returns:
          The last map [N, h, w, feature width].
        """
        raise NotImplementedError

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool = False,
        features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
        head: Head | None = None,
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes the logits, or all named features.

        Args:
          images: Normalised photos, floating [N, H, W, 3] (see `skinjax.models.pixels.normalize`).
          train: True normalises by the batch's own statistics, updates the running ones (the collection
            "batch_stats" must be mutable) and drops (the random stream "dropout" is needed where a rate
            is above 0).
          features: True returns the dict of named features, "logits" among them.
          offsets: Arrays that are added to the feature maps of these names.
          head: What computes the logits instead of the dense layer, which then has no parameters; None for that.

        Returns:
          Logits float32 [N, num_classes], or the dict.

        Raises:
          ValueError: The images are of another shape or too small, or an offset bears the name of no map.
        """
        maps = FeatureMaps(images, offsets, self.smallest_size)
        x = self.run(images, maps, train=train)
        return maps.classify(
            x, self.num_classes, self.dropout_rate, self.dtype, train=train, features=features, head=head
        )
