"""Modules that know nothing of skinjax's backbones, from their first weights to predictions and explanations."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.augment import NO_AUGMENTATION
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.models.transfer import transfer
from skinjax.predict.gradcam import check_layer, grad_cam
from skinjax.predict.load import load_run, load_variables
from skinjax.predict.networks import load_predictor
from skinjax.predict.randomization import randomization_check
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.runs.options import Options
from skinjax.train.freezing import rate_factors
from skinjax.train.loop import Settings, StoppedError, fit
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_train_step, make_optimizer
from tests.support.fitting import Coloured

TAXONOMY = load_taxonomy("ham10000")
RECIPE = Recipe(learning_rate=0.05, momentum=0.9, burn_in=2, strengths=NO_AUGMENTATION)
# With the averages of the weights, which are variables too.
SETTINGS = Settings(
    epochs=4, batch_size=16, seed=1, checkpoint_seconds=1000, method=Method(average_decay=0.5)
)


class Plain(nn.Module):
    """A head on a few colours; no maps, no options, no normalisation."""

    classes: int

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.tanh(nn.Dense(4, name="mix")(images.mean((1, 2))))
        return nn.Dense(self.classes, use_bias=False, name="head")(x)


class Normalised(nn.Module):
    """Flax's own batch normalisation, without a way to name an axis."""

    classes: int

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(images).mean((1, 2))
        return nn.Dense(self.classes, name="head")(x)


@pytest.fixture(scope="module", autouse=True)
def registered():
    """A small transformer and two modules without maps; the registry is left as it was."""
    families = registry._FAMILIES
    from experiments.recipes import vision_transformer as recipe

    small = dataclasses.replace(
        recipe.VIT_TINY,
        name="vit_small",
        image_size=32,
        feature_width=32,
        block_names=("block_00", "block_01"),
    )
    own = dataclasses.replace(small, name="plain", stem=(), block_names=("mix",), top=(), feature_width=4)
    normalised = dataclasses.replace(own, name="normalised", block_names=("norm",), feature_width=3)
    registry.register({"vit_small": small}, recipe.VisionTransformer)
    registry.register({"plain": own}, lambda spec, num_classes: Plain(num_classes))
    registry.register({"normalised": normalised}, lambda spec, num_classes: Normalised(num_classes))
    yield recipe
    registry._FAMILIES = families


@pytest.fixture(scope="module")
def spec(registered):
    return registry.spec("vit_small")


@pytest.fixture(scope="module")
def variables(spec):
    return registry.init_variables(registry.create("vit_small", 7), jax.random.key(0))


slow = pytest.mark.slow  # these train the transformer


def begin_run(folder, backbone):
    """The folder of a run with one network that tells seven classes apart, and where its checkpoints go."""
    network = Network("sub", 0, backbone, TAXONOMY.finest, TAXONOMY.classes(), 32)
    with RunFolder.open(folder, "training", Options()) as run:
        run.begin(Options(), "made up", TAXONOMY, [])
        run.write_network(network)
        return network, run.checkpoints(network)


@pytest.fixture(scope="module")
def run(variables, tmp_path_factory):
    """A run of the transformer that was stopped and went on, and what came out."""
    folder = tmp_path_factory.mktemp("run")
    network, checkpoints = begin_run(folder, "vit_small")
    arguments = (
        network.model(), network.spec, variables, Coloured(48, 0).subset(), Coloured(19, 1).subset(), RECIPE, SETTINGS,
    )  # fmt: skip
    with pytest.raises(StoppedError):
        fit(*arguments, checkpoints, should_stop=lambda update: update == 5)
    return folder, network, fit(*arguments, checkpoints)


def test_the_recipe_is_in_the_registry_and_of_the_published_size(registered):
    shapes = registry.variable_shapes(registry.create("vit_tiny", 1000))
    assert list(shapes) == ["params"]
    assert set(shapes["params"]) == set(registry.spec("vit_tiny").layers)
    # DeiT's ViT-Ti has 5,717,416, of them 192 for its class token and 192 for where that stands.
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 5_717_416 - 2 * 192


@slow
def test_weights_start_as_the_module_s_own_and_the_classes_change_the_head_alone(variables, spec):
    key = jax.random.key(0)
    model, fewer = (registry.create("vit_small", count) for count in (7, 3))
    own = model.init(key, jnp.zeros((1, 32, 32, 3)))["params"]
    other = registry.init_variables(fewer, key)["params"]
    assert variables["params"]["position"].shape == (1, 2, 2, 32)
    for layer in spec.layers[:-1]:
        jax.tree.map(np.testing.assert_array_equal, variables["params"][layer], own[layer])
        jax.tree.map(np.testing.assert_array_equal, variables["params"][layer], other[layer])


@slow
def test_it_trains_and_goes_on_where_it_was_stopped(run, variables):
    _, _, fitted = run
    losses = [row["loss"] for row in fitted.history if row["split"] == "train"]
    assert len(losses) == 4
    assert losses[-1] < 0.7 * losses[0]
    assert jax.tree.structure(fitted.variables) == jax.tree.structure(variables)


def test_photos_of_another_size_than_the_spec_s_are_taken(variables):
    model = registry.create("vit_small", 7)
    assert jax.eval_shape(model.apply, variables, jnp.zeros((2, 48, 64, 3))).shape == (2, 7)


