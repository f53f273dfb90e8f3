"""Grad-CAM: against the formula for a linear head in all five families, finite differences, and random weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.predict.gradcam import class_activation, grad_cam
from skinjax.predict.overlay import colours, draw_overlay, over_photo
from skinjax.predict.randomization import (
    enlarged,
    randomization_check,
    randomized,
    rank_correlation,
    ssim,
)

CLASSES = 4
MEMBERS = np.array([[True, False, False, False], [False, True, True, False]])  # one class, and two as one


@pytest.fixture(scope="module")
def nano():
    model = registry.create("efficientnet_nano", CLASSES)
    variables = registry.init_variables(model, jax.random.key(5))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)
    return model, variables, registry.spec("efficientnet_nano"), images


@pytest.fixture(scope="module")
def named(nano):
    model, variables, spec, images = nano
    return jax.jit(lambda images: model.apply(variables, normalize(images, spec), features=True))(images)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_nano",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("inception_v3", "inception_resnet_v2", "xception", "densenet121")
        ),
    ],
)
def test_the_maps_that_a_spec_names_are_those_that_there_are(name):
    spec, model = registry.spec(name), registry.create(name, CLASSES)
    size = 96
    shapes = jax.eval_shape(
        lambda variables, images: model.apply(variables, images, features=True),
        registry.variable_shapes(model),
        jnp.zeros((1, size, size, 3)),
    )
    names = spec.map_names
    assert set(names) == set(shapes) - {"pooled", "logits"}
    assert shapes[names[-1]].shape[-1] == spec.feature_width  # the last one is what the head reads
    sides = [shapes[layer].shape[1] for layer in names]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.slow
def test_at_the_last_map_it_is_the_heads_weighted_sum(nano, named):
    """Zhou et al.'s class activation map, with the weights of two classes mixed by their probabilities."""
    model, variables, spec, images = nano
    kernel = np.asarray(variables["params"]["head"]["kernel"], np.float64)
    top, logits = np.asarray(named["top"], np.float64), np.asarray(named["logits"], np.float64)
    share = np.exp(logits[1, 1:3]) / np.exp(logits[1, 1:3]).sum()
    weights = np.stack([kernel[:, 0], kernel[:, 1:3] @ share]) / (top.shape[1] * top.shape[2])
    expected = np.maximum(np.einsum("nhwc,nc->nhw", top, weights), 0)
    np.testing.assert_allclose(grad_cam(model, variables, spec, images, MEMBERS), expected, atol=1e-6)
    found = class_activation(named["top"], kernel, variables["params"]["head"]["bias"], MEMBERS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_inside_the_network_its_weights_are_the_slopes_of_the_score(nano, named):
    """The mean over places of dy / dA_k is the slope of y when all of channel k rises, over the number of places."""
    model, variables, spec, images = nano
    layer = "block_04"
    activations = np.asarray(named[layer], np.float64)
    count, rows, columns, channels = activations.shape

    @jax.jit
    def logits(offset):
        return model.apply(variables, normalize(images, spec), offsets={layer: offset})

    def score(offset):
        chosen = np.where(MEMBERS, np.asarray(logits(offset), np.float64), -np.inf)
        return np.log(np.exp(chosen).sum(axis=1))

    step, slopes = 0.05, np.zeros((count, channels))
    for channel in range(channels):
        offset = np.zeros((count, rows, columns, channels), np.float32)
        offset[..., channel] = step
        slopes[:, channel] = (score(offset) - score(-offset)) / (2 * step)
    expected = np.maximum(np.einsum("nhwc,nc->nhw", activations, slopes / (rows * columns)), 0)
    found = np.asarray(grad_cam(model, variables, spec, images, MEMBERS, layer))
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=0.03 * expected.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "inception_v3", "inception_resnet_v2", "xception"])
def test_in_every_family_the_gradient_at_the_last_map_is_the_heads(name):
    """So `class_activation` is `grad_cam` there. It depends on no pixel: of the network nothing is computed."""
    spec, model = registry.spec(name), registry.create(name, CLASSES)
    variables = registry.init_variables(model, jax.random.key(1))
    images, last = jnp.zeros((1, 107, 139, 3)), spec.map_names[-1]
    shapes = jax.eval_shape(lambda v: model.apply(v, images, features=True), variables)
    zeros = jnp.zeros(shapes[last].shape)

    def score(offset):
        return model.apply(variables, images, offsets={last: offset})[:, 2].sum()

    gradient = jax.jit(jax.grad(score))(zeros)
    column = variables["params"][spec.head]["kernel"][:, 2] / (zeros.shape[1] * zeros.shape[2])
    np.testing.assert_allclose(gradient, np.broadcast_to(column, zeros.shape), rtol=1e-5)


