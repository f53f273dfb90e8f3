"""What has to be known of a trained network to make it again: a small JSON file beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
from flax import linen as nn

from skinjax.data.tables import replacing
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
        """The backbone's specification."""
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

    def folder(self, workdir: Path) -> Path:
        """Returns the folder of its checkpoints."""
        return workdir / "checkpoints" / f"fold_{self.fold}" / self.stage

    def write(self, workdir: Path) -> None:
        """Writes `<stage>.json` beside the folder of its checkpoints, atomically.

        Raises:
          ValueError: the file that is there describes another network, whose checkpoints this one must not resume.
        """
        path = self.folder(workdir).with_suffix(".json")
        if path.exists() and (there := Network.read(path)) != self:
            changed = [
                field.name
                for field in dataclasses.fields(self)
                if getattr(there, field.name) != getattr(self, field.name)
            ]
            raise ValueError(
                f"{path} describes another network ({', '.join(changed)} differ); name another folder"
            )
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Network:
        """Reads what `write` wrote.

        Raises:
          FileNotFoundError: there is no such file.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: no network of that stage and fold was trained here")
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**(fields | {"classes": tuple(fields["classes"])}))
