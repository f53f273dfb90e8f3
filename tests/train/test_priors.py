"""The weights of classes: no rule does better by what they are said to be best for."""

import itertools

import numpy as np
import pytest

from skinjax.train.priors import log_weights


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_no_rule_has_more_of_accuracy_and_balanced_accuracy(share):
    rng = np.random.default_rng(7)
    for _ in range(20):  # photos of five kinds and three classes: all 243 rules
        labels = rng.permutation([0] * 70 + [1] * 25 + [2] * 5)
        shares = np.bincount(labels) / 100
        joint = rng.dirichlet(np.full(5, 0.7), 3) * shares[:, None]  # [classes, kinds]

        def value(rule, joint=joint, shares=shares):
            correct = np.array([joint[k, np.asarray(rule) == k].sum() for k in range(3)])
            return (1 - share) * correct.sum() + share * (correct / shares).mean()

        weighted = np.exp(log_weights(labels, 3, share))[:, None] * joint
        best = max(map(value, itertools.product(range(3), repeat=5)))
        assert value(tuple(weighted.argmax(axis=0))) == pytest.approx(best, rel=1e-6)


def test_weights_reach_from_none_to_equally_common_classes():
    labels = np.array([0] * 6 + [2] * 2)
    np.testing.assert_array_equal(log_weights(labels, 3, 0.0), np.zeros(3))
    # Of class 1 there is no photo, so that its weight is 1.
    np.testing.assert_allclose(log_weights(labels, 3, 1.0), np.log([2 / 3, 1, 2]), rtol=1e-6)
    np.testing.assert_allclose(log_weights(labels, 3, 0.5), np.log([5 / 6, 1, 3 / 2]), rtol=1e-6)
    np.testing.assert_array_equal(log_weights(np.array([1, 1]), 3, 1.0), np.zeros(3))
