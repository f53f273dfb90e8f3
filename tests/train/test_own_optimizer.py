"""`fit` with an optimiser and a schedule of one's own: against optax by hand, and with all that goes with others."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.augment import NO_AUGMENTATION
from skinjax.data.pipeline.loader import Subset, training_batches
from skinjax.models.pixels import normalize
from skinjax.train import averaging
from skinjax.train.history import learning_rate
from skinjax.train.loop import Settings, StoppedError, fit
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.schedules import thesis_schedule
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_train_step
from tests.support.small_backbones import SMALLER, build

pytestmark = pytest.mark.slow
LION = optax.lion(optax.warmup_cosine_decay_schedule(0.0, 3e-3, 2, 6), weight_decay=0.1)
RECIPE = Recipe(learning_rate=0.05, momentum=0.9, burn_in=2, strengths=NO_AUGMENTATION)
SETTINGS = Settings(epochs=2, batch_size=8, seed=1, method=Method(optimizer=LION))
SPEC = dataclasses.replace(SMALLER, image_size=16)


def coloured(count: int, seed: int = 0) -> Subset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return Subset(
        [{"image": image} for image in images], np.arange(count), (np.arange(count) % 3).astype(np.int32)
    )


TRAIN, HELD_OUT = coloured(26), coloured(5, 1)


@pytest.fixture(scope="module")
def small():
    model = build(SPEC, 3, bn_momentum=SPEC.bn_momentum, axis_name=None, dtype=jnp.float32)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))


def trained(small, folder, settings=SETTINGS, recipe=RECIPE, **more):
    model, variables = small
    return fit(model, SPEC, variables, TRAIN, HELD_OUT, recipe, settings, folder, **more)


def by_hand(small, optimizer, frozen: str = "", average_decay: float = 0.0):
    """The same updates with optax alone."""
    model, variables = small
    params, stats, average = variables["params"], variables["batch_stats"], variables["params"]
    state = optimizer.init(params)

    @jax.jit
    def step(params, stats, state, image, label):
        def loss(params):
            logits, changed = model.apply(
                {"params": params, "batch_stats": stats},
                normalize(image, SPEC),
                train=True,
                mutable=["batch_stats"],
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean(), changed[
                "batch_stats"
            ]

        gradients, stats = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state

    for number, batch in enumerate(training_batches(TRAIN, 8, 1, steps=6)):
        before = params
        params, stats, state = step(params, stats, state, batch["image"], batch["label"])
        params |= {frozen: before[frozen]} if frozen else {}
        average = averaging.update(average, params, average_decay, number)
    return average if average_decay else params


def assert_close(found, expected):
    for path, value in jax.tree_util.tree_leaves_with_path(expected):
        mine = dict(jax.tree_util.tree_leaves_with_path(found))[path]
        np.testing.assert_allclose(mine, value, rtol=2e-3, atol=2e-5, err_msg=jax.tree_util.keystr(path))


def test_it_makes_the_updates_of_optax_and_the_recipe_changes_nothing(small, tmp_path):
    found = trained(small, tmp_path / "a")
    assert_close(found.variables["params"], by_hand(small, LION))
    other = trained(small, tmp_path / "b", recipe=RECIPE._replace(learning_rate=1.0, momentum=0.0))
    jax.tree.map(np.testing.assert_array_equal, other.variables, found.variables)
    assert [row["learning_rate"] for row in found.history if row["split"] == "train"] == [None, None]
    # pmap makes the updates of jit over both devices.
    assert len(jax.devices()) == 2
    pmap = dataclasses.replace(SETTINGS, parallel=Parallel("pmap"))
    assert_close(trained(small, tmp_path / "c", pmap).variables, found.variables)


def test_freezing_averages_and_clipping_go_with_it(small, tmp_path):
    method = Method(optimizer=optax.sgd(0.05), frozen_blocks=1, average_decay=0.5, clip_norm=0.1)
    found = trained(small, tmp_path, dataclasses.replace(SETTINGS, method=method))
    _, variables = small
    frozen = optax.transforms.selective_transform(
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.05)),
        freeze_mask={name: name == "block_0" for name in variables["params"]},
    )
    assert_close(found.variables["params"], by_hand(small, frozen, "block_0", 0.5))
    jax.tree.map(
        np.testing.assert_array_equal, found.variables["params"]["block_0"], variables["params"]["block_0"]
    )


def test_a_schedule_alone_serves_the_named_optimizers(small, tmp_path):
    """That of the thesis, given as a function, gives the same bits and the same rates in the history."""
    named = dataclasses.replace(SETTINGS, method=Method())
    own = dataclasses.replace(named, method=Method(learning_rate_decay=thesis_schedule(0.05, 1e-5, 2, 6)))
    first = trained(small, tmp_path / "named", named)
    second = trained(small, tmp_path / "own", own, RECIPE._replace(learning_rate=9.0, burn_in=0))
    assert_close(second.variables, first.variables)
    rates = [
        [row["learning_rate"] for row in one.history if row["split"] == "train"] for one in (first, second)
    ]
    assert rates[0] == pytest.approx(rates[1])
    assert rates[1][-1] == pytest.approx(1e-5, rel=1e-3)


def test_a_stopped_run_goes_on_to_the_same_bits_and_another_optimizer_is_refused(small, tmp_path):
    settings = dataclasses.replace(SETTINGS, checkpoint_seconds=0)
    whole = trained(small, tmp_path / "whole", settings)
    with pytest.raises(StoppedError):
        trained(small, tmp_path / "parts", settings, should_stop=lambda update: update == 4)
    other = dataclasses.replace(settings, method=Method(optimizer=optax.adam(1e-3)))
    folder = tmp_path / "parts"
    with pytest.raises(
        ValueError, match=rf"^optimizer must be the one of the checkpoint {folder / '4'}, got one whose"
    ):
        trained(small, folder, other)
    averaged = dataclasses.replace(settings, method=Method(optimizer=LION, average_decay=0.9))
    with pytest.raises(ValueError, match=r"^average_decay must be the one of the checkpoint"):
        trained(small, folder, averaged)
    resumed = trained(small, folder, settings)
    jax.tree.map(np.testing.assert_array_equal, resumed.variables, whole.variables)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


def test_a_rate_in_the_optimizers_state_is_told_and_optimizers_may_look_at_the_loss(small):
    model, variables = small
    method = Method(
        optimizer=optax.inject_hyperparams(optax.sgd)(learning_rate=optax.constant_schedule(0.25))
    )
    state = create_state(variables, optax.chain(method.optimizer), 0)
    assert learning_rate(RECIPE, method, state) == 0.25
    polyak = Method(optimizer=optax.polyak_sgd(max_learning_rate=1.0))
    state = create_state(variables, optax.chain(polyak.optimizer), 0)
    step = compiled_train_step(model, SPEC, polyak, Parallel(device_count=1))
    assert step is compiled_train_step(
        model, SPEC, Method(optimizer=polyak.optimizer), Parallel(device_count=1)
    )
    batch = {"image": TRAIN.source[0]["image"][None], "label": TRAIN.labels[:1]}
    before = jax.tree.map(np.asarray, state.params)
    after, loss = step(state, batch, jax.tree.map(jnp.float32, RECIPE), jnp.ones(3))
    moved = sum(float(np.abs(a - b).sum()) for a, b in zip(
        jax.tree.leaves(before), jax.tree.leaves(after.params), strict=True
    ))  # fmt: skip
    assert np.isfinite(loss)
    assert moved > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of sgd, rmsprop, adamw, got 'lion'"),
        (
            {"optimizer": LION, "learning_rate_decay": optax.constant_schedule(1.0)},
            "learning_rate_decay must stay as it is with an optimizer of one's own",
        ),
        (
            {"learning_rate_decay": lambda count: jnp.zeros(2)},
            r"learning_rate_decay must give one number for an update count, got an array of shape \(2,\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Method(**given)
