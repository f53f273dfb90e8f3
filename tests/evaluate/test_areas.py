"""Areas without each group of photos."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skinjax.evaluate import resampling, samples
from skinjax.evaluate.areas import areas_without
from skinjax.evaluate.multiclass import macro_auc_without, weighted_macro_auc
from skinjax.evaluate.precision_recall import weighted_average_precision
from skinjax.evaluate.roc import weighted_auc


def draw(seed, photos=60, groups=9, tied=True):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=photos)
    return (
        rng.random(photos) < 0.4,
        np.round(scores, 1) if tied else scores,
        rng.integers(groups, size=photos),
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_areas_without_a_group_are_scikit_learns_of_the_others(tied, weighted):
    for seed in range(20):
        positive, scores, groups = draw(seed, tied=tied)
        weights = np.random.default_rng(seed + 100).random(60) + 0.1 if weighted else None
        found = areas_without(positive, scores, groups, 10, weights)  # group 9 has no photo
        for group in range(10):
            kept = groups != group
            of = None if weights is None else weights[kept]
            expected = roc_auc_score(positive[kept], scores[kept], sample_weight=of)
            assert found[group] == pytest.approx(expected, abs=1e-12)


def test_an_area_without_all_photos_of_a_class_is_undefined():
    scores, third = np.array([0.1, 0.5, 0.3, 0.9]), np.full(4, 1 / 3)
    found = areas_without(np.array([True, True, False, False]), scores, np.array([0, 0, 1, 2]), 3, third)
    np.testing.assert_allclose(found, [np.nan, 0.0, 0.5])
    assert np.isnan(areas_without(np.zeros(4, bool), scores, np.arange(4), 4)).all()


def test_without_groups_the_macro_area_is_that_of_the_other_photos():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(4, size=40), rng.normal(size=(40, 4)).round(1)
    groups = rng.integers(6, size=40)
    labels[labels == 3] = 0
    labels[:2], groups[:2] = 3, 5  # a class of one group only
    found = macro_auc_without(labels, scores, groups, 6)
    for group in range(6):
        kept = groups != group
        areas = [roc_auc_score(labels[kept] == k, scores[kept, k]) for k in np.unique(labels[kept])]
        assert found[group] == pytest.approx(np.mean(areas))


def sample(metric):
    rng = np.random.default_rng(1)
    labels, codes = np.arange(90) % 2, np.arange(90) // 3
    scores = rng.normal(size=(90, 2)) if metric is weighted_macro_auc else rng.normal(size=90)
    return labels, scores, codes


@pytest.mark.parametrize("metric", [weighted_auc, weighted_macro_auc])
def test_leaving_out_cases_weighs_no_photo_anew(metric):
    labels, scores, codes = sample(metric)
    rows = np.flatnonzero(np.random.default_rng(2).random(90) < 0.8)
    weighed = []

    def counted(*arrays, weights):
        weighed.append(weights.size)
        return metric.compute(*arrays, weights=weights)

    for chosen in (None, rows):
        slow = dataclasses.replace(metric, compute=counted, ranked=None, without=None)
        expected = resampling.leaving_out((slow, [labels, scores], chosen), codes, seed=0)
        assert sum(weighed) >= 30 * len(rows)  # each of 30 cases, times all photos
        weighed.clear()
        quick = dataclasses.replace(metric, compute=counted, ranked=None)
        found = resampling.leaving_out((quick, [labels, scores], chosen), codes, seed=0)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert not weighed


@pytest.mark.parametrize("metric", [weighted_auc, weighted_macro_auc, weighted_average_precision])
def test_photos_are_ranked_once_for_all_replicates(metric, monkeypatch):
    labels, scores, codes = sample(metric)
    monkeypatch.setattr(samples, "_BLOCK_VALUES", 900)  # ten replicates of 90 photos at once
    plain = dataclasses.replace(metric, ranked=None)
    (expected,), _ = resampling.over_draws([(plain, [labels, scores], None)], codes, 99, seed=0)
    ranked = []

    def counted(*arrays):
        ranked.append(len(arrays[0]))
        return metric.ranked(*arrays)

    watched = dataclasses.replace(metric, ranked=counted)
    (found,), _ = resampling.over_draws([(watched, [labels, scores], None)], codes, 99, seed=0)
    np.testing.assert_array_equal(found, expected)
    assert ranked == [90]
