"""Calibration: against definitions in loops, scikit-learn, exact sums, and coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import t
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from skinjax.evaluate import calibration
from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.calibration import (
    brier_parts,
    calibration_error,
    reliability_curve,
)
from skinjax.evaluate.logistic_calibration import apart_from_bounds, calibration_line, smooth_calibration


def draw_target(seed, cases=60, photos=5, slope=1.0, intercept=0.0):
    """Photos of cases with log-odds of their own; the truth follows slope and intercept."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), photos)
    odds = rng.normal(size=cases)[case] + rng.normal(scale=0.5, size=len(case))
    chance = 1 / (1 + np.exp(-slope * odds - intercept))
    shared = rng.random(len(case)) < 0.6
    luck = np.where(shared, rng.random(cases)[case], rng.random(len(case)))
    return (luck < chance).astype(int), 1 / (1 + np.exp(-odds)), case


@pytest.mark.parametrize(("strategy", "theirs"), [("mass", "quantile"), ("width", "uniform")])
def test_reliability_equals_scikit_learn(strategy, theirs):
    labels, probs, cases = draw_target(0)
    curve = reliability_curve(labels, probs, cases, bins=10, strategy=strategy)
    observed, predicted = calibration_curve(labels, probs, n_bins=10, strategy=theirs)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    assert curve.num_photos.sum() == 300
    assert (curve.low <= curve.observed).all()
    assert (curve.observed <= curve.high).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=40), st.integers(1, 9))
def test_photos_of_one_probability_share_a_bin_and_order_is_kept(values, bins):
    probs = np.array(values)
    place = calibration._bins(probs, bins, "mass")
    assert ((place >= 0) & (place < bins)).all()
    for value in set(values):
        assert len(set(place[probs == value].tolist())) == 1
    order = np.argsort(probs, kind="stable")
    assert (np.diff(place[order]) >= 0).all()


def test_bins_of_equal_mass_differ_by_one_photo_at_most():
    probs = np.random.default_rng(1).random(1003)
    sizes = np.bincount(calibration._bins(probs, 15, "mass"))
    assert sizes.max() - sizes.min() <= 1


def slow_error(labels, probs, bins):
    order = np.argsort(probs)
    parts = np.array_split(order, bins)
    return sum(len(part) * abs(probs[part].mean() - labels[part].mean()) for part in parts) / len(labels)


def test_errors_equal_their_definition():
    rng = np.random.default_rng(2)
    probs = rng.dirichlet(np.ones(4), size=150)
    labels = rng.integers(4, size=150)
    assert calibration_error(bins=15)((labels == 1).astype(int), probs[:, 1]) == pytest.approx(
        slow_error(labels == 1, probs[:, 1], 15)
    )
    top = slow_error(labels == probs.argmax(axis=1), probs.max(axis=1), 15)
    assert calibration_error("top_label")(labels, probs) == pytest.approx(top)
    each = [slow_error(labels == k, probs[:, k], 10) for k in range(4)]
    assert calibration_error("class_wise", bins=10)(labels, probs) == pytest.approx(np.mean(each))


def test_error_in_a_replicate_keeps_the_bins():
    labels, probs, cases = draw_target(3, cases=20)
    metric = calibration_error(bins=5)
    times = np.random.default_rng(0).integers(3, size=(1, 100)).astype(float)
    place = calibration._bins(probs, 5, "mass")
    expected = (
        sum(abs(times[0] @ ((probs - labels) * (place == number))) for number in range(5)) / times.sum()
    )
    assert metric.compute(labels, probs, weights=times)[0] == pytest.approx(expected)
    found = by_case(metric, (labels, probs), cases, replicates=199)
    assert found.low <= found.estimate <= found.high


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(1, 8),
    st.sampled_from(["mass", "width"]),
)
def test_brier_parts_add_up(pairs, bins, strategy):
    labels, probs = np.array(pairs).T
    parts = brier_parts(labels.astype(int), probs, bins, strategy)
    total = parts.reliability - parts.resolution + parts.uncertainty
    total += parts.within_variance - parts.within_covariance
    assert total == pytest.approx(parts.score, abs=1e-12)
    assert parts.score == pytest.approx(brier_score_loss(labels, probs, pos_label=1), abs=1e-12)


def test_forecasts_of_few_values_have_murphys_three_parts():
    rng = np.random.default_rng(4)
    probs = rng.choice([0.1, 0.4, 0.8], size=90)
    labels = (rng.random(90) < 0.4).astype(int)
    parts = brier_parts(labels, probs, bins=10, strategy="width")
    assert parts.within_variance == pytest.approx(0, abs=1e-15)
    base = labels.mean()
    groups = [labels[probs == value] for value in (0.1, 0.4, 0.8)]
    gaps = [len(g) * (value - g.mean()) ** 2 for value, g in zip((0.1, 0.4, 0.8), groups, strict=True)]
    assert parts.reliability == pytest.approx(sum(gaps) / 90)
    assert parts.resolution == pytest.approx(sum(len(g) * (g.mean() - base) ** 2 for g in groups) / 90)


