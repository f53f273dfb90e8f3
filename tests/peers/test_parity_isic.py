"""The ISIC challenges' scores against the challenges' own package, on scores with ties."""

import importlib.util

import numpy as np
import pytest

from skinjax.evaluate import isic_scores as isic

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the package's own
    pytest.mark.skipif(
        importlib.util.find_spec("isic_challenge_scoring") is None,
        reason='isic-challenge-scoring is not installed: pip install -e ".[peers]"',
    ),
]


def drawn(seed, num_photos, num_classes, decimals):
    """Labels that hold every class, and probabilities of few digits, so that scores and answers tie."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(num_classes), rng.integers(0, num_classes, num_photos - num_classes)]
    probs = rng.dirichlet(np.ones(num_classes), num_photos) + 0.5 * np.eye(num_classes)[labels]
    return labels, (probs / probs.sum(axis=1, keepdims=True)).round(decimals)


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize(("num_photos", "num_classes"), [(12, 2), (40, 3), (500, 7)])
@pytest.mark.parametrize("seed", range(4))
def test_every_score_of_every_class_is_the_packages(seed, num_photos, num_classes, decimals):
    import pandas as pd
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    labels, probs = drawn(seed, num_photos, num_classes, decimals)
    names = [f"class{k}" for k in range(num_classes)]
    weights = pd.DataFrame({"score_weight": np.ones(num_photos), "validation_weight": np.ones(num_photos)})
    theirs = ClassificationScore(
        pd.DataFrame(np.eye(num_classes)[labels], columns=names),
        pd.DataFrame(probs, columns=names),
        weights,
        ClassificationMetric.BALANCED_ACCURACY,
    )
    for k in range(num_classes):
        ours = isic.isic_scores(labels == k, probs[:, k])
        for name, value in theirs.per_category.iloc[k].items():
            assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name
    assert isic.balanced_multiclass_accuracy(labels, probs) == pytest.approx(theirs.overall, abs=1e-12)
