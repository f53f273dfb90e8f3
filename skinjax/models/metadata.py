"""Networks that read columns beside a photo: age, sex, body site and the like, behind the averaged features.

Of a backbone's averaged features p [N, C] and encoded columns t [N, D] (`skinjax.data.columns`), each fusion makes
what the head reads:

    concat      [p, s relu(A t + a)]: the columns through a small dense layer, beside the features; s = sqrt(C / 32)
    linear      [p, t]: the columns as they are, beside the features, as `skinjax.train.probe` fits its heads
    metablock   sigmoid(tanh(p * (F t + f)) + G t + g): columns choose among features (Pacheco and Krohling 2021)

Everything else is the backbone's, under the backbone's own names: transfer, freezing and pretrained weights know no
difference, since what is new lies in the layer "head", which is always the network's own.

References:
  A. G. C. Pacheco and R. A. Krohling (2021). An attention-based mechanism to combine images and metadata in deep
  learning models applied to skin cancer classification. IEEE J. Biomedical and Health Informatics 25(9), 3554-3563,
  doi:10.1109/JBHI.2021.3062002. Their gate sees features batch-normalised in its two linear maps; here it has the
  linear maps alone, so that it does not depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models.ops.layers import fan_in_uniform
from skinjax.models.registry import takes
from skinjax.models.spec import ModelSpec

Fusion = Literal["concat", "linear", "metablock"]

COLUMN_UNITS = 32
"""Outputs of the dense layer of `concat`.

So few beside C features would be learnt C / 32 times as slowly, and the features fit the training photos before; times
sqrt(C / 32), both parts have one norm where all have one variance.
"""


class FusedHead(nn.Module):
    """A head on averaged features and columns.

    Attributes:
      num_classes: Its outputs.
      fusion: How both are put together.
      dtype: Dtype of the computation.
    """

    num_classes: int
    fusion: Fusion
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, pooled: jax.Array, table: jax.Array, drop: Callable[[jax.Array], jax.Array]
    ) -> jax.Array:
        """Computes logits [N, num_classes].

        Args:
          pooled: Averaged features [N, C].
          table: Encoded columns [N, D].
          drop: The backbone's dropout, which what is fused goes through.
        """

        def dense(outputs: int, name: str) -> nn.Dense:
            return nn.Dense(outputs, kernel_init=fan_in_uniform, dtype=self.dtype, name=name)

        if self.fusion == "concat":
            columns = nn.relu(dense(COLUMN_UNITS, "columns")(table)).astype(pooled.dtype)
            columns *= (pooled.shape[-1] / COLUMN_UNITS) ** 0.5
            fused = jnp.concatenate([pooled, columns], axis=-1)
        elif self.fusion == "linear":
            fused = jnp.concatenate([pooled, table.astype(pooled.dtype)], axis=-1)
        else:
            scale = dense(pooled.shape[-1], "scale")(table)
            shift = dense(pooled.shape[-1], "shift")(table)
            fused = nn.sigmoid(jnp.tanh(pooled * scale) + shift)
        return dense(self.num_classes, "logits")(drop(fused))


class WithColumns(nn.Module):
    """A backbone with a head that reads columns too; called as the backbone is, with the columns after the photos.

    Attributes:
      backbone: A network whose call takes `features`, `offsets` and `head`, as every `Backbone`'s does.
      spec: Its row in the registry.
      num_classes: Outputs of the head.
      width: D, the number of encoded columns.
      fusion: How features and columns are put together.
      dtype: Dtype of the head's computation.

    Example:
      >>> from skinjax.models import registry
      >>> row = registry.spec("efficientnet_nano")
      >>> model = WithColumns(registry.create(row.name, 3), row, num_classes=3, width=2)
      >>> variables = registry.init_variables(model, jax.random.key(0))
      >>> sorted(variables["params"]["head"]), "block_00" in variables["params"]
      (['columns', 'logits'], True)
      >>> jax.eval_shape(model.apply, variables, jnp.zeros((4, 64, 64, 3)), jnp.ones((4, 2))).shape
      (4, 3)
    """

    backbone: nn.Module
    spec: ModelSpec
    num_classes: int
    width: int
    fusion: Fusion = "concat"
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Lays the backbone's variables beside the head's, as if it were alone."""
        nn.share_scope(self, self.backbone)
        self.head = FusedHead(self.num_classes, self.fusion, self.dtype)

    def on_axis(self, axis_name: str) -> WithColumns:
        """Returns the network with batch statistics averaged over a mapped axis."""
        return self.clone(backbone=self.backbone.clone(axis_name=axis_name))

    def __call__(
        self,
        images: jax.Array,
        table: jax.Array | None = None,
        *,
        train: bool = False,
        features: bool = False,
        offsets: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes the logits, or all named features.

        Args:
          images: Normalised photos [N, H, W, 3].
          table: Encoded columns, floating [N, D]; None for zeros, which are the average photo's.
          train: As for the backbone.
          features: True returns the dict of named features, "logits" among them.
          offsets: Arrays that are added to the feature maps of these names.

        Returns:
          Logits float32 [N, num_classes], or the dict.

        Raises:
          ValueError: `table` is of another shape.
        """
        if table is None:
            table = jnp.zeros((images.shape[0], self.width), jnp.float32)
        if table.shape != (images.shape[0], self.width):
            raise ValueError(
                f"table must be of shape [{images.shape[0]}, {self.width}], got {list(table.shape)}"
            )
        columns = table

        def head(pooled: jax.Array, drop: Callable[[jax.Array], jax.Array]) -> jax.Array:
            logits: jax.Array = self.head(pooled, columns, drop)
            return logits

        result: jax.Array | dict[str, jax.Array] = self.backbone(
            images, train=train, features=features, offsets=offsets, head=head
        )
        return result


def with_columns(
    backbone: nn.Module, spec: ModelSpec, width: int, fusion: Fusion = "concat", dtype: Any = jnp.float32
) -> WithColumns:
    """Returns a backbone with a head that reads columns too.

    Args:
      backbone: A network that `skinjax.models.registry.create` made.
      spec: Its row in the registry.
      width: D, the number of encoded columns, at least 1.
      fusion: How features and columns are put together.
      dtype: Dtype of the head's computation.

    Raises:
      ValueError: The network's head cannot be replaced, or there is no column.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not all(takes(type(backbone).__call__, argument) for argument in ("features", "offsets", "head")):
        raise ValueError(
            f"columns need a backbone whose call takes features, offsets and head, got {spec.name}, which does not"
        )
    count: int = backbone.num_classes
    return WithColumns(backbone, spec, count, width, fusion, dtype)
