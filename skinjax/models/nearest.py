"""Which backbone a weight file is of, for the sentence that says that it is of another one than was asked for."""

from __future__ import annotations

from typing import Any

from flax import traverse_util

from skinjax.models import registry
from skinjax.models.matching import DoubledError, match, network_shape, reads, variable_names
from skinjax.models.spec import ModelSpec
from skinjax.models.stored_arrays import StoredWeights

_LEAST_LIKENESS = 0.5


def nearest_backbones(stored: StoredWeights) -> tuple[str, ...]:
    """The backbones that a file's arrays are most like: several where nothing tells them apart, or none.

    Names are compared first. Only where they are the same, as EfficientNet-B1's and -B2's, are shapes worked
    out, which takes a second a backbone.

    Args:
      stored: the file's table of contents.

    Returns:
      Names of the registry.
    """
    likeness = {name: _likeness(stored, registry.spec(name)) for name in registry.list_models()}
    most = max(likeness.values())
    if most < _LEAST_LIKENESS:
        return ()
    best = [name for name, value in likeness.items() if value == most]
    if len(best) == 1:
        return tuple(best)
    agreeing = {name: _agreeing_shapes(stored, registry.spec(name)) for name in best}
    return tuple(name for name in best if agreeing[name] == max(agreeing.values()))


def _likeness(stored: StoredWeights, spec: ModelSpec) -> float:
    """The share of names that file and backbone have in common, the head aside."""
    if not reads(spec, stored):
        return 0.0
    try:
        held = set(match(stored, spec).by_variable)
    except DoubledError:
        return 0.0
    head = f"params/{spec.head}/"
    held, wanted = (
        {name for name in names if not name.startswith(head)}
        for names in (held, variable_names(spec) or _shapes(spec))
    )
    return len(held & wanted) / len(held | wanted)


def _agreeing_shapes(stored: StoredWeights, spec: ModelSpec) -> int:
    shapes = _shapes(spec)
    names = match(stored, spec).by_variable
    return sum(
        name in shapes and network_shape(stored, name, file_name) == tuple(shapes[name].shape)
        for name, file_name in names.items()
    )


def _shapes(spec: ModelSpec) -> dict[str, Any]:
    shapes: dict[str, Any] = traverse_util.flatten_dict(
        registry.variable_shapes(registry.create(spec.name, 1)), sep="/"
    )
    return shapes
