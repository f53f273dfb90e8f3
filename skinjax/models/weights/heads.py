"""The head of a network among the arrays that lie beside it, as where it was given new classes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from skinjax.models.weights.stored import Shape

# A head on features that were not averaged over the map alone is no head here.
_POOLING = re.compile(r"(^|[./_])(gem|p|pool\w*|attention|attn)([./_]|$)", re.IGNORECASE)


def find_head(
    shapes: Mapping[str, Shape], width: int, classes: int | None, prefix: str
) -> tuple[tuple[str, ...], str]:
    """Finds the dense layer that reads the network's features, if it is plainly the head.

    It is not where another layer stands before or behind it, since its numbers mean nothing without that one, or where
    several layers could be it.

    Args:
      shapes: Shapes of the arrays beside the network by their names in the file, dense kernels as [in, out].
      width: Width of the network's features.
      classes: Classes of the head that is needed, which chooses one of several layers; None if that is not known.
      prefix: What the names of the network's own arrays begin with; layers in the same module are preferred.

    Returns:
      The names of its kernel and bias, or nothing, and what is to be said of that.

    Example:
      >>> find_head({"fc.bias": (5,), "fc.weight": (8, 5), "loss.weight": (5,)}, 8, 5, "net.")
      (('fc.weight', 'fc.bias'), 'the layer fc was taken for the head')
      >>> find_head({"a.weight": (8, 6), "a.bias": (6,), "b.weight": (6, 5), "b.bias": (5,)}, 8, 5, "net.")
      ((), 'no layer was taken for the head, since b.weight is behind a')
    """
    layers: dict[str, list[str]] = {}
    for name in shapes:
        layers.setdefault(re.split(r"[./][^./]*$", name)[0], []).append(name)
    dense = {
        layer: tuple(sorted(names, key=lambda name: -len(shapes[name])))
        for layer, names in layers.items()
        if _is_dense([shapes[name] for name in names], width)
    }
    if not dense:
        return (), ""
    nearness = {name: _shared(name, prefix) for name in shapes}
    nearest = max(nearness[names[0]] for names in dense.values())
    dense = {layer: names for layer, names in dense.items() if nearness[names[0]] == nearest}
    fitting = {layer: names for layer, names in dense.items() if shapes[names[0]][1] == classes} or dense
    if len(fitting) > 1:
        return (), f"no layer was taken for the head, since {', '.join(fitting)} could each be it"
    (layer, names), *_ = fitting.items()
    outputs = shapes[names[0]][1]
    for name, shape in shapes.items():
        if name in names or nearness[name] < nearest:
            continue
        if shape[-1:] == (width,) or _POOLING.search(name):
            return (), f"no layer was taken for the head, since {name} is before {layer}"
        if len(shape) == 2 and shape[0] == outputs != shape[1]:
            return (), f"no layer was taken for the head, since {name} is behind {layer}"
    return names, f"the layer {layer} was taken for the head"


def _is_dense(shapes: list[Shape], width: int) -> bool:
    """Returns whether these are the shapes of a dense layer's kernel and bias, that reads features."""
    kernel = max(shapes, key=len)
    return len(shapes) == 2 and len(kernel) == 2 and kernel[0] == width and kernel[1:] == min(shapes, key=len)


def _shared(name: str, prefix: str) -> int:
    """Counts the modules that a name has in common with a prefix."""
    count = 0
    for ours, theirs in zip(name.split("."), prefix.split(".")[:-1], strict=False):
        if ours != theirs:
            break
        count += 1
    return count
