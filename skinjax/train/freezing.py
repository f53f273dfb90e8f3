"""Learning rates per layer: frozen first blocks, and rates that fall from the head to the stem.

Blocks are counted as `skinjax.models.transfer` counts them, so that what was carried over can be frozen.
"""

from __future__ import annotations

from typing import Any, Literal

import jax

from skinjax.models.spec import ModelSpec


def blocks_to_head(layer: str, spec: ModelSpec) -> int:
    """Counts the blocks from a layer to the head, its own block included.

    The stem stands as far away as the first block. The head and what stands between it and the blocks have none.

    Args:
      layer: A top-level name of the network's parameters.
      spec: Spec of the network.

    Returns:
      0 to `len(spec.block_names)`.

    Raises:
      ValueError: The network has no such layer.

    >>> from skinjax.models.registry import spec
    >>> [blocks_to_head(layer, spec("efficientnet_nano")) for layer in ("stem", "block_00", "block_06", "head")]
    [7, 7, 1, 0]
    """
    count = len(spec.block_names)
    if layer in spec.block_names:
        return count - spec.block_names.index(layer)
    if layer in spec.stem:
        return count
    if layer in spec.top or layer == spec.head:
        return 0
    raise ValueError(f"layer must be one of {spec.name}'s, got {layer}, which it does not have")


def rate_factors(
    params: Any, spec: ModelSpec, *, frozen_blocks: int | Literal["all"] = 0, layer_decay: float = 1.0
) -> Any:
    """Returns the factor of each parameter's learning rate, for `skinjax.train.optimizers.make`.

    Frozen parameters have 0, all others `layer_decay ** blocks_to_head(layer, spec)`: 1 at the head. BatchNorm's
    running statistics are no parameters, and what is said here does not stop them.

    Args:
      params: Parameters of the network; its top-level names are the layers.
      spec: Spec of the network.
      frozen_blocks: Number of first blocks that stay as they are, the stem with them, 0 to
        `len(spec.block_names)`; "all" freezes all but the head.
      layer_decay: Factor from a block to the one before it, above 0 and at most 1.

    Returns:
      The same tree of floats in [0, 1].

    Raises:
      ValueError: An argument is out of range, or a layer is not of that network.

    References:
      Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, 2018 (discriminative rates).

    >>> from skinjax.models.registry import spec
    >>> params = {"stem": 0, "block_00": 0, "block_05": 0, "block_06": 0, "top": 0, "head": 0}
    >>> factors = rate_factors(params, spec("efficientnet_nano"), frozen_blocks=1, layer_decay=0.5)
    >>> [factors[layer] for layer in params]
    [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    """
    count = len(spec.block_names)
    if frozen_blocks != "all" and (
        isinstance(frozen_blocks, bool)
        or not isinstance(frozen_blocks, int)
        or not 0 <= frozen_blocks <= count
    ):
        raise ValueError(
            f'frozen_blocks must be 0 to {count} for {spec.name}, which has {count}, or "all", got {frozen_blocks}'
        )
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be above 0 and at most 1, got {layer_decay}")
    first_learning = 0 if frozen_blocks == "all" else count - frozen_blocks  # in blocks to the head

    def factor(path: tuple[Any, ...], _: Any) -> float:
        layer = path[0].key
        distance = blocks_to_head(layer, spec)
        frozen = (
            layer != spec.head
            if frozen_blocks == "all"
            else bool(frozen_blocks) and distance > first_learning
        )
        return 0.0 if frozen else float(layer_decay**distance)

    return jax.tree_util.tree_map_with_path(factor, params)
