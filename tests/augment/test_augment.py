"""Augmentation against hand-made maps, colorsys and its own laws, eager and jitted."""

from __future__ import annotations

import colorsys
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb as hsv_to_rgb_of_matplotlib
from matplotlib.colors import rgb_to_hsv as rgb_to_hsv_of_matplotlib
from scipy.ndimage import map_coordinates

from skinjax.augment import (
    DEFAULT_STRENGTHS,
    NO_AUGMENTATION,
    Strengths,
    affine_coordinates,
    affine_map,
    augment,
    cutout,
    hsv_jitter,
    hsv_to_rgb,
    rgb_to_hsv,
    sample_bilinear,
)
from skinjax.augment.pipeline import augment_at_once
from skinjax.augment.staged import augment_in_stages

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
    rows, columns = affine_coordinates(height, width, affine_map(**place(count, **changes)))
    return np.asarray(sample_bilinear(jnp.asarray(images), rows, columns))


def shift(images: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    return np.pad(images, [(0, 0), rows, columns, (0, 0)], "symmetric")


@pytest.mark.slow
def test_hsv_equals_colorsys():
    colours = np.random.default_rng(1).random((200, 3)).astype(np.float32)
    colours[:4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
    expected = np.array([colorsys.rgb_to_hsv(*map(float, colour)) for colour in colours])
    np.testing.assert_allclose(rgb_to_hsv(jnp.asarray(colours)), expected, atol=2e-6)
    np.testing.assert_allclose(hsv_to_rgb(rgb_to_hsv(jnp.asarray(colours))), colours, atol=2e-6)


@pytest.mark.slow
def test_hue_shift_of_a_third_turns_red_to_green():
    red = jnp.array([1.0, 0.0, 0.0]) * jnp.ones((1, 2, 2, 3))
    shifted = hsv_jitter(red, jnp.array([1 / 3]), jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(shifted[0, 0, 0], [0, 1, 0], atol=1e-6)


@pytest.mark.slow
def test_no_strength_changes_nothing(photos):
    np.testing.assert_allclose(augment(KEY, photos, NO_AUGMENTATION), photos / 255, atol=2e-6)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_quarter_turn_of_a_square_equals_rot90():
    photos = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    turned = move(photos, rotation=np.pi / 2)
    either = [np.rot90(photos, turns, axes=(1, 2)).astype(float) for turns in (1, -1)]
    assert min(np.abs(turned - candidate).max() for candidate in either) < 1e-3


@pytest.mark.slow
def test_zoom_of_two_shows_the_middle_half():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[None, None, :, None], (1, 16, 16, 3))
    zoomed = move(ramp, zoom=2.0)
    np.testing.assert_allclose(np.diff(zoomed[0, 8, :, 0]), 0.5, atol=1e-4)
    np.testing.assert_allclose(zoomed[0, 8, :, 0].mean(), 7.5, atol=1e-4)


@pytest.mark.slow
def test_shear_shifts_rows_in_proportion_to_their_distance_from_the_centre():
    ramp = np.broadcast_to(np.arange(33, dtype=np.float32)[None, None, :, None], (1, 33, 33, 3))
    sheared = move(ramp, shear_x=0.1)
    shift = np.abs(sheared[0, :, 16, 0] - 16)
    np.testing.assert_allclose(shift, 0.1 * np.abs(np.arange(33) - 16), atol=1e-4)


def test_the_map_is_the_inverse_of_mirror_shear_zoom_rotate_move():
    angle, zoom, shear_y, shear_x, move_y, move_x = 0.3, 1.4, 0.05, -0.1, 0.1, -0.2
    height, width = 21, 31
    affine = affine_map(
        **place(1, rotation=angle, zoom=zoom, shear_y=shear_y, shear_x=shear_x, translation_y=move_y,
                translation_x=move_x, mirror_x=True),
    )  # fmt: skip
    rows, columns = affine_coordinates(height, width, affine)
    flip = np.diag([1.0, -1.0])
    shear = np.array([[1, shear_y], [shear_x, 1]])
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = turn @ shear @ flip
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    source = np.stack([np.asarray(rows[0]).ravel(), np.asarray(columns[0]).ravel()])
    back = forward @ (source - centre[:, None]) + centre[:, None] + [[move_y * height], [move_x * width]]
    grid = np.stack([axis.ravel() for axis in np.mgrid[:height, :width]])
    np.testing.assert_allclose(back, grid, atol=1e-3)


def test_cutout_erases_exactly_the_rectangle_to_the_mean():
    images = jnp.asarray(np.random.default_rng(3).random((1, 10, 20, 3), np.float32))
    result = cutout(images, jnp.array([[[0.5, 0.25]]]), jnp.array([[[0.4, 0.2]]]), jnp.array([[True]]))
    expected = np.array(images)
    expected[0, 3:7, 3:7] = np.asarray(images).mean(axis=(1, 2))[0]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    unchanged = cutout(images, jnp.array([[[0.5, 0.25]]]), jnp.array([[[0.4, 0.2]]]), jnp.array([[False]]))
    np.testing.assert_array_equal(unchanged, images)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_results_stay_in_range_and_depend_on_key_and_place_alone(photos, wrap):
    function = wrap(augment)
    first = np.asarray(function(KEY, photos, DEFAULT_STRENGTHS))
    assert first.dtype == np.float32
    assert first.shape == photos.shape
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, function(KEY, photos, DEFAULT_STRENGTHS))
    assert np.abs(first - function(jax.random.key(8), photos, DEFAULT_STRENGTHS)).max() > 0.05
    other = photos.copy()
    other[1:] = 0
    np.testing.assert_allclose(np.asarray(function(KEY, other, DEFAULT_STRENGTHS))[0], first[0], atol=1e-6)


@pytest.mark.slow
def test_strengths_are_traced_so_that_changing_them_compiles_nothing(photos):
    traces = []

    @jax.jit
    def counted(key, images, strengths):
        traces.append(1)
        return augment(key, images, strengths)

    for factor in (0.0, 0.5, 1.0):
        counted(KEY, photos, Strengths(*(factor * value for value in DEFAULT_STRENGTHS)))
    assert len(traces) == 1


@pytest.mark.slow
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
        augment(KEY, wrong, DEFAULT_STRENGTHS)


def test_a_list_and_a_number_for_a_key_are_told(photos):
    with pytest.raises(ValueError, match=r"images must be an array uint8\[N, H, W, 3\], got a list"):
        augment(KEY, [[0]])
    with pytest.raises(ValueError, match=r"key must be a jax\.random key, .* got 0"):
        augment(0, photos)


def by_numpy(key: jax.Array, images: np.ndarray, strengths: Strengths) -> np.ndarray:
    """The augmentation of a batch in float64, by scipy's interpolation and matplotlib's colours."""
    draws = np.asarray(jax.random.uniform(key, (len(images), 21)), np.float64)
    _, height, width, _ = images.shape
    results = []
    for draw, photo in zip(draws, images, strict=True):
        signed = 2 * draw - 1
        angle, zoom = np.deg2rad(signed[0] * strengths.rotation), 1 + signed[3] * strengths.scale
        shear_y, shear_x = np.tan(np.deg2rad(signed[4:6] * strengths.shear))
        flips = np.where(draw[6:8] < [strengths.flip_vertical, strengths.flip_horizontal], -1.0, 1.0)
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forward = turn @ np.array([[1, shear_y], [shear_x, 1]]) @ np.diag(flips)
        centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None]
        move = (signed[1:3] * strengths.translation * [height, width])[:, None]
        grid = np.mgrid[:height, :width].reshape(2, -1)
        source = np.linalg.inv(forward) @ (grid - centre - move) + centre
        moved = np.stack(
            [
                map_coordinates(photo[..., channel].astype(np.float64), source, order=1, mode="reflect")
                for channel in range(3)
            ],
            axis=-1,
        ).reshape(photo.shape)
        hsv = rgb_to_hsv_of_matplotlib(moved / 255)
        hsv[..., 0] = (hsv[..., 0] + signed[8] * strengths.hsv_h) % 1
        hsv[..., 1] = np.clip(hsv[..., 1] * (1 + signed[9] * strengths.hsv_s), 0, 1)
        hsv[..., 2] = np.clip(hsv[..., 2] * (1 + signed[10] * strengths.hsv_v), 0, 1)
        result = hsv_to_rgb_of_matplotlib(hsv)
        mean = result.mean(axis=(0, 1))
        for centre_y, centre_x, side_y, side_x, chance in draw[11:].reshape(2, 5):
            side_y, side_x = strengths.cutout_size * (0.25 + 0.75 * np.array([side_y, side_x]))
            rows = np.abs((np.arange(height) + 0.5) / height - centre_y) < side_y / 2
            columns = np.abs((np.arange(width) + 0.5) / width - centre_x) < side_x / 2
            if chance < strengths.cutout:
                result[np.ix_(rows, columns)] = mean
        results.append(result)
    return np.stack(results)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 9, 12, 3), (8, 30, 30, 3), (12, 17, 23, 3)])
