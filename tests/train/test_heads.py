"""Widened heads: the same training as without, and one compiled program for any number of classes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.augment import NO_AUGMENTATION
from skinjax.data.pipeline.loader import Subset, training_batches
from skinjax.models.backbones.backbone import Backbone
from skinjax.models.metadata import WithColumns
from skinjax.models.ops.normalization import conv_norm
from skinjax.train.cost import measure_step
from skinjax.train.heads import Head
from skinjax.train.loop import STEP_INPUTS, Settings, fit, predict_logits
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_predict, compiled_train_step, make_optimizer
from tests.support.small_backbones import SMALL

pytestmark = pytest.mark.slow
SPEC = dataclasses.replace(SMALL, name="tiny", feature_width=6)
RECIPE = Recipe(learning_rate=0.05, momentum=0.9, weight_decay=0.01, burn_in=2, strengths=NO_AUGMENTATION)


class Tiny(Backbone):
    """One convolution."""

    def run(self, images, maps, *, train):
        return maps.record("conv", conv_norm(images, "conv", 6, (3, 3), self.norm, train=train, stride=4))


def network(classes: int, columns: int = 0):
    model = Tiny(SPEC, classes)
    if columns:
        model = WithColumns(model, SPEC, classes, columns)
    images = jnp.zeros((1, 8, 8, 3))
    return model, dict(model.init(jax.random.key(1), images))


def photos(count: int, classes: int, columns: int = 0, seed: int = 0) -> Subset:
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.int32)
    images = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    table = rng.normal(size=(count, columns)).astype(np.float32) if columns else None
    return Subset([{"image": image} for image in images], np.arange(count), labels, table)


def without_widening(model, variables, train: Subset, settings: Settings, steps: int):
    """The loop by hand, with as many outputs as classes."""
    recipe = jax.tree.map(jnp.float32, RECIPE._replace(total_steps=steps))
    method = settings.method
    optimizer = make_optimizer(recipe, method)
    state = create_state(variables, optimizer, settings.seed, averaged=method.average_decay > 0)
    step = compiled_train_step(model, SPEC, method, settings.parallel)
    for batch in training_batches(train, settings.batch_size, settings.seed, steps=steps):
        inputs = {name: batch[name] for name in STEP_INPUTS if name in batch}
        state, _ = step(state, inputs, recipe, jnp.ones(model.num_classes))
    return state.variables


@pytest.mark.parametrize(
    ("method", "columns"),
    [
        (Method(), 0),
        (Method(optimizer="rmsprop", clip_norm=1.0, accumulate=2), 0),
        (Method(optimizer="adamw", average_decay=0.9, decay_all=False, loss="focal"), 0),
        (Method(weight_decay="decoupled"), 2),
    ],
)
def test_a_network_is_trained_as_with_its_own_outputs_alone(method, columns, tmp_path):
    model, variables = network(3, columns)
    train, held_out = photos(24, 3, columns), photos(7, 3, columns, seed=1)
    settings = Settings(
        epochs=4, batch_size=8, seed=1, checkpoint_seconds=0, method=method, parallel=Parallel(device_count=1)
    )
    fitted = fit(model, SPEC, variables, train, held_out, RECIPE, settings, tmp_path)
    expected = without_widening(model, variables, train, settings, 12)
    assert jax.tree.map(jnp.shape, fitted.variables) == jax.tree.map(jnp.shape, expected)
    jax.tree.map(
        lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5),
        fitted.variables,
        expected,
    )
    table = () if held_out.table is None else (jnp.asarray(held_out.table),)
    images = jnp.asarray(np.stack([held_out.source[i]["image"] for i in range(7)]))
    alone = compiled_predict(model, SPEC)(fitted.variables, images, *table)
    assert fitted.logits.shape == (7, 3)
    np.testing.assert_allclose(fitted.logits, alone, rtol=1e-4, atol=1e-5)


def test_networks_of_three_and_five_classes_share_their_programs(tmp_path):
    method = Method(focal_gamma=1.75, loss="focal")  # of no other test
    settings = Settings(epochs=2, batch_size=8, seed=1, checkpoint_seconds=1000, method=method)
    wide = Head.of(network(3)[0], method).model
    step = compiled_train_step(wide, SPEC, method, settings.parallel)
    programs = []
    for classes in (3, 5):
        model, variables = network(classes)
        train, held_out = photos(16, classes), photos(8, classes)
        fit(model, SPEC, variables, train, held_out, RECIPE, settings, tmp_path / str(classes))
        measure_step(model, SPEC, variables, train, RECIPE, settings)
        assert predict_logits(model, SPEC, variables, held_out, 8).shape == (8, classes)
        programs.append((step._cache_size(), compiled_predict(wide, SPEC)._cache_size()))
    assert programs[0][0] == 1
    assert programs[1] == programs[0]


def test_further_outputs_are_never_answered_and_learn_nothing():
    method = Method(optimizer="adamw", average_decay=0.9)
    model, variables = network(3)
    head = Head.of(model, method)
    optimizer = make_optimizer(RECIPE, method)
    kept = create_state(variables, optimizer, 0, averaged=True)
    state = head.widen(kept)
    step = compiled_train_step(head.model, SPEC, method, Parallel(device_count=1))
    recipe = jax.tree.map(jnp.float32, RECIPE)
    for batch in training_batches(photos(16, 3), 8, 0, steps=20):
        inputs = {name: batch[name] for name in STEP_INPUTS if name in batch}
        state, loss = step(state, inputs, recipe, head.widen_weights(jnp.ones(3)))
        assert np.isfinite(loss)
    params = state.params["head"]
    assert params["kernel"].shape == (6, 32)
    assert not np.any(params["kernel"][:, 3:])
    assert np.all(params["bias"][3:] < -1e14)
    images = np.stack([photo["image"] for photo in photos(16, 3).source])
    probs = jax.nn.softmax(compiled_predict(head.model, SPEC)(state.variables, images))
    assert np.all(probs[:, 3:] == 0)
    narrow = head.narrow(state)
    assert jax.tree.map(jnp.shape, narrow) == jax.tree.map(jnp.shape, kept)
    again = head.narrow(head.widen(narrow))
    jax.tree.map(np.testing.assert_array_equal, again, narrow)


@pytest.mark.parametrize(
    "method",
    [
        Method(label_smoothing=0.1),
        Method(loss="binary"),
        Method(optimizer=optax.sgd(0.1)),
    ],
)
def test_what_counts_outputs_sees_those_of_the_classes(method):
    model, _ = network(2)
    head = Head.of(model, method)
    assert (head.model, head.width) == (model, 2)
