"""ONNX graphs of JAX functions compute what JAX does, in few operators; what cannot be written is refused by name."""

from __future__ import annotations

from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from skinjax.models.ops.depthwise import depthwise_conv
from skinjax.models.ops.gated import project_gated
from skinjax.models.ops.layers import SqueezeExcite
from skinjax.models.ops.normalization import activate
from skinjax.models.ops.pooling import average_pool, max_pool
from skinjax.models.ops.reductions import spatial_mean
from skinjax.predict.augmented import DIHEDRAL
from skinjax.predict.export.program import trace

onnxruntime = pytest.importorskip("onnxruntime")
operators = pytest.importorskip("skinjax.predict.export.operators")

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 5, 7)).astype(np.float32)
DEPTHWISE = RNG.normal(size=(3, 3, 1, 5)).astype(np.float32)
POINTS = RNG.normal(size=(5, 7)).astype(np.float32)
SCALE, SHIFT = RNG.uniform(0.5, 2, 7).astype(np.float32), RNG.normal(size=7).astype(np.float32)
SQUARE = RNG.normal(size=(3, 3, 5, 5)).astype(np.float32)
WIDE = RNG.normal(size=5).astype(np.float32)
NUMBERS = ("NHWC", "HWIO", "NHWC")


def conv(x, strides=(1, 1), padding="SAME", kernel=KERNEL, **more):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NUMBERS, **more)


def points(x):
    return jnp.dot(x.reshape(-1, 5), POINTS).reshape(*x.shape[:-1], 7)


SQUEEZE_EXCITE = SqueezeExcite(2)
GATES = SQUEEZE_EXCITE.init(jax.random.key(0), np.zeros((1, 4, 4, 5), np.float32))


def squeeze_excite(x):
    return project_gated(x, SQUEEZE_EXCITE.apply(GATES, x), POINTS)


def attention(x):
    rows = x.reshape(x.shape[0], -1, 5)
    weights = jax.nn.softmax(jnp.einsum("nic,njc->nij", rows, rows) / 2, axis=-1)
    return nn.LayerNorm().apply({"params": {"scale": WIDE, "bias": WIDE}}, weights @ rows)


CASES = {
    "two results of one map": lambda x: [conv(x), conv(x) * SCALE + SHIFT, points(x), points(x) * SCALE],
    "normalised": lambda x: [nn.relu((conv(x) - SHIFT) * SCALE + SHIFT)],
    "strided": lambda x: [conv(x, (2, 2)), conv(x, (2, 1), "VALID"), conv(x, (1, 1), ((2, 0), (0, 1)))],
    "dilated": lambda x: [conv(x, rhs_dilation=(2, 2))],
    "grouped": lambda x: [conv(x[..., :4], kernel=KERNEL[:, :, :2, :6], feature_group_count=2)],
    "depthwise": lambda x: [depthwise_conv(x, DEPTHWISE, 2, "SAME"), depthwise_conv(x, DEPTHWISE, 1, "VALID")],
    "1 × 1": lambda x: [activate(points(x) / SCALE + SHIFT, "relu6"), activate(points(x), "swish")],
    "1 × 1 read twice": lambda x: [points(x) + conv(x), nn.swish(points(x))],
    "places of one": lambda x: [points(x[:, :1, :1]) * SCALE],
    "before the convolution": lambda x: [conv(nn.relu(x * WIDE + WIDE)), x - WIDE],
    "means": lambda x: [average_pool(x, 3, 1), average_pool(x, 3, 2, "SAME", counts_padding=True),
                        average_pool(x, 2, 2, "VALID")],
    "maxima": lambda x: [max_pool(x, 3, 2), max_pool(x, 2, 2, "VALID"), max_pool(x, 3, 2, ((1, 1), (1, 1)))],
    "squeeze and excite": lambda x: [squeeze_excite(conv(x)[..., :5]), spatial_mean(x), x.mean((1, 2))],
    "sums": lambda x: [x.sum((1, 2)), x.max(1), x.min(3), x.sum(), jnp.prod(x, 2), (x > 0).any(3), (x > 0).all((1, 2))],
    "concatenated": lambda x: [jnp.concatenate([conv(x), x, nn.relu(x)], axis=-1), jnp.concatenate([x, x], 1)],
    "parts": lambda x: [
        lax.slice(x, (0, 1, 0, 0), (x.shape[0], 3, 6, 5), (1, 1, 2, 1)),
        jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 3)), constant_values=2.0), x[..., 1],
    ],
    "symmetries": lambda x: [conv(symmetry(x)) for symmetry in DIHEDRAL],
    "views": lambda x: [jnp.concatenate([x, jnp.flip(x, 1)]).mean((1, 2)).reshape(2, -1, 5).mean(0)],
    "shapes": lambda x: [x.reshape(-1, 4, 30), x.transpose(0, 3, 1, 2), x[:, None], conv(x).reshape(-1, 24 * 7)],
    "broadcast": lambda x: [x + x.mean((1, 2), keepdims=True), jnp.broadcast_to(x[:, :1, :1], x.shape),
                            x * jnp.linspace(0, 1, 6)[:, None], jnp.ones_like(x)],
    "element-wise": lambda x: [jnp.exp(-jnp.abs(x)), jnp.log(1 + x**2), jnp.tanh(x),
                               jax.nn.sigmoid(x), lax.rsqrt(x * x + 1), jnp.clip(x, -1, 0.5), jnp.square(x), x**3,
                               jnp.where(x > 0, x, 0.1 * x), jnp.sqrt(jnp.abs(x)), jax.nn.gelu(x), lax.erf(x)],
    "logic": lambda x: [(x > 0) & (x < 1), (x > 0) | ~(x < 1), x == x.max(), x != 0, (x > 0) ^ (x > 1),
                        jnp.where(x > 0, x > 1, x < -1)],
    "whole numbers": lambda x: [jnp.argmax(x, -1), jnp.argmin(x, -1), (x > 0).sum(-1), (x * 10).astype(jnp.int32) + 3,
                                jnp.maximum(jnp.argmax(x, 1), 2)],
    "look-ups": lambda x: [jnp.take(x.mean((1, 2)), np.array([0, 0, 4]), axis=-1), x.mean((1, 2))[:, 1:4],
                           jnp.take_along_axis(x.mean((1, 2)), jnp.argmax(x.mean((1, 2)), -1)[:, None], -1),
                           jnp.cumsum(x.mean((1, 2)), -1)],
    "attention": lambda x: [attention(x)],
}  # fmt: skip