@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_the_whole_augmentation_equals_numpy(shape, factor):
    images = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    strengths = DEFAULT_STRENGTHS._replace(
        **{
            name: factor * getattr(DEFAULT_STRENGTHS, name)
            for name in ("hsv_h", "rotation", "scale", "shear", "translation")
        }
    )
    result = np.asarray(augment(KEY, images, strengths))
    expected = by_numpy(KEY, images, strengths)
    np.testing.assert_allclose(result, expected, atol=2e-3)
    assert np.abs(result - expected).mean() < 2e-5


@pytest.mark.slow
def test_in_stages_is_the_same_as_at_once():
    images = np.random.default_rng(5).integers(0, 256, (12, 19, 22, 3), dtype=np.uint8)
    at_once = jax.jit(partial(augment_at_once, 30))(KEY, images, DEFAULT_STRENGTHS, 11)
    in_stages = augment_in_stages(30, KEY, images, DEFAULT_STRENGTHS, 11)
    np.testing.assert_allclose(in_stages, at_once, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("side", [1, 2])
def test_tiny_photos_stay_within_their_bounds(side):
    """What lies outside a photo is its mirror image, so one of a single colour keeps it wherever it is moved."""
    images = np.full((4, side, 3, 3), 100, np.uint8)
    moved = augment(KEY, images, DEFAULT_STRENGTHS._replace(hsv_s=0.0, hsv_v=0.0, translation=1.0))
    np.testing.assert_allclose(moved, 100 / 255, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "wrap"),
    [(1, jax.jit), (3, jax.jit), (8, jax.jit), (3, lambda function: function)],
    ids=["1", "3", "8", "3 eager"],
)
def test_a_part_of_a_batch_gets_the_rows_of_the_whole_bit_for_bit(count, wrap):
    images = np.random.default_rng(5).integers(0, 256, (24, 20, 22, 3), dtype=np.uint8)
    whole = np.asarray(wrap(augment)(KEY, images))
    part = wrap(lambda key, images, first: augment(key, images, place=(first, 24)))
    for first in range(0, 24, count):
        result = part(KEY, images[first : first + count], jnp.int32(first))
        np.testing.assert_array_equal(result, whole[first : first + count])


