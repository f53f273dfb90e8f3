"""All pairs of models, corrected together."""

import numpy as np
import pytest

from skinjax.evaluate.bootstrap import paired_by_case
from skinjax.evaluate.metrics import accuracy, macro_f1
from skinjax.evaluate.pairs import all_pairs_by_case


def models(rng, shares, photos=300):
    labels = rng.integers(3, size=photos)
    wrong = (labels + rng.integers(1, 3, photos)) % 3
    return labels, {
        str(k): np.where(rng.random(photos) < share, labels, wrong) for k, share in enumerate(shares)
    }


def test_each_pair_is_the_paired_comparison_and_one_pair_needs_no_correction():
    labels, answers = models(np.random.default_rng(0), (0.6, 0.7, 0.8))
    cases = np.arange(300) // 2
    found = all_pairs_by_case(macro_f1, labels, answers, cases, 199, seed=4)
    assert list(found) == [("0", "1"), ("0", "2"), ("1", "2")]
    for (a, b), (one, corrected) in found.items():
        assert one == paired_by_case(macro_f1, labels, answers[a], answers[b], cases, 199, seed=4)
        assert one.p_value <= corrected <= 1
    two = {name: answers[name] for name in ("0", "1")}
    ((one, corrected),) = all_pairs_by_case(macro_f1, labels, two, cases, 199, seed=4).values()
    assert corrected == one.p_value


def test_of_eleven_models_the_one_that_is_much_better_is_found():
    # 55 pairs times the least p-value of 2,000 replicates is 0.055: Holm's correction finds nothing whatever it is.
    labels, answers = models(np.random.default_rng(1), (*[0.6] * 10, 0.85))
    found = all_pairs_by_case(accuracy, labels, answers, np.arange(300), 399)
    better = [corrected for (a, b), (_, corrected) in found.items() if b == "10"]
    assert len(better) == 10
    assert max(better) < 0.05


def test_equal_models_are_told_apart_in_no_more_studies_than_asked_for():
    rejected = []
    for seed in range(120):
        labels, answers = models(np.random.default_rng(seed), [0.7] * 5, 120)
        found = all_pairs_by_case(accuracy, labels, answers, np.arange(120), 99, seed=seed)
        rejected.append(min(corrected for _, corrected in found.values()) <= 0.05)
    assert np.mean(rejected) <= 0.1  # 5 %, and twice its standard error of 2 points


def test_equal_answers_and_a_single_model():
    labels, answers = models(np.random.default_rng(2), (0.6, 0.7))
    answers["same"] = answers["0"]
    found = all_pairs_by_case(accuracy, labels, answers, np.arange(300), 99)
    assert found["0", "same"][1] == 1
    with pytest.raises(ValueError, match="answers must be of at least two models, got 1"):
        all_pairs_by_case(accuracy, labels, {"a": labels}, np.arange(300))
