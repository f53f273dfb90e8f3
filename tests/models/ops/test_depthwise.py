import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from skinjax.models.ops import depthwise
from skinjax.models.ops.depthwise import depthwise_conv


def grouped(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


def draw(sizes, kernel, dtype=np.float64, channels=3, batch=2):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, *sizes, channels)).astype(dtype)
    return x, generator.standard_normal((*kernel, 1, channels)).astype(dtype)


def value_and_gradients(convolve, x, kernel, strides, padding):
    @jax.jit
    def compute(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, strides, padding), x, kernel)
        # A gradient that differs at every place, so that no two taps can be taken for one another.
        return y, *pullback(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return compute(x, kernel)


CASES = [
    ((8, 8), (3, 3), (1, 1), "SAME"),
    ((8, 8), (3, 3), (2, 2), "SAME"),  # even: zeros at the end only
    ((7, 8), (3, 3), (2, 2), "SAME"),
    ((7, 9), (5, 5), (2, 2), "SAME"),
    ((8, 8), (5, 5), (2, 2), "SAME"),
    ((3, 2), (5, 5), (1, 1), "SAME"),  # a kernel larger than the map
    ((9, 8), (3, 3), (2, 2), "VALID"),  # a last column that no window reaches
    ((9, 8), (5, 5), (1, 1), "VALID"),
    ((6, 7), (3, 5), (1, 2), ((0, 2), (3, 1))),
    ((7, 7), (1, 1), (2, 2), "SAME"),  # phases without a tap
    ((10, 11), (2, 4), (3, 3), "SAME"),
    ((5, 5), (3, 3), (2, 2), ((4, 5), (3, 3))),  # windows that see only zeros
]


@pytest.mark.parametrize(("sizes", "kernel", "strides", "padding"), CASES)
def test_equals_the_grouped_convolution_in_value_and_gradients(sizes, kernel, strides, padding):
    with jax.enable_x64(True):
        x, weights = draw(sizes, kernel)
        ours = value_and_gradients(depthwise_conv, x, weights, strides, padding)
        theirs = value_and_gradients(grouped, x, weights, strides, padding)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_float32_at_the_size_of_a_network():
    x, weights = draw((28, 28), (5, 5), np.float32, channels=40, batch=4)
    ours = value_and_gradients(depthwise_conv, x, weights, (1, 1), "SAME")
    theirs = value_and_gradients(grouped, x, weights, (1, 1), "SAME")
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_equals_the_definition_written_as_loops():
    x, weights = draw((5, 6), (3, 3))
    padded = np.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)))  # TensorFlow's rule for 5 and 6 at stride 2
    expected = np.zeros((2, 3, 3, 3))
    for n, h, w, c in np.ndindex(expected.shape):
        expected[n, h, w, c] = (
            padded[n, 2 * h : 2 * h + 3, 2 * w : 2 * w + 3, c] * weights[:, :, 0, c]
        ).sum()
    with jax.enable_x64(True):
        np.testing.assert_allclose(depthwise_conv(x, weights, 2), expected, atol=1e-12)


@pytest.mark.slow
def test_second_derivative():
    x, weights = draw((5, 4), (3, 3), channels=2, batch=1)
    with jax.enable_x64(True):

        def penalty(convolve, kernel):
            gradient = jax.grad(lambda x: (convolve(x, kernel, (2, 2), "SAME") ** 3).sum())(x)
            return (gradient**2).sum()

        ours = jax.jit(jax.grad(functools.partial(penalty, depthwise_conv)))(weights)
        theirs = jax.jit(jax.grad(functools.partial(penalty, grouped)))(weights)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.slow
def test_eager_jitted_and_vmapped_agree():
    x, weights = draw((6, 6), (3, 3), np.float32)
    stacked = np.stack([weights, 2 * weights])
    mapped = jax.vmap(lambda kernel: depthwise_conv(x, kernel, 2))(stacked)
    jitted = jax.jit(functools.partial(depthwise_conv, strides=2))(x, weights)
    np.testing.assert_allclose(mapped[0], depthwise_conv(x, weights, 2), rtol=1e-6)
    np.testing.assert_allclose(mapped[1], 2 * jitted, rtol=1e-6)
    mapped_gradient = jax.vmap(jax.grad(lambda kernel: (depthwise_conv(x, kernel, 2) ** 2).sum()))(stacked)
    np.testing.assert_allclose(mapped_gradient[1], 2 * mapped_gradient[0], rtol=1e-5)


@pytest.mark.slow
def test_half_precision_accumulates_in_single():
    """25 taps of about one on 400 places: sums in bfloat16 would stop growing at 256."""
    x = jnp.ones((1, 20, 20, 2), jnp.bfloat16)
    kernel = jnp.ones((5, 5, 1, 2), jnp.bfloat16)
    y, gradient_x, gradient_kernel = value_and_gradients(depthwise_conv, x, kernel, (1, 1), "SAME")
    assert y.dtype == gradient_x.dtype == gradient_kernel.dtype == jnp.bfloat16
    center = jax.jit(jax.grad(lambda kernel: depthwise_conv(x, kernel).astype(jnp.float32).sum()))(kernel)
    assert center[2, 2, 0].tolist() == [400.0, 400.0]


def test_the_platform_chooses_the_lowering():
    x, weights = draw((6, 6), (3, 3), np.float32)
    traced = jax.jit(jax.grad(lambda x, kernel: depthwise_conv(x, kernel).sum(), argnums=(0, 1))).trace(
        x, weights
    )
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.convolution" in traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.slow
def test_what_accelerators_run_is_the_same_function():
    x, weights = draw((6, 7), (3, 3), np.float32)
    pads = ((0, 1), (1, 1))
    gradient = np.ones((2, 3, 4, 3), np.float32)
    ours = depthwise._shifted_backward(x, weights, gradient, (2, 2), pads)
    theirs = depthwise._grouped_backward(x, weights, gradient, (2, 2), pads)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "kernel", "strides", "padding", "message"),
    [
        ((2, 6, 6, 3), (3, 3, 3, 1), 1, "SAME", r"\[k, k, 1, C\], got \(2, 6, 6, 3\) and \(3, 3, 3, 1\)"),
        ((6, 6, 3), (3, 3, 1, 3), 1, "SAME", r"must be of shapes \[N, H, W, C\]"),
        ((2, 6, 6, 3), (3, 3, 1, 3), 0, "SAME", "strides must be one or two numbers of at least 1"),
        ((2, 6, 6, 3), (3, 3, 1, 3), (1, 1, 1), "SAME", "strides must be one or two numbers of at least 1"),
        ((2, 6, 6, 3), (3, 3, 1, 3), 1, "same", 'got "same"'),
        ((2, 6, 6, 3), (3, 3, 1, 3), 1, ((0, -1), (0, 0)), "at least 0"),
        ((2, 2, 6, 3), (3, 3, 1, 3), 1, "VALID", "kernel must fit into 2 rows"),
    ],
)
def test_bad_arguments(x, kernel, strides, padding, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv(jnp.zeros(x), jnp.zeros(kernel), strides, padding)


def test_dtypes_must_agree():
    with pytest.raises(ValueError, match="one floating dtype, got float32 and bfloat16"):
        depthwise_conv(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 1, 2), jnp.bfloat16))