def test_line_equals_scikit_learn_and_the_sandwich_of_independent_photos():
    labels, probs, _ = draw_target(5, slope=0.6, intercept=-0.5)
    line = calibration_line(labels, probs, np.arange(300))
    odds = np.log(probs / (1 - probs))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds[:, None], labels)
    assert line.slope == pytest.approx(fitted.coef_[0, 0], rel=1e-5)
    # In the large: the mean of the moved probabilities is the share of ones.
    moved = 1 / (1 + np.exp(-odds - line.intercept))
    assert moved.mean() == pytest.approx(labels.mean())
    chance = fitted.predict_proba(odds[:, None])[:, 1]
    design = np.column_stack([odds, np.ones(300)])
    bread = np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design)
    meat = (design * ((labels - chance) ** 2)[:, None]).T @ design
    std_error = np.sqrt((bread @ meat @ bread)[0, 0] * 300 / 299)
    quantile = t.ppf(0.975, min(labels.sum(), (1 - labels).sum()) - 1)
    assert (line.slope_high - line.slope_low) / 2 == pytest.approx(quantile * std_error, rel=1e-4)


def test_line_covers_by_case():
    held, held_by_photo = np.zeros(2), np.zeros(2)
    for sample in range(200):
        labels, probs, cases = draw_target(sample, cases=100)
        for counts, groups in ((held, cases), (held_by_photo, np.arange(500))):
            line = calibration_line(labels, probs, groups)
            counts += [
                line.slope_low <= 1 <= line.slope_high,
                line.intercept_low <= 0 <= line.intercept_high,
            ]
    assert (held / 200 >= 0.90).all()
    assert (held_by_photo / 200 <= 0.88).all()


def test_where_no_line_can_be_fitted():
    parted = calibration_line([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], [1, 2, 3, 4])
    assert np.isnan(parted.slope)
    assert np.isfinite(parted.intercept)
    one_class = calibration_line([0, 0], [0.1, 0.3], [1, 2])
    assert np.isnan([one_class.slope, one_class.intercept]).all()
    alone = calibration_line([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9], ["a"] * 4)
    assert np.isfinite(alone.slope)
    assert np.isnan([alone.slope_low, alone.intercept_high]).all()
    extreme = calibration_line([0, 1, 0, 1], [0.0, 0.3, 0.5, 1.0], [1, 2, 3, 4])
    assert np.isfinite([extreme.slope, extreme.intercept]).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: reliability_curve([0, 2], [0.1, 0.2], [1, 2]), "labels must be 0 or 1"),
        (lambda: reliability_curve([0, 1], [0.1, 1.2], [1, 2]), r"probs must lie in \[0, 1\]"),
        (lambda: reliability_curve([0, 1], [0.1, 0.2], [1, 2], bins=0), "bins must be at least 1, got 0"),
        (lambda: brier_parts([0, 1], [0.1, 0.2], strategy="even"), "strategy must be mass or width, got 'even'"),
        (lambda: brier_parts([], []), "at least one photo"),
        (lambda: calibration_error("top"), "kind must be binary, top_label or class_wise, got 'top'"),
        (lambda: calibration_error("top_label")([0, 1], [0.1, 0.2]), r"probs float\[N, K\]"),
        (lambda: calibration_error("class_wise")([0, 2], np.full((2, 2), 0.5)), r"labels must lie in \[0, 2\)"),
        (lambda: calibration_line([0, 1], [0.1, 0.2], [1, 2], confidence=2), "confidence must lie"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_zeros_and_ones_of_a_forest_in_hundredths_count_as_half_a_hundredth():
    rng = np.random.default_rng(0)
    truth = rng.beta(0.4, 0.4, 4000)
    labels = (rng.random(4000) < truth).astype(int)
    rounded = rng.binomial(100, truth) / 100
    assert ((rounded == 0) | (rounded == 1)).sum() > 300
    line = calibration_line(labels, rounded, np.arange(4000))
    by_hand = LogisticRegression(C=np.inf, tol=1e-10).fit(
        logit(np.clip(rounded, 0.005, 0.995))[:, None], labels
    )
    assert line.slope == pytest.approx(by_hand.coef_[0, 0], abs=1e-4)
    assert apart_from_bounds([0.0, 1.0]).tolist() == [1e-12, 1 - 1e-12]


def test_the_smooth_curve_is_scikit_learns_fit_of_the_spline_and_its_indices_are_distances():
    rng = np.random.default_rng(1)
    probs = rng.random(3000)
    labels = (rng.random(3000) < probs**1.5).astype(int)
    found = smooth_calibration(labels, probs)
    away = np.abs(probs**1.5 - probs)
    expected = (away.mean(), np.quantile(away, 0.5), np.quantile(away, 0.9))
    assert (found.ici, found.e50, found.e90) == pytest.approx(expected, abs=0.02)
    assert np.abs(found.observed - found.predicted**1.5).max() < 0.05
    odds = logit(probs)
    knots = np.quantile(odds, [0.05, 0.35, 0.65, 0.95])

    def term(j):  # Harrell 2015, equation 2.25
        def cube(x):
            return np.maximum(x, 0) ** 3

        spread = knots[3] - knots[2]
        ends = cube(odds - knots[2]) * (knots[3] - knots[j]) - cube(odds - knots[3]) * (knots[2] - knots[j])
        return (cube(odds - knots[j]) - ends / spread) / (knots[3] - knots[0]) ** 2

    basis = np.stack([odds, term(0), term(1)], axis=1)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(basis, labels)
    assert found.ici == pytest.approx(np.abs(fit.predict_proba(basis)[:, 1] - probs).mean(), abs=1e-4)
    calibrated = smooth_calibration(
        (rng.random(20_000) < np.tile(probs, 7)[:20_000]).astype(int), np.tile(probs, 7)[:20_000]
    )
    assert calibrated.ici < 0.01
    for labels, probs in ((np.zeros(100, int), rng.random(100)), (np.arange(100) % 2, np.full(100, 0.5))):
        assert np.isnan(smooth_calibration(labels, probs).ici)
