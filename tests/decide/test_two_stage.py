"""Scores, thresholds and the learnt head against their definitions, scikit-learn and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from skinjax.decide.logistic_head import LogisticHead, fit_head, head_log_odds
from skinjax.decide.probabilities import log_probabilities
from skinjax.decide.two_stage import FIXED_THRESHOLDS, binarize, fit_threshold, target_score

RULES = ("probability", "merged", "rival", "log_odds", "argmax")
EXTREMES = st.lists(st.sampled_from([0.0, 1e-38, 1e-30, 1e-19, 1e-7, 0.5, 1.0]), min_size=5, max_size=5)


@pytest.fixture(scope="module")
def probabilities():
    return np.random.default_rng(5).dirichlet(np.full(5, 0.4), size=(4, 3))


def by_hand(probs, target, rule):
    scores = np.zeros(probs.shape[:-1])
    for photo in np.ndindex(scores.shape):
        p = list(probs[photo])
        rest = p[:target] + p[target + 1 :]
        scores[photo] = {
            "probability": p[target],
            "merged": p[target] - sum(rest),
            "rival": p[target] / (p[target] + max(rest)),
            "log_odds": np.log(p[target]) - np.log(sum(rest)),
            "argmax": float(p.index(max(p)) == target),
        }[rule]
    return scores


@pytest.mark.parametrize("rule", RULES)
def test_scores_equal_their_definitions_with_any_leading_axes(probabilities, rule):
    for photos in ((), (0,), (1, 2)):
        for target in range(5):
            expected = by_hand(probabilities[photos], target, rule)
            got = target_score(probabilities[photos], target, rule)
            np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("rule", RULES)
def test_eager_jit_and_vmap_agree(probabilities, rule):
    probs = jnp.asarray(probabilities[0])
    eager = target_score(probs, 2, rule)
    traced_target = jax.jit(target_score, static_argnums=2)(probs, jnp.asarray(2), rule)
    mapped = jax.vmap(lambda p: target_score(p, 2, rule))(probs)
    np.testing.assert_allclose(traced_target, eager, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mapped, eager, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(EXTREMES, st.sampled_from(RULES))
def test_scores_and_gradients_are_finite_at_the_extremes(probs, rule):
    value, gradient = jax.value_and_grad(target_score)(jnp.asarray(probs, jnp.float32), 1, rule)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_gradients_equal_differences_in_float64(probabilities):
    for rule in ("probability", "merged", "rival", "log_odds"):
        probs = probabilities[0, 0] + 0.05
        gradient = jax.grad(target_score)(jnp.asarray(probs), 1, rule)
        steps = 1e-6 * np.eye(5)
        expected = [(by_hand(probs + s, 1, rule) - by_hand(probs - s, 1, rule)) / 2e-6 for s in steps]
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_extreme_probabilities_keep_their_order():
    certain = jnp.array([[1.0, 1e-12, 0.0], [1.0, 1e-20, 0.0], [1.0, 0.0, 0.0]], jnp.float32)
    np.testing.assert_allclose(
        target_score(certain, 0, "log_odds"), [np.log(1e12), np.log(1e20), 87.336544], rtol=1e-6
    )
    np.testing.assert_allclose(target_score(certain, 2, "log_odds"), [-87.336544] * 3, rtol=1e-6)
    assert target_score(jnp.array([1e-30, 3e-30, 0.0]), 0, "rival") == 0.25
    assert target_score(jnp.zeros(3), 0, "rival") == 0.5


def test_the_first_of_equal_classes_is_the_argmax():
    probs = jnp.array([0.4, 0.4, 0.2])
    assert [target_score(probs, k, "argmax").item() for k in range(3)] == [1, 0, 0]


def test_the_merged_rule_is_stricter_than_the_strongest_class_and_takes_half_for_positive():
    probs = jnp.array([[0.5, 0.25, 0.25], [0.4, 0.35, 0.25], [0.75, 0.25, 0.0], [0.25, 0.5, 0.25]])
    calls = {
        rule: binarize(target_score(probs, 0, rule), threshold).tolist()
        for rule, threshold in FIXED_THRESHOLDS.items()
    }
    assert calls == {"merged": [1, 0, 1, 0], "argmax": [1, 1, 1, 0]}
    many = np.random.default_rng(1).dirichlet(np.full(6, 0.5), 500)
    called = np.asarray(binarize(target_score(many, 0, "merged"), FIXED_THRESHOLDS["merged"])) == 1
    np.testing.assert_array_equal(called, many[:, 0] >= 0.5)


def test_a_list_of_thresholds_is_one_per_score():
    assert binarize([0.3, 0.5, 0.7], [0.1, 0.6, 0.5]).tolist() == [1, 0, 1]


def test_a_score_at_the_threshold_is_positive():
    scores = np.array([0.1, 0.3, 0.3, np.nan, np.inf], np.float32)
    assert binarize(scores, np.float32(0.3)).tolist() == [0, 1, 1, 0, 1]
    assert binarize(scores, np.inf).tolist() == [0, 0, 0, 0, 1]
    assert jax.jit(binarize)(scores, 0.3).dtype == jnp.int32


def rates(labels, scores, threshold):
    called = scores >= threshold
    return called[labels == 1].mean(), 1 - called[labels == 0].mean()


@pytest.mark.parametrize("seed", range(6))
def test_thresholds_are_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(0, 2, 40))
    scores = np.round(rng.normal(size=42) + labels, 1)
    candidates = np.append(np.unique(scores), np.inf)
    points = np.array([rates(labels, scores, t) for t in candidates])

    found = rates(labels, scores, fit_threshold(labels, scores))
    assert sum(found) == pytest.approx(points.sum(1).max(), abs=1e-12)
    fpr, tpr, _ = roc_curve(labels, scores)
    assert sum(found) - 1 == pytest.approx((tpr - fpr).max(), abs=1e-12)
    best = candidates[points.sum(1) >= points.sum(1).max() - 1e-12]
    assert fit_threshold(labels, scores) == best.min()

    for wanted in (0.3, 0.8, 1.0):
        threshold = fit_threshold(labels, scores, "sensitivity", sensitivity=wanted)
        assert threshold == candidates[points[:, 0] >= wanted - 1e-12].max()

    for miss_cost, prevalence in ((1, None), (20, None), (5, 0.02), (0.1, 0.5)):
        share = labels.mean() if prevalence is None else prevalence
        cost = share * miss_cost * (1 - points[:, 0]) + (1 - share) * (1 - points[:, 1])
        threshold = fit_threshold(labels, scores, "least_cost", miss_cost=miss_cost, prevalence=prevalence)
        assert threshold == candidates[cost <= cost.min() + 1e-12].min()


def test_a_cheap_miss_of_a_rare_disease_calls_nobody():
    labels, scores = [0, 1, 0, 1], [0.4, 0.1, 0.2, 0.3]
    assert fit_threshold(labels, scores, "least_cost", miss_cost=1, prevalence=0.001) == np.inf
    assert fit_threshold(labels, scores, "least_cost", miss_cost=1e4, prevalence=0.001) == 0.1


def test_a_fitted_threshold_means_the_same_in_float32():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 200)
    scores = (rng.random(200) + 0.3 * labels).astype(np.float32)
    threshold = fit_threshold(labels, scores)
    np.testing.assert_array_equal(binarize(scores, threshold), scores >= threshold)
    np.testing.assert_array_equal(jax.jit(binarize)(scores, threshold), scores >= threshold)


@pytest.fixture(scope="module")
def lookalikes():
    """Photos of five classes with a network whose belief in class 2 is noise, which drowns the target, 0."""
    rng = np.random.default_rng(7)
    true = rng.integers(0, 5, 600)
    logits = rng.normal(size=(600, 5)) + 2 * np.eye(5)[true]
    logits[:, 2] += 4 * rng.normal(size=600)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (true == 0).astype(int), probs


def test_the_head_equals_scikit_learn_where_nothing_is_regularised(lookalikes):
    labels, probs = lookalikes
    head = fit_head(labels, probs, target=0, regularization=1e-7)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(np.log(probs), labels)
    np.testing.assert_allclose(head.weights, model.coef_[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.bias, model.intercept_[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("regularization", [0.3, 10.0])
def test_the_head_is_the_minimum_of_its_definition(lookalikes, regularization):
    labels, probs = lookalikes
    labels, logs = labels[:80], np.log(probs[:80])
    head = fit_head(labels, probs[:80], 0, regularization=regularization)
    prior = np.array([1, 0, 0, 0, 0])

    def loss(weights, bias):
        p = 1 / (1 + np.exp(-(logs @ weights + bias)))
        likelihood = np.where(labels == 1, p, 1 - p)
        return -np.log(likelihood).sum() + regularization / 2 * ((weights - prior) ** 2).sum()

    least = loss(head.weights, head.bias)
    for step in np.vstack([np.eye(6), -np.eye(6)]) * 1e-3:
        assert loss(head.weights + step[:5], head.bias + step[5]) > least
    p = 1 / (1 + np.exp(-(logs @ head.weights + head.bias)))
    assert p.mean() == pytest.approx(labels.mean(), abs=1e-8)


def test_the_head_learns_which_rivals_to_ignore(lookalikes):
    labels, probs = lookalikes
    head = fit_head(labels[:300], probs[:300], target=0)
    learnt = roc_auc_score(labels[300:], head_log_odds(head, probs[300:]))
    assert learnt > roc_auc_score(labels[300:], probs[300:, 0]) + 0.02


def test_a_strongly_regularised_head_orders_photos_as_the_target_probability_does(lookalikes):
    labels, probs = lookalikes
    head = fit_head(labels[:40], probs[:40], 0, regularization=1e7)
    np.testing.assert_allclose(head_log_odds(head, probs), np.log(probs[:, 0]) + head.bias, atol=1e-3)


def test_the_head_is_one_function_eager_jit_and_vmap_and_safe_at_zeros(lookalikes):
    labels, probs = lookalikes
    head = fit_head(labels, probs, target=0)
    sharp = jnp.asarray([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0], [0.5, 0.5, 0, 0, 0]], jnp.float32)
    eager = head_log_odds(head, sharp)
    np.testing.assert_allclose(jax.jit(head_log_odds)(head, sharp), eager, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(head_log_odds, (None, 0))(head, sharp), eager, rtol=1e-5)
    gradient = jax.grad(lambda p: head_log_odds(head, p).sum())(sharp)
    assert np.isfinite(eager).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(
        eager, np.log(np.maximum(sharp, np.finfo(np.float32).tiny)) @ head.weights + head.bias, rtol=1e-5
    )


def test_log_probabilities_are_logits_with_the_same_softmax_and_a_floor():
    probs = np.random.default_rng(1).dirichlet(np.ones(4), 6)
    np.testing.assert_allclose(jax.nn.softmax(log_probabilities(probs)), probs, rtol=1e-5)
    assert log_probabilities(np.array([0.0, 1.0]), floor=5e-7)[0] == pytest.approx(np.log(5e-7), rel=1e-6)
    assert np.isfinite(jax.grad(lambda p: log_probabilities(p).sum())(jnp.array([0.0, 1.0]))).all()


GOOD = {"labels": [0, 1, 1], "scores": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rule": "best"}, "rule must be one of youden, sensitivity, least_cost, got 'best'"),
        ({"rule": "sensitivity"}, r"sensitivity must lie in \(0, 1\], got None"),
        ({"sensitivity": 0.9}, "sensitivity is for the rule 'sensitivity', got 0.9 with the rule 'youden'"),
        ({"rule": "least_cost"}, "miss_cost must be above 0 and finite, got None"),
        ({"rule": "least_cost", "miss_cost": 2, "prevalence": 1}, r"prevalence must lie in \(0, 1\), got 1"),
        ({"labels": [1, 1, 1]}, "labels must hold both 0 and 1, got 0 and 3 of them"),
        ({"labels": [0, 1, 2]}, r"labels must lie in \[0, 2\), got 1 others: 2 at 2"),
        ({"labels": [0, 1]}, r"labels must be integers of shape \(3,\)"),
        ({"scores": [0.1, np.nan, 0.3]}, "scores must be no NaN, got 1 others: nan at 1"),
        ({"scores": []}, "scores must be one number per photo"),
    ],
)
def test_bad_thresholds_are_named(change, told):
    with pytest.raises(ValueError, match=told):
        fit_threshold(**(GOOD | change))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: target_score(np.ones(3), 0, "mean"), "rule must be one of probability, merged, rival"),
        (lambda: target_score(np.ones(3), 3), r"target must lie in \[0, 3\), got 3"),
        (lambda: target_score(np.ones(3), 1.0), "target must be one integer, got float64"),
        (
            lambda: target_score(np.ones((4, 1)), 0),
            r"probs must have at least two classes, got shape \(4, 1\)",
        ),
        (lambda: fit_head([0, 1], np.ones((2, 3)) / 3, 3), r"target must lie in \[0, 3\), got 3"),
        (lambda: fit_head([0, 0], np.ones((2, 3)) / 3, 0), "labels must hold both 0 and 1"),
        (lambda: fit_head([0, 1], np.full((2, 3), 2), 0), r"probs must lie in \[0, 1\], got 6 others"),
        (
            lambda: fit_head([0, 1], np.ones((2, 3)) / 3, 0, regularization=0),
            "regularization must be above 0",
        ),
        (lambda: fit_head([0, 1], np.ones((2, 3)) / 3, 0, floor=0), r"floor must lie in \(0, 1\), got 0"),
        (lambda: head_log_odds(LogisticHead(np.ones(3), 0.0), np.ones(4)), "the head's 3 classes"),
        (lambda: log_probabilities(np.ones(2), floor=1), r"floor must lie in \(0, 1\), got 1"),
    ],
)
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
