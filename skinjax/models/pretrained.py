"""Pretrained weights: the arrays of a file become the variables of a network, and none is lost in silence.

Read are skinjax's own checkpoint folders, PyTorch's state dicts (`.pth`, `.safetensors`) and Keras's `.h5`,
`.weights.h5` and `.keras`, from disk or, by a name that begins with "hf:", from the Hugging Face Hub; "imagenet" is
the file of the backbone's installed package of ImageNet weights (`skinjax.models.weights.packages`). Every array of
the file is used, or reported as left out with the reason; every variable of the network is filled, or reported as new.
Only the head may be new: it is when the file has none, one of another number of classes, or none that is plainly the
network's.

A file may hold more than the network: a program's criterion and metrics, a decoder, several heads or layers on top,
an average of the weights (which is taken), another network. The network is found below any prefix of names; what lies
beside it is left out. A file is refused where two parts of it are the network, for which "#" and the part are added to
the path ("last.ckpt#teacher"); where the network lacks arrays, or has some of another shape; and where there are
others amid its layers, since it is another network then, such as EfficientNet-B1 in which all of B0's arrays are.

Which files a backbone reads:

* EfficientNet: Keras's, timm's `tf_efficientnet_*` and efficientnet_pytorch's for `efficientnet_b0` to `_b7`; timm's
  without the `tf_` for `efficientnet_b0_torch` to `_b7_torch`; torchvision's for the latter, from B5 on for
  `efficientnet_b5_torchvision` to `_b7_torchvision`. What Keras does to pixels before the first convolution is in its
  files; see `skinjax.models.weights.keras_pixels`.
* EfficientNet-Lite: timm's `tf_efficientnet_lite*`, and those with efficientnet_pytorch's names.
* InceptionV3 and Xception: Keras's for `inception_v3` and `xception`, timm's and torchvision's for
  `inception_v3_torch` and `xception_torch` (timm's `legacy_xception`). The two compute something else with the same
  arrays, so one's file is refused for the other.
* Inception-ResNet-v2: Keras's for `inception_resnet_v2`; timm's for `inception_resnet_v2_torch`, and for
  `inception_resnet_v2` too if its normalisations' scales are all 1.
* DenseNet: Keras's, timm's and torchvision's.

Arrays cannot tell everything. timm's `efficientnet_b0` has the arrays of its `tf_efficientnet_b0`, and gives nonsense
where the other is meant. A name on the Hub, a checkpoint's entry "arch" and the `config.json` beside a file tell them
apart, as does the name that it was published with, and a file of the other is refused; of one that says nothing, the
report says what it was taken for. Weights that read pixels otherwise are refused by the same. A checkpoint
folder of `xception` is one of `xception_torch`, too.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from skinjax.files.keys import check_key
from skinjax.models import registry
from skinjax.models.spec import ModelSpec
from skinjax.models.weights import hub, matching, packages
from skinjax.models.weights.formats import open_weights
from skinjax.models.weights.keras_pixels import stem_factors
from skinjax.models.weights.matching import Match
from skinjax.models.weights.nearest import nearest_backbones
from skinjax.models.weights.stored import Shape, StoredWeights
from skinjax.models.weights.torch_names import has_names

_LOG = logging.getLogger(__name__)
# Names of weights that read pixels of mean 0.5 and deviation 0.5, of timm's networks, and of files as published.
_OTHER_PIXELS = re.compile(
    r"(^|/)(tf_efficientnet_\w+?[._]ap[_-]|adv-efficientnet-b\d-|efficientnet_\w+\.ra4_e3600_)"
)
_TIMM = re.compile(r"(?:^|/)(tf_)?(efficientnet_(?:b|lite)\d)(?![a-z\d])")
_CACHED = "models--timm--"  # of folders in the Hub's cache
_PUBLISHED = re.compile(r"((tf_)?efficientnet_(b|lite)\d|adv-efficientnet-b\d)\w*-[0-9a-f]{8}\.\w+$")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """Account of every array of a weight file and every variable of the network.

    Attributes:
      path: The file or folder that was read.
      kind: Its format, as `skinjax.models.weights.stored.StoredWeights` has it.
      used: Names, in the file, of the arrays that were loaded.
      left_out: Names, in the file, of those that were not, each with the reason.
      new: Names of the variables that the file did not fill (the head's), like "params/head/kernel".
      notes: Phrases on what was chosen or changed on the way.
    """

    path: Path
    kind: str
    used: tuple[str, ...]
    left_out: Mapping[str, str]
    new: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns one line for a log."""
        new = f" ({', '.join(self.new)})" if self.new else ""
        counts = (
            f"{len(self.used)} arrays used, {len(self.left_out)} left out, {len(self.new)} variables new{new}"
        )
        beside = [name for name, reason in self.left_out.items() if reason == matching.BESIDE]
        told = (f"{len(beside)} lie beside the network: {_listed(beside)}",) if beside else ()
        return "; ".join((f"{self.path}: {counts}", *told, *self.notes))


def load_pretrained(
    name: str, path: str | Path, num_classes: int, *, key: jax.Array | None = None
) -> dict[str, Any]:
    """Loads a backbone's variables from a weight file; what went where is logged.

    Args:
      name: A backbone of the registry.
      path: A skinjax checkpoint folder (the manager's, whose latest step is taken, a step's or a tree's); a file
        of PyTorch or Keras, perhaps with "#" and the part of it that is meant; "hf:<organization>/<repository>",
        see `skinjax.models.weights.hub.fetch`; or "imagenet" for the file of the backbone's installed package, see
        `skinjax.models.weights.packages.find_imagenet`.
      num_classes: Outputs of the head. Where the file has another number or no head, the head is new.
      key: Random key of a new head; `jax.random.key(0)` where none is given.

    Returns:
      {"params": ..., "batch_stats": ...}, float32.

    Raises:
      ValueError: The path or its format is wrong, the file is damaged, or it is of another architecture, which
        is then named if it is one of the registry's; or `key` is not a random key.
    """
    variables, report = load_with_report(name, path, num_classes, key=key)
    _LOG.info("%s", report)
    return variables


def load_with_report(
    name: str, path: str | Path, num_classes: int, *, key: jax.Array | None = None
) -> tuple[dict[str, Any], LoadReport]:
    """Loads a backbone's variables as `load_pretrained` does, and returns an account of every array.

    Returns:
      The variables and the report.

    Raises:
      ValueError: As `load_pretrained`.
    """
    if key is not None:
        check_key("key", key)
    spec = registry.spec(name)
    model = registry.create(name, num_classes)
    package = ""
    if str(path) == packages.IMAGENET:
        path, package = packages.find_imagenet(spec)
    if str(path).startswith(f"{hub.PREFIX}timm/"):
        _check_writer(path, str(path), spec)
    stored = _open(path)
    shapes = _flatten(registry.variable_shapes(model))
    expected = {variable: tuple(leaf.shape) for variable, leaf in shapes.items()}
    head = {variable for variable in expected if variable.split("/")[1] == spec.head}
    matched = _match(path, stored, spec, expected)
    by_variable = matched.by_variable
    held = {
        variable: matching.network_shape(stored, variable, file_name)
        for variable, file_name in by_variable.items()
    }
    _check_architecture(path, stored, spec, expected, held, by_variable)
    _check_scales(path, stored, spec, matched)
    _check_writer(path, stored.architecture, spec, of_timm=_has_names_of_timm(by_variable))

    new = set() if all(held.get(variable) == expected[variable] for variable in head) else head
    left_out = dict(matched.left_out)
    for variable in sorted(set(by_variable) & new):
        left_out[by_variable[variable]] = f"the head has {num_classes} classes here"
    used = {variable: file_name for variable, file_name in by_variable.items() if variable not in new}
    values = stored.read(used.values())
    filled = {
        variable: _finite(path, file_name, matching.network_values(stored, variable, values.pop(file_name)))
        for variable, file_name in used.items()
    }
    origin = f"of the package {package}" if package else ""
    notes = [
        note for note in (origin, stored.note, *matched.notes, _taken_for(path, stored, spec, used)) if note
    ]
    if matching.world(stored) == "Keras" and spec.keras_normalizes_pixels:
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


def _open(path: str | Path) -> StoredWeights:
    """Opens a file or a name on the Hub; a `config.json` beside it, as in timm's repositories, says what it is of."""
    if str(path).startswith(hub.PREFIX):
        name, sharp, part = str(path).partition("#")
        path = f"{hub.fetch(name)}{sharp}{part}" if sharp else hub.fetch(name)
    stored = open_weights(path)
    if stored.architecture or matching.world(stored) != "PyTorch":
        return stored
    return dataclasses.replace(stored, architecture=_said_beside(Path(stored.path)))


def _said_beside(path: Path) -> str:
    """Returns the name of the weights by what lies round a file or how it was published, or ""."""
    try:
        config = json.loads(path.with_name("config.json").read_bytes())
        return f"{config['architecture']}.{config.get('pretrained_cfg', {}).get('tag', '')}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        folders = [part.removeprefix(_CACHED) for part in path.parts if part.startswith(_CACHED)]
        return folders[0] if folders else path.name if _PUBLISHED.match(path.name) else ""


def _flatten(tree: Any) -> dict[str, Any]:
    flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
    return flat


def _has_names_of_timm(by_variable: Mapping[str, str]) -> bool:
    return by_variable.get("params/stem/kernel", "").split(".")[-2:-1] == ["conv_stem"]


def _check_writer(path: str | Path, says: str, spec: ModelSpec, of_timm: bool = True) -> None:
    """Raises ValueError if a name is of weights that are computed with otherwise than in the backbone."""
    if spec.family != "efficientnet":
        return
    if _OTHER_PIXELS.search(says):
        raise ValueError(
            f"{path} has arrays like those of {spec.name}, but reads pixels of mean 0.5 and deviation 0.5"
        )
    found = _TIMM.search(says)
    if found and of_timm and (found[1] is None) == (spec.padding == "SAME"):
        row = found[2] if found[1] else f"{found[2]}_torch"
        remedy = f"load it as {row}" if row in registry.list_models() else f"give timm's tf_{found[2]}"
        raise ValueError(
            f"{path} has arrays like those of {spec.name}, but pads otherwise, as timm's {found[0].strip('/')}: "
            f"{remedy}"
        )


def _taken_for(path: str | Path, stored: StoredWeights, spec: ModelSpec, used: Mapping[str, str]) -> str:
    """Returns which of timm's networks a file of EfficientNet was taken for, where it does not say, or ""."""
    plain = matching.base(spec.name)
    if not re.fullmatch(r"efficientnet_(b|lite)\d", plain) or not _has_names_of_timm(used):
        return ""
    if _TIMM.search(stored.architecture) or str(path).startswith(f"{hub.PREFIX}timm/"):
        return ""
    theirs, others = (f"tf_{plain}", plain) if spec.name == plain else (plain, f"tf_{plain}")
    other = f"{plain}_torch" if spec.name == plain else plain
    row = other if other in registry.list_models() else "no backbone here"
    return f"taken for timm's {theirs}, whose names are those of its {others} too, which {row} is for"


def _match(path: str | Path, stored: StoredWeights, spec: ModelSpec, expected: Mapping[str, Shape]) -> Match:
    """Matches the names, unless the backbone computes otherwise than the file's writer."""
    if not matching.reads(spec, stored):
        other = matching.sibling(spec.name)
        nearest = _nearest(stored, spec)
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
        if other not in registry.list_models():
            raise ValueError(
                f"{path} must be a file of PyTorch or skinjax for {spec.name}, got one of {writer}"
                f"{_looks_like(nearest)}"
            )
        raise ValueError(
            f"{path} does not hold {spec.name}{_looks_like(nearest)} "
            f"(and {writer}'s files of this family are read as {other})"
        )
    try:
        return matching.match(stored, spec, expected)
    except matching.ChoiceError as error:
        raise ValueError(f"{path} does not hold {spec.name}: {error}") from error


def _nearest(stored: StoredWeights, spec: ModelSpec) -> tuple[str, ...]:
    """Returns the backbones that a file is most like; of rows that differ in what they compute, that like this one."""
    nearest = nearest_backbones(stored)
    ending = spec.name.removeprefix(matching.base(spec.name))
    return tuple(name for name in nearest if name == f"{matching.base(name)}{ending}") or nearest


def _looks_like(nearest: Iterable[str]) -> str:
    names = " or ".join(nearest)
    return f": it looks like {names}" if names else ": its arrays are of no backbone here"


def _check_architecture(
    path: str | Path,
    stored: StoredWeights,
    spec: ModelSpec,
    expected: Mapping[str, Shape],
    held: Mapping[str, Shape],
    by_variable: Mapping[str, str],
) -> None:
    """Raises ValueError, in one sentence, unless the file holds this network, its head aside."""
    head = {variable for variable in expected if variable.split("/")[1] == spec.head}
    missing = [name for name in expected if name not in held and name not in head]
    unknown = [name for name in held if name not in expected]
    shaped = [name for name in expected if name in held and name not in head and held[name] != expected[name]]
    findings = []
    if missing:
        findings.append(f"{_listed(missing)} missing")
    if unknown:
        findings.append(f"{_listed(unknown)} not in it")
    if shaped:
        first = shaped[0]
        findings.append(
            f"{len(shaped)} of another shape ({by_variable[first]} for {first} is {list(held[first])} and not "
            f"{list(expected[first])})"
        )
    if findings:
        nearest = _nearest(stored, spec)
        if spec.name not in nearest and {matching.base(row) for row in nearest} == {matching.base(spec.name)}:
            others = " or ".join(nearest)
            raise ValueError(
                f"{path} holds {others}, which differs from {spec.name} {matching.difference(spec)}: "
                f"load it as {others}"
            )
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
    """Makes the stem read pixels as `normalize` makes them, whatever Keras did to them, and says what was done."""
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
