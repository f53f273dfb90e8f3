"""Distances of features: against scikit-learn's shrunk covariance, by case, and at the rate that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage

from skinjax.predict import novelty
from skinjax.predict.novelty import cross_fitted_distances, far_limit, fit_feature_space
from skinjax.predict.reference import Reference, reference_limits


def draw(rng: np.random.Generator, cases: int, width: int = 40, classes: int = 4):
    """Features of three photos a case, which resemble each other, around the means of their classes."""
    means = np.random.default_rng(99).normal(size=(classes, width))
    label = rng.integers(0, classes, cases)
    own = rng.normal(size=(cases, 1, width)) * np.linspace(0.2, 1, width)
    x = 5 + means[label][:, None] + own + 0.3 * rng.normal(size=(cases, 3, width))
    return x.reshape(-1, width), np.repeat(label, 3), np.repeat(np.arange(cases), 3)


@pytest.mark.parametrize("cases", [8, 200])  # fewer photos than features, and more
def test_distances_equal_those_of_scikit_learns_precision(cases):
    x, labels, _ = draw(np.random.default_rng(0), cases)
    new, _, _ = draw(np.random.default_rng(1), 5)
    scaled, scaled_new = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, new))
    present = np.unique(labels)
    means = np.stack([scaled[labels == label].mean(axis=0) for label in present])
    centred = scaled - means[np.searchsorted(present, labels)]
    precision = LedoitWolf(assume_centered=True).fit(centred).get_precision()
    away = scaled_new[:, None] - means
    expected = np.sqrt(np.einsum("nkc,cd,nkd->nk", away, precision, away).min(axis=1))
    np.testing.assert_allclose(fit_feature_space(x, labels).distances(new), expected, rtol=1e-3)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert novelty.ledoit_wolf_shrinkage(centred, singular) == pytest.approx(
        ledoit_wolf_shrinkage(centred, assume_centered=True), rel=1e-9
    )


def test_each_photo_is_measured_in_a_space_that_its_case_had_no_part_in():
    x, labels, cases = draw(np.random.default_rng(2), 12)
    found = cross_fitted_distances(x, labels, cases, parts=12)  # each case left out in turn
    for case in range(12):
        out = cases == case
        np.testing.assert_allclose(found[out], fit_feature_space(x[~out], labels[~out]).distances(x[out]))


@pytest.mark.slow
def test_new_cases_are_called_far_about_as_often_as_asked_for():
    rates = []
    for seed in range(10):
        x, labels, cases = draw(np.random.default_rng(seed), 150)
        limit = far_limit(cross_fitted_distances(x, labels, cases), cases, share=0.1)
        new, _, _ = draw(np.random.default_rng(1000 + seed), 150)
        rates.append((fit_feature_space(x, labels).distances(new) > limit).mean())
    assert np.mean(rates) <= 0.11
    assert np.mean(rates) >= 0.03  # the space of all cases knows more than those of four fifths


def test_what_is_elsewhere_is_far():
    x, labels, cases = draw(np.random.default_rng(3), 100)
    limit = far_limit(cross_fitted_distances(x, labels, cases), cases, share=0.02)
    elsewhere = np.random.default_rng(4).normal(size=(50, x.shape[1]))
    assert (fit_feature_space(x, labels).distances(elsewhere) > limit).all()


def test_with_few_cases_the_smallest_share_that_can_be_kept_is_taken():
    distances = np.arange(10.0)
    assert far_limit(distances, np.arange(10), share=0.01) == 9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_feature_space(np.zeros((1, 3)), np.zeros(1, int)), "features must be"),
        (
            lambda: fit_feature_space(np.full((2, 3), np.nan), np.zeros(2, int)),
            "features must be finite, got 6",
        ),
        (
            lambda: cross_fitted_distances(np.ones((2, 3)), np.zeros(2, int), np.zeros(2)),
            "two different ones",
        ),
        (lambda: far_limit(np.ones(3), np.arange(3), 0.0), "share must lie in"),
    ],
)
def test_bad_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_photos_that_several_folds_measured_are_counted_once():
    rng = np.random.default_rng(0)
    x, labels, cases = draw(rng, 20)
    space = fit_feature_space(x, labels)
    distances = cross_fitted_distances(x, labels, cases)[None]

    def reference(qualities):
        return Reference((space,), distances, cases, qualities)

    first, second = rng.uniform(50, 200, (2, len(x), 4))
    assert reference_limits([reference(first)], 0.02).photos == 60
    assert reference_limits([reference(first)] * 3, 0.02).photos == 60
    assert reference_limits([reference(first), reference(second)], 0.02).photos == 120
    blank = np.full_like(first, 7.0)  # photos may measure alike
    assert reference_limits([reference(blank)] * 2, 0.02).photos == 60
