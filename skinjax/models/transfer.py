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
from flax import traverse_util

from skinjax.models.spec import ModelSpec

Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """What a transfer took from the source and what it left as the target had it.

    Attributes:
      carried: top-level layers taken from the source, in the network's order.
      kept: top-level layers left as they were, in the network's order; the head is among them.
      carried_arrays: arrays taken, running statistics included.
      carried_parameters: numbers in them.
      kept_arrays: arrays left, running statistics included.
      kept_parameters: numbers in them.
    """

    carried: tuple[str, ...]
    kept: tuple[str, ...]
    carried_arrays: int
    carried_parameters: int
    kept_arrays: int
    kept_parameters: int

    def __str__(self) -> str:
        """One line for a log."""
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
      target_variables: the same of the network to be started. Neither argument is changed.
      blocks: how many blocks, 0 to `len(spec.block_names)`, or "all". The thesis's 10, 23 and 30 presume the
        45 blocks of EfficientNet-B6: a network with fewer refuses what it does not have.
      spec: the architecture of both.

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
    layers = (*spec.stem, *spec.block_names, *spec.top, spec.head)
    carried = _carried_layers(blocks, spec)
    result: dict[str, Any] = {}
    counts = {True: [0, 0], False: [0, 0]}
    for collection, target in target_variables.items():
        unknown = sorted(set(target) - set(layers))
        if unknown:
            raise ValueError(
                f"{spec.name} has no layer {unknown[0]}: target_variables are of another network"
            )
        source = source_variables.get(collection, {})
        result[collection] = {}
        for layer, values in target.items():
            if layer in carried:
                _check_same_shapes(f"{collection}/{layer}", source.get(layer), values)
                values = source[layer]
            result[collection][layer] = values
            leaves = jax.tree.leaves(values)
            counts[layer in carried][0] += len(leaves)
            counts[layer in carried][1] += sum(int(np.size(leaf)) for leaf in leaves)
    absent = [layer for layer in layers if layer not in result.get("params", {})]
    if absent:
        raise ValueError(
            f"target_variables have no {absent[0]}: they are of another network than {spec.name}"
        )
    return result, TransferReport(
        carried=carried,
        kept=tuple(layer for layer in layers if layer not in carried),
        carried_arrays=counts[True][0],
        carried_parameters=counts[True][1],
        kept_arrays=counts[False][0],
        kept_parameters=counts[False][1],
    )


def _carried_layers(blocks: int | str, spec: ModelSpec) -> tuple[str, ...]:
    """The top-level names that `blocks` asks for."""
    if blocks == "all":
        return (*spec.stem, *spec.block_names, *spec.top)
    count = len(spec.block_names)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 0 <= blocks <= count:
        raise ValueError(
            f'blocks wants 0 to {count} for {spec.name}, which has {count}, or "all", not {blocks}'
        )
    return (*spec.stem, *spec.block_names[:blocks]) if blocks else ()


def _check_same_shapes(name: str, source: Any, target: Any) -> None:
    """Raises ValueError unless both hold the same arrays."""
    if source is None:
        raise ValueError(f"source_variables have no {name}: they are of another network")
    shapes = [
        {"/".join(path): np.shape(leaf) for path, leaf in traverse_util.flatten_dict(layer).items()}
        for layer in (source, target)
    ]
    for leaf in sorted(set(shapes[0]) | set(shapes[1])):
        found, wanted = shapes[0].get(leaf), shapes[1].get(leaf)
        if found != wanted:
            raise ValueError(
                f"{name}/{leaf} is of shape {found} in source_variables and {wanted} in target_variables"
            )
