"""The gated projection against its formula, differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models.ops.gated import project_gated
from skinjax.models.ops.layers import Conv


def written_out(x, gate, kernel):
    return jnp.einsum("nhwi,ni,io->nhwo", x, gate, kernel)


@pytest.mark.parametrize("outputs", [5, 30])  # fewer than the 12 places, and more
def test_values_and_gradients_equal_the_formula(outputs):
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


@pytest.mark.parametrize("options", [{"kernel_size": (3, 3)}, {"stride": 2}])
def test_a_gate_of_another_convolution_is_refused(options):
    with pytest.raises(ValueError, match=r"gate needs kernel_size \(1, 1\) and stride 1"):
        Conv(2, **options).init(jax.random.key(0), jnp.ones((1, 4, 4, 3)), jnp.ones((1, 3)))


@pytest.mark.slow
def test_photos_one_by_one_have_the_gradients_of_the_batch():
    x, gate, kernel = jnp.arange(48.0).reshape(2, 2, 4, 3), jnp.ones((2, 3)), jnp.ones((3, 2))
    grad = jax.grad(lambda x, gate, kernel: (project_gated(x, gate, kernel) ** 2).sum(), (0, 1, 2))
    mapped = jax.vmap(grad, (0, 0, None))(x[:, None], gate[:, None], kernel)
    whole = grad(x, gate, kernel)
    np.testing.assert_allclose(mapped[0][:, 0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(mapped[1][:, 0], whole[1], rtol=1e-5)
    np.testing.assert_allclose(mapped[2].sum(0), whole[2], rtol=1e-5)


@pytest.mark.skipif(jax.device_count() < 2, reason="there is one device alone")
def test_a_batch_spread_over_devices_has_the_gradients_of_one():
    rng = np.random.default_rng(0)
    x, gate = rng.normal(size=(4, 3, 4, 6)).astype("float32"), rng.uniform(size=(4, 6)).astype("float32")
    kernel = rng.normal(size=(6, 5)).astype("float32")
    grad = jax.jit(jax.grad(lambda *values: (project_gated(*values) ** 2).sum(), (0, 1, 2)))
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    photos, everywhere = (jax.sharding.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    spread = grad(
        *(jax.device_put(values, photos) for values in (x, gate)), jax.device_put(kernel, everywhere)
    )
    assert spread[0].sharding.is_equivalent_to(photos, x.ndim)
    for ours, whole in zip(spread, grad(x, gate, kernel), strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)
