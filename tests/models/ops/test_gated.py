"""The gated projection against its formula, differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.ops.gated import project_gated


def written_out(x, gate, kernel):
    return jnp.einsum("nhwi,ni,io->nhwo", x, gate, kernel)


@pytest.mark.parametrize("outputs", [5, 30])  # fewer than the 12 places, and more
def test_values_and_gradients_equal_the_formula_s(outputs):
    rng = np.random.default_rng(0)
    x, gate = jnp.asarray(rng.normal(size=(3, 4, 3, 7))), jnp.asarray(rng.uniform(size=(3, 7)))
    kernel, weights = jnp.asarray(rng.normal(size=(7, outputs))), rng.normal(size=(3, 4, 3, outputs))
    values = x, gate, kernel = (x.astype(jnp.float32), gate.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(project_gated(*values), written_out(*values), rtol=1e-5, atol=1e-5)
    ours, theirs = (
        jax.jit(jax.grad(lambda *v, f=f: (f(*v) * weights).sum(), (0, 1, 2)))(*values)
        for f in (project_gated, written_out)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_bfloat16_stays_bfloat16():
    x, gate, kernel = (jnp.ones(shape, jnp.bfloat16) for shape in ((2, 4, 4, 3), (2, 3), (3, 5)))
    y, back = jax.vjp(project_gated, x, gate, kernel)
    assert [leaf.dtype for leaf in (y, *back(y))] == [jnp.bfloat16] * 4


def test_no_scaled_map_is_kept_for_the_gradient():
    x, gate, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((2, 6)), jnp.ones((6, 4))
    _, back = jax.vjp(project_gated, x, gate, kernel)
    assert sum(leaf.size for leaf in jax.tree.leaves(back)) <= x.size + gate.size + kernel.size
