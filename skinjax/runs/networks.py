"""Description of a trained network from which it is made again: a small JSON file beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json

import jax.numpy as jnp
from flax import linen as nn

from skinjax.models import registry


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

    @property
    def spec(self) -> registry.ModelSpec:
        """Returns the backbone's specification."""
        return registry.spec(self.backbone)

    def model(self) -> nn.Module:
        """Returns the Linen module."""
        return registry.create(
            self.backbone,
            len(self.classes),
            dtype=jnp.dtype(self.precision),
            bn_momentum=self.bn_momentum,
            drop_path_rate=self.drop_path_rate,
        )

    def to_json(self) -> str:
        """Returns the description as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Returns the description that `to_json` wrote.

        Args:
          text: JSON.
        """
        fields = json.loads(text)
        return cls(**(fields | {"classes": tuple(fields["classes"])}))
