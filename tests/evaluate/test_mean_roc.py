"""Mean ROC curves, mean areas, and what calls are worth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from skinjax.evaluate import delong
from skinjax.evaluate.calls import call_accuracy, call_figures, youden_index
from skinjax.evaluate.mean_roc import compare_with_mean, mean_auc_interval, mean_roc
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.roc import roc_curve


def study(seed=0, photos=120, models=4, ties=True):
    rng = np.random.default_rng(seed)
    labels = rng.random(photos) < 0.4
    scores = rng.normal(size=(models, photos)) + labels * rng.uniform(0.3, 1.5, models)[:, None]
    return labels, np.round(scores, 1) if ties else scores, rng.integers(0, photos // 3, photos)


def test_the_area_under_the_mean_curve_is_the_mean_of_scikit_learns_areas():
    labels, scores, _ = study()
    mean = mean_roc([roc_curve(labels, row) for row in scores])
    assert mean.auc == pytest.approx(np.mean([roc_auc_score(labels, row) for row in scores]), abs=1e-12)


def test_between_the_steps_the_mean_curve_is_the_mean_of_the_curves():
    labels, scores, _ = study(1)
    curves = [roc_curve(labels, row) for row in scores]
    mean = mean_roc(curves)
    rates = np.random.default_rng(0).random(500)  # at none of which a curve has a step
    expected = np.mean(
        [np.interp(rates, 1 - curve.specificity, curve.sensitivity) for curve in curves], axis=0
    )
    np.testing.assert_allclose(
        np.interp(rates, mean.false_positive_rate, mean.sensitivity), expected, atol=1e-12
    )
    assert (np.diff(mean.sensitivity) >= -1e-12).all()
    assert (mean.sensitivity[0], mean.sensitivity[-1]) == (0, 1)


def test_the_mean_of_one_curve_is_the_curve():
    labels, scores, cases = study(2)
    curve = roc_curve(labels, scores[0])
    mean = mean_roc([curve])
    points = set(zip(mean.false_positive_rate, mean.sensitivity, strict=True))
    assert set(zip(1 - curve.specificity, curve.sensitivity, strict=True)) >= points - {(0.0, 0.0)}
    assert mean_auc_interval(labels, scores[:1], 0.9, cases) == delong.auc_interval(
        labels, scores[0], 0.9, cases
    )
    assert compare_with_mean(labels, scores[0], scores[1:2], cases) == delong.compare(
        labels, scores[0], scores[1], cases
    )


def test_the_variance_of_a_mean_area_is_delongs_of_the_mean_kernel():
    """The mean of areas is one U-statistic, whose kernel is the mean over models of who beats whom."""
    labels, scores, _ = study(3)
    wins = [
        (row[labels][:, None] > row[~labels]) + 0.5 * (row[labels][:, None] == row[~labels]) for row in scores
    ]
    kernel = np.mean(wins, axis=0)
    variance = (
        kernel.mean(axis=1).var(ddof=1) / labels.sum() + kernel.mean(axis=0).var(ddof=1) / (~labels).sum()
    )
    found = mean_auc_interval(labels, scores)
    assert found.auc == pytest.approx(kernel.mean(), abs=1e-12)
    assert found.std_error**2 == pytest.approx(variance, rel=1e-9)
    difference = wins[0] - np.mean(wins[1:], axis=0)
    variance = sum(difference.mean(axis=1 - axis).var(ddof=1) / difference.shape[axis] for axis in (0, 1))
    compared = compare_with_mean(labels, scores[0], scores[1:])
    assert compared.difference == pytest.approx(difference.mean(), abs=1e-12)
    assert compared.std_error**2 == pytest.approx(variance, rel=1e-9)


def test_with_no_curve_or_scores_of_another_shape_it_is_told():
    with pytest.raises(ValueError, match="at least one curve"):
        mean_roc([])
    with pytest.raises(ValueError, match=r"scores must have shape \[M, N\]"):
        mean_auc_interval([0, 1], [0.1, 0.2])


def test_with_one_class_there_is_no_area():
    found = mean_auc_interval(np.zeros(4), np.arange(8.0).reshape(2, 4))
    assert np.isnan([found.auc, found.low, found.high]).all()


def test_figures_of_calls_are_scikit_learns():
    labels, scores, cases = study(4)
    calls = scores[0] > 0.5
    found = call_figures(labels, calls, cases, replicates=200)
    sensitivity, specificity = recall_score(labels, calls), recall_score(~labels, ~calls)
    assert found.sensitivity.estimate == pytest.approx(sensitivity)
    assert found.specificity.estimate == pytest.approx(specificity)
    assert found.index.estimate == pytest.approx(sensitivity + specificity - 1)
    assert found.accuracy.estimate == pytest.approx(accuracy_score(labels, calls))
    share = proportion_by_case(calls[labels], cases[labels])
    assert (found.sensitivity.low, found.sensitivity.high) == (share.low, share.high)
    other = proportion_by_case(~calls[~labels], cases[~labels])
    down = np.hypot(share.estimate - share.low, other.estimate - other.low)
    up = np.hypot(share.high - share.estimate, other.high - other.estimate)
    index = found.index.estimate
    assert (found.index.low, found.index.high) == pytest.approx((index - down, index + up))
    missed = found.sensitivity.complement()
    limits = (1 - sensitivity, 1 - share.high, 1 - share.low)
    assert (missed.estimate, missed.low, missed.high) == pytest.approx(limits)


def test_figures_of_several_models_calls_are_the_means_of_theirs():
    labels, scores, cases = study(5)
    calls = scores > 0.4
    found = call_figures(labels, calls.mean(axis=0), cases, replicates=200)
    each = [call_figures(labels, row, cases, replicates=200) for row in calls]
    for name in ("sensitivity", "specificity", "index", "accuracy"):
        mean = np.mean([getattr(one, name).estimate for one in each])
        figure = getattr(found, name)
        assert figure.estimate == pytest.approx(mean)
        assert figure.low < mean < figure.high
    assert call_accuracy(labels, calls.mean(axis=0)) == pytest.approx(found.accuracy.estimate)


def test_calls_without_a_mistake_still_have_an_interval_and_a_lone_case_has_none():
    labels = np.repeat([1, 0], 20)
    found = call_figures(labels, labels, np.arange(40), replicates=200)
    assert found.index.estimate == 1
    assert found.index.low < 0.9
    assert found.index.high == 1
    lone = call_figures(labels, labels, np.where(labels == 1, 0, np.arange(40)), replicates=200)
    assert lone.index.estimate == 1
    assert np.isnan([lone.index.low, lone.index.high]).all()
    none = call_figures(np.zeros(5), np.ones(5), np.arange(5), replicates=200)
    assert np.isnan(none.sensitivity.estimate)
    assert np.isnan(none.index.estimate)
    assert none.accuracy.estimate == 0
    assert np.isnan(youden_index(np.zeros(5), np.ones(5)))


def test_calls_that_are_no_shares_are_refused():
    with pytest.raises(ValueError, match=r"calls must be \[N\] in \[0, 1\]"):
        call_figures([0, 1], [0, 2], [0, 1])
