"""The backbones that a weight file is most like, for the sentence that refuses it for another one."""

from __future__ import annotations

from typing import Any

from flax import traverse_util

from skinjax.models import registry
from skinjax.models.spec import ModelSpec
from skinjax.models.weights.matching import (
    ChoiceError,
    base,
    match,
    network_shape,
    reads,
    variable_names,
)
from skinjax.models.weights.stored import StoredWeights

_LEAST_LIKENESS = 0.5


def nearest_backbones(stored: StoredWeights) -> tuple[str, ...]:
    """Finds the backbones that a file's arrays are most like: several where nothing tells them apart, or none.

    Names are compared first. Only where they are the same, as EfficientNet-B1's and -B2's, are shapes worked
    out, which takes a second per backbone.

    Args:
      stored: The file's table of contents.

    Returns:
      Names of the registry.
    """
    likeness = {name: _likeness(stored, registry.spec(name)) for name in registry.list_models()}
    most = max(likeness.values())
    if most < _LEAST_LIKENESS:
        return ()
    best = [name for name, value in likeness.items() if value == most]
    groups: dict[Any, list[str]] = {}  # of rows that have the same variables and compute otherwise
    for name in best:
        groups.setdefault((base(name), frozenset(variable_names(registry.spec(name)) or ())), []).append(name)
    if len(groups) == 1:
        return tuple(best)
    agreeing = [_agreeing_shapes(stored, registry.spec(names[0])) for names in groups.values()]
    nearest = [
        names for names, count in zip(groups.values(), agreeing, strict=True) if count == max(agreeing)
    ]
    return tuple(name for name in best if any(name in names for names in nearest))


def _likeness(stored: StoredWeights, spec: ModelSpec) -> float:
    """Returns the share of names that file and backbone have in common, the head aside."""
    if not reads(spec, stored):
        return 0.0
    try:
        held = set(match(stored, spec).by_variable)
    except ChoiceError:
        return 0.0
    head = f"params/{spec.head}/"
    held, expected = (
        {name for name in names if not name.startswith(head)}
        for names in (held, variable_names(spec) or _shapes(spec))
    )
    return len(held & expected) / len(held | expected)


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
