"""Quality of photos: formulae by hand and by scipy, limits, and whether blur, darkness and glare are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import laplace

from skinjax.data.images.quality import (
    ABSOLUTE,
    MEASURES,
    Quality,
    QualityLimits,
    as_row,
    faults,
    limits_of,
    measure,
)
from skinjax.synthetic import CLASS_NAMES, render_case


@pytest.fixture(scope="module")
def skin() -> list[np.ndarray]:
    photos = []
    for seed, name in enumerate(CLASS_NAMES[:12]):
        photos += list(render_case(np.random.default_rng(seed), name, photos=2, size=96))
    return photos


def test_measures_equal_those_of_scipy():
    image = np.random.default_rng(0).integers(1, 256, (20, 30, 3), dtype=np.uint8)
    luminance = image.astype(float) @ [0.299, 0.587, 0.114]
    found = measure(image)
    assert found.sharpness == pytest.approx(laplace(luminance)[1:-1, 1:-1].var(), rel=1e-4)
    assert found.brightness == pytest.approx(luminance.mean(), rel=1e-5)
    assert found.dark == pytest.approx((luminance < 16).mean())
    assert found.bright == pytest.approx((luminance > 250).mean())


def test_bars_of_padding_change_nothing():
    image = np.random.default_rng(0).integers(1, 256, (20, 30, 3), dtype=np.uint8)
    padded = np.zeros((30, 30, 3), np.uint8)
    padded[5:25] = image
    assert measure(padded) == measure(image)


def test_a_black_photo_is_measured_as_it_is():
    assert measure(np.zeros((10, 10, 3), np.uint8)) == Quality(0, 0, 1, 0)


def test_limits_are_quantiles_but_never_laxer_than_the_absolute_ones():
    rng = np.random.default_rng(1)
    values = np.column_stack(
        [
            rng.uniform(10, 500, 400),
            rng.uniform(60, 200, 400),
            rng.uniform(0, 0.3, 400),
            rng.uniform(0, 0.2, 400),
        ]
    )
    limits = limits_of(values, 0.05)
    kept = [
        not faults(Quality(*row), dataclasses.replace(ABSOLUTE, sharpness=limits.sharpness)) for row in values
    ]
    assert np.mean(kept) == pytest.approx(0.95, abs=0.003)
    assert limits.darkest == pytest.approx(np.quantile(values[:, 1], 0.05))
    assert limits.brightest == pytest.approx(np.quantile(values[:, 1], 0.95))
    assert limits_of(np.tile([0.0, 0, 1, 1], (5, 1)), 0.05) == QualityLimits(2, 0, 25, 0, 0.6, 0.6)


def test_skin_that_is_blurred_darkened_or_washed_out_is_told_from_skin(skin):
    limits = limits_of(np.array([as_row(measure(photo)) for photo in skin]), 0.02)

    def told(change) -> list[str]:
        return [" ".join(faults(measure(change(photo)), limits)) for photo in skin]

    def blurred(photo: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(4)))

    assert sum(not words for words in told(lambda photo: photo)) >= 0.8 * len(skin)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert all("too grainy" in words for words in told(lambda photo: noise))
    assert all("too blurred" in words for words in told(blurred))
    assert all("too dark" in words for words in told(lambda photo: (photo * 0.1).astype(np.uint8)))
    assert all(
        "too bright" in words for words in told(lambda photo: (255 - (255 - photo) * 0.02).astype(np.uint8))
    )


def test_what_is_at_a_limit_is_no_fault_and_words_name_both_figures():
    assert faults(Quality(2, 25, 0.6, 0.6), ABSOLUTE) == ()
    assert faults(Quality(1.5, 245, 0, 0.9), ABSOLUTE) == (
        "too blurred (sharpness 1.5, must be at least 2)",
        "too bright (brightness 245, must be at most 240)",
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: measure(np.zeros((5, 5, 3))),
            r"image must be uint8\[H, W, 3\] of 3 x 3 or more, got float64",
        ),
        (lambda: measure(np.zeros((2, 5, 3), np.uint8)), r"got uint8\[2, 5, 3\]"),
        (lambda: limits_of(np.zeros((0, 4)), 0.1), r"with N at least 1, got \[0, 4\]"),
        (lambda: limits_of(np.zeros((2, len(MEASURES))), 0.5), r"share must be in \[0, 0.5\), got 0.5"),
    ],
)
def test_bad_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
