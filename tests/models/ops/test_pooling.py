"""Poolings and channel sums against XLA's own window reductions and sums."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from skinjax.models.ops.normalization import normalize_batch
from skinjax.models.ops.pooling import average_pool, max_pool
from skinjax.models.ops.reductions import scale_channels, spatial_mean, sums_over_rows


def photos(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize("size", [(7, 8), (9, 12), (12, 5)])
@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [(3, 2, "SAME"), (3, 2, "VALID"), (3, 1, "SAME"), (2, 2, "VALID"), (3, 2, ((1, 1), (1, 1)))],
)
def test_max_pool_and_its_gradient_equal_xla_s(size, window, stride, padding):
    x = photos(2, *size, 3)

    def theirs(x):
        pads = padding if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), pads)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(function, x, change):
        value, pullback = jax.vjp(function, x)
        return value, pullback(change)

    change = photos(*jax.eval_shape(theirs, x).shape) + 3
    ours, gradient = value_and_gradient(lambda x: max_pool(x, window, stride, padding), x, change)
    expected, their_gradient = value_and_gradient(theirs, x, change)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(gradient[0], their_gradient[0], rtol=1e-6, atol=1e-6)


def test_max_pool_gives_the_whole_gradient_to_one_of_equals():
    gradient = jax.grad(lambda x: max_pool(x, 2, 2, "VALID").sum())(jnp.zeros((1, 4, 4, 1)))
    assert gradient.sum() == 4
    assert set(np.unique(gradient)) == {0, 1}


@pytest.mark.parametrize("counts_padding", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (2, 3)])
def test_average_pool_equals_flax_s(size, counts_padding):
    x = photos(2, *size, 3)
    theirs = nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=counts_padding)
    np.testing.assert_allclose(
        average_pool(x, 3, 1, counts_padding=counts_padding), theirs, rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_sums_means_and_gates_equal_plain_ones():
    x, gate = photos(3, 5, 4, 2), photos(3, 2)
    (total,) = sums_over_rows(lambda rows: (rows,), x)
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-5, atol=1e-6)
    weights = photos(3, 2) + 1
    for ours, plain in (
        (spatial_mean, lambda x: x.mean((1, 2))),
        (lambda x: spatial_mean(scale_channels(x, gate)), lambda x: (x * gate[:, None, None]).mean((1, 2))),
    ):
        np.testing.assert_allclose(ours(x), plain(x), rtol=1e-5, atol=1e-6)
        gradients = [jax.grad(lambda x, f=f: (f(x) * weights).sum())(x) for f in (ours, plain)]
        np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-6)
    by_gate = [
        jax.grad(lambda gate, f=f: (f(x, gate) ** 2).sum())(gate)
        for f in (scale_channels, lambda x, gate: x * gate[:, None, None])
    ]
    np.testing.assert_allclose(*by_gate, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "swish"])
def test_normalize_batch_equals_its_formula_differentiated_by_jax(activation):
    x, scale, bias, weights = photos(4, 3, 5, 6) * 2 + 1, 4 * photos(6) + 1, photos(6), photos(4, 3, 5, 6)
    act = {"none": lambda z: z, "relu": nn.relu, "relu6": lambda z: jnp.clip(z, 0, 6), "swish": nn.swish}[
        activation
    ]

    def written_out(x, scale, bias):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return act((x - mean) / jnp.sqrt(var + 1e-3) * scale + bias)

    ours = lambda *a: normalize_batch(*a, 1e-3, activation)[0]  # noqa: E731
    np.testing.assert_allclose(ours(x, scale, bias), written_out(x, scale, bias), rtol=1e-4, atol=1e-5)
    gradients = [
        jax.jit(jax.grad(lambda *v, f=f: (f(*v) * weights).sum(), (0, 1, 2)))(x, scale, bias)
        for f in (ours, written_out)
    ]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * float(jnp.abs(b).max()))
    _, (mean, variance) = normalize_batch(x, scale, bias, 1e-3, activation)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-4)