def graph_of(function, shape=(4, 6, 5)):
    (count,) = jax.export.symbolic_shape("n")
    program = trace(function, jax.ShapeDtypeStruct((count, *shape), jnp.float32))
    names = [f"result_{number}" for number in range(len(program.outputs))]
    return operators.emit(program, ["x"], names).finished({}, "")


def kinds(model):
    counts = Counter(node.op_type for node in model.graph.node)
    del counts["Identity"]  # of the results' names
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_graph_computes_what_jax_does_for_any_number_of_photos(name):
    session = onnxruntime.InferenceSession(graph_of(CASES[name]).SerializeToString())
    for count in (1, 3):
        x = RNG.normal(size=(count, 4, 6, 5)).astype(np.float32)
        expected = [np.asarray(one) for one in CASES[name](jnp.asarray(x))]
        found = session.run(None, {"x": x})
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)


def test_normalisation_and_activation_go_into_the_convolution_before_them():
    assert kinds(graph_of(CASES["normalised"])) == {"Transpose": 2, "Conv": 1, "Relu": 1}
    wide = {"Transpose": 2, "Conv": 2, "Clip": 1}  # a 1 × 1 product is a convolution among maps
    assert (
        kinds(graph_of(lambda x: [activate(points(conv(x, kernel=SQUARE)) * SCALE + SHIFT, "relu6")])) == wide
    )


def test_a_convolution_that_something_else_reads_is_not_scaled():
    def function(x):
        y = conv(x)
        return [y, y * SCALE + SHIFT]

    counts = kinds(graph_of(function))
    assert counts["Conv"] == counts["BatchNormalization"] == 1


def test_groups_of_operations_become_one():
    assert kinds(graph_of(lambda x: [max_pool(conv(x), 3, 2)])) == {"Transpose": 2, "Conv": 1, "MaxPool": 1}
    for counts_padding in (True, False):
        counts = kinds(graph_of(lambda x, c=counts_padding: [average_pool(conv(x), 3, 1, counts_padding=c)]))
        assert counts == {"Transpose": 2, "Conv": 1, "AveragePool": 1}
    swish = {"Transpose": 2, "Conv": 1, "Sigmoid": 1, "Mul": 1}
    assert kinds(graph_of(lambda x: [activate(conv(x), "swish")])) == swish
    assert kinds(graph_of(lambda x: [spatial_mean(conv(x))]))["GlobalAveragePool"] == 1


def test_groups_that_only_look_like_one_stay_what_they_are():
    def shifted(x):  # maxima of four views, two of which are the same
        return [jnp.maximum(jnp.maximum(x[:, :3, :5], x[:, 1:, :5]), jnp.maximum(x[:, :3, :5], x[:, :3, 1:]))]

    counts = kinds(graph_of(shifted))
    assert counts["MaxPool"] == 0
    assert counts["Max"] == 3
    almost = graph_of(lambda x: [x / (1 + jnp.exp(-jnp.maximum(x * 2, -80)))])
    assert kinds(almost)["Sigmoid"] == 0
    x = RNG.normal(size=(2, 4, 6, 5)).astype(np.float32)
    for function, model in ((shifted, graph_of(shifted)),):
        found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        np.testing.assert_allclose(found[0], function(x)[0], rtol=1e-6)


def test_weights_are_stored_once_however_often_they_are_used():
    once = graph_of(lambda x: [conv(x)]).ByteSize()
    twice = graph_of(lambda x: [conv(x), conv(nn.relu(x))]).ByteSize()
    assert twice - once < KERNEL.nbytes / 2


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: [jnp.sort(x, -1)], "got sort;"),
        (lambda x: [lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x)], "got while;"),
        (lambda x: [x[:1]], "a part of the photos"),
        (lambda x: [conv(x, kernel=KERNEL * x.sum())], "by a constant kernel"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(function, what):
    with pytest.raises(ValueError, match=what):
        graph_of(function)
