"""Granularity transfer (thesis section 4.3): a coarse classifier starts from the fine one's first layers.

The thesis trains a network on the nineteen sub-classes and starts the network of the six meta-classes from
it, carrying over nothing, the first 10, 23 or 30 of EfficientNet-B6's 45 blocks, or all layers. What is not
carried over keeps the target's own start (ImageNet's weights in the thesis), the head always does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from skinjax.models.spec import ModelSpec

Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """Layers that a transfer took from the source, and those that it left as the target had them.

    Attributes:
      carried: Top-level layers taken from the source, in the network's order.
      kept: Top-level layers left as they were, in the network's order; the head is among them.
      carried_arrays: Arrays taken, running statistics included.
      carried_parameters: Numbers in them.
      kept_arrays: Arrays left, running statistics included.
      kept_parameters: Numbers in them.
    """

    carried: tuple[str, ...]
    kept: tuple[str, ...]
    carried_arrays: int
    carried_parameters: int
    kept_arrays: int
    kept_parameters: int

    def __str__(self) -> str:
        """Returns one line for a log."""
        return (
            f"carried {len(self.carried)} layers ({self.carried_arrays} arrays, {self.carried_parameters:,} "
            f"numbers), kept {len(self.kept)} ({self.kept_arrays} arrays, {self.kept_parameters:,} numbers)"
        )


def transfer(
    source_variables: Variables, target_variables: Variables, blocks: int | str, spec: ModelSpec
) -> tuple[dict[str, Any], TransferReport]:
    """Carries the first blocks of a trained network over into another of the same architecture.

    Parameters and BatchNorm's running statistics go together. The stem goes with the first block, since the
    block reads what the stem writes. All blocks by their number leave the top convolution to the target;
    "all" takes it too. The head is always the target's.

    Args:
      source_variables: {"params": ..., "batch_stats": ...} of the trained network; any number of classes.
      target_variables: The same of the network to be started. Neither argument is changed.
      blocks: How many blocks, 0 to `len(spec.block_names)`, or "all". The thesis's 10, 23 and 30 presume the
        45 blocks of EfficientNet-B6: a network with fewer refuses what it does not have.
      spec: The architecture of both.

    Returns:
      The started variables and the report. Arrays are shared with the arguments, not copied: copy them
      before a jitted step that donates its inputs, if the source is still needed.

    Raises:
      ValueError: `blocks` is out of range, or a carried layer is absent or of another shape on one side.

    Example:
      >>> from skinjax.models.registry import create, init_variables, spec
      >>> row = spec("efficientnet_nano")
      >>> fine = init_variables(create(row.name, num_classes=19), jax.random.key(0))
      >>> coarse = init_variables(create(row.name, num_classes=6), jax.random.key(1))
      >>> started, report = transfer(fine, coarse, 3, row)
      >>> report.carried
      ('stem', 'stem_norm', 'block_00', 'block_01', 'block_02')
      >>> report.kept
      ('block_03', 'block_04', 'block_05', 'block_06', 'top', 'top_norm', 'head')
    """
    layers = spec.layers
    carried = _carried_layers(blocks, spec)
    result: dict[str, Any] = {}
    counts = {True: [0, 0], False: [0, 0]}
    for collection, target in target_variables.items():
        unknown = sorted(set(target) - set(layers))
        if unknown:
            raise ValueError(
                f"target_variables must be of {spec.name}, got {unknown[0]}, which it does not have"
            )
        source = source_variables.get(collection, {})
        result[collection] = {}
        for layer, values in target.items():
            if layer in carried:
                if layer not in source:
                    raise ValueError(
                        f"source_variables must be of {spec.name}, but have no {collection}/{layer}"
                    )
                _check_same_shapes(f"{collection}/{layer}", source[layer], values)
                values = source[layer]
            result[collection][layer] = values
            leaves = jax.tree.leaves(values)
            counts[layer in carried][0] += len(leaves)
            counts[layer in carried][1] += sum(int(np.size(leaf)) for leaf in leaves)
    absent = [layer for layer in layers if layer not in result.get("params", {})]
    if absent:
        raise ValueError(f"target_variables must be of {spec.name}, but have no {absent[0]}")
    return result, TransferReport(
        carried=carried,
        kept=tuple(layer for layer in layers if layer not in carried),
        carried_arrays=counts[True][0],
        carried_parameters=counts[True][1],
        kept_arrays=counts[False][0],
        kept_parameters=counts[False][1],
    )


def _carried_layers(blocks: int | str, spec: ModelSpec) -> tuple[str, ...]:
    """Returns the top-level names that `blocks` asks for."""
    if blocks == "all":
        return (*spec.stem, *spec.block_names, *spec.top)
    count = len(spec.block_names)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 0 <= blocks <= count:
        raise ValueError(
            f'blocks must be 0 to {count} for {spec.name}, which has {count}, or "all", got {blocks}'
        )
    return (*spec.stem, *spec.block_names[:blocks]) if blocks else ()


def _check_same_shapes(name: str, source: Any, target: Any) -> None:
    """Raises ValueError unless both hold the same arrays."""
    shapes = [
        {
            f"{name}/" + jax.tree_util.keystr(path, simple=True, separator="/"): np.shape(leaf)
            for path, leaf in leaves
        }
        for leaves in map(jax.tree_util.tree_leaves_with_path, (source, target))
    ]
    for leaf in sorted(set(shapes[0]) | set(shapes[1])):
        found, expected = shapes[0].get(leaf), shapes[1].get(leaf)
        if found != expected:
            raise ValueError(f"source_variables must have {leaf} of shape {expected}, got {found}")
