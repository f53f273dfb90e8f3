"""The bootstrap by case: against brute force, scikit-learn's metrics, and the coverage it promises."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from skinjax.evaluate import resampling, samples
from skinjax.evaluate.bootstrap import (
    WeightedMetric,
    accuracy,
    balanced_accuracy,
    by_case,
    curve_by_case,
    macro_f1,
    mean,
    paired_by_case,
)
from skinjax.evaluate.percentiles import Spread, two_sided
from skinjax.evaluate.proportions import proportion_by_case


def draw_photos(rng, cases, photos_a_case=5, classes=4, right=0.6):
    """Photos whose answers depend on the case: most of a case is right, or wrong, together."""
    case = np.repeat(np.arange(cases), photos_a_case)
    labels = rng.integers(classes, size=cases)[case]
    shared = rng.random(len(case)) < 0.8
    luck = np.where(shared, rng.random(cases)[case], rng.random(len(case)))
    return labels, np.where(luck < right, labels, (labels + 1) % classes), case


def sklearn_macro_f1(labels, predicted):
    # Of the classes that a replicate has photos of: it says nothing of others, even if they are called.
    return metrics.f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)


def test_a_class_that_is_only_called_counts_in_every_replicate():
    # One photo of twenty is called 2, which none is: its F1 of 0 is in the mean whether the replicate holds it or not.
    labels, predicted = np.arange(20) % 2, np.r_[2, np.arange(1, 20) % 2]
    found = by_case(macro_f1, (labels, predicted), np.arange(20), replicates=99)
    assert found.estimate == pytest.approx(sklearn_macro_f1(labels, predicted) * 2 / 3)
    assert found.high <= 2 / 3


def sklearn_balanced(labels, predicted):
    return np.mean([np.mean(predicted[labels == k] == k) for k in np.unique(labels)])


@pytest.mark.parametrize(
    ("fast", "plain"),
    [(accuracy, metrics.accuracy_score), (macro_f1, sklearn_macro_f1), (balanced_accuracy, sklearn_balanced)],
)
def test_the_fast_way_equals_calling_the_metric_on_repeated_photos(fast, plain):
    labels, predicted, cases = draw_photos(np.random.default_rng(0), cases=12, classes=4)
    predicted = np.where(np.isin(predicted, labels), predicted, labels[0])
    quick = by_case(fast, (labels, predicted), cases, replicates=60, confidence=0.9)
    slow = by_case(plain, (labels, predicted), cases, replicates=60, confidence=0.9)
    for field in ("estimate", "low", "high", "std_error"):
        assert getattr(quick, field) == pytest.approx(getattr(slow, field)), field
    assert 0 < quick.missing_class == slow.missing_class < 60  # 6 classes in 12 cases: some draw lacks one


def test_names_of_classes_and_cases_serve_as_well_as_numbers():
    labels, predicted, cases = draw_photos(np.random.default_rng(0), cases=30)
    names = np.array(["a", "b", "c", "d"], dtype=object)
    expected = by_case(macro_f1, (labels, predicted), cases, replicates=99)
    texts = np.array([f"case {case:03}" for case in cases], dtype=object)
    assert by_case(macro_f1, (names[labels], names[predicted]), texts, replicates=99) == expected


def test_replicates_are_whole_cases_and_do_not_depend_on_the_chunks(monkeypatch):
    cases = np.array([0, 0, 0, 1, 1, 2])
    seen = []

    @WeightedMetric
    def spy(values, weights):
        seen.append(weights)
        return weights @ values

    whole = by_case(spy, (np.arange(6.0),), cases, replicates=99)
    weights = np.concatenate(seen[1:])[:99]  # after the sample itself, before the three that leave a case out
    np.testing.assert_array_equal(weights[:, cases == 0], weights[:, :1].repeat(3, axis=1))
    np.testing.assert_array_equal(weights[:, [0, 3, 5]].sum(axis=1), 3)
    monkeypatch.setattr(samples, "_BLOCK_VALUES", 60)
    assert by_case(spy, (np.arange(6.0),), cases, replicates=99) == whole


def test_interval_is_the_bias_corrected_percentile_one():
    rng = np.random.default_rng(4)
    values, cases = rng.exponential(size=90), np.repeat(np.arange(30), 3)
    found = by_case(mean, (values,), cases, replicates=999, seed=7)
    draws = np.random.default_rng(7).integers(30, size=(999, 30))
    replicates = values.reshape(30, 3).mean(axis=1)[draws].mean(axis=1)
    bias = stats.norm.ppf(np.mean(replicates < found.estimate))
    reach = stats.t.ppf(0.975, 29) * np.sqrt(30 / 29)  # Hesterberg's expansion
    levels = stats.norm.cdf(2 * bias + np.array([-1, 1]) * reach)
    # Linear interpolation stands between the order statistics next to the level.
    spacing = np.diff(np.sort(replicates)).max()
    np.testing.assert_allclose([found.low, found.high], np.quantile(replicates, levels), atol=2 * spacing)
    assert found.std_error == pytest.approx(replicates.std(ddof=1))


def test_bca_equals_scipy():
    rng = np.random.default_rng(3)
    values = rng.exponential(size=40)
    found = by_case(mean, (values,), np.arange(40), replicates=9999, interval="bca")
    squares = (values - values.mean()) ** 2  # of what leaving out a case changes, but for a factor
    degrees = 2 * squares.sum() ** 2 / (len(squares) * squares.var())  # Pan and Wall's
    assert 5 < degrees < 39
    level = 1 - 2 * stats.norm.cdf(stats.t.ppf(0.025, degrees) * np.sqrt(40 / 39))  # Hesterberg's expansion
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, confidence_level=level, method="BCa", rng=rng
    )
    spread = expected.standard_error * 0.05  # Monte Carlo error of a limit at 9,999 replicates
    limits = expected.confidence_interval
    np.testing.assert_allclose([found.low, found.high], [limits.low, limits.high], atol=spread)
    plain = by_case(mean, (values,), np.arange(40), replicates=9999, interval="percentile")
    assert found.high - plain.high > spread  # skewed to the right, so that both limits move up
    assert found.low - plain.low > spread


def test_acceleration_is_the_jackknife_by_case(monkeypatch):
    labels, predicted, cases = draw_photos(np.random.default_rng(8), cases=25, classes=3)
    left = [macro_f1(labels[cases != case], predicted[cases != case]) for case in range(25)]
    call = (macro_f1, [labels, predicted], None)
    found = resampling.leaving_out(call, cases, seed=0)
    np.testing.assert_allclose(np.sort(found), np.sort(left))
    monkeypatch.setattr(resampling, "_BLOCKS", 5)
    assert len(resampling.leaving_out(call, cases, seed=0)) == 5


def test_a_curve_has_the_interval_of_each_of_its_points():
    rng = np.random.default_rng(9)
    values, cases = rng.exponential(size=(60, 3)), np.arange(60) // 2
    curve = WeightedMetric(lambda x, weights: weights @ x / weights.sum(axis=1, keepdims=True))
    for interval in ("bias_corrected", "percentile", "bca"):
        band = curve_by_case(curve, (values,), cases, replicates=199, interval=interval)
        for point in range(3):
            one = by_case(mean, (values[:, point],), cases, replicates=199, interval=interval)
            found = band.estimate[point], band.low[point], band.high[point]
            assert found == pytest.approx((one.estimate, one.low, one.high))
    alone = curve_by_case(curve, (values,), np.zeros(60, int))
    assert np.isnan([alone.low, alone.high]).all()
    np.testing.assert_allclose(alone.estimate, values.mean(axis=0))


def test_calls_on_some_photos_share_the_draws_of_cases():
    labels, predicted, cases = draw_photos(np.random.default_rng(10), cases=20)
    some = np.flatnonzero(np.arange(len(cases)) % 5 < 2)
    few = np.array([0, 1])

    def plain(truth, called):
        return np.mean(truth == called)

    calls = [(accuracy, [labels, predicted], None), (accuracy, [labels, predicted], some)]
    calls += [(plain, [labels, predicted], some), (plain, [labels, predicted], few)]
    (whole, fast, slow, rare), _ = resampling.over_draws(calls, cases, 50, seed=1)
    np.testing.assert_allclose(fast, slow)
    np.testing.assert_array_equal(whole, resampling.over_draws(calls[:1], cases, 50, seed=1)[0][0])
    draws = np.random.default_rng(1).integers(20, size=(50, 20))
    np.testing.assert_array_equal(np.isnan(rare), (draws != 0).all(axis=1))


def test_p_value_agrees_with_the_interval_at_every_level():
    labels, first, cases = draw_photos(np.random.default_rng(5), cases=40)
    second = np.where(np.random.default_rng(6).random(len(labels)) < 0.02, (labels + 1) % 4, first)
    p_value = paired_by_case(accuracy, labels, first, second, cases, replicates=499).p_value
    assert 0.004 < p_value < 0.9
    for level in (p_value * 0.9, p_value * 1.1, 0.02, 0.3):
        found = paired_by_case(accuracy, labels, first, second, cases, 499, confidence=1 - level)
        assert (found.low > 0 or found.high < 0) == (p_value <= level), level


def test_equal_answers_differ_by_nothing_and_swapping_turns_the_sign():
    labels, first, cases = draw_photos(np.random.default_rng(5), cases=40)
    same = paired_by_case(macro_f1, labels, first, first, cases, replicates=99)
    assert (same.difference, same.p_value, same.reason) == (0, 1, "all replicates are alike")
    assert np.isnan([same.low, same.high]).all()
    second = np.roll(first, 3)
    there = paired_by_case(macro_f1, labels, first, second, cases, replicates=99)
    back = paired_by_case(macro_f1, labels, second, first, cases, replicates=99)
    assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
    assert back.p_value == there.p_value


def test_intervals_by_case_cover_and_intervals_by_photo_do_not():
    truth, samples, held = 0.6, 200, {"case": 0, "photo": 0}
    for sample in range(samples):
        labels, predicted, cases = draw_photos(np.random.default_rng(sample), cases=60, right=truth)
        for unit, groups in (("case", cases), ("photo", np.arange(len(cases)))):
            found = by_case(accuracy, (labels, predicted), groups, replicates=199, seed=sample)
            held[unit] += found.low <= truth <= found.high
    assert 0.91 <= held["case"] / samples <= 0.99
    assert held["photo"] / samples < 0.80


def test_p_values_are_near_uniform_when_there_is_no_difference():
    p_values = []
    for sample in range(250):
        rng = np.random.default_rng(sample)
        labels, first, cases = draw_photos(rng, cases=80)
        luck = rng.random(80)[cases]  # an equally good model that is right on other cases
        second = np.where(luck < 0.6, labels, (labels + 1) % 4)
        found = paired_by_case(accuracy, labels, first, second, cases, replicates=199, seed=sample)
        p_values.append(found.p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.10


def test_undefined_replicates_are_left_out_and_counted():
    labels, cases = np.array([1, 0, 0, 0]), np.arange(4)

    def share_of_first(labels, predicted):
        return np.nan if not labels.any() else predicted[labels == 1].mean()

    found = by_case(share_of_first, (labels, np.array([1.0, 0, 0, 0])), cases, replicates=400)
    assert found.undefined + found.replicates == 400
    assert found.undefined == found.missing_class - _draws_of_the_first_case_alone(400)
    assert found.undefined / 400 == pytest.approx(0.75**4, abs=0.08)


def _draws_of_the_first_case_alone(replicates):
    draws = np.random.default_rng(0).integers(4, size=(replicates, 4))
    return np.sum((draws == 0).all(axis=1))


def test_few_cases_are_not_resampled():
    rng = np.random.default_rng(3)
    labels, cases = np.tile([0, 1], 10), np.repeat(np.arange(5), 4)
    predicted = np.where(rng.random(20) < 0.7, labels, 1 - labels)
    found, share = (
        by_case(accuracy, (labels, predicted), cases),
        proportion_by_case(labels == predicted, cases),
    )
    assert (found.low, found.high) == (share.low, share.high)
    other = by_case(macro_f1, (labels, predicted), cases)
    assert np.isnan([other.low, other.high]).all()
    assert other.reason == "there are 5 cases, and an interval is given from 6 on"
    shares = WeightedMetric(lambda hits, weights: weights @ hits / weights.sum(axis=1, keepdims=True))
    curve = curve_by_case(shares, (rng.random((20, 2)),), cases)
    assert np.isnan(curve.low).all()
    alike = by_case(
        balanced_accuracy, ([0, 0, 1, 1], [0, 1, 1, 0]), [1, 1, 2, 2]
    )  # a half in every replicate
    assert (np.isnan(alike.low), alike.reason) == (
        True,
        "there are 2 cases, and an interval is given from 6 on",
    )
    labels, predicted, cases = (np.concatenate([one, one[:4]]) for one in (labels, predicted, cases))
    cases[20:] = 5
    assert by_case(macro_f1, (labels, predicted), cases).reason == ""


@pytest.mark.parametrize(("num_cases", "p_value"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_no_difference_is_surer_than_a_sign_test_or_greater_than_it_can_be(num_cases, p_value):
    # All right against all but one photo wrong: no replicate comes near 0.
    labels, cases = np.zeros(4 * num_cases, int), np.repeat(np.arange(num_cases), 4)
    wrong = np.ones(4 * num_cases, int)
    wrong[0] = 0
    found = paired_by_case(accuracy, labels, labels, wrong, cases)
    assert found.p_value == p_value
    if num_cases < 6:
        assert np.isnan([found.low, found.high]).all()
        assert found.reason == f"there are {num_cases} cases, and an interval is given from 6 on"
    else:
        assert 0 < found.low < found.difference < found.high <= 1


@pytest.mark.parametrize(("confidence", "fewest"), [(0.8, 6), (0.9, 6), (0.95, 6), (0.99, 8)])
def test_a_difference_has_an_interval_from_six_cases_on_and_where_a_sign_test_could_show_it(
    confidence, fewest
):
    rng = np.random.default_rng(5)
    for num_cases in (5, 6, 7, 8):
        cases = np.repeat(np.arange(num_cases), 4)
        labels, a, b = (rng.integers(2, size=len(cases)) for _ in range(3))
        found = paired_by_case(accuracy, labels, a, b, cases, confidence=confidence)
        assert np.isnan(found.low) == (num_cases < fewest)


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_missing_cases_beside_text_are_refused(missing):
    with pytest.raises(ValueError, match="2 missing, at photo 2, 3"):
        by_case(accuracy, ([0, 1, 0, 1], [0, 1, 1, 1]), ["a", "b", missing, missing])


def test_one_case_has_an_estimate_and_no_interval():
    found = by_case(accuracy, ([0, 1, 1], [0, 1, 0]), ["a", "a", "a"])
    assert found.estimate == pytest.approx(2 / 3)
    assert np.isnan([found.low, found.high, found.std_error]).all()
    assert (found.num_cases, found.replicates) == (1, 0)
    paired = paired_by_case(accuracy, [0, 1], [0, 1], [0, 0], ["a", "a"])
    assert paired.difference == 0.5
    assert np.isnan([paired.low, paired.high, paired.p_value]).all()


@pytest.mark.parametrize("right", [True, False])
def test_accuracy_of_all_or_nothing_has_the_width_of_a_share(right):
    labels, cases = np.repeat([0, 1, 2], 8), np.repeat(np.arange(12), 2)
    found = by_case(accuracy, (labels, labels if right else labels + 1), cases, replicates=99)
    share = proportion_by_case(np.full(24, right), cases)
    assert (found.low, found.high) == (share.low, share.high)
    assert found.high - found.low > 0.15
    alone = by_case(accuracy, (labels, labels), np.zeros(24, int))
    assert np.isnan([alone.low, alone.high]).all()


def test_ten_thousand_photos_take_about_a_second_and_little_memory():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(114, size=(2, 10_000))
    cases = rng.integers(4_000, size=10_000)
    start = time.perf_counter()
    by_case(macro_f1, (labels, predicted), cases)
    assert time.perf_counter() - start < 10  # about 0.8 s on one idle core
    tracemalloc.start()
    by_case(macro_f1, (labels, predicted), cases, replicates=800)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: by_case(accuracy, ([0, 1], [0]), [1, 2]), r"arrays\[1\] must have one row per photo, 2, got"),
        (lambda: by_case(accuracy, ([], []), []), "at least one photo"),
        (lambda: by_case(accuracy, (), [1, 2]), "arrays must hold the metric's arguments"),
        (lambda: by_case(accuracy, ([0, 1], [0, 1]), ["a", None]), "got 1 missing, at photo 1"),
        (lambda: by_case(accuracy, ([0, 1], [0, 1]), [1.0, np.nan]), "got 1 missing, at photo 1"),
        (lambda: by_case(accuracy, ([0, 1], [0, 1]), np.array(["a", 1], object)), "got a mixture"),
        (lambda: by_case(accuracy, ([0, 1], [0, 1]), [1, 2], replicates=20), "at least 39 .* got 20"),
        (lambda: by_case(accuracy, ([0, 1], [0, 1]), [1, 2], confidence=95), "between 0 and 1, got 95"),
        (lambda: by_case(accuracy, ([0], [0]), [1], interval="bc"), "interval must be .*, got 'bc'"),
        (lambda: paired_by_case(accuracy, [0, 1], [0, 1], [0], [1, 2]), "b must have one row per photo"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_half_of_the_replicates_may_be_the_nearest_to_0():
    """Warnings are errors here; the p-value is then the least that so many replicates can show."""
    spread = Spread(cases=20.0, degrees=19.0)
    assert two_sided(np.r_[np.full(60, 0.5), np.full(39, 0.6)], spread) == 2 / 100
    assert two_sided(-np.r_[np.full(39, 0.6), np.full(60, 0.5)], spread) == 2 / 100