def test_the_first_block_is_carried_over_and_frozen_with_what_stands_before_it(variables, spec):
    coarse = registry.init_variables(registry.create("vit_small", 2), jax.random.key(1))
    started, report = transfer(variables, coarse, 1, spec)
    assert report.carried == ("patches", "position", "block_00")
    np.testing.assert_array_equal(started["params"]["position"], variables["params"]["position"])
    assert started["params"]["head"]["kernel"].shape == (32, 2)
    factors = rate_factors(started["params"], spec, frozen_blocks=1)
    frozen = {layer for layer, values in factors.items() if not any(jax.tree.leaves(values))}
    assert frozen == set(report.carried)
    short = {"params": {**variables["params"], "position": np.zeros((1, 3, 3, 32))}}
    with pytest.raises(ValueError, match=r"params/position\S* of shape \(1, 2, 2, 32\), got \(1, 3, 3, 32\)"):
        transfer(short, coarse, 1, spec)


@slow
def test_a_stored_network_is_read_again_and_predicts(run):
    folder, network, fitted = run
    stored = load_variables(folder, network)
    jax.tree.map(np.testing.assert_array_equal, stored, fitted.variables)
    images = Coloured(5, 2).images
    logits = network.model().apply(fitted.variables, normalize(images, network.spec))
    expected = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(load_run(folder).predict_fn(images), expected, atol=1e-5)
    forward = load_predictor(folder).forward(images)
    np.testing.assert_allclose(forward.probabilities()[TAXONOMY.finest], expected, atol=1e-5)
    named = network.model().apply(fitted.variables, normalize(images, network.spec), features=True)
    first, early, last = forward.features()[0]
    names = registry.feature_maps(network.model(), network.spec)
    assert names[len(names) // 3] == "block_00"
    stages = [np.asarray(named[name]) for name in (names[0], "block_00")]
    for found, stage in zip((first, early), stages, strict=True):
        by_hand = np.concatenate([stage.mean((1, 2)), stage.std((1, 2))], axis=1)
        np.testing.assert_allclose(found, by_hand, atol=1e-5)
    np.testing.assert_allclose(last, named["pooled"], atol=1e-5)
    np.testing.assert_allclose(forward.last_map(TAXONOMY.finest, 1), named["top"][1], atol=1e-5)
    fewer = dataclasses.replace(network, classes=network.classes[:3])
    with pytest.raises(ValueError, match="does not hold vit_small with 3 classes"):
        load_variables(folder, fewer)


@slow
def test_grad_cam_shows_the_patches_that_speak_for_a_class(run, spec):
    _, network, fitted = run
    images = Coloured(2, 3).images
    members = np.eye(7, dtype=bool)[[0, 1]]
    named = network.model().apply(fitted.variables, normalize(images, spec), features=True)
    kernel = np.asarray(fitted.variables["params"]["head"]["kernel"])
    by_hand = np.maximum(np.einsum("nhwc,cn->nhw", named["top"], kernel[:, :2] / 4), 0)
    maps = grad_cam(network.model(), fitted.variables, spec, images, members)
    np.testing.assert_allclose(maps, by_hand, rtol=1e-3, atol=1e-5)
    inside = grad_cam(network.model(), fitted.variables, spec, images, members, layer="block_00")
    assert inside.shape == (2, 2, 2)
    assert np.isfinite(inside).all()


@slow
def test_a_module_without_maps_predicts_and_says_that_it_cannot_be_explained(tmp_path):
    network, checkpoints = begin_run(tmp_path, "plain")
    model = network.model()
    variables = registry.init_variables(model, jax.random.key(0))
    one = dataclasses.replace(SETTINGS, epochs=1)
    fitted = fit(
        model, network.spec, variables, Coloured(16, 0).subset(), Coloured(4, 1).subset(), RECIPE, one, checkpoints
    )  # fmt: skip
    images = Coloured(3, 2).images
    forward = load_predictor(tmp_path).forward(images)
    logits = model.apply(fitted.variables, normalize(images, network.spec))
    np.testing.assert_allclose(
        forward.probabilities()[TAXONOMY.finest], jax.nn.softmax(logits), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(forward.features()[0][0], logits, rtol=1e-4, atol=1e-6)
    sentence = "model must give named feature maps to be explained by Grad-CAM, got plain, which gives none"
    members = np.ones((3, 7), bool)
    for refused in (
        lambda: check_layer(model, network.spec, None),
        lambda: grad_cam(model, fitted.variables, network.spec, images, members),
        lambda: randomization_check(
            jax.random.key(0), model, fitted.variables, network.spec, images, members
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            refused()
    with pytest.raises(ValueError, match="level must be that of a network with feature maps"):
        forward.last_map(TAXONOMY.finest, 0)


def test_batch_statistics_that_pmap_could_not_average_are_refused():
    row, parallel = registry.spec("normalised"), Parallel("pmap")
    model = registry.create("normalised", 3)
    assert set(registry.init_variables(model, jax.random.key(0))) == {"params", "batch_stats"}
    with pytest.raises(ValueError, match="batch_norm must be per_device for normalised under pmap"):
        compiled_train_step(model, row, Method(), parallel)
    compiled_train_step(model, row, Method(), Parallel("pmap", "per_device"))
    compiled_train_step(registry.create("plain", 3), registry.spec("plain"), Method(), parallel)


def test_variables_that_a_step_would_not_change_are_refused(variables):
    more = variables | {"cache": {"index": jnp.zeros(1)}}
    with pytest.raises(ValueError, match="variables must be params and batch_stats, got cache too"):
        create_state(more, make_optimizer(RECIPE), 0)


def test_what_is_not_a_map_is_not_taken_for_one(spec):
    class Tokens(nn.Module):
        @nn.compact
        def __call__(self, images, *, train=False, features=False, offsets=None):
            x = images.mean((1, 2))
            logits = nn.Dense(2, name="head")(x)
            return {"stem": images, "block_00": x, "logits": logits} if features else logits

    assert registry.feature_maps(Tokens(), spec) == ("stem",)
    with pytest.raises(ValueError, match="layer must be a feature map of vit_small, stem; got 'block_00'"):
        check_layer(Tokens(), spec, "block_00")
