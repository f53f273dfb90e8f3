"""Temperature and vector scaling against brute force, scikit-learn and the networks that they put right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skinjax.decide.calibrate import (
    VectorScaling,
    apply_temperature,
    apply_vector_scaling,
    fit_temperature,
    fit_vector_scaling,
)
from skinjax.decide.probabilities import log_probabilities


def photos(num_photos, num_classes, temperature, seed, scale=1.0, bias=0.0):
    """Labels drawn from probabilities, and the logits of a network that gets these wrong in a known way."""
    rng = np.random.default_rng(seed)
    true = log_softmax(1.5 * rng.normal(size=(num_photos, num_classes)), axis=1)
    labels = (np.exp(true).cumsum(1) < rng.random((num_photos, 1))).sum(1).clip(max=num_classes - 1)
    return temperature * (true - bias) / scale, labels


def negative_log_likelihood(log_probs, labels):
    return -log_probs[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_the_temperature_is_the_minimum_found_by_brute_force(temperature, num_classes):
    logits, labels = photos(300, num_classes, temperature, seed=num_classes)
    found = fit_temperature(logits, labels)
    brute = minimize_scalar(
        lambda s: negative_log_likelihood(log_softmax(logits * np.exp(-s), axis=1), labels),
        bounds=(-4, 4), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    assert found == pytest.approx(np.exp(brute.x), rel=1e-5)
    assert found == pytest.approx(temperature, rel=0.35)
    # Of logits, a constant a photo means nothing.
    shift = np.arange(300)[:, None] / 7
    assert fit_temperature(logits + shift, labels) == pytest.approx(found, rel=1e-9)


class Logits(ClassifierMixin, BaseEstimator):
    """Answers its input as decision function, so that scikit-learn calibrates given logits."""

    def fit(self, logits, labels):
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, logits):
        return logits

    def predict(self, logits):
        return self.classes_[logits.argmax(axis=1)]


def test_the_temperature_equals_scikit_learns():
    logits, labels = photos(500, 5, 3.0, seed=1)
    pytest.importorskip("sklearn", minversion="1.8")  # whose calibration knows temperatures
    model = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, labels)), method="temperature")
    model.fit(logits, labels)
    ours = apply_temperature(logits, fit_temperature(logits, labels))
    np.testing.assert_allclose(ours, model.predict_proba(logits), atol=2e-4)


def test_limits_where_no_temperature_is_best():
    right = 5 * np.eye(3)
    assert fit_temperature(right, [0, 1, 2]) == 0.01
    assert fit_temperature(right, [1, 2, 0]) == 100
    assert fit_temperature(np.ones((4, 3)), [0, 1, 2, 0]) == 1
    # One mistake among confident answers is enough for a temperature.
    assert 0.01 < fit_temperature(np.vstack([right, right]), [0, 1, 2, 0, 1, 0]) < 100


def test_probabilities_do_as_well_as_logits_zeros_included():
    logits, labels = photos(400, 6, 2.0, seed=3)
    probs = softmax(logits, axis=1)
    temperature = fit_temperature(logits, labels)
    assert fit_temperature(log_probabilities(probs), labels) == pytest.approx(temperature, rel=1e-4)
    scaling = fit_vector_scaling(logits, labels)
    again = fit_vector_scaling(log_probabilities(probs), labels)
    np.testing.assert_allclose(again.scale, scaling.scale, rtol=1e-3)
    np.testing.assert_allclose(
        apply_vector_scaling(log_probabilities(probs), scaling),
        apply_vector_scaling(logits, scaling),
        atol=1e-5,
    )
    rounded = np.round(probs, 2)
    assert (rounded[np.arange(400), labels] == 0).any()
    from_zeros = fit_temperature(log_probabilities(rounded, floor=0.005), labels)
    assert from_zeros == pytest.approx(temperature, rel=0.3)


@pytest.mark.parametrize("regularization", [0.01, 1.0, 30.0])
def test_vector_scaling_is_the_minimum_of_its_definition(regularization):
    logits, labels = photos(120, 4, 2.0, seed=5, bias=np.array([0.5, -0.5, 1.0, 0]))
    temperature = fit_temperature(logits, labels)
    log_probs = log_softmax(logits, axis=1)

    def loss(parameters):
        scale, bias = parameters[:4], parameters[4:]
        fit = negative_log_likelihood(log_softmax(log_probs * scale + bias, axis=1), labels) * 120
        return fit + regularization / 2 * (((temperature * scale - 1) ** 2).sum() + (bias**2).sum())

    found = fit_vector_scaling(logits, labels, regularization)
    brute = minimize(
        loss, np.zeros(8), method="Powell", bounds=[(0, 9)] * 4 + [(-9, 9)] * 4,
        options={"xtol": 1e-9, "ftol": 1e-14, "maxiter": 20_000},
    )  # fmt: skip
    parameters = np.concatenate([found.scale, found.bias])
    assert loss(parameters) <= brute.fun + 1e-8
    np.testing.assert_allclose(parameters, brute.x, atol=1e-3)


def test_unregularised_vector_scaling_of_two_classes_is_logistic_regression():
    logits, labels = photos(400, 2, 2.0, seed=6, bias=np.array([0.8, 0.0]))
    log_probs = log_softmax(logits, axis=1)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    model.fit(log_probs * [-1, 1], labels)
    assert (model.coef_ > 0).all()  # else the bound of our scales would matter
    found = fit_vector_scaling(logits, labels, regularization=1e-8)
    np.testing.assert_allclose(found.scale, model.coef_[0], rtol=2e-3)
    assert found.bias[1] - found.bias[0] == pytest.approx(model.intercept_[0], abs=2e-3)


def test_vector_scaling_repairs_what_no_temperature_can():
    bias = np.array([1.5, 0.0, -1.0, 0.0, 0.5])
    logits, labels = photos(3000, 5, 2.0, seed=8, bias=bias)
    fit, new = slice(0, 1500), slice(1500, None)
    tempered = apply_temperature(logits[new], fit_temperature(logits[fit], labels[fit]))
    scaled = apply_vector_scaling(logits[new], fit_vector_scaling(logits[fit], labels[fit]))
    losses = [negative_log_likelihood(np.log(p), labels[new]) for p in (tempered, scaled)]
    assert losses[1] < losses[0] - 0.05
    shares = np.bincount(labels[new], minlength=5) / 1500
    np.testing.assert_allclose(np.asarray(scaled).mean(axis=0), shares, atol=0.03)
    assert abs(np.asarray(tempered).mean(axis=0) - shares).max() > 0.03


def test_vector_scaling_of_few_photos_stays_near_the_temperature():
    """Twenty photos of nineteen classes: 38 parameters must not make new photos much worse."""
    excess = []
    for seed in range(5):
        logits, labels = photos(1020, 19, 2.0, seed=100 + seed)
        fit, new = slice(0, 20), slice(20, None)
        tempered = apply_temperature(logits[new], fit_temperature(logits[fit], labels[fit]))
        scaled = apply_vector_scaling(logits[new], fit_vector_scaling(logits[fit], labels[fit]))
        losses = [negative_log_likelihood(np.log(np.asarray(p)), labels[new]) for p in (tempered, scaled)]
        excess.append(losses[1] - losses[0])
    assert np.mean(excess) < 0.03


def test_a_class_without_photos_keeps_the_temperature():
    logits, labels = photos(200, 4, 2.0, seed=9)
    kept = labels != 3
    scaling = fit_vector_scaling(logits[kept], labels[kept], regularization=1e4)
    np.testing.assert_allclose(scaling.scale * fit_temperature(logits[kept], labels[kept]), 1, atol=0.02)
    probs = apply_vector_scaling(logits, fit_vector_scaling(logits[kept], labels[kept]))
    assert np.isfinite(probs).all()
    assert (probs > 0).all()


APPLIED = {
    "temperature": lambda logits: apply_temperature(logits, 0.05),
    "vector": lambda logits: apply_vector_scaling(
        logits, VectorScaling(np.array([0.0, 1.0, 20.0]), np.array([-3.0, 0.0, 3.0]))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", APPLIED)
def test_eager_jit_and_vmap_agree_and_gradients_are_finite_at_the_extremes(how):
    apply = APPLIED[how]
    probs = jnp.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 1.0]], jnp.float32)
    logits = log_probabilities(probs)
    eager = apply(logits)
    np.testing.assert_allclose(eager.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(apply)(logits), eager, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(apply)(logits), eager, rtol=1e-5)
    gradient = jax.jacobian(lambda p: apply(log_probabilities(p)))(probs)
    assert np.isfinite(gradient).all()


def test_parameters_may_be_arguments_under_jit():
    logits = jnp.array([[0.0, 1.0]])
    scaling = VectorScaling(np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    np.testing.assert_allclose(
        jax.jit(apply_vector_scaling)(logits, scaling), apply_vector_scaling(logits, scaling), rtol=1e-6
    )
    np.testing.assert_allclose(
        jax.jit(apply_temperature)(logits, 2.0), softmax([[0, 0.5]], axis=1), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: fit_temperature([[0, np.inf]], [0]), "logits must be finite, got 1 others: inf at 0/1"),
        (lambda: fit_temperature([[0.0], [1.0]], [0, 0]), r"\[N, K\] .* K at least 2, got shape \(2, 1\)"),
        (
            lambda: fit_temperature(np.ones((2, 3)), [0, 3]),
            r"labels must lie in \[0, 3\), got 1 others: 3 at 1",
        ),
        (lambda: fit_temperature(np.ones((2, 3)), [0.0, 1.0]), "labels must be integers .* got float64"),
        (lambda: fit_vector_scaling(np.ones((2, 3)), [0, 1], 0), "regularization must be above 0"),
        (lambda: apply_temperature(np.ones(3), 0), "temperature must be above 0, got 0"),
        (
            lambda: apply_temperature(np.ones((3, 3)), [1, 10, 100]),
            r"temperature must be one number, .*\(3,\)",
        ),
        (lambda: apply_temperature(1.0, 1), r"logits must have a last axis of classes, got shape \(\)"),
        (
            lambda: apply_vector_scaling(np.ones(3), VectorScaling(np.ones(2), np.ones(2))),
            "scaling's 2 classes",
        ),
    ],
)
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
