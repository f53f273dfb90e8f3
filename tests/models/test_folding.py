"""Folded networks compute what they did before."""

import jax
import numpy as np
import pytest

from skinjax.models.folding import fold_batch_norm
from skinjax.models.registry import create, init_variables, spec


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_nano", "inception_v3", "xception_torch"])
def test_a_folded_network_computes_the_same(name):
    row, generator = spec(name), np.random.default_rng(0)
    model = create(name, 3)
    variables = init_variables(model, jax.random.key(0))
    # Statistics and scales that are not 0 and 1, or folding would change nothing.
    variables["batch_stats"] = jax.tree.map(
        lambda leaf: generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32), variables["batch_stats"]
    )
    images = generator.standard_normal((2, 96, 96, 3)).astype(np.float32)
    run = jax.jit(model.apply)
    folded = fold_batch_norm(variables, row)
    assert jax.tree.structure(folded) == jax.tree.structure(variables)
    expected, ours = run(variables, images), run(folded, images)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    means = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(folded["batch_stats"])
        if path[-1].key == "mean"
    ]
    assert not any(np.any(mean) for mean in means)
