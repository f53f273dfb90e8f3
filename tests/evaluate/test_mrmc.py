"""Obuchowski and Rockette's analysis: against printed analyses and the tests it turns into."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from skinjax.evaluate.mrmc import mean_over_readers, obuchowski_rockette

# Van Dyke's study (spin-echo and cine MRI for aortic dissection, 5 readers, 114 patients) as printed by OR-DBM
# MRMC 2.51 (University of Iowa), trapezoidal areas and jackknife covariances, kept in RJafroc's
# inst/IowaResults/VanDyke.txt.
AREAS = np.array(
    [
        [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
        [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
    ]
)
ERROR, COV2, COV1, COV3 = (0.00101410, 0.00059047), (0.00048396, 0.00020419), 0.00034661, 0.00023903


def van_dyke_covariance():
    table = np.full((2, 5, 2, 5), COV3)
    for j in range(5):
        table[0, j, 1, j] = table[1, j, 0, j] = COV1
    for i in range(2):
        table[i, :, i] = COV2[i] + (ERROR[i] - COV2[i]) * np.eye(5)
    return table


def values(contrast):
    return [contrast.estimate, contrast.std_error, contrast.low, contrast.high]


def test_random_readers_and_cases_as_iowas_program_prints_them():
    found = obuchowski_rockette(AREAS, van_dyke_covariance())
    assert found.statistic == pytest.approx(4.46, abs=5e-3)
    assert found.denominator_df == pytest.approx(15.26, abs=5e-3)
    assert found.p_value == pytest.approx(0.0517, abs=5e-5)
    difference = found.differences[0, 1]
    assert values(difference) == pytest.approx([-0.04380, 0.02075, -0.08796, 0.00036], abs=6e-6)
    assert (difference.statistic, difference.p_value) == pytest.approx((-2.11, 0.0517), abs=5e-3)
    assert difference.p_value == pytest.approx(found.p_value)
    means = [
        [0.89703704, 0.03317360, 0.82522360, 0.96885048],
        [0.94083736, 0.02156637, 0.89413783, 0.98753689],
    ]
    for mean, expected, degrees in zip(found.means, means, (12.74, 12.71), strict=True):
        assert values(mean) == pytest.approx(expected, abs=1e-6)
        assert mean.degrees_of_freedom == pytest.approx(degrees, abs=5e-3)
    components = [found.error_variance, found.cov2, found.reader_variance, found.interaction_variance]
    assert components == pytest.approx([0.00080229, 0.00034407, 0.00153500, 0.00020040], abs=1.1e-8)


def test_fixed_readers_as_iowas_program_prints_them():
    found = obuchowski_rockette(AREAS, van_dyke_covariance().reshape(10, 10), random_readers=False)
    assert found.statistic == pytest.approx(5.47595, abs=3e-4)
    assert found.p_value == pytest.approx(0.0193, abs=5e-5)
    assert values(found.differences[0, 1]) == pytest.approx([-0.04380, 0.01872, -0.08049, -0.00711], abs=6e-6)
    assert values(found.means[0])[1:] == pytest.approx([0.02428971, 0.84943008, 0.94464399], abs=1e-6)


def test_fixed_cases_leave_the_paired_t_test():
    found = obuchowski_rockette(AREAS, np.zeros((10, 10)))
    expected = ttest_rel(*AREAS)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.statistic == pytest.approx(expected.statistic**2)
    assert found.p_value == pytest.approx(0.0420, abs=5e-5)  # printed as analysis 3


def test_a_model_against_readers_as_rjafroc_prints_it():
    # Hupse et al. 2013 (doi:10.1007/s00330-012-2562-7), mass detection by software and nine radiologists, as
    # analysed in Chakraborty's RJafroc book, chapter "Standalone CAD", example 3.
    readers = [
        0.69453125, 0.65000000, 0.80625000, 0.72500000, 0.65982143, 0.76845238, 0.73750000, 0.67500000, 0.67500000
    ]  # fmt: skip
    covariance = 0.0030657054 + (0.0053445377 - 0.0030657054) * np.eye(9)
    found = mean_over_readers(np.array(readers) - 0.59166667, covariance)
    assert found.estimate == pytest.approx(0.11850612, abs=1e-8)
    assert (found.low, found.high) == pytest.approx((0.004448434, 0.232563801), abs=1e-8)
    assert found.statistic == pytest.approx(2.0390389, abs=1e-6)
    assert found.degrees_of_freedom == pytest.approx(937.24371, abs=1e-3)
    assert found.p_value == pytest.approx(0.041726262, abs=1e-8)


def test_fixed_cases_leave_the_one_sample_t_test():
    differences = [0.02, 0.05, 0.11, -0.01]
    found = mean_over_readers(differences, np.zeros((4, 4)), null=0.03)
    expected = ttest_1samp(differences, 0.03)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.degrees_of_freedom == 3


def test_readers_who_agree_leave_only_the_cases():
    found = mean_over_readers([0.1, 0.1, 0.1], 0.0004 * np.ones((3, 3)))
    assert np.isinf(found.degrees_of_freedom)
    assert found.std_error == pytest.approx(0.02)
    nothing = mean_over_readers([0.0, 0.0], np.zeros((2, 2)))
    assert (nothing.statistic, nothing.p_value) == (0, 1)
    assert np.isnan([nothing.low, nothing.high]).all()


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_test_holds_its_level_for_random_readers_and_cases(modalities):
    readers, rejected, naive, studies = 5, 0, 0, 400
    rng = np.random.default_rng(modalities)
    size = modalities * readers
    same_reader = np.kron(np.ones((modalities, modalities)), np.eye(readers))
    same_modality = np.kron(np.eye(modalities), np.ones((readers, readers)))
    covariance = 4e-4 * (0.3 + 0.1 * same_reader + 0.25 * same_modality + 0.35 * np.eye(size))
    for _ in range(studies):
        errors = rng.multivariate_normal(np.zeros(size), covariance).reshape(modalities, readers)
        table = 0.8 + rng.normal(0, 0.03, readers) + rng.normal(0, 0.01, (modalities, readers)) + errors
        rejected += obuchowski_rockette(table, covariance).p_value <= 0.05
        naive += obuchowski_rockette(table, np.zeros_like(covariance)).p_value <= 0.05
    assert 0.015 <= rejected / studies <= 0.075
    assert naive / studies > 0.12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: obuchowski_rockette([[0.8, 0.9]], np.eye(2)), "at least 2 modalities and 2 readers"),
        (lambda: obuchowski_rockette(AREAS, np.eye(9)), r"covariance must have shape \(2, 5, 2, 5\)"),
        (lambda: obuchowski_rockette(AREAS, np.triu(np.ones((10, 10)))), "covariance must be symmetric"),
        (lambda: obuchowski_rockette(AREAS, np.full((10, 10), np.nan)), "must hold numbers, got NaN"),
        (lambda: mean_over_readers([0.1], [[1.0]]), "at least 2 random readers"),
        (lambda: mean_over_readers([0.1, 0.2], np.eye(2), confidence=2), "confidence must lie between"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