def test_what_cannot_be_explained_is_told(nano):
    model, variables, spec, images = nano
    with pytest.raises(
        ValueError, match=r"layer must be a feature map of efficientnet_nano, stem, .*got 'conv5'"
    ):
        grad_cam(model, variables, spec, images, MEMBERS, "conv5")
    with pytest.raises(ValueError, match="at least one class per photo"):
        grad_cam(model, variables, spec, images, np.zeros((2, CLASSES), bool))
    with pytest.raises(ValueError, match=r"members must be bool\[2, K\], got bool\[1, 4\]"):
        grad_cam(model, variables, spec, images, MEMBERS[:1])
    one = np.ones((2, 1), bool)
    with pytest.raises(
        ValueError, match=r"members must be bool\[2, 4\], a column per class, got bool\[2, 1\]"
    ):
        grad_cam(model, variables, spec, images, one)
    with pytest.raises(
        ValueError, match=r"members must be bool\[2, 4\], a column per class, got bool\[2, 1\]"
    ):
        class_activation(np.ones((2, 1, 1, 3)), np.ones((3, 4)), np.zeros(4), one)


def test_weights_become_random_from_the_head_to_the_stem_until_nothing_is_left(nano):
    model, variables, spec, _ = nano
    fresh = registry.init_variables(model, jax.random.key(6))
    steps = list(randomized(variables, fresh, spec))
    assert [part for part, _ in steps] == [
        "head", "top_norm", "top", *reversed(spec.block_names), "stem"
    ]  # fmt: skip
    for number, (_, changed) in enumerate(steps, 1):
        random = {part for part, _ in steps[:number]} | ({"stem_norm"} if number == len(steps) else set())
        for collection, values in changed.items():
            for name, value in values.items():
                source = fresh if name in random else variables
                assert value is source[collection][name], (number, name)


@pytest.mark.slow
def test_maps_of_random_weights_are_not_those_of_the_network(nano):
    """The network's maps are those of its own random weights, so others' are as unlike as any two networks'."""
    model, variables, spec, images = nano
    rows = randomization_check(jax.random.key(6), model, variables, spec, images, MEMBERS)
    assert rows[0].down_to == "head"
    assert rows[-1].down_to == "stem"
    assert all(abs(row.rank_correlation) < 0.95 and row.ssim < 0.95 for row in rows)
    same = randomization_check(jax.random.key(5), model, variables, spec, images, MEMBERS)
    telling = np.ptp(grad_cam(model, variables, spec, images, MEMBERS), axis=(1, 2)) > 0
    assert telling.any()
    for row in same:
        assert row.rank_correlation == pytest.approx(telling.mean(), abs=1e-3)
        assert row.ssim == pytest.approx(1, abs=1e-3)


def test_similarities_equal_scipys_and_the_formula_window_by_window():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (7, 7)).astype(float), rng.integers(0, 6, (7, 7)).astype(float)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert rank_correlation(a, np.ones((7, 7))) == 0
    x, y = rng.random((12, 10)), rng.random((12, 10))
    values = []
    for row in range(6):
        for column in range(4):
            u, v = (p[row : row + 7, column : column + 7].ravel() for p in (x, y))
            cov = np.cov(u, v)
            top = (2 * u.mean() * v.mean() + 1e-4) * (2 * cov[0, 1] + 9e-4)
            values.append(top / ((u.mean() ** 2 + v.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4)))
    assert ssim(x, y) == pytest.approx(np.mean(values))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_map_is_laid_where_its_part_of_the_photo_was(fit):
    """A bright spot in a photo, made square as the network was fed it and taken for a map, falls on itself."""
    from skinjax.data.images import photos

    photo = np.zeros((120, 200, 3), np.uint8)
    photo[40:60, 100:120] = 255
    square = photos.fit(photo, 100, mode=fit)[..., 0].astype(np.float32)
    laid = over_photo(square, (120, 200), fit)
    rows, columns = np.nonzero(laid > 0.5)
    assert (rows.mean(), columns.mean()) == pytest.approx((49.5, 109.5), abs=2)
    assert laid.shape == (120, 200)


def test_a_picture_shows_the_photo_beside_the_map_and_all_of_its_text():
    photo = np.full((60, 120, 3), 200, np.uint8)
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = 2
    picture = draw_overlay(photo, values, "stretch", ["a.jpg", "", "word " * 60])
    assert isinstance(picture, Image.Image)
    pixels = np.asarray(picture).astype(int)
    assert (pixels[16:136, 16:256] == 200).all()  # enlarged to 240 × 120
    right = pixels[16:136, 272:512]
    assert (np.abs(right[:5, :5] - right[-5:, -5:]) > 60).any()
    short = draw_overlay(photo, values, "stretch", ["a.jpg"])
    assert picture.height > short.height + 2 * 14


def test_the_scale_grows_lighter_throughout():
    luminance = colours(np.linspace(0, 1, 50)) @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) > -0.5).all()
    assert enlarged(np.zeros((2, 2))).max() == 0
