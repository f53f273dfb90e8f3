"""Which array of a weight file is which variable of a backbone, by names alone; and which backbone a file is of.

Not every backbone reads every file. PyTorch's InceptionV3 and Xception compute something else than Keras's with
the same arrays, so each has a row of its own, and a file of the one world is refused for the row of the other.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from skinjax.models import keras_names, torch_names
from skinjax.models.spec import ModelSpec
from skinjax.models.stored_arrays import Shape, StoredWeights

_WORLDS = {
    "orbax": "skinjax",
    "safetensors": "PyTorch",
    "torch": "PyTorch",
    "keras_legacy": "Keras",
    "keras3": "Keras",
}
_READ_BY = {
    "inception_v3": "Keras",
    "inception_v3_torch": "PyTorch",
    "inception_resnet_v2_torch": "PyTorch",
    "xception": "Keras",
    "xception_torch": "PyTorch",
}
_DIFFERENCES = {
    "inception_v3": "in what a mean at the border of a map counts",
    "inception_resnet_v2": "in whether normalisation has a scale",
    "xception": "in the padding of poolings and in normalisation's epsilon",
}
_UNIT_SCALES = "inception_resnet_v2"  # whose PyTorch weights have scales, which are 1


@dataclasses.dataclass(frozen=True)
class Match:
    """What the names of a file's arrays say to a backbone.

    Attributes:
      by_variable: name in the file of every variable; an array of no variable stands under its own name.
      left_out: the arrays that are no variables, with the reason.
      pixels: "mean", "var" and "count" of Keras's normalisation of pixels, by their names in the file.
      scales: names of scales that the backbone does without and that must therefore be 1.
      note: of which layer the head is, if its name does not tell, or "".
    """

    by_variable: Mapping[str, str]
    left_out: Mapping[str, str]
    pixels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scales: tuple[str, ...] = ()
    note: str = ""


class DoubledError(ValueError):
    """Two arrays of a file are the same variable."""


def world(stored: StoredWeights) -> str:
    """Who wrote the file: "skinjax", "PyTorch" or "Keras"."""
    return _WORLDS[stored.kind]


def reads(spec: ModelSpec, stored: StoredWeights) -> bool:
    """Whether the backbone computes as the file's writer does, and its names there are known."""
    if world(stored) == "skinjax":
        return True
    return torch_names.has_names(spec) and _READ_BY.get(spec.name) in (None, world(stored))


def sibling(name: str) -> str:
    """The row of the other world.

    Example:
      >>> sibling("xception"), sibling("xception_torch")
      ('xception_torch', 'xception')
    """
    return name.removesuffix("_torch") if name.endswith("_torch") else f"{name}_torch"


def difference(spec: ModelSpec) -> str:
    """What the rows of a family that has one for each world differ in."""
    return _DIFFERENCES[spec.family]


def variable_names(spec: ModelSpec) -> set[str] | None:
    """The names of a backbone's variables, without tracing it; None for a registered one."""
    return set(torch_names.torch_names(spec).values()) if torch_names.has_names(spec) else None


def match(stored: StoredWeights, spec: ModelSpec) -> Match:
    """Names every array of a file as a variable of the backbone, or with the reason why it is none.

    Args:
      stored: the file's table of contents.
      spec: the backbone.

    Raises:
      DoubledError: two arrays have names of one variable.
    """
    if world(stored) == "skinjax":
        rest = {
            name: "not a variable of the network"
            for name in stored.shapes
            if name.split("/")[0] not in ("params", "batch_stats")
        }
        return Match({name: name for name in stored.shapes if name not in rest}, rest)
    names, reason_to_leave_out = _names(stored, spec)
    by_variable: dict[str, str] = {}
    left_out: dict[str, str] = {}
    pixels: dict[str, str] = {}
    scales = []
    for name in stored.shapes:
        variable = names.get(name)
        reason = reason_to_leave_out(name) if variable is None else None
        if reason is not None:
            left_out[name] = reason
        elif variable is not None and variable.startswith(f"{keras_names.PIXELS}/"):
            pixels[variable.split("/")[1]] = name
            left_out[name] = "Keras's normalisation of pixels, which skinjax.models.pixels does here"
        elif variable is not None and variable.endswith("/scale") and spec.name == _UNIT_SCALES:
            scales.append(name)
            left_out[name] = f"a scale of 1, which {spec.name} does without"
        elif (variable := variable or name) in by_variable:
            raise DoubledError(f"{variable} stands in it twice, as {by_variable[variable]} and as {name}")
        else:
            by_variable[variable] = name
    note = _find_head(stored, spec, by_variable)
    return Match(by_variable, left_out, pixels, tuple(scales), note)


def _find_head(stored: StoredWeights, spec: ModelSpec, by_variable: dict[str, str]) -> str:
    """Takes a layer for the head that has another name, as in networks that were given new classes; says so.

    It is the head if the file has no other, no other array is without a variable, and it is a dense layer of
    the backbone's features.
    """
    kernel, bias = f"params/{spec.head}/kernel", f"params/{spec.head}/bias"
    nameless = [name for variable, name in by_variable.items() if name == variable]
    if kernel in by_variable or bias in by_variable or len(nameless) != 2:
        return ""
    nameless.sort(key=lambda name: len(stored.shapes[name]))
    layers = {re.split(r"[./][^./]*$", name)[0] for name in nameless}
    shapes = [network_shape(stored, bias, name) for name in nameless]
    if len(layers) > 1 or shapes[1][:1] != (spec.feature_width,) or shapes[0] != shapes[1][1:]:
        return ""
    for variable, name in zip((bias, kernel), nameless, strict=True):
        by_variable[variable] = by_variable.pop(name)
    return f"the layer {layers.pop()} was taken for the head"


def _names(stored: StoredWeights, spec: ModelSpec) -> tuple[Mapping[str, str], Callable[[str], str | None]]:
    if world(stored) == "Keras":
        names = keras_names.keras_names(spec, stored.shapes, stored.layer_names)
        return names, keras_names.reason_to_leave_out
    if spec.name == _UNIT_SCALES:
        spec = dataclasses.replace(spec, name=sibling(spec.name))
    return torch_names.torch_names(spec), torch_names.reason_to_leave_out


def network_shape(stored: StoredWeights, variable: str, file_name: str) -> Shape:
    """The shape here of an array of the file."""
    shape = stored.shapes[file_name]
    return _filled(stored, variable, tuple(shape[axis] for axis in _axes(stored, variable, len(shape))))


def network_values(stored: StoredWeights, variable: str, values: np.ndarray) -> np.ndarray:
    """The values of an array of the file in our layout."""
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
    """The first Xception weights for PyTorch have 1 × 1 kernels without their rows and columns."""
    pointwise = world(stored) == "PyTorch" and len(shape) == 2 and "/pointwise_" in variable
    return (1, 1, *shape) if pointwise else shape
