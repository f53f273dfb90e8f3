"""Heads on features, against scikit-learn, by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from skinjax.data.split import kfold_by_case
from skinjax.train.logistic import fit_all
from skinjax.train.probe import fit_probe

Photos = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


def photos(rows: int = 240, width: int = 12, classes: int = 4, seed: int = 0) -> Photos:
    """Returns features of correlated dimensions and unequal scales, labels of unequal classes, and cases of two."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    mixed = rng.normal(size=(width, width)) * np.geomspace(1, 0.01, width)
    features = (rng.normal(size=(rows, width)) + rng.normal(size=(classes, width))[labels] / 2) @ mixed
    return (features * np.geomspace(0.1, 100, width) + 5).astype(np.float32), labels, np.arange(rows) // 2


def peer(
    features: NDArray, labels: NDArray, weights: NDArray, penalty: float, asked: NDArray
) -> NDArray[np.float64]:
    """Returns scikit-learn's probabilities of the same problem."""
    model = LogisticRegression(C=1 / (penalty * weights.sum()), tol=1e-8, max_iter=10_000)
    return model.fit(features, labels, sample_weight=weights).predict_proba(asked)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "width"), [(240, 12), (90, 200)])  # more photos than features, and fewer
def test_all_problems_are_solved_as_scikit_learn_solves_them(rows: int, width: int) -> None:
    features, labels, _ = photos(rows, width)
    scaled = StandardScaler().fit_transform(features.astype(np.float64)).astype(np.float32)
    rng = np.random.default_rng(1)
    weights = rng.random((4, rows)) * (rng.random((4, rows)) < 0.7)
    penalties = np.array([0.01, 0.1, 1.0, 0.03])
    kernels, biases = fit_all(scaled, labels, weights, penalties, 4)
    for kernel, bias, weight, penalty in zip(kernels, biases, weights, penalties, strict=True):
        expected = peer(scaled.astype(np.float64), labels, weight, penalty, scaled)
        np.testing.assert_allclose(softmax(scaled @ kernel + bias, axis=1), expected, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.7])
def test_the_penalty_is_the_best_of_a_search_by_case(share: float) -> None:
    features, labels, cases = photos()
    penalties, classes = (0.003, 0.03, 0.3, 3.0), 4
    probe = fit_probe(features, labels, cases, prior_adjustment=share, penalties=penalties, seed=3)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    inner = kfold_by_case(labels, cases, 3, 3)
    every = np.ones(len(labels))
    expected = {}
    for penalty in penalties:
        probs = np.zeros((len(labels), classes))
        for fold in range(3):
            part = inner != fold
            probs[~part] = peer(scaled[part], labels[part], every[part], penalty, scaled[~part])
        expected[penalty] = log_loss(labels, probs)
    assert probe.inner_losses == pytest.approx(expected, abs=2e-3)
    assert probe.penalty == min(expected, key=expected.__getitem__)
    whole = peer(scaled, labels, every, probe.penalty, scaled)
    whole *= 1 - share + share * len(labels) / (4 * np.bincount(labels))
    whole /= whole.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(probe.logits(features), axis=1), whole, atol=3e-3)


def test_the_penalty_bears_less_on_a_feature_with_a_larger_factor():
    features, labels, cases = photos()
    factors = np.geomspace(0.5, 8, 12)
    probe = fit_probe(features, labels, cases, prior_adjustment=0, factors=factors, penalties=(0.3,))
    scaled = StandardScaler().fit_transform(features.astype(np.float64)) * factors
    expected = peer(scaled, labels, np.ones(len(labels)), 0.3, scaled)
    np.testing.assert_allclose(softmax(probe.logits(features), axis=1), expected, atol=2e-3)


def test_scale_and_place_of_features_do_not_count() -> None:
    features, labels, cases = photos()
    probe = fit_probe(features, labels, cases)
    moved = fit_probe(features * 7 - 20, labels, cases)
    np.testing.assert_allclose(moved.logits(features * 7 - 20), probe.logits(features), atol=1e-2)
    small = fit_probe(features * np.float32(1e-8), labels, cases)
    np.testing.assert_allclose(small.logits(features * np.float32(1e-8)), probe.logits(features), atol=1e-2)


def test_a_class_without_photos_is_never_named_and_a_constant_feature_counts_for_nothing() -> None:
    features, labels, cases = photos()
    probe = fit_probe(np.c_[features, np.full(len(labels), 3.0)], labels, cases, num_classes=6)
    assert probe.kernel.shape == (13, 6)
    assert not probe.kernel[12].any()
    probs = softmax(probe.logits(np.c_[features, np.zeros(len(labels))]), axis=1)
    assert probs[:, 4:].max() < 0.01


@pytest.mark.slow
def test_inner_folds_keep_cases_whole() -> None:
    """Features that name the case would look perfect on inner folds that part it."""
    rng = np.random.default_rng(0)
    cases = np.repeat(np.arange(40), 6)
    labels = rng.integers(0, 2, 40)[cases]
    features = rng.normal(size=(40, 60))[cases] + 0.01 * rng.normal(size=(240, 60))
    probe = fit_probe(features, labels, cases)
    assert min(probe.inner_losses.values()) > 0.5  # log 2 is 0.69
    assert min(fit_probe(features, labels, np.arange(240)).inner_losses.values()) < 0.2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"features": np.zeros(3)}, r"features must be of shape \[N, F\], neither of them 0, got \[3\]"),
        ({"features": np.full((4, 2), np.nan)}, "features must be finite"),
        ({"labels": [0, 1]}, r"labels must have one entry per row of features, 4, got shape \(2,\)"),
        ({"labels": [0.0, 1.0, 0.0, 1.0]}, "labels must be integers, got float64"),
        ({"labels": [0, 1, 2, 5], "num_classes": 3}, "labels must lie in 0 to 2, got 0 to 5"),
        *(
            ({"cases": cases, "penalties": [1.0]}, "cases must name every photo's case, got 2 missing")
            for cases in (["a", "b", None, None], [1, 2, np.nan, np.nan])
        ),
        ({"penalties": (0.0,)}, r"penalties must be finite numbers above 0, got \[0.0\]"),
        ({"prior_adjustment": 2}, r"prior_adjustment must lie in \[0, 1\], got 2"),
        ({"inner_folds": 1}, "inner_folds must be at least 2, got 1"),
        ({"factors": [1.0, 0.0]}, r"factors must be 2 finite numbers above 0, got shape \[2\]"),
        ({"features": np.ones((4, 2))}, "features must vary, got the same for all photos"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict, words: str) -> None:
    arguments = {"features": np.eye(4, 2), "labels": [0, 1, 0, 1], "cases": [1, 2, 3, 4]} | changed
    with pytest.raises(ValueError, match=words):
        fit_probe(**arguments)


def test_logits_of_another_number_of_features_are_refused() -> None:
    probe = fit_probe(np.eye(4, 2), [0, 1, 0, 1], [1, 2, 3, 4])
    for values in (np.zeros((2, 3)), np.float32(1)):
        with pytest.raises(ValueError, match="features must have the head's 2 features last, got shape"):
            probe.logits(values)
