"""Matching of the arrays of a weight file with the variables of a backbone, by names alone.

Arrays that lie beside the network are left out; those amid its layers that it does not have are not, since the file is
of another network then.

Not every backbone reads every file. PyTorch's InceptionV3 and Xception compute something else than Keras's with
the same arrays, so each has a row of its own, and a file of the one world is refused for the row of the other.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from skinjax.models.spec import ModelSpec
from skinjax.models.weights import keras_names, torch_names
from skinjax.models.weights.heads import find_head
from skinjax.models.weights.stored import Shape, StoredWeights
from skinjax.models.weights.subtrees import Subtree, find_subtrees, in_part

_WORLDS = {
    "orbax": "skinjax",
    "safetensors": "PyTorch",
    "torch": "PyTorch",
    "keras_legacy": "Keras",
    "keras3": "Keras",
}
_LITE = "efficientnet_lite"  # which Keras does not have
_KERAS_ONLY = ("inception_v3", "xception")
_DIFFERENCES = {
    "efficientnet": "in the padding of convolutions and in normalisation's epsilon",
    "inception_v3": "in what a mean at the border of a map counts",
    "inception_resnet_v2": "in whether normalisation has a scale",
    "xception": "in the padding of poolings and in normalisation's epsilon",
}
BESIDE = "beside the network"  # the reason to leave an array out that nothing is known of
_UNIT_SCALES = "inception_resnet_v2"  # whose PyTorch weights have scales, which are 1


@dataclasses.dataclass(frozen=True)
class Match:
    """The variables of a backbone that the arrays of a file are.

    Attributes:
      by_variable: Name in the file of every variable; an array of no variable stands under its own name.
      left_out: The arrays that are no variables, with the reason.
      pixels: "mean", "var" and "count" of Keras's normalisation of pixels, by their names in the file.
      scales: Names of scales that the backbone does without and that must therefore be 1.
      notes: Where the network was found and which layer its head is, where the names leave a choice.
    """

    by_variable: Mapping[str, str]
    left_out: Mapping[str, str]
    pixels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scales: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ChoiceError(ValueError):
    """A file has a variable or the whole network twice, or not in the part of it that was asked for."""


def world(stored: StoredWeights) -> str:
    """Returns who wrote the file: "skinjax", "PyTorch" or "Keras"."""
    return _WORLDS[stored.kind]


def reads(spec: ModelSpec, stored: StoredWeights) -> bool:
    """Returns whether the backbone computes as the file's writer does, and its names there are known."""
    if world(stored) == "skinjax":
        return True
    return torch_names.has_names(spec) and world(stored) in _worlds(spec.name)


def _worlds(name: str) -> tuple[str, ...]:
    """Returns who writes files of a row."""
    if base(name) != name or name.startswith(_LITE):
        return ("PyTorch",)
    return ("Keras",) if name in _KERAS_ONLY else ("Keras", "PyTorch")


def base(name: str) -> str:
    """Returns the row that a row has its layers and shapes from.

    Example:
      >>> base("efficientnet_b5_torchvision"), base("efficientnet_b5")
      ('efficientnet_b5', 'efficientnet_b5')
    """
    return re.sub(r"_torch(vision)?$", "", name)


def sibling(name: str) -> str:
    """Returns the row of the other world.

    Example:
      >>> sibling("xception"), sibling("xception_torch")
      ('xception_torch', 'xception')
    """
    return base(name) if base(name) != name else f"{name}_torch"


def difference(spec: ModelSpec) -> str:
    """Returns what the rows of a family differ in that has one for each world."""
    return _DIFFERENCES[spec.family]


def variable_names(spec: ModelSpec) -> set[str] | None:
    """Returns the names of a backbone's variables without tracing it; None for a registered one."""
    return set(torch_names.torch_names(spec).values()) if torch_names.has_names(spec) else None


