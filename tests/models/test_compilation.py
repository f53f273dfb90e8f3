"""Compiler options: how a program of one's own gets them, and that no convolution is left to YNNPACK."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import compilation

needs_options = pytest.mark.skipif(
    not compilation.compiler_options(), reason="no CPU, or a jaxlib without them"
)


def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def arguments(*leading):
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(*leading, 2, 16, 16, 8)).astype(np.float32),
        generator.normal(size=(3, 3, 8, 16)).astype(np.float32),
    )


def large():
    """Shapes of a convolution that jaxlib gives to YNNPACK; it leaves small ones alone."""
    return jax.ShapeDtypeStruct((8, 73, 73, 80), jnp.float32), jax.ShapeDtypeStruct(
        (3, 3, 80, 192), jnp.float32
    )


@pytest.mark.slow
@needs_options
def test_convolutions_leave_ynnpack_by_all_three_ways():
    plain = jax.jit(convolve).lower(*large()).compile().as_text()
    if "ynn_fusion" not in plain:
        pytest.skip("this jaxlib gives no convolution to YNNPACK")
    ours = compilation.jit(convolve).lower(*large()).compile().as_text()
    script = (
        "import jax; from tests.models.test_compilation import convolve, large;"
        "print('ynn_fusion' in jax.jit(convolve).lower(*large()).compile().as_text())"
    )
    flags = {"XLA_FLAGS": compilation.xla_flags()}
    by_environment = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | flags, capture_output=True, text=True, check=True
    )
    assert "ynn_fusion" not in ours
    assert by_environment.stdout == "False\n"


@needs_options
def test_a_mapped_function_is_compiled_with_them_once_per_shape(monkeypatch):
    seen = []
    compiled = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered,
        "compile",
        lambda self, compiler_options=None: (
            seen.append(compiler_options) or compiled(self, compiler_options=compiler_options)
        ),
    )
    mapped = compilation.pmap(convolve, "data", in_axes=(0, None))
    images, kernel = arguments(1)
    for count in (2, 2, 1):
        found = mapped(images[:, :count], kernel)
        np.testing.assert_allclose(found[0], convolve(images[0, :count], kernel), rtol=1e-5, atol=1e-4)
    assert seen == [compilation.compiler_options()] * 2


def test_jit_takes_what_jax_takes():
    double = compilation.jit(lambda x, times: x * times, static_argnums=1, donate_argnums=0)
    assert double(jnp.float32(3), 2).item() == 6
    assert double.lower(jnp.float32(3), 2).compile().memory_analysis().alias_size_in_bytes == 4


@pytest.mark.parametrize(
    "compiled", [compilation.jit, lambda f: compilation.pmap(f, "data", in_axes=(None, 0))]
)
def test_inside_another_transformation_they_compute_the_same(compiled):
    mapped = compiled is not compilation.jit
    images, kernel = arguments()
    kernels = np.stack([kernel, -kernel])

    def plain(image, kernel):
        return jnp.tanh(convolve(image, kernel[0] if mapped else kernel)).sum()

    inner = compiled(lambda *given: jnp.tanh(convolve(*given)).sum())

    def ours(image, kernel):
        return inner(image, kernel).sum()

    given = kernel[None] if mapped else kernel
    expected = plain(images, given)
    np.testing.assert_allclose(jax.jit(ours)(images, given), expected, rtol=1e-4)
    np.testing.assert_allclose(
        jax.jit(lambda: ours(images, given))(), expected, rtol=1e-4
    )  # nothing is traced
    slope = jax.grad(plain, argnums=1)(images, given)
    for transformed in (jax.grad(ours, argnums=1), jax.jit(jax.grad(ours, argnums=1))):
        np.testing.assert_allclose(transformed(images, given), slope, rtol=1e-3, atol=1e-3)
    if not mapped:
        each = [plain(images, one) for one in kernels]
        np.testing.assert_allclose(jax.vmap(ours, (None, 0))(images, kernels), each, rtol=1e-4)
        np.testing.assert_allclose(jax.lax.map(lambda one: ours(images, one), kernels), each, rtol=1e-4)
        assert inner.trace(images, kernel).lower().compile() is not None
        assert inner.eval_shape(images, kernel).shape == ()
    np.testing.assert_allclose(ours(images, given), expected, rtol=1e-4)


@pytest.mark.parametrize("around", [jax.jit, jax.grad, jax.vmap, jax.value_and_grad])
def test_a_first_call_inside_a_transformation_leaves_the_outermost_one_known(around):
    compilation._outside.cache_clear()
    square = compilation.jit(lambda x: x * x)
    given = jnp.ones(3) if around is jax.vmap else jnp.float32(3)
    expected = {jax.jit: 9, jax.grad: 6, jax.vmap: [1, 1, 1], jax.value_and_grad: [9, 6]}[around]
    np.testing.assert_allclose(np.asarray(around(lambda x: square(x))(given)), expected)
    assert compilation.is_outermost()


def test_other_devices_take_none(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compilation.compiler_options() == {}
    assert compilation.xla_flags() == ""


@needs_options
def test_products_of_a_training_step_go_to_ynnpack_and_its_convolutions_do_not():
    product = jax.ShapeDtypeStruct((4096, 96), jnp.float32), jax.ShapeDtypeStruct((96, 512), jnp.float32)
    step = compilation.jit(jnp.dot, gradients=True).lower(*product).compile().as_text()
    if "ynn_fusion" not in jax.jit(jnp.dot).lower(*product).compile().as_text():
        pytest.skip("this jaxlib gives no product to YNNPACK")
    assert "ynn_fusion" in step
    assert "ynn_fusion" not in compilation.jit(jnp.dot).lower(*product).compile().as_text()
    convolution = compilation.jit(convolve, gradients=True).lower(*large()).compile().as_text()
    assert "ynn_fusion" not in convolution