def two_devices() -> jax.sharding.Mesh:
    return jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_batch_being_spread_over_devices():
    """Two devices get the bits of one, and exchange no photos."""
    images = np.random.default_rng(6).integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)
    spread = jax.device_put(images, jax.NamedSharding(two_devices(), jax.P("data")))
    traced = Strengths(*map(jnp.float32, DEFAULT_STRENGTHS))
    compiled = jax.jit(augment).lower(KEY, spread, traced).compile()
    result = compiled(KEY, spread, traced)
    np.testing.assert_array_equal(result, jax.jit(augment)(KEY, images, traced))
    assert result.sharding.shard_shape(result.shape) == (4, 20, 20, 3)
    sent = re.findall(
        r"\[([\d,]*)\]\S* (?:all-gather|all-to-all|all-reduce|collective-permute)", compiled.as_text()
    )
    assert not [shape for shape in sent if np.prod([int(side) for side in shape.split(",") if side]) > 1000]


@pytest.mark.slow
def test_under_shard_map_each_device_says_where_its_photos_stand():
    images = np.random.default_rng(6).integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)
    traced = Strengths(*map(jnp.float32, DEFAULT_STRENGTHS))

    @jax.jit
    @partial(
        jax.shard_map,
        mesh=two_devices(),
        in_specs=(jax.P(), jax.P("data"), jax.P()),
        out_specs=jax.P("data"),
    )
    def spread(key, images, strengths):
        place = jax.lax.axis_index("data") * len(images), 8
        return augment(key, images, strengths, place=place)

    np.testing.assert_array_equal(spread(KEY, images, traced), jax.jit(augment)(KEY, images, traced))


def test_a_part_larger_than_its_batch_is_told(photos):
    with pytest.raises(
        ValueError, match=r"place must be \(first, photos of the whole batch\), got 2 for 3 photos"
    ):
        augment(KEY, photos, place=(0, 2))
