"""Which layers are frozen and how fast the others learn, on real networks and as transfer counts blocks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from skinjax.models.registry import create, init_variables, spec
from skinjax.models.transfer import transfer
from skinjax.train.freezing import blocks_to_head, rate_factors


def parameters(name, seed=0):
    return init_variables(create(name, num_classes=3), jax.random.key(seed))["params"]


@pytest.fixture(scope="module")
def nano():
    return parameters("efficientnet_nano")


ROW = spec("efficientnet_nano")


def by_layer(factors):
    """The one factor that all parameters of a layer have."""
    found = {layer: set(jax.tree.leaves(tree)) for layer, tree in factors.items()}
    assert all(len(values) == 1 for values in found.values())
    return {layer: values.pop() for layer, values in found.items()}


def test_nothing_is_frozen_by_default(nano):
    factors = rate_factors(nano, ROW)
    assert jax.tree.structure(factors) == jax.tree.structure(nano)
    assert set(jax.tree.leaves(factors)) == {1.0}
    assert all(type(leaf) is float for leaf in jax.tree.leaves(factors))


def test_rates_fall_from_the_head_to_the_stem(nano):
    found = by_layer(rate_factors(nano, ROW, layer_decay=0.5))
    blocks = [0.5**distance for distance in (7, 6, 5, 4, 3, 2, 1)]
    assert [found[name] for name in ROW.block_names] == blocks
    assert [found[name] for name in (*ROW.stem, *ROW.top, ROW.head)] == [*[0.5**7] * 2, 1, 1, 1]


@pytest.mark.parametrize("blocks", [0, 1, 4, 7, "all"])
def test_what_transfer_carries_over_is_what_is_frozen(nano, blocks):
    carried = transfer({"params": nano}, {"params": nano}, blocks, ROW)[1].carried
    found = by_layer(rate_factors(nano, ROW, frozen_blocks=blocks, layer_decay=0.9))
    assert {layer for layer, factor in found.items() if factor == 0} == set(carried)
    learning = {layer: factor for layer, factor in found.items() if factor}
    assert learning == {layer: pytest.approx(0.9 ** blocks_to_head(layer, ROW)) for layer in learning}


@pytest.mark.parametrize("name", ["efficientnet_b6", "densenet121", "inception_v3", "xception"])
def test_every_layer_of_other_families_has_its_distance(name):
    row = spec(name)
    order = (*row.stem, *row.block_names, *row.top, row.head)
    distances = [blocks_to_head(layer, row) for layer in order]
    count = len(row.block_names)
    assert distances == [
        *[count] * len(row.stem),
        *range(count, 0, -1),
        *[0] * len(row.top),
        0,
    ]


def test_values_out_of_range_are_refused(nano):
    for blocks in (-1, 8, True, 2.0, "some"):
        with pytest.raises(ValueError, match="frozen_blocks must be 0 to 7 for efficientnet_nano"):
            rate_factors(nano, ROW, frozen_blocks=blocks)
    for layer_decay in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
            rate_factors(nano, ROW, layer_decay=layer_decay)
    with pytest.raises(
        ValueError, match="layer must be one of efficientnet_nano's, got conv1, which it does not have"
    ):
        rate_factors({"conv1": np.ones(2)}, ROW)
