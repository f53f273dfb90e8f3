"""The moving average of the weights against its recurrence in float64 and against PyTorch's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.train import averaging

STEPS = 300
PATH = np.random.default_rng(0).normal(size=(STEPS, 4)).cumsum(0).astype(np.float32)


def averaged(decay, first_step=0):
    def one(carry, params):
        average, step = carry
        return (averaging.update(average, params, decay, step), step + 1), None

    return jax.lax.scan(one, (jnp.zeros(4), jnp.int32(first_step)), jnp.asarray(PATH))[0][0]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.9999])
def test_equals_the_recurrence_with_warm_up(decay):
    average = np.zeros(4)
    for step, params in enumerate(PATH.astype(float)):
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * params
    np.testing.assert_allclose(averaged(decay), average, rtol=1e-4, atol=1e-5)


def test_past_the_warm_up_equals_pytorchs_average():
    torch = pytest.importorskip("torch")
    average = torch.zeros(4, dtype=torch.float64)
    step = torch.optim.swa_utils.get_ema_avg_fn(0.95)
    for params in PATH:
        average = step(average, torch.tensor(params).double(), None)
    np.testing.assert_allclose(averaged(0.95, first_step=10_000), average.numpy(), rtol=1e-4, atol=1e-5)


def test_decay_0_gives_the_parameters_to_the_bit():
    np.testing.assert_array_equal(averaged(0.0), PATH[-1])


def test_any_tree_of_floats_and_no_recompilation():
    traces = []

    @jax.jit
    def update(average, params, decay, step):
        traces.append(decay)
        return averaging.update(average, params, decay, step)

    tree = {"params": {"w": jnp.ones((2, 3))}, "batch_stats": {"mean": jnp.zeros(3)}}
    zeros = jax.tree.map(jnp.zeros_like, tree)
    for decay, step in ((0.9, 0), (0.5, 7), (0.0, 1000)):
        found = update(zeros, tree, jnp.float32(decay), jnp.int32(step))
        assert jax.tree.structure(found) == jax.tree.structure(tree)
        kept = min(decay, (1 + step) / (10 + step))
        np.testing.assert_allclose(found["params"]["w"], 1 - kept, rtol=1e-6)
        assert found["params"]["w"].dtype == jnp.float32
    assert len(traces) == 1
