import jax
import numpy as np
import pytest

from skinjax.models.registry import create, init_variables, spec, variable_shapes
from skinjax.models.transfer import transfer


def filled(name, num_classes, value):
    """Variables of the right tree that are `value` throughout, in one number an array."""
    shapes = variable_shapes(create(name, num_classes))
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(value), leaf.shape), dict(shapes))


@pytest.fixture(scope="module")
def b6():
    return filled("efficientnet_b6", 19, 1), filled("efficientnet_b6", 6, 2)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 10, 23, 30, 45, "all"])
def test_the_thesis_s_granularities_on_b6(b6, blocks):
    row = spec("efficientnet_b6")
    fine, coarse = b6
    started, report = transfer(fine, coarse, blocks, row)
    if blocks == "all":
        expected = [*row.stem, *row.block_names, *row.top]
    else:
        expected = [*row.stem, *row.block_names[:blocks]] if blocks else []
    assert list(report.carried) == expected
    assert list(report.kept) == [
        layer for layer in (*row.stem, *row.block_names, *row.top, "head") if layer not in expected
    ]
    arrays = {1: 0, 2: 0}
    numbers = {1: 0, 2: 0}
    assert jax.tree.structure(started) == jax.tree.structure(coarse)
    for path, leaf in jax.tree_util.tree_leaves_with_path(started):
        value = 1 if path[1].key in expected else 2
        assert leaf.flat[0] == value, path
        arrays[value] += 1
        numbers[value] += leaf.size
    assert (report.carried_arrays, report.kept_arrays) == (arrays[1], arrays[2])
    assert (report.carried_parameters, report.kept_parameters) == (numbers[1], numbers[2])
    assert started["params"]["head"]["kernel"].shape == (2304, 6)
    assert f"carried {len(expected)} layers ({arrays[1]} arrays" in str(report)


def test_all_layers_are_all_but_the_head(b6):
    _, report = transfer(*b6, "all", spec("efficientnet_b6"))
    assert report.kept == ("head",)
    assert report.kept_parameters == 2304 * 6 + 6


def test_arguments_are_left_as_they_were():
    row = spec("efficientnet_nano")
    fine = init_variables(create(row.name, 4), jax.random.key(0))
    coarse = init_variables(create(row.name, 2), jax.random.key(1))
    before = jax.tree.map(np.array, (fine, coarse))
    transfer(fine, coarse, 3, row)
    jax.tree.map(np.testing.assert_array_equal, (fine, coarse), before)


@pytest.mark.parametrize("blocks", [-1, 8, 10, "most", 2.0, True, None])
def test_blocks_that_are_not_there(blocks):
    row = spec("efficientnet_nano")
    variables = filled("efficientnet_nano", 2, 0)
    with pytest.raises(
        ValueError, match=f'0 to 7 for efficientnet_nano, which has 7, or "all", got {blocks}'
    ):
        transfer(variables, variables, blocks, row)


@pytest.mark.slow
def test_networks_of_other_shapes():
    row = spec("efficientnet_b0")
    b0, b1, b2 = (filled(f"efficientnet_b{i}", 2, 0) for i in range(3))
    with pytest.raises(ValueError, match="must be of efficientnet_b0, got block_16, which it does not have"):
        transfer(b0, b1, 3, row)
    with pytest.raises(
        ValueError, match=r"source_variables must have \S*block_01/\S+ of shape \(.*\), got \("
    ):
        transfer(b2, b0, 3, row)
    transfer(b1, b0, 1, row)  # the first blocks are the same
    with pytest.raises(
        ValueError, match="source_variables must be of efficientnet_b0, but have no batch_stats/"
    ):
        transfer({"params": b0["params"]}, b0, 1, row)
    missing = {**b0, "params": {k: v for k, v in b0["params"].items() if k != "block_03"}}
    with pytest.raises(ValueError, match="target_variables must be of efficientnet_b0, but have no block_03"):
        transfer(b0, missing, 1, row)
