"""Test-time augmentation against numpy's and Pillow's flips and turns, and the group that they make."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from skinjax.predict.augmented import DIHEDRAL, FLIPS, Symmetry, predict_augmented

PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
WEIGHTS = np.random.default_rng(1).normal(size=(8 * 8 * 3, 5)).astype(np.float32) / 50


@jax.jit
def predict(images):
    return jax.nn.softmax(images.reshape(len(images), -1).astype(jnp.float32) / 255 @ WEIGHTS * 10)


@pytest.mark.parametrize("transform", DIHEDRAL)
@pytest.mark.parametrize("shape", [(2, 5, 5, 3), (2, 4, 7, 3)])
def test_transforms_equal_numpys_and_pillows(transform, shape):
    photos = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    found = transform(photos)
    mirrored = photos[:, :, ::-1] if transform.mirror else photos
    np.testing.assert_array_equal(found, np.rot90(mirrored, transform.quarter_turns, axes=(1, 2)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(jax.jit(transform)(jnp.asarray(photos)), found)
    picture = Image.fromarray(photos[0])
    if transform.mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(90 * transform.quarter_turns, expand=True)
    np.testing.assert_array_equal(found[0], np.asarray(picture))


@pytest.mark.parametrize(("transforms", "count"), [(DIHEDRAL, 8), (FLIPS, 4)])
def test_the_transforms_are_a_group_with_the_identity_first(transforms, count):
    images = {transform(PHOTOS).tobytes() for transform in transforms}
    assert len(transforms) == len(set(transforms)) == len(images) == count
    assert {b(a(PHOTOS)).tobytes() for a, b in itertools.product(transforms, repeat=2)} == images
    assert transforms[0](PHOTOS) is PHOTOS
    assert set(FLIPS) < set(DIHEDRAL)


def test_flips_are_the_four_flips():
    expected = [PHOTOS, PHOTOS[:, :, ::-1], PHOTOS[:, ::-1], PHOTOS[:, ::-1, ::-1]]
    for transform, photos in zip(FLIPS, expected, strict=True):
        np.testing.assert_array_equal(transform(PHOTOS), photos)


@pytest.mark.parametrize("transforms", [DIHEDRAL, FLIPS])
def test_the_mean_is_of_each_prediction_and_does_not_care_how_a_photo_is_held(transforms):
    found = predict_augmented(predict, PHOTOS, transforms)
    expected = np.mean([predict(transform(PHOTOS)) for transform in transforms], axis=0, dtype=float)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(np.sum(found, -1), 1, rtol=1e-6)
    assert found.dtype == jnp.float32
    for transform in transforms:
        np.testing.assert_allclose(
            predict_augmented(predict, transform(PHOTOS), transforms), found, rtol=1e-5, atol=1e-7
        )
    assert np.abs(found - predict(PHOTOS)).max() > 0.01


def test_one_transform_is_the_prediction_under_it():
    np.testing.assert_array_equal(predict_augmented(predict, PHOTOS, FLIPS[:1]), predict(PHOTOS))
    turned = predict_augmented(predict, PHOTOS, [Symmetry(3, True)])
    np.testing.assert_array_equal(turned, predict(Symmetry(3, True)(PHOTOS)))


def test_it_may_be_jitted_whole_and_stays_in_numpy_for_functions_of_numpy():
    np.testing.assert_allclose(
        jax.jit(lambda photos: predict_augmented(predict, photos))(PHOTOS),
        predict_augmented(predict, PHOTOS),
        rtol=1e-5,
        atol=1e-7,
    )
    given = []

    def record(photos):
        given.append(photos)
        return np.full((len(photos), 2), 0.5, np.float32)

    assert isinstance(predict_augmented(record, PHOTOS), np.ndarray)
    assert {type(photos) for photos in given} == {np.ndarray}
    assert {photos.dtype for photos in given} == {np.dtype(np.uint8)}


def test_what_are_no_photos_is_refused():
    for images in (PHOTOS.astype(np.float32), PHOTOS[0], PHOTOS[..., :1]):
        with pytest.raises(ValueError, match=r"images must be uint8\[N, H, W, 3\], got (uint8|float32)\["):
            predict_augmented(predict, images)
    with pytest.raises(ValueError, match="at least one transform"):
        predict_augmented(predict, PHOTOS, ())
