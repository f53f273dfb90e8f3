"""Losses and class weights against PyTorch, scikit-learn and the formulas written out in float64."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from skinjax.train import losses

RNG = np.random.default_rng(3)
LOGITS = (RNG.normal(size=(30, 7)) * 3).astype(np.float32)
LABELS = RNG.integers(0, 7, 30).astype(np.int32)


def softmax(logits):
    exponentials = np.exp(logits.astype(float) - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def smoothed(labels, num_classes, smoothing):
    return (1 - smoothing) * np.eye(num_classes)[labels] + smoothing / num_classes


def written_out(logits, labels, gamma=0.0, smoothing=0.0):
    p = softmax(logits)
    return -(smoothed(labels, logits.shape[-1], smoothing) * (1 - p) ** gamma * np.log(p)).sum(-1)


def test_cross_entropy_equals_scikit_learn():
    expected = log_loss(LABELS, softmax(LOGITS), labels=range(7))
    np.testing.assert_allclose(np.mean(jax.jit(losses.cross_entropy)(LOGITS, LABELS)), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_equals_the_formula_and_pytorch(smoothing):
    expected = written_out(LOGITS, LABELS, smoothing=smoothing)
    for found in (
        losses.cross_entropy(LOGITS, LABELS, smoothing),
        jax.jit(losses.cross_entropy)(LOGITS, LABELS, smoothing),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    torch = pytest.importorskip("torch")
    peer = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS), torch.tensor(LABELS).long(), reduction="none", label_smoothing=smoothing
    )
    np.testing.assert_allclose(found, peer.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_equals_the_formula(gamma, smoothing):
    expected = written_out(LOGITS, LABELS, gamma, smoothing)
    found = jax.jit(losses.focal)(LOGITS, LABELS, gamma, smoothing)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    if gamma == 0:
        np.testing.assert_allclose(
            found, jax.jit(losses.cross_entropy)(LOGITS, LABELS, smoothing), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focals_gradient_equals_that_of_autograd_in_float64(gamma):
    torch = pytest.importorskip("torch")
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    p_t = torch.softmax(logits, -1)[torch.arange(len(LABELS)), torch.tensor(LABELS).long()]
    (-((1 - p_t) ** gamma) * torch.log(p_t)).sum().backward()
    found = jax.jit(jax.grad(lambda logits: losses.focal(logits, LABELS, gamma).sum()))(LOGITS)
    np.testing.assert_allclose(found, logits.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_focals_gradient_equals_differences():
    logits, labels, step = LOGITS[:3].astype(float), LABELS[:3], 1e-5
    found = jax.jit(jax.grad(lambda x: losses.focal(x, labels, 1.5, 0.1).sum()))(LOGITS[:3])
    found = np.asarray(found)
    for place in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[place] = step
        high, low = (written_out(logits + sign * moved, labels, 1.5, 0.1).sum() for sign in (1, -1))
        np.testing.assert_allclose(found[place], (high - low) / (2 * step), rtol=1e-3, atol=1e-5)


def test_focal_is_finite_however_far_apart_the_logits():
    @jax.jit
    def value_and_gradients(logits, gamma, smoothing):
        return jax.value_and_grad(
            lambda x, g: losses.focal(x, jnp.array([0]), g, smoothing).sum(), argnums=(0, 1)
        )(logits, gamma)

    for logits in ([1e4, 0, -1e4], [0, 1e4, 1e4], [-300, 0, 0], [0, 0, 0], [90, 0, 0]):
        for gamma, smoothing in itertools.product([0.0, 0.3, 1.0, 2.0], [0.0, 0.1]):
            value, gradients = value_and_gradients(jnp.array([logits], jnp.float32), gamma, smoothing)
            assert value >= 0
            assert all(np.isfinite(number).all() for number in (value, *gradients))


def test_binary_cross_entropy_equals_the_formula_cross_entropy_and_pytorch():
    pair, labels = LOGITS[:, :2], (LABELS % 2).astype(np.int32)
    score = pair[:, 1:] - pair[:, :1]
    for smoothing in (0.0, 0.2):
        p = softmax(pair)[:, 1]
        y = (1 - smoothing) * labels + smoothing / 2
        expected = -y * np.log(p) - (1 - y) * np.log(1 - p)  # 3-3
        for logits in (pair, score):
            found = jax.jit(losses.binary_cross_entropy)(logits, labels, smoothing)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            found, jax.jit(losses.cross_entropy)(pair, labels, smoothing), rtol=1e-5, atol=1e-6
        )
    with pytest.raises(ValueError, match="must be 1 or 2 per photo for binary cross-entropy, got 7"):
        losses.binary_cross_entropy(LOGITS, labels)
    torch = pytest.importorskip("torch")
    peer = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(score[:, 0]), torch.tensor(labels, dtype=torch.float32), reduction="none"
    )
    np.testing.assert_allclose(
        jax.jit(losses.binary_cross_entropy)(score, labels), peer.numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary"])
def test_make_loss_names_them_and_traced_values_do_not_recompile(name):
    traces = []
    logits = LOGITS[:, :2]

    @jax.jit
    def loss(smoothing, gamma):
        traces.append(name)
        return losses.make_loss(name, smoothing=smoothing, gamma=gamma)(jnp.asarray(logits), LABELS % 2)

    for smoothing, gamma in ((0.0, 2.0), (0.1, 1.0), (0.3, 0.0)):
        found = loss(smoothing, gamma)
        expected = written_out(logits, LABELS % 2, gamma if name == "focal" else 0.0, smoothing)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    assert len(traces) == 1


def test_losses_of_half_precision_logits_are_single():
    logits, labels = jax.ShapeDtypeStruct((3, 2), jnp.bfloat16), jax.ShapeDtypeStruct((3,), jnp.int32)
    for name in ("cross_entropy", "focal", "binary"):
        for smoothing in (0.0, 0.1):
            loss = losses.make_loss(name, smoothing=smoothing)
            assert jax.eval_shape(loss, logits, labels).dtype == jnp.float32


@pytest.mark.parametrize("labels", [np.zeros((3, 1), int), np.zeros(2, int), np.int32(0)])
@pytest.mark.parametrize("loss", [losses.make_loss(name) for name in ("cross_entropy", "focal", "binary")])
@pytest.mark.parametrize("run", [lambda function: function, jax.jit])
def test_labels_of_another_shape_are_refused(labels, loss, run):
    with pytest.raises(ValueError, match=r"labels must be one per row of logits, \(3,\), got shape \("):
        run(loss)(jnp.zeros((3, 2)), labels)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, -1, 1]])
def test_labels_that_are_no_class_are_refused(labels):
    for name in ("cross_entropy", "focal", "binary"):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 1 others"):
            losses.make_loss(name, smoothing=0.1)(jnp.zeros((3, 2)), jnp.array(labels))
    for weigh in (losses.balanced_class_weights, losses.effective_number_weights):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 1 others"):
            weigh(np.array(labels), 2)


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(ValueError, match="labels must be integers, got float"):
        losses.focal(jnp.zeros((2, 3)), np.array([0.5, 1.7]), 2.0)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="one of cross_entropy, focal, binary, got 'hinge'"):
        losses.make_loss("hinge")


def test_class_weights_equal_scikit_learns_and_average_to_one():
    labels = np.random.default_rng(2).choice(5, 200, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    weights = losses.balanced_class_weights(labels, 5)
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.arange(5), y=labels), rtol=1e-6
    )
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-6)
    assert losses.balanced_class_weights(np.array([0, 0, 2]), 4).tolist() == [0.75, 0, 1.5, 0]


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_effective_number_weights_equal_the_sum_over_photos(beta):
    """Cui's E_n is 1 + beta + ... + beta^(n - 1)."""
    labels = np.repeat([0, 1, 3], [300, 40, 3])
    weights = losses.effective_number_weights(labels, 5, beta)
    inverse = {label: 1 / sum(beta**i for i in range(count)) for label, count in ((0, 300), (1, 40), (3, 3))}
    scale = 343 / (300 * inverse[0] + 40 * inverse[1] + 3 * inverse[3])
    np.testing.assert_allclose(
        weights, [inverse[0] * scale, inverse[1] * scale, 0, inverse[3] * scale, 0], rtol=1e-6
    )
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-6)
    assert weights.dtype == np.float32


def test_effective_number_weights_go_from_ones_to_balanced():
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    effective = functools.partial(losses.effective_number_weights, labels, 3)
    np.testing.assert_allclose(effective(0.0), 1, rtol=1e-6)
    np.testing.assert_allclose(effective(1 - 1e-9), losses.balanced_class_weights(labels, 3), rtol=1e-5)
    for beta in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="beta must be at least 0 and below 1"):
            effective(beta)