def match(stored: StoredWeights, spec: ModelSpec, expected: Mapping[str, Shape] | None = None) -> Match:
    """Names every array of a file as a variable of the backbone, or with the reason why it is none.

    Args:
      stored: The file's table of contents.
      spec: The backbone.
      expected: Shapes of its variables, which may choose one of several networks of its names; None for the first.

    Raises:
      ChoiceError: Two arrays have names of one variable, two parts of the file are the network, or the part that
        was asked for is not.
    """
    if world(stored) == "skinjax":
        rest = {
            name: "not a variable of the network"
            for name in stored.shapes
            if name.split("/")[0] not in ("params", "batch_stats")
        }
        return Match({name: name for name in stored.shapes if name not in rest}, rest)
    find = _in_keras if world(stored) == "Keras" else _in_torch
    names, left_out, prefix, notes = find(stored, spec, expected)
    by_variable: dict[str, str] = {}
    pixels: dict[str, str] = {}
    scales = []
    for name, variable in names.items():
        if variable.startswith(f"{keras_names.PIXELS}/"):
            pixels[variable.split("/")[1]] = name
            left_out[name] = "Keras's normalisation of pixels, which skinjax.models.pixels does here"
        elif variable.endswith("/scale") and spec.name == _UNIT_SCALES:
            scales.append(name)
            left_out[name] = f"a scale of 1, which {spec.name} does without"
        elif variable in by_variable:
            raise ChoiceError(f"{variable} stands in it twice, as {by_variable[variable]} and as {name}")
        else:
            by_variable[variable] = name
    note = _find_head(stored, spec, by_variable, left_out, prefix, expected)
    notes += (note,) if note else ()
    return Match(by_variable, left_out, pixels, tuple(scales), notes)


def _find_head(
    stored: StoredWeights,
    spec: ModelSpec,
    by_variable: dict[str, str],
    left_out: dict[str, str],
    prefix: str,
    expected: Mapping[str, Shape] | None,
) -> str:
    """Takes a layer beside the network for its head, if it has none or one of other classes, and says so."""
    kernel, bias = f"params/{spec.head}/kernel", f"params/{spec.head}/bias"
    classes = None if expected is None else expected[kernel][-1]
    own = [by_variable[variable] for variable in (kernel, bias) if variable in by_variable]
    has = {network_shape(stored, kernel, name)[-1:] for name in own}
    if own and (classes is None or has == {(classes,)}):
        return ""
    shapes = {
        name: network_shape(stored, kernel, name) for name, reason in left_out.items() if reason == BESIDE
    }
    layer, note = find_head(shapes, spec.feature_width, classes, prefix)
    if own and (not layer or shapes[layer[0]][1] != classes):
        return ""
    left_out.update(dict.fromkeys(own, "the head that the network had before it was given another one"))
    for variable, name in zip((kernel, bias), layer, strict=False):
        by_variable[variable] = name
        del left_out[name]
    return note


_Found = tuple[Mapping[str, str], dict[str, str], str, tuple[str, ...]]


def _in_keras(stored: StoredWeights, spec: ModelSpec, expected: Mapping[str, Shape] | None) -> _Found:
    """Returns the names of a Keras file's arrays here, what is left out, no prefix and no notes."""
    part = stored.part and f"{stored.part}/"
    arrays = [name for name in stored.shapes if name.startswith(part)]
    known = keras_names.keras_names(spec, arrays, stored.layer_names)
    names: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in stored.shapes:
        if name in known:
            names[name] = known[name]
        elif (reason := keras_names.reason_to_leave_out(name)) is not None:
            left_out[name] = reason
        elif name.startswith(part) and keras_names.is_inside(name, stored.layer_names.get(name, "")):
            names[name] = name
        else:
            left_out[name] = BESIDE
    return names, left_out, "", ()


def _in_torch(stored: StoredWeights, spec: ModelSpec, expected: Mapping[str, Shape] | None) -> _Found:
    """Returns the names of a state dict's arrays here, what is left out, the network's prefix and notes."""
    if spec.name == _UNIT_SCALES:
        spec = dataclasses.replace(spec, name=sibling(spec.name))
    reason_of = torch_names.reason_to_leave_out
    found = find_subtrees(stored.shapes, torch_names.torch_names(spec), spec.head, reason_of)
    if stored.part and found:
        places = " and ".join(tree.prefix or "no module" for tree in found)
        found = tuple(tree for tree in found if in_part(tree.prefix, stored.part))
        if not found:
            raise ChoiceError(f"no names in {stored.part} are like its own, but those in {places}")
    if not found:
        return {}, {name: reason_of(name) or BESIDE for name in stored.shapes}, "", ()
    tree, copies, notes = _choose(stored, found, expected)
    names: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in stored.shapes:
        if name in tree.variables or name in tree.strangers:
            names[name] = tree.variables.get(name, name)
        elif any(name in copy.variables for copy in copies):
            left_out[name] = (
                f"of another copy of the network than the one of names in {tree.prefix or 'no module'}"
            )
        else:
            left_out[name] = reason_of(name.removeprefix(tree.prefix)) or reason_of(name) or BESIDE
    return names, left_out, tree.prefix, notes


