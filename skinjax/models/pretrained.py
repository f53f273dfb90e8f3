"""Pretrained weights: a file's arrays into a network's variables, with nothing lost in silence.

Read are skinjax's own checkpoint folders, PyTorch's state dicts (`.pth`, `.safetensors`) and Keras's `.h5`,
`.weights.h5` and `.keras`, from disk or, by a name that begins with "hf:", from the Hugging Face Hub. Every array of
the file is used, or reported as left out with the reason; every variable of the network is filled, or reported as
new. Only the head may be new: it is when the file has none, or one of another number of classes.

Which files a backbone reads:

* EfficientNet: Keras's, and those of timm's `tf_efficientnet_*`. What Keras does to pixels before the first
  convolution is in its files; see `skinjax.models.keras_pixels`.
* InceptionV3 and Xception: Keras's for `inception_v3` and `xception`, timm's and torchvision's for
  `inception_v3_torch` and `xception_torch` (timm's `legacy_xception`). The two compute something else with the same
  arrays, so one's file is refused for the other.
* Inception-ResNet-v2: Keras's for `inception_resnet_v2`; timm's for `inception_resnet_v2_torch`, and for
  `inception_resnet_v2` too if its normalisations' scales are all 1.
* DenseNet: Keras's, timm's and torchvision's.

Arrays cannot tell everything. timm's `efficientnet_b0` without the `tf_` has the same arrays as `tf_efficientnet_b0`
and gives nonsense here, since it pads otherwise and its normalisation has another epsilon; its names on the Hub are
refused, as are those of weights that read pixels otherwise, but a file on disk does not tell. A checkpoint folder of
`xception` is one of `xception_torch`, too.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from skinjax.models import hub, matching, registry
from skinjax.models.keras_pixels import stem_factors
from skinjax.models.matching import Match
from skinjax.models.nearest import nearest_backbones
from skinjax.models.spec import ModelSpec
from skinjax.models.stored_arrays import Shape, StoredWeights
from skinjax.models.stored_weights import open_weights
from skinjax.models.torch_names import has_names

_LOG = logging.getLogger(__name__)
# Repositories of timm's whose arrays have the names and shapes of a backbone here that computes something else.
_OTHERWISE = {
    r"hf:timm/efficientnet_": "pads otherwise (take a repository of timm's tf_efficientnet)",
    r"hf:timm/tf_efficientnet_\w+\.ap_": "reads pixels of mean 0.5 and deviation 0.5",
}


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """Where every array of a weight file went, and where every variable came from.

    Attributes:
      path: the file or folder that was read.
      kind: its format: "orbax", "safetensors", "torch", "keras_legacy" or "keras3".
      used: names, in the file, of the arrays that were loaded.
      left_out: names, in the file, of those that were not, each with the reason.
      new: names of the variables that the file did not fill (the head's), like "params/head/kernel".
      notes: what was chosen or changed on the way, a phrase each.
    """

    path: Path
    kind: str
    used: tuple[str, ...]
    left_out: Mapping[str, str]
    new: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for a log."""
        new = f" ({', '.join(self.new)})" if self.new else ""
        counts = (
            f"{len(self.used)} arrays used, {len(self.left_out)} left out, {len(self.new)} variables new{new}"
        )
        return "; ".join((f"{self.path}: {counts}", *self.notes))


def load_pretrained(
    name: str, path: str | Path, num_classes: int, *, key: jax.Array | None = None
) -> dict[str, Any]:
    """Loads a backbone's variables from a weight file; what went where is logged.

    Args:
      name: a backbone of the registry.
      path: a skinjax checkpoint folder (the manager's, whose latest step is taken, a step's or a tree's); a file
        of PyTorch or Keras; or "hf:<organization>/<repository>", see `skinjax.models.hub.fetch`.
      num_classes: outputs of the head. Where the file has another number or no head, the head is new.
      key: random key of a new head; `jax.random.key(0)` where none is given.

    Returns:
      {"params": ..., "batch_stats": ...}, float32.

    Raises:
      ValueError: the path or its format is wrong, the file is damaged, or it is of another architecture, which
        is then named if it is one of the registry's.
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
    for repository, difference in _OTHERWISE.items():
        if re.match(repository, str(path)):
            raise ValueError(f"{path} has arrays like those of {name}, but {difference}")
    stored = open_weights(hub.fetch(str(path)) if str(path).startswith(hub.PREFIX) else path)
    shapes = _flatten(registry.variable_shapes(model))
    wanted = {variable: tuple(leaf.shape) for variable, leaf in shapes.items()}
    head = {variable for variable in wanted if variable.split("/")[1] == spec.head}
    matched = _match(path, stored, spec)
    by_variable = matched.by_variable
    held = {
        variable: matching.network_shape(stored, variable, file_name)
        for variable, file_name in by_variable.items()
    }
    _check_architecture(path, stored, spec, wanted, held, head)
    _check_scales(path, stored, spec, matched)

    new = set() if all(held.get(variable) == wanted[variable] for variable in head) else head
    left_out = dict(matched.left_out)
    for variable in sorted(set(by_variable) & new):
        left_out[by_variable[variable]] = f"the head has {num_classes} classes here"
    used = {variable: file_name for variable, file_name in by_variable.items() if variable not in new}
    values = stored.read(used.values())
    filled = {
        variable: _finite(path, file_name, matching.network_values(stored, variable, values.pop(file_name)))
        for variable, file_name in used.items()
    }
    notes = [note for note in (stored.note, matched.note) if note]
    if matching.world(stored) == "Keras" and spec.family == "efficientnet":
        notes += _take_pixels_in(path, stored, spec, matched, filled)
    arrays = {variable: jnp.asarray(value) for variable, value in filled.items()}
    if new:
        fresh = _flatten(registry.init_variables(model, jax.random.key(0) if key is None else key))
        arrays |= {variable: fresh[variable] for variable in new}
    variables = traverse_util.unflatten_dict({tuple(v.split("/")): a for v, a in arrays.items()})
    report = LoadReport(
        stored.path, stored.kind, tuple(used.values()), left_out, tuple(sorted(new)), tuple(notes)
    )
    return variables, report


def _flatten(tree: Any) -> dict[str, Any]:
    flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
    return flat


def _match(path: str | Path, stored: StoredWeights, spec: ModelSpec) -> Match:
    """The names, unless the backbone computes otherwise than the file's writer."""
    if not matching.reads(spec, stored):
        other = matching.sibling(spec.name)
        nearest = nearest_backbones(stored)
        writer = matching.world(stored)
        if other in nearest:
            raise ValueError(
                f"{path} holds {other}, as {writer} computes it, and not {spec.name}, which differs "
                f"{matching.difference(spec)}: load it as {other}"
            )
        if not has_names(spec):
            raise ValueError(
                f"{path} does not hold {spec.name}{_looks_like(nearest)}; of a registered backbone only skinjax's own "
                "checkpoints are read"
            )
        raise ValueError(
            f"{path} does not hold {spec.name}{_looks_like(nearest)} "
            f"(and {writer}'s files of this family are read as {other})"
        )
    try:
        return matching.match(stored, spec)
    except matching.DoubledError as error:
        raise ValueError(f"{path} does not hold {spec.name}: {error}") from error


def _looks_like(nearest: Iterable[str]) -> str:
    names = " or ".join(nearest)
    return f": it looks like {names}" if names else ": its arrays are of no backbone here"


def _check_architecture(
    path: str | Path,
    stored: StoredWeights,
    spec: ModelSpec,
    wanted: Mapping[str, Shape],
    held: Mapping[str, Shape],
    head: set[str],
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
        nearest = nearest_backbones(stored)
        likeness = ":" if spec.name in nearest else f"{_looks_like(nearest)};"
        raise ValueError(f"{path} does not hold {spec.name}{likeness} of its arrays, {'; '.join(findings)}")


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f", … ({len(names)})" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _check_scales(path: str | Path, stored: StoredWeights, spec: ModelSpec, matched: Match) -> None:
    """Raises ValueError unless the scales that the backbone does without are 1."""
    if not matched.scales:
        return
    for name, values in stored.read(matched.scales).items():
        if not (values == 1).all():
            raise ValueError(
                f"{path} has scales in {name} that are not 1, and normalisation in {spec.name} has none: "
                f"load it as {matching.sibling(spec.name)}"
            )


def _finite(path: str | Path, file_name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds values in {file_name} that are not finite")
    return values


def _take_pixels_in(
    path: str | Path, stored: StoredWeights, spec: ModelSpec, matched: Match, filled: dict[str, np.ndarray]
) -> list[str]:
    """Makes the stem read pixels as `normalize` makes them, whatever Keras did to them; says what was done."""
    if not {"mean", "var"} <= set(matched.pixels):
        return ["no normalisation of pixels in the file, so that of the registry is assumed"]
    mean, variance = matched.pixels["mean"], matched.pixels["var"]
    values = stored.read((mean, variance))
    try:
        factors = stem_factors(values[mean], values[variance], spec)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    if factors is None:
        return []
    stem = "params/stem/kernel"
    filled[stem] = (filled[stem] * factors[:, None]).astype(np.float32)
    return [
        f"stem multiplied by {', '.join(f'{factor:.4g}' for factor in factors)} for the file's normalisation of pixels"
    ]
