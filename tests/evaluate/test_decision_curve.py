"""Net benefit: a published table, the definition, and intervals by case."""

import numpy as np
import pytest

from skinjax.evaluate.decision_curve import decision_curve, interventions_avoided, net_benefit
from skinjax.evaluate.proportions import proportion_by_case


def brute(labels, probs, threshold):
    called = probs >= threshold
    odds = threshold / (1 - threshold)
    return np.mean(called & (labels == 1)) - np.mean(called & (labels == 0)) * odds


def draw(seed, cases=50, photos=4):
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), photos)
    probs = np.clip(rng.random(cases)[case] + rng.normal(scale=0.1, size=len(case)), 0, 1).round(2)
    return (rng.random(len(case)) < probs).astype(int), probs, case


def test_published_net_benefit_of_treating_all():
    # Hepatocellular carcinoma in cirrhosis, prevalence 0.3: table 4 of PMC6993280 prints these for
    # intervention in all patients.
    percent = np.array([3, 5, 8, 10, 20, 30, 40, 50, 60, 70, 80, 90, 96])
    printed = [0.278, 0.263, 0.239, 0.222, 0.125, 0, -0.167, -0.4, -0.75, -1.333, -2.5, -6, -16.5]
    labels = np.repeat([1, 0], [30, 70])
    found = net_benefit(labels, np.ones(100), percent / 100)
    np.testing.assert_allclose(found, printed, atol=5.1e-4)
    curve = decision_curve(labels, np.ones(100), np.arange(100), percent / 100)
    np.testing.assert_allclose(curve.treat_all.estimate, printed, atol=5.1e-4)


@pytest.mark.parametrize(("percent", "model", "avoided"), [(10, 0.241, 17), (40, 0.163, 50), (90, 0.033, 67)])
def test_published_interventions_avoided(percent, model, avoided):
    # The same table. Of 1,000 patients, as many true and false calls as give the printed net benefit.
    threshold = percent / 100
    odds = threshold / (1 - threshold)
    true = {10: 290, 40: 250, 90: 60}[percent]
    false = round((true / 1000 - model) / odds * 1000)
    probs = np.r_[np.ones(true), np.zeros(300 - true), np.ones(false), np.zeros(700 - false)]
    labels = np.repeat([1, 0], [300, 700])
    curve = decision_curve(labels, probs, np.arange(1000), [threshold])
    assert curve.model.estimate[0] == pytest.approx(model, abs=5e-3)
    assert interventions_avoided(curve)[0] == pytest.approx(avoided, abs=1)


def test_equals_the_definition_with_ties_at_the_threshold():
    labels, probs, cases = draw(0)
    thresholds = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.99])
    expected = [brute(labels, probs, threshold) for threshold in thresholds]
    np.testing.assert_allclose(net_benefit(labels, probs, thresholds), expected, atol=1e-12)
    curve = decision_curve(labels, probs, cases, thresholds)
    np.testing.assert_allclose(curve.model.estimate, expected, atol=1e-12)
    everyone = [brute(labels, np.ones(200), threshold) for threshold in thresholds]
    np.testing.assert_allclose(curve.treat_all.estimate, everyone, atol=1e-12)
    np.testing.assert_allclose(
        curve.gain.estimate, np.subtract(expected, np.maximum(everyone, 0)), atol=1e-12
    )


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_limits_are_made_of_those_of_two_shares(prevalence):
    labels, probs, cases = draw(1)
    positive = labels == 1
    curve = decision_curve(labels, probs, cases, [0.2, 0.6], prevalence)
    for place, threshold in enumerate((0.2, 0.6)):
        odds, called = threshold / (1 - threshold), probs >= threshold

        def share(hits, side):
            among = np.ones(len(labels), bool) if prevalence is None else positive == side
            factor = 1 if prevalence is None else prevalence if side else 1 - prevalence
            found = proportion_by_case(hits[among], cases[among])
            scale = factor * (1 if side else odds)  # noqa: B023
            return np.array([found.estimate, found.low, found.high]) * scale

        def related(first, second, side):
            sums = []
            for hits, of in ((first, positive == side), (second, positive != side)):
                among = np.ones(len(labels), bool) if prevalence is None else of
                left = np.where(among, hits - hits[among].mean(), 0)
                sums.append([left[cases == case].sum() for case in range(50)])
            return np.corrcoef(sums)[0, 1]  # each sums to 0 over the cases

        def length(a, b, correlation):
            return np.sqrt(a**2 + b**2 - 2 * correlation * a * b)

        def less(first, second, side):
            a, b = share(first, side), share(second, not side)
            correlation = related(first, second, side)
            low = a[0] - b[0] - length(a[0] - a[1], b[2] - b[0], correlation)
            return np.array([a[0] - b[0], low, a[0] - b[0] + length(a[2] - a[0], b[0] - b[1], correlation)])

        model = less(called & positive, called & ~positive, True)
        over_all = less(~called & ~positive, ~called & positive, False)
        for band, expected in ((curve.model, model), (curve.gain, np.minimum(model, over_all))):
            found = [band.estimate[place], band.low[place], band.high[place]]
            assert found == pytest.approx(expected, abs=1e-12)


