"""Optimisers against the equations in float64, PyTorch and Keras; clipping, freezing and masks; no recompilation."""

from __future__ import annotations

import functools
import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.models.registry import create, init_variables
from skinjax.train import optimizers

STEPS = 60
RNG = np.random.default_rng(0)
START = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
GRADIENTS = {name: RNG.normal(size=(STEPS, *value.shape)) for name, value in START.items()}
RATES = 0.02 * 0.97 ** np.arange(STEPS)


def single(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


def run(optimizer, start=START, gradients=GRADIENTS):
    """The parameters after a step for each gradient, under jit."""

    def one(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def steps(params, gradients):
        return jax.lax.scan(one, (params, optimizer.init(params)), gradients)[0][0]

    return steps(single(start), single(gradients))


def schedule(count):
    return jnp.asarray(RATES, jnp.float32)[count]


def written_out(name, momentum, penalty, decay="l2", rates=RATES, rho=0.9, b2=0.999, epsilon=None, masked=()):
    """The same in float64, line by line as the papers and Keras have it."""
    result = {}
    for leaf, start in START.items():
        weights, velocity, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
        penalty_here = 0 if leaf in masked else penalty
        for step, rate in enumerate(rates):
            before = weights.copy()
            gradient = GRADIENTS[leaf][step]
            if decay == "l2" and name != "adamw":
                gradient = gradient + penalty_here * before
            if name == "sgd":
                velocity = momentum * velocity + gradient
                weights = before - rate * velocity
            elif name == "rmsprop":
                square = rho * square + (1 - rho) * gradient**2
                velocity = momentum * velocity + rate * gradient / np.sqrt(square + (epsilon or 1e-3))
                weights = before - velocity
            else:
                velocity = momentum * velocity + (1 - momentum) * gradient
                square = b2 * square + (1 - b2) * gradient**2
                mean = velocity / (1 - momentum ** (step + 1))
                root = np.sqrt(square / (1 - b2 ** (step + 1)))
                weights = before - rate * (mean / (root + (epsilon or 1e-8)) + penalty_here * before)
            if decay == "decoupled" and name != "adamw":
                weights = weights - penalty_here * before
        result[leaf] = weights
    return result


def close(found, wanted, rtol=2e-4, atol=2e-5):
    assert set(found) == set(wanted)
    for leaf, value in wanted.items():
        assert np.abs(value - START[leaf]).max() > 0.05
        np.testing.assert_allclose(found[leaf], value, rtol=rtol, atol=atol)


@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize(
    ("name", "decay"),
    [("sgd", "l2"), ("sgd", "decoupled"), ("rmsprop", "l2"), ("rmsprop", "decoupled"), ("adamw", "l2")],
)
def test_equals_the_equations(name, decay, decay_all):
    """Under jit, with every hyper-parameter traced."""

    @jax.jit
    def trained(momentum, penalty):
        return run(optimizers.make(name, schedule, momentum, penalty, decay=decay, decay_all=decay_all))

    masked = () if decay_all else ("bias",)
    close(trained(0.9, 0.02), written_out(name, 0.9, 0.02, decay, masked=masked))
    close(trained(0.0, 0.0), written_out(name, 0.0, 0.0, decay))


def test_further_hyper_parameters_may_be_traced():
    rmsprop = jax.jit(lambda rho, eps: run(optimizers.rmsprop(schedule, 0.5, 0.01, rho=rho, epsilon=eps)))
    close(rmsprop(0.7, 0.1), written_out("rmsprop", 0.5, 0.01, rho=0.7, epsilon=0.1))
    adamw = jax.jit(lambda b2, eps: run(optimizers.adamw(schedule, 0.5, 0.01, b2=b2, epsilon=eps)))
    close(adamw(0.9, 0.1), written_out("adamw", 0.5, 0.01, b2=0.9, epsilon=0.1))


def test_a_mask_says_which_parameters_decay():
    """As a tree, as a function, and as parameter groups of PyTorch would have it."""
    tree = {"kernel": False, "bias": True}
    for mask in (tree, lambda params: tree):
        for decay in ("l2", "decoupled"):
            found = run(optimizers.sgd_momentum(schedule, 0.9, 0.05, decay, mask=mask))
            close(found, written_out("sgd", 0.9, 0.05, decay, masked=("kernel",)))


def in_torch(make_optimizer, clip_norm=None):
    torch = pytest.importorskip("torch")
    params = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    optimizer = make_optimizer(torch.optim, params)
    for step in range(STEPS):
        for name, param in params.items():
            param.grad = torch.tensor(GRADIENTS[name][step])
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(params.values()), clip_norm)
        optimizer.step()
    return {name: param.detach().numpy() for name, param in params.items()}


def test_equals_pytorch():
    rate = 0.01

    def groups(params):
        return [
            {"params": [params["kernel"]], "weight_decay": 0.02},
            {"params": [params["bias"]], "weight_decay": 0.0},
        ]

    close(
        run(optimizers.make("sgd", rate, 0.9, 0.02, decay_all=False)),
        in_torch(lambda optim, params: optim.SGD(groups(params), lr=rate, momentum=0.9)),
    )
    # Its epsilon stands outside the root, so it agrees where there is none.
    close(
        run(optimizers.rmsprop(rate, 0.8, 0.02, rho=0.95, epsilon=1e-30)),
        in_torch(
            lambda optim, params: optim.RMSprop(
                params.values(), lr=rate, alpha=0.95, eps=0.0, momentum=0.8, weight_decay=0.02
            )
        ),
        rtol=1e-3,
        atol=1e-4,
    )
    close(
        run(optimizers.make("adamw", rate, 0.85, 0.02, decay_all=False)),
        in_torch(lambda optim, params: optim.AdamW(groups(params), lr=rate, betas=(0.85, 0.999))),
    )
    close(
        run(optimizers.make("sgd", rate, 0.9, 0.02, clip_norm=2.5)),
        in_torch(
            lambda optim, params: optim.SGD(params.values(), lr=rate, momentum=0.9, weight_decay=0.02), 2.5
        ),
    )


def test_rmsprop_equals_keras_with_a_falling_rate():
    """A falling rate tells the rate inside the momentum from the rate after it, a large epsilon where it stands."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")
        variables = {name: keras.Variable(value.astype(np.float32)) for name, value in START.items()}
        optimizer = keras.optimizers.RMSprop(RATES[0], rho=0.8, momentum=0.9, epsilon=0.5)
        for step in range(STEPS):
            optimizer.learning_rate = RATES[step]
            optimizer.apply(
                [GRADIENTS[name][step].astype(np.float32) for name in variables], list(variables.values())
            )
    close(
        run(optimizers.rmsprop(schedule, 0.9, 0.0, rho=0.8, epsilon=0.5)),
        {name: np.asarray(variable.value) for name, variable in variables.items()},
    )


def test_decays_names_kernels_only():
    params = init_variables(create("efficientnet_nano", num_classes=4), jax.random.key(0))["params"]
    found = {path[-1].key: set() for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    for path, decays in jax.tree_util.tree_leaves_with_path(optimizers.decays(params)):
        found[path[-1].key].add(decays)
    assert found == {name: {name == "kernel"} for name in found}
    assert set(found) >= {"kernel", "bias", "scale"}


def test_clipping_bounds_the_norm_of_all_parameters_together():
    @jax.jit
    def clipped(gradients, clip_norm):
        optimizer = optimizers.make("sgd", 1.0, 0.0, 0.0, clip_norm=clip_norm)
        return optimizer.update(gradients, optimizer.init(gradients), gradients)[0]

    gradients = {"a": np.array([2, 3], np.float32), "b": np.array([6], np.float32)}  # of norm 7
    for clip_norm, factor in ((3.5, 0.5), (7.5, 1.0), (None, 1.0)):
        updates = clipped(gradients, clip_norm)
        np.testing.assert_allclose(updates["a"], [-2 * factor, -3 * factor], rtol=1e-6)
        np.testing.assert_allclose(updates["b"], [-6 * factor], rtol=1e-6)
    assert not any(np.any(leaf) for leaf in clipped(jax.tree.map(np.zeros_like, gradients), 1.0).values())


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("traced", [False, True])
def test_a_rate_of_0_freezes_and_others_scale(name, traced):
    """One rate for a whole branch, and a gradient that is no number in what is frozen."""
    start = {"stem": START, "head": START}
    gradients = {"stem": jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), GRADIENTS), "head": GRADIENTS}

    def trained(rates):
        return run(optimizers.make(name, schedule, 0.9, 0.1, clip_norm=2.0, rates=rates), start, gradients)

    rates = {"stem": 0.0, "head": 1.0}
    found = jax.jit(trained)(rates) if traced else trained(rates)
    for leaf, value in single(START).items():
        np.testing.assert_array_equal(found["stem"][leaf], value)
    alone = run(optimizers.make(name, schedule, 0.9, 0.1, clip_norm=2.0))  # as if there were no stem
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found["head"], alone)


def test_rates_are_factors_of_the_learning_rate():
    """Weight decay included, where it goes through the rate."""
    found = run(optimizers.make("adamw", schedule, 0.9, 0.1, rates={"kernel": 0.25, "bias": 1.0}))
    whole = written_out("adamw", 0.9, 0.1)
    quarter = written_out("adamw", 0.9, 0.1, rates=RATES / 4)
    close(found, {"kernel": quarter["kernel"], "bias": whole["bias"]})


def test_the_gradient_of_what_is_frozen_is_not_computed():
    params = {"first": jnp.ones((64, 64)), "second": jnp.ones((64, 64)), "head": jnp.ones((64, 64))}

    def flops(rates):
        optimizer = optimizers.make("sgd", 0.1, 0.9, 0.0, clip_norm=1.0, rates=rates)

        def step(params, state, x):
            gradients = jax.grad(
                lambda p: jnp.sum(jnp.tanh(jnp.tanh(x @ p["first"]) @ p["second"]) @ p["head"])
            )(params)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates)

        compiled = jax.jit(step).lower(params, optimizer.init(params), jnp.ones((64, 64))).compile()
        return compiled.cost_analysis()["flops"]

    assert flops({"first": 0.0, "second": 0.0, "head": 1.0}) < flops(
        {"first": 0.0, "second": 1.0, "head": 1.0}
    )
    assert flops({"first": 0.0, "second": 1.0, "head": 1.0}) < flops(
        {"first": 1.0, "second": 1.0, "head": 1.0}
    )


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
def test_other_hyper_parameters_do_not_recompile(name):
    traces = []
    params, gradients = single(START), {leaf: value[0] for leaf, value in single(GRADIENTS).items()}

    def make(values):
        rate, momentum, penalty, clip_norm, factor = values
        return optimizers.make(
            name,
            lambda count: rate / (1 + count),
            momentum,
            penalty,
            decay="decoupled",
            decay_all=False,
            clip_norm=clip_norm,
            rates={"kernel": factor, "bias": 1.0},
        )

    @jax.jit
    def step(params, state, values):
        traces.append(values)
        updates, state = make(values).update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = make(jnp.zeros(5)).init(params)
    results = []
    for values in ([0.1, 0.9, 0.01, 1.0, 1.0], [0.3, 0.5, 0.0, 9.0, 0.0], [0.2, 0.0, 0.1, 0.5, 0.5]):
        changed, state = step(params, state, jnp.asarray(values))
        results.append(float(changed["bias"][0]))
    assert len(traces) == 1
    assert len(set(results)) == 3


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="one of sgd, rmsprop, adamw, got 'lion'"):
        optimizers.make("lion", 0.1, 0.9, 0.0)
    for make in (optimizers.sgd_momentum, optimizers.rmsprop, functools.partial(optimizers.make, "adamw")):
        with pytest.raises(ValueError, match="'l2' or 'decoupled', got 'none'"):
            make(0.1, 0.9, 0.0, decay="none")