def _choose(
    stored: StoredWeights, found: tuple[Subtree, ...], expected: Mapping[str, Shape] | None
) -> tuple[Subtree, tuple[Subtree, ...], tuple[str, ...]]:
    """Returns the part of a state dict that is the network, its copies, and what was chosen."""
    trees = found
    if expected is not None and len(found) > 1:
        fitting = [tree for tree in found if _fits(stored, tree, expected)]
        trees = tuple(fitting) or found
    # Where a file has averaged weights, they are the ones its figures were measured with.
    averaged = [tree for tree in trees if tree.averaged]
    tree = averaged[0] if len(averaged) == 1 else trees[0]
    copies = tuple(other for other in found if other is not tree)
    where = f"its names in {tree.prefix} were taken" if tree.prefix else "its names in no module were taken"
    others = ", ".join(other.prefix or "no module" for other in trees if other is not tree)
    if len(trees) == 1 or expected is None:
        return tree, copies, (where,) if tree.prefix else ()
    if len(averaged) == 1:
        return tree, copies, (f"{where}, which are averaged, and not those in {others}",)
    if all(_same(stored, tree, other) for other in trees if other is not tree):
        return tree, copies, (f"{where}, which those in {others} are equal to",)
    places = " and ".join(other.prefix or "no module" for other in trees)
    choices = " or ".join(f"#{other.prefix.rstrip('.') or '.'}" for other in trees)
    raise ChoiceError(
        f"it stands in it {len(trees)} times, with names in {places}: add {choices} to the path"
    )


def _fits(stored: StoredWeights, tree: Subtree, expected: Mapping[str, Shape]) -> bool:
    """Returns whether all arrays but the head's have the shapes of the network."""
    return all(
        network_shape(stored, variable, name) == expected[variable]
        for name, variable in tree.variables.items()
        if variable in expected and not variable.startswith("params/head/")
    )


def _same(stored: StoredWeights, tree: Subtree, other: Subtree) -> bool:
    """Returns whether two parts of a file have the same values, one array after the other."""
    names = {variable: name for name, variable in other.variables.items()}
    for name, variable in tree.variables.items():
        if variable in names and name != names[variable]:
            values = stored.read((name, names[variable]))
            if not np.array_equal(values[name], values[names[variable]]):
                return False
    return True


def network_shape(stored: StoredWeights, variable: str, file_name: str) -> Shape:
    """Returns the shape that an array of the file has here."""
    shape = stored.shapes[file_name]
    return _filled(stored, variable, tuple(shape[axis] for axis in _axes(stored, variable, len(shape))))


def network_values(stored: StoredWeights, variable: str, values: np.ndarray) -> np.ndarray:
    """Returns the values of an array of the file in our layout."""
    values = values.transpose(_axes(stored, variable, values.ndim))
    return values.reshape(_filled(stored, variable, values.shape))


def _axes(stored: StoredWeights, variable: str, count: int) -> tuple[int, ...]:
    axes = tuple(range(count))
    if world(stored) == "PyTorch":
        return torch_names.from_torch(axes)
    depthwise = variable.endswith("/kernel") and variable.split("/")[-2].startswith("depthwise")
    if world(stored) == "Keras" and depthwise and count == 4:
        return (0, 1, 3, 2)  # Keras has [k, k, channels, 1]
    return axes


def _filled(stored: StoredWeights, variable: str, shape: Shape) -> Shape:
    """Gives rows and columns to the 1 × 1 kernels that the first Xception weights for PyTorch have without."""
    pointwise = world(stored) == "PyTorch" and len(shape) == 2 and "/pointwise_" in variable
    return (1, 1, *shape) if pointwise else shape