def test_a_model_that_treats_all_has_the_limits_of_treating_all():
    curve = decision_curve(np.repeat([1, 0], [40, 60]), np.full(100, 0.9), np.arange(100), [0.1, 0.3, 0.5])
    for name in ("estimate", "low", "high"):
        np.testing.assert_allclose(getattr(curve.model, name), getattr(curve.treat_all, name), atol=1e-12)


@pytest.mark.parametrize(
    ("prevalence", "sensitivity", "specificity", "threshold"), [(0.4, 0.8, 0.6, 0.5), (0.5, 0.9, 0.3, 0.5)]
)
def test_limits_hold_net_benefit_as_often_as_they_say(prevalence, sensitivity, specificity, threshold):
    # As if the two shares were independent, 0.90 and 0.88 of the model's held it.
    rng, held, odds = np.random.default_rng(9), [], threshold / (1 - threshold)
    truth = prevalence * sensitivity - (1 - prevalence) * (1 - specificity) * odds
    for _ in range(600):
        labels = rng.random(200) < prevalence
        treated = rng.random(200) < np.where(labels, sensitivity, 1 - specificity)
        curve = decision_curve(labels.astype(int), np.where(treated, 0.9, 0.01), np.arange(200), [threshold])
        held.append(curve.model.low[0] <= truth <= curve.model.high[0])
    assert 0.93 <= np.mean(held) <= 0.975


def test_the_limits_know_of_cancers_that_the_sample_has_none_of():
    # At a threshold of 0.01 every cancer of the sample is treated, of all photos two in a hundred are cancers
    # that are not.
    rng, held = np.random.default_rng(8), []
    threshold, missed = 0.01, 0.004
    odds = threshold / (1 - threshold)
    for _ in range(300):
        labels = rng.random(400) < 0.48
        treated = np.where(labels, rng.random(400) >= missed / 0.48, rng.random(400) < 0.9)
        curve = decision_curve(labels.astype(int), np.where(treated, 0.9, 0.001), np.arange(400), [threshold])
        truth = 0.52 * 0.1 * odds - missed
        held.append(curve.gain.low[0] <= truth <= curve.gain.high[0])
    assert 0.92 <= np.mean(held) <= 0.995


def test_a_given_prevalence_weighs_the_classes():
    labels, probs, _ = draw(2)
    thresholds = [0.3, 0.7]
    ours = net_benefit(labels, probs, thresholds, prevalence=0.05)
    for value, threshold in zip(ours, thresholds, strict=True):
        sensitivity, false = (np.mean(probs[labels == k] >= threshold) for k in (1, 0))
        odds = threshold / (1 - threshold)
        assert value == pytest.approx(0.05 * sensitivity - 0.95 * false * odds)
    np.testing.assert_allclose(
        net_benefit(labels, probs, thresholds, prevalence=labels.mean()),
        net_benefit(labels, probs, thresholds),
    )
    assert np.isnan(net_benefit([1, 1], [0.2, 0.6], [0.5], prevalence=0.1)).all()


def test_default_thresholds():
    labels, probs, cases = draw(3)
    curve = decision_curve(labels, probs, cases)
    np.testing.assert_allclose(curve.thresholds, np.arange(0.01, 0.995, 0.01))
    assert curve.prevalence == pytest.approx(labels.mean())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: net_benefit([0, 1], [0.1, 0.2], [0.5, 0.4]), "thresholds must rise"),
        (lambda: net_benefit([0, 1], [0.1, 0.2], [0.0, 0.4]), r"rise within \(0, 1\)"),
        (lambda: net_benefit([0, 3], [0.1, 0.2], [0.4]), "labels must be 0 or 1"),
        (lambda: net_benefit([0, 1], [0.1, np.nan], [0.4]), r"probs must lie in \[0, 1\]"),
        (lambda: net_benefit([0, 1], [0.1], [0.4]), "got shapes"),
        (lambda: net_benefit([0, 1], [0.1, 0.2], [0.4], prevalence=1), "prevalence must lie between 0 and 1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
