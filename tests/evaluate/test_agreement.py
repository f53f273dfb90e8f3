"""Cohen's kappa: against scikit-learn, its definition, and intervals by case."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from skinjax.evaluate.agreement import kappa, linear_kappa, quadratic_kappa
from skinjax.evaluate.bootstrap import by_case

KINDS = [(kappa, None), (linear_kappa, "linear"), (quadratic_kappa, "quadratic")]


@pytest.mark.parametrize(("ours", "weights"), KINDS)
def test_equals_scikit_learn_with_weights_of_photos(ours, weights):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=300)
    answers = np.clip(labels + rng.integers(-1, 2, size=300), 0, 3)
    assert ours(labels, answers) == pytest.approx(cohen_kappa_score(labels, answers, weights=weights))
    times = rng.integers(3, size=(5, 300)).astype(float)
    expected = [cohen_kappa_score(labels, answers, weights=weights, sample_weight=row) for row in times]
    np.testing.assert_allclose(ours.compute(labels, answers, weights=times), expected)


def test_degrees_that_nobody_gave_keep_their_distance():
    labels, answers = np.array([0, 0, 3, 3]), np.array([0, 3, 3, 3])
    expected = cohen_kappa_score(labels, answers, weights="quadratic", labels=[0, 1, 2, 3])
    assert quadratic_kappa(labels, answers) == pytest.approx(expected)
    near = np.array([0, 1, 3, 3])
    assert quadratic_kappa(labels, near) > quadratic_kappa(labels, answers)
    assert kappa(labels, near) < quadratic_kappa(labels, near)


def test_the_quadratic_one_is_the_concordance_of_two_ratings():
    # Krippendorff 1970: 1 - E (x - y)² / (var x + var y + (mean x - mean y)²), Lin's concordance.
    rng = np.random.default_rng(1)
    x, y = rng.integers(5, size=(2, 100))
    expected = 1 - np.mean((x - y) ** 2) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert quadratic_kappa(x, y) == pytest.approx(expected)


def test_one_class_only_is_undefined_and_names_serve():
    assert np.isnan(kappa([1, 1], [1, 1]))
    assert np.isnan(linear_kappa([1, 1], [1, 1]))
    assert kappa(["a", "b"], ["a", "b"]) == 1
    assert kappa(["a", "b"], ["b", "a"]) == -1


def test_interval_by_case_is_wider_than_by_photo():
    rng = np.random.default_rng(2)
    cases = np.repeat(np.arange(50), 6)
    labels = rng.integers(3, size=50)[cases]
    answers = np.where(rng.random(50)[cases] < 0.7, labels, (labels + 1) % 3)
    by_cases = by_case(quadratic_kappa, (labels, answers), cases, replicates=499)
    by_photo = by_case(quadratic_kappa, (labels, answers), np.arange(300), replicates=499)
    assert by_cases.high - by_cases.low > 1.8 * (by_photo.high - by_photo.low)


@pytest.mark.parametrize("labels", [[0.5, 1.0], [-1, 0], ["a", "b"]])
def test_degrees_must_be_counted(labels):
    with pytest.raises(ValueError, match=r"labels must be int\[N\], degrees of at least 0"):
        quadratic_kappa(labels, [0, 1])
