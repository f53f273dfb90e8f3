"""Pretrained weights: a file's arrays into a network's variables, with nothing lost in silence.

Read are skinjax's own checkpoint folders (a tree with `params` and `batch_stats` on top, as Orbax saves it)
and timm's `.safetensors` of the `tf_efficientnet` models. Every array of the file is used, or reported as
left out; every variable of the network is filled, or reported as new. Only the head may be new: it is when
the file was trained on another number of classes.

Arrays cannot tell how a network was run. timm's `efficientnet_b0` without the `tf_` has the same arrays as
`tf_efficientnet_b0` and gives nonsense here, since it pads otherwise and its BatchNorm has another epsilon.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.spec import ModelSpec
from skinjax.models.stored_weights import Shape, StoredWeights, open_weights
from skinjax.models.timm_names import from_timm, timm_names

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """Where every array of a weight file went, and where every variable came from.

    Attributes:
      path: the file or folder that was read.
      kind: its format, "orbax" or "safetensors".
      used: names, in the file, of the arrays that were loaded.
      left_out: names, in the file, of those that were not, each with the reason.
      new: names of the variables that the file did not fill (the head's), like "params/head/kernel".
    """

    path: Path
    kind: str
    used: tuple[str, ...]
    left_out: Mapping[str, str]
    new: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a log."""
        new = f" ({', '.join(self.new)})" if self.new else ""
        return (
            f"{self.path}: {len(self.used)} arrays used, {len(self.left_out)} left out, "
            f"{len(self.new)} variables new{new}"
        )


def load_pretrained(
    name: str, path: str | Path, num_classes: int, *, key: jax.Array | None = None
) -> dict[str, Any]:
    """Loads a backbone's variables from a weight file; what went where is logged.

    Args:
      name: a backbone of the registry.
      path: a skinjax checkpoint folder (the manager's, whose latest step is taken, a step's or a tree's), or
        a `.safetensors` file of the timm model of that name ("tf_" before it).
      num_classes: outputs of the head. Where the file has another number, the head is new.
      key: random key of a new head; `jax.random.key(0)` where none is given.

    Returns:
      {"params": ..., "batch_stats": ...}, float32.

    Raises:
      ValueError: the path or its format is wrong, the file is damaged, or it is of another architecture.
    """
    variables, report = load_with_report(name, path, num_classes, key=key)
    _LOG.info("%s", report)
    return variables


def load_with_report(
    name: str, path: str | Path, num_classes: int, *, key: jax.Array | None = None
) -> tuple[dict[str, Any], LoadReport]:
    """As `load_pretrained`, and says where every array went.

    Returns:
      The variables and the report.

    Raises:
      ValueError: as `load_pretrained`.
    """
    spec = registry.spec(name)
    model = registry.create(name, num_classes)
    stored = open_weights(path)
    shapes = _flatten(registry.variable_shapes(model))
    wanted = {variable: tuple(leaf.shape) for variable, leaf in shapes.items()}
    head = {variable for variable in wanted if variable.split("/")[1] == spec.head}
    by_variable, ignored = _name_map(stored, spec)
    held = {variable: _network_shape(stored, file_name) for variable, file_name in by_variable.items()}
    _check_architecture(path, spec, wanted, held, head)

    new = set() if all(held.get(variable) == wanted[variable] for variable in head) else head
    left_out = dict(ignored)
    for variable in sorted(set(by_variable) & new):
        left_out[by_variable[variable]] = f"the head has {num_classes} classes here"
    used = {variable: file_name for variable, file_name in by_variable.items() if variable not in new}
    values = stored.read(used.values())
    filled = {
        variable: _network_values(path, stored, file_name, values[file_name])
        for variable, file_name in used.items()
    }
    if new:
        fresh = _flatten(registry.init_variables(model, jax.random.key(0) if key is None else key))
        filled |= {variable: fresh[variable] for variable in new}
    variables = traverse_util.unflatten_dict({tuple(v.split("/")): a for v, a in filled.items()})
    report = LoadReport(stored.path, stored.kind, tuple(used.values()), left_out, tuple(sorted(new)))
    return variables, report


def _flatten(tree: Any) -> dict[str, Any]:
    flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
    return flat


def _name_map(stored: StoredWeights, spec: ModelSpec) -> tuple[dict[str, str], dict[str, str]]:
    """Name in the file of every variable it holds, and reasons for leaving the file's other arrays out."""
    if stored.kind == "orbax":
        ours = {name for name in stored.shapes if name.split("/")[0] in ("params", "batch_stats")}
        rest = {name: "not a variable of the network" for name in stored.shapes if name not in ours}
        return {name: name for name in stored.shapes if name in ours}, rest
    names = timm_names(spec)
    by_variable, rest = {}, {}
    for name in stored.shapes:
        if name in names:
            by_variable[names[name]] = name
        elif name.endswith(".num_batches_tracked"):
            rest[name] = "PyTorch's count of batches, which nothing here needs"
        else:
            by_variable[name] = name  # of no variable: the check of the architecture names it
    return by_variable, rest


def _network_shape(stored: StoredWeights, file_name: str) -> Shape:
    shape = stored.shapes[file_name]
    return from_timm(shape) if stored.kind == "safetensors" else shape


def _network_values(path: str | Path, stored: StoredWeights, file_name: str, values: np.ndarray) -> jax.Array:
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds values in {file_name} that are not finite")
    if stored.kind == "safetensors":
        values = values.transpose(from_timm(tuple(range(values.ndim))))
    return jnp.asarray(values, jnp.float32)


def _check_architecture(
    path: str | Path, spec: ModelSpec, wanted: Mapping[str, Shape], held: Mapping[str, Shape], head: set[str]
) -> None:
    """Raises ValueError, in one sentence, unless the file holds this network, its head aside."""
    missing = [name for name in wanted if name not in held and name not in head]
    unknown = [name for name in held if name not in wanted]
    shaped = [name for name in wanted if name in held and name not in head and held[name] != wanted[name]]
    findings = []
    if missing:
        findings.append(f"{_listed(missing)} missing")
    if unknown:
        findings.append(f"{_listed(unknown)} not in it")
    if shaped:
        first = shaped[0]
        findings.append(
            f"{len(shaped)} of another shape ({first} is {list(held[first])} and not {list(wanted[first])})"
        )
    if findings:
        raise ValueError(f"{path} does not hold {spec.name}: of its arrays, {'; '.join(findings)}")


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f", … ({len(names)})" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
