"""Plans of reader studies against simulated ones, scipy's noncentral t and their own limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nct, norm, t

from skinjax.evaluate.mrmc import mean_over_readers
from skinjax.evaluate.planning import (
    ReaderVariation,
    estimate_variation,
    photos_needed,
    plan_readers,
)


def simulate(difference, readers, photos, assumed, rng):
    """Whether the model (first) and the readers are right about each photo: some look at it alike, others alone."""
    shares = rng.normal(assumed.share, assumed.reader_sd, readers)
    alike = rng.random((readers + 1, photos)) < np.sqrt(assumed.correlation)
    luck = np.where(alike, rng.random(photos), rng.random((readers + 1, photos)))
    return luck < np.r_[assumed.share + difference, shares][:, None]


@pytest.mark.parametrize(
    ("difference", "readers", "photos", "assumed"),
    [
        (0.1, 10, 80, ReaderVariation(0.75, 0.06, 0.3)),
        (0.12, 6, 60, ReaderVariation(0.7, 0.03, 0.2)),
        (0.0, 8, 60, ReaderVariation(0.8, 0.05, 0.3)),
    ],
)
def test_power_and_standard_error_are_those_of_simulated_studies(difference, readers, photos, assumed):
    rng = np.random.default_rng(0)
    rejected, variances = [], []
    for _ in range(1000):
        right = simulate(difference, readers, photos, assumed, rng).astype(float)
        apart = right[0] - right[1:]
        found = mean_over_readers(apart.mean(axis=1), np.cov(apart) / photos)
        rejected.append(found.p_value < 0.05)
        variances.append(found.std_error**2)
    plan = plan_readers(difference, readers, photos, assumed)
    assert np.mean(rejected) == pytest.approx(plan.power, abs=0.06)
    assert np.sqrt(np.mean(variances)) == pytest.approx(plan.std_error, rel=0.06)


def test_by_hand_without_correlation_or_spread():
    # Two readers at 0.5, a model at 0.75, 100 photos: v_m = 0.001875, v_r = 0.0025, spread 0.0025, cov2 = v_m.
    plan = plan_readers(0.25, 2, 100, ReaderVariation(0.5, 0.0, 0.0))
    assert plan.std_error == pytest.approx(np.sqrt(0.0025 / 2 + 0.001875))
    degrees = (1 + 2 * 0.001875 / 0.0025) ** 2
    assert plan.degrees_of_freedom == pytest.approx(degrees)
    limit, shift = t.ppf(0.975, degrees), 0.25 / plan.std_error
    assert plan.half_width == pytest.approx(limit * plan.std_error)
    assert plan.power == pytest.approx(
        nct.sf(limit, degrees, shift) + nct.cdf(-limit, degrees, shift), abs=1e-6
    )


def test_with_many_readers_only_photos_count():
    plan = plan_readers(0.1, 100_000, 200, ReaderVariation(0.8, 0.1, 0.0))
    error = np.sqrt(0.9 * 0.1 / 200)  # the model's own, as one of a proportion
    assert plan.std_error == pytest.approx(error, rel=1e-3)
    assert plan.power == pytest.approx(norm.sf(1.96 - 0.1 / error), abs=1e-3)


def test_the_smallest_study_that_suffices():
    plan = photos_needed(0.1, 25, 0.8)
    assert plan.power >= 0.8 > plan_readers(0.1, 25, plan.photos - 1).power
    assert photos_needed(-0.1, 25, 0.8).photos > plan.photos  # a share nearer to one half varies more
    assert photos_needed(0.1, 50, 0.8).photos < plan.photos < photos_needed(0.1, 25, 0.9).photos


def test_readers_who_differ_too_much_are_told_how_many_it_takes():
    with pytest.raises(
        ValueError, match=r"readers=4 cannot find a difference of 0.1 .* \(at most 0.\d\d\); 10 readers"
    ):
        photos_needed(0.1, 4)
    assert photos_needed(0.1, 10).power >= 0.8


def test_a_pilot_gives_back_what_it_was_made_with():
    assumed = ReaderVariation(0.7, 0.1, 0.4)
    rng = np.random.default_rng(1)
    found = [estimate_variation(simulate(0.1, 30, 200, assumed, rng)[1:]) for _ in range(40)]
    assert np.mean([one.share for one in found]) == pytest.approx(0.7, abs=0.02)
    assert np.mean([one.reader_sd for one in found]) == pytest.approx(0.1, abs=0.015)
    # Readers of other sensitivities agree a little less than those of one.
    assert 0.3 < np.mean([one.correlation for one in found]) < 0.42


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReaderVariation(1.0), "share must lie between 0 and 1, got 1"),
        (lambda: ReaderVariation(reader_sd=0.6), "reader_sd must lie in"),
        (lambda: ReaderVariation(correlation=1.0), "correlation must lie in"),
        (lambda: plan_readers(0.1, 1, 50), "readers and photos must be at least 2, got 1 and 50"),
        (
            lambda: plan_readers(0.3, 5, 50),
            "difference must leave the model's share between 0 and 1, got 0.3",
        ),
        (lambda: photos_needed(0.0, 5), "difference must not be 0"),
        (lambda: photos_needed(0.1, 5, 1.0), "power must lie between 0 and 1, got 1"),
        (lambda: estimate_variation([[1, 0, 1]]), "at least 2 readers and 2 photos"),
        (lambda: estimate_variation(np.ones((3, 9))), "got one kind only"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
