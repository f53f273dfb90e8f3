"""What metadata adds: figures by scikit-learn, and words that go with the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from skinjax.report.sections.metadata import metadata_section, metadata_table


def answers(rng, labels, share):
    """Probabilities of three classes whose highest is right for a share of the photos."""
    probs = rng.dirichlet(np.ones(3), len(labels))
    top = np.where(rng.random(len(labels)) < share, labels, rng.integers(0, 3, len(labels)))
    probs[np.arange(len(labels)), top] += 1
    return probs / probs.sum(axis=1, keepdims=True)


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, 150), 2)
    return labels, np.repeat(np.arange(150), 2), *(answers(rng, labels, share) for share in (0.9, 0.3, 0.9))


def test_figures_are_scikit_learns(made):
    labels, cases, good, poor, _ = made
    table = metadata_table(labels, cases, good, poor, replicates=199).set_index("metric")
    for name, probs in (("fused", good), ("alone", poor)):
        accuracy = balanced_accuracy_score(labels, probs.argmax(axis=1))
        assert table.loc["balanced_accuracy", name] == pytest.approx(accuracy)
        assert table.loc["macro_auc", name] == pytest.approx(roc_auc_score(labels, probs, multi_class="ovr"))
    assert (table["difference"] - (table["fused"] - table["alone"])).abs().max() < 1e-12
    assert (table["low"] <= table["difference"]).all()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((2, 3), "it helps by balanced accuracy and macro AUC"),
        ((3, 2), "it harms by balanced accuracy and macro AUC"),
        ((2, 4), "these cases cannot tell whether it helps"),
        ((2, 2), "these cases cannot tell whether it helps"),
    ],
)
def test_the_finding_goes_by_the_interval(made, order, words):
    labels, cases = made[:2]
    section, finding = metadata_section(
        labels, cases, made[order[0]], made[order[1]], ("age", "sex"), "metablock", replicates=199
    )
    assert finding.startswith(
        "Metadata (age and sex) changes the finest network's balanced accuracy, without fusion, by"
    )
    assert finding.endswith(f"by case: {words}.")
    assert section.id == "metadata"
