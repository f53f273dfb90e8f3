"""Schedules, optimisers and losses against the thesis's equations written out in numpy over many steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.train.losses import binary_cross_entropy, cross_entropy
from skinjax.train.optimizers import sgd_momentum
from skinjax.train.schedules import burn_in, thesis_schedule

STEPS = 300
LR0, LRF, BURN_IN = 0.00465, 1e-5, 50


def written_out(decay: str, step: int) -> float:
    """The learning rate of a batch, numbered from 1 as in equation 4-5."""
    batch = step + 1
    if batch <= BURN_IN:
        return LR0 * (batch / BURN_IN) ** 4
    t = (batch - BURN_IN) / (STEPS - BURN_IN)
    if decay == "cosine":
        return LRF + (LR0 - LRF) * (1 + np.cos(np.pi * t)) / 2
    if decay == "exponential":
        return LR0 * (LRF / LR0) ** t
    if decay == "inverse_exponential":
        return LR0 + LRF - LR0 * (LRF / LR0) ** (1 - t)
    return LR0 if t < 0.5 else np.sqrt(LR0 * LRF) if t < 0.75 else LRF


@pytest.mark.slow
@pytest.mark.parametrize("decay", ["cosine", "exponential", "inverse_exponential", "multistep"])
def test_schedule_equals_the_equation_at_every_step(decay):
    schedule = jax.vmap(thesis_schedule(LR0, LRF, BURN_IN, STEPS, decay))
    expected = [written_out(decay, step) for step in range(STEPS)]
    np.testing.assert_allclose(schedule(jnp.arange(STEPS)), expected, rtol=2e-4, atol=1e-9)
    np.testing.assert_allclose(schedule(jnp.arange(STEPS))[-1], LRF, rtol=1e-3)
    np.testing.assert_allclose(schedule(jnp.array([10 * STEPS])), LRF, rtol=1e-3)


def test_burn_in_equals_4_5_and_is_darknets_power():
    counts = np.arange(80)
    expected = 0.1 * np.minimum((counts + 1) / 40, 1) ** 4
    np.testing.assert_allclose(jax.vmap(burn_in(0.1, 40))(counts), expected, rtol=1e-5)
    np.testing.assert_allclose(burn_in(0.1, 0)(0), 0.1, rtol=1e-6)


def test_unknown_forms_are_refused():
    with pytest.raises(ValueError, match="cosine, exponential"):
        thesis_schedule(1, 1, 1, 1, decay="linear")
    with pytest.raises(ValueError, match="'l2' or 'decoupled'"):
        sgd_momentum(0.1, 0.9, 0.0, decay="none")


@pytest.mark.parametrize("decay", ["l2", "decoupled"])
@pytest.mark.parametrize("traced", [False, True])
def test_sgd_momentum_equals_equations_4_1_to_4_4(decay, traced):
    """Gradients are fixed noise; weights after 300 steps equal those of the equations in float64."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(STEPS, 5, 3)).astype(np.float32)
    start = rng.normal(size=(5, 3)).astype(np.float32)
    momentum, penalty = 0.951, 0.000355

    def run(momentum, penalty):
        optimizer = sgd_momentum(thesis_schedule(LR0, LRF, BURN_IN, STEPS), momentum, penalty, decay)

        def one(carry, gradient):
            weights, state = carry
            updates, state = optimizer.update(gradient, state, weights)
            return (optax.apply_updates(weights, updates), state), None

        return jax.lax.scan(one, (jnp.asarray(start), optimizer.init(jnp.asarray(start))), gradients)[0][0]

    result = jax.jit(run)(momentum, penalty) if traced else run(momentum, penalty)

    weights, velocity = start.astype(float), np.zeros_like(start, float)
    for step in range(STEPS):
        gradient = gradients[step].astype(float)
        if decay == "l2":
            gradient = gradient + penalty * weights  # the gradient of 4-2
        velocity = momentum * velocity + gradient  # 4-1
        moved = weights - written_out("cosine", step) * velocity
        weights = moved if decay == "l2" else moved - penalty * weights  # 4-4: w (1 - lambda) - ...
    np.testing.assert_allclose(result, weights, rtol=2e-4, atol=2e-5)
    assert np.abs(weights - start).max() > 0.05


def test_losses_equal_equations_3_2_and_3_3():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(40, 7)).astype(np.float32) * 4, rng.integers(0, 7, 40)
    q = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    p = np.eye(7)[labels]
    np.testing.assert_allclose(
        np.mean(jax.jit(cross_entropy)(logits, labels)),
        -(p * np.log(q)).sum() / 40,
        rtol=1e-5,
    )
    y, p = labels % 2, 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    np.testing.assert_allclose(
        np.mean(jax.jit(binary_cross_entropy)(logits[:, :1], y)),
        -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() / 40,
        rtol=1e-5,
    )
