"""Augmentation against hand-made maps, colorsys and its own laws, eager and jitted."""

from __future__ import annotations

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.augment import (
    NO_AUGMENTATION,
    TABLE_4_1,
    Strengths,
    affine_coordinates,
    augment,
    cutout,
    hsv_jitter,
    hsv_to_rgb,
    rgb_to_hsv,
    sample_bilinear,
)
from skinjax.augment.spatial import sample_bilinear_photo_by_photo

KEY = jax.random.key(7)


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 9, 12, 3), dtype=np.uint8)


def place(count: int, **changes) -> dict[str, jax.Array]:
    still = {
        "rotation": 0.0, "translation_y": 0.0, "translation_x": 0.0, "zoom": 1.0, "shear_y": 0.0, "shear_x": 0.0,
        "mirror_y": False, "mirror_x": False,
    }  # fmt: skip
    return {name: jnp.full(count, value) for name, value in (still | changes).items()}


def move(images: np.ndarray, **changes) -> np.ndarray:
    count, height, width, _ = images.shape
    rows, columns = affine_coordinates(height, width, **place(count, **changes))
    return np.asarray(sample_bilinear(jnp.asarray(images), rows, columns))


def shift(images: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    return np.pad(images, [(0, 0), rows, columns, (0, 0)], "symmetric")


def test_hsv_equals_colorsys():
    colours = np.random.default_rng(1).random((200, 3)).astype(np.float32)
    colours[:4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
    expected = np.array([colorsys.rgb_to_hsv(*map(float, colour)) for colour in colours])
    np.testing.assert_allclose(rgb_to_hsv(jnp.asarray(colours)), expected, atol=2e-6)
    np.testing.assert_allclose(hsv_to_rgb(rgb_to_hsv(jnp.asarray(colours))), colours, atol=2e-6)


def test_hue_shift_of_a_third_turns_red_to_green():
    red = jnp.array([1.0, 0.0, 0.0]) * jnp.ones((1, 2, 2, 3))
    shifted = hsv_jitter(red, jnp.array([1 / 3]), jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(shifted[0, 0, 0], [0, 1, 0], atol=1e-6)


def test_no_strength_changes_nothing(photos):
    np.testing.assert_allclose(augment(KEY, photos, NO_AUGMENTATION), photos / 255, atol=2e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mirror_x": True}, lambda photos: photos[:, :, ::-1]),
        ({"mirror_y": True}, lambda photos: photos[:, ::-1]),
        ({"rotation": np.pi}, lambda photos: photos[:, ::-1, ::-1]),
        ({"translation_x": 2 / 12}, lambda photos: shift(photos, (0, 0), (2, 0))[:, :, :12]),
        ({"translation_y": -3 / 9}, lambda photos: shift(photos, (0, 3), (0, 0))[:, 3:]),
    ],
)
def test_whole_pixel_moves_equal_numpy(photos, changes, expected):
    np.testing.assert_allclose(move(photos, **changes), expected(photos).astype(float), atol=1e-3)


def test_a_quarter_turn_of_a_square_equals_rot90():
    photos = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    turned = move(photos, rotation=np.pi / 2)
    either = [np.rot90(photos, turns, axes=(1, 2)).astype(float) for turns in (1, -1)]
    assert min(np.abs(turned - candidate).max() for candidate in either) < 1e-3


def test_zoom_of_two_shows_the_middle_half():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[None, None, :, None], (1, 16, 16, 3))
    zoomed = move(ramp, zoom=2.0)
    np.testing.assert_allclose(np.diff(zoomed[0, 8, :, 0]), 0.5, atol=1e-4)
    np.testing.assert_allclose(zoomed[0, 8, :, 0].mean(), 7.5, atol=1e-4)


def test_shear_shifts_rows_in_proportion_to_their_distance_from_the_centre():
    ramp = np.broadcast_to(np.arange(33, dtype=np.float32)[None, None, :, None], (1, 33, 33, 3))
    sheared = move(ramp, shear_x=0.1)
    shift = np.abs(sheared[0, :, 16, 0] - 16)
    np.testing.assert_allclose(shift, 0.1 * np.abs(np.arange(33) - 16), atol=1e-4)


def test_the_map_is_the_inverse_of_mirror_shear_zoom_rotate_move():
    angle, zoom, shear_y, shear_x, move_y, move_x = 0.3, 1.4, 0.05, -0.1, 0.1, -0.2
    height, width = 21, 31
    rows, columns = affine_coordinates(
        height, width,
        **place(1, rotation=angle, zoom=zoom, shear_y=shear_y, shear_x=shear_x, translation_y=move_y,
                translation_x=move_x, mirror_x=True),
    )  # fmt: skip
    flip = np.diag([1.0, -1.0])
    shear = np.array([[1, shear_y], [shear_x, 1]])
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = turn @ shear @ flip
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    source = np.stack([np.asarray(rows[0]).ravel(), np.asarray(columns[0]).ravel()])
    back = forward @ (source - centre[:, None]) + centre[:, None] + [[move_y * height], [move_x * width]]
    grid = np.stack([axis.ravel() for axis in np.mgrid[:height, :width]])
    np.testing.assert_allclose(back, grid, atol=1e-3)


def test_sampling_by_loop_equals_sampling_at_once(photos):
    rows, columns = affine_coordinates(9, 12, **place(3, rotation=0.4, zoom=0.7))
    images = jnp.asarray(photos)
    np.testing.assert_allclose(
        sample_bilinear_photo_by_photo(images, rows, columns),
        sample_bilinear(images, rows, columns),
        atol=1e-4,
    )


def test_cutout_erases_exactly_the_rectangle_to_the_mean():
    images = jnp.asarray(np.random.default_rng(3).random((1, 10, 20, 3), np.float32))
    result = cutout(images, jnp.array([[[0.5, 0.25]]]), jnp.array([[[0.4, 0.2]]]), jnp.array([[True]]))
    expected = np.array(images)
    expected[0, 3:7, 3:7] = np.asarray(images).mean(axis=(1, 2))[0]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    unchanged = cutout(images, jnp.array([[[0.5, 0.25]]]), jnp.array([[[0.4, 0.2]]]), jnp.array([[False]]))
    np.testing.assert_array_equal(unchanged, images)


@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_results_stay_in_range_and_depend_on_key_and_place_alone(photos, wrap):
    function = wrap(augment)
    first = np.asarray(function(KEY, photos, TABLE_4_1))
    assert first.dtype == np.float32
    assert first.shape == photos.shape
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, function(KEY, photos, TABLE_4_1))
    assert np.abs(first - function(jax.random.key(8), photos, TABLE_4_1)).max() > 0.05
    other = photos.copy()
    other[1:] = 0
    np.testing.assert_allclose(np.asarray(function(KEY, other, TABLE_4_1))[0], first[0], atol=1e-6)


def test_strengths_are_traced_so_that_changing_them_compiles_nothing(photos):
    traces = []

    @jax.jit
    def counted(key, images, strengths):
        traces.append(1)
        return augment(key, images, strengths)

    for factor in (0.0, 0.5, 1.0):
        counted(KEY, photos, Strengths(*(factor * value for value in TABLE_4_1)))
    assert len(traces) == 1


def test_draws_cover_the_stated_ranges():
    """Brightness of a flat grey photo shows the value factor: uniform on 1 ± hsv_v."""
    grey = np.full((4000, 2, 2, 3), 128, np.uint8)
    factors = np.asarray(augment(KEY, grey, NO_AUGMENTATION._replace(hsv_v=0.36)))[:, 0, 0, 0] * 255 / 128
    assert 0.64 <= factors.min() < 0.66
    assert 1.34 < factors.max() <= 1.36
    np.testing.assert_allclose(factors.std(), 0.36 / np.sqrt(3), rtol=0.03)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.float32)])
def test_wrong_input_is_told(wrong):
    with pytest.raises(ValueError, match="images must be uint8"):
        augment(KEY, wrong, TABLE_4_1)
