"""Description of a trained network from which it is made again: a small JSON file beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from skinjax.data.columns import ColumnCoding
from skinjax.models import registry
from skinjax.models.metadata import Fusion, with_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of a run.

    Attributes:
      stage: what it is for, such as `sub` or `meta`.
      fold: the fold that it has not seen.
      backbone: name in the registry.
      level: level of the taxonomy that it tells apart.
      classes: their names, in the order of its outputs.
      image_size: side of the photos that it is fed, in pixels.
      precision: dtype of its computation, `float32` or `bfloat16`.
      bn_momentum: of BatchNorm; None for the backbone's own.
      drop_path_rate: of stochastic depth; None for the backbone's own.
      steps: updates of its whole training; 0 where that is not known.
      columns: encoding of the columns that it reads beside a photo; None for photos alone.
      columns_fusion: how both are put together.
    """

    stage: str
    fold: int
    backbone: str
    level: str
    classes: tuple[str, ...]
    image_size: int
    precision: str = "float32"
    bn_momentum: float | None = None
    drop_path_rate: float | None = None
    steps: int = 0
    columns: ColumnCoding | None = None
    columns_fusion: Fusion = "concat"

    @property
    def spec(self) -> registry.ModelSpec:
        """Returns the backbone's specification."""
        return registry.spec(self.backbone)

    def model(self) -> nn.Module:
        """Returns the Linen module."""
        dtype = jnp.dtype(self.precision)
        alone: nn.Module = registry.create(
            self.backbone,
            len(self.classes),
            dtype=dtype,
            bn_momentum=self.bn_momentum,
            drop_path_rate=self.drop_path_rate,
        )
        if self.columns is None:
            return alone
        return with_columns(alone, self.spec, self.columns.width, self.columns_fusion, dtype)

    def table(
        self, frame: pd.DataFrame | None, count: int, fill: np.random.Generator | None = None
    ) -> tuple[np.ndarray, ...]:
        """Returns what the network reads beside photos: nothing, or one array float32[count, D].

        Args:
          frame: Columns by name, a row per photo; None, and columns that it lacks, are unknown. Rows that are missing
            up to `count` are of padding.
          count: How many photos there are.
          fill: Of photos to train on, draws what is unknown of silent columns; see `ColumnCoding.encode_training`.
        """
        if self.columns is None:
            return ()
        import pandas as pd

        frame = pd.DataFrame(index=range(count)) if frame is None else frame
        rows = self.columns.encode(frame) if fill is None else self.columns.encode_training(frame, fill)
        return (np.pad(rows, ((0, count - len(rows)), (0, 0))),)

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold; of a network that reads no columns nothing about them."""
        fields = dataclasses.asdict(self)
        if self.columns is None:
            del fields["columns"], fields["columns_fusion"]
        return fields

    def to_json(self) -> str:
        """Returns the description as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Returns the description that `to_json` wrote.

        Args:
          text: JSON.
        """
        fields = json.loads(text)
        coding = fields.get("columns")
        return cls(
            **fields
            | {
                "classes": tuple(fields["classes"]),
                "columns": None if coding is None else ColumnCoding.from_dict(coding),
            }
        )
