"""The sentences that say where intervals of a sample like this one missed their level in simulations."""

import numpy as np
import pytest

from skinjax.data.predictions import Predictions, from_arrays
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.sections.limits import limits_section
from skinjax.report.study import Study

TREE = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c")], name="three")
WORDS = {
    "sizes": "Cases differ much in their numbers of photos",
    "few": "cases or fewer",
    "right": "Nearly all photos",
    "cases": "There are few cases",
}


def told(sizes, labels, errors=0.3):
    """Returns which sentences the section has, of cases of these sizes and classes and a share of wrong answers."""
    cases, truth = np.repeat(np.arange(len(sizes)), sizes), np.repeat(labels, sizes)
    wrong = np.random.default_rng(0).random(len(cases)) < errors
    probs = np.full((len(cases), 3), 0.1)
    probs[np.arange(len(cases)), (truth + wrong) % 3] = 0.8
    names = np.array(TREE.classes())[truth]
    frame = from_arrays([f"{i}.png" for i in range(len(cases))], cases, names, 0, probs, TREE)
    study = Study.from_predictions(Predictions.from_frame(frame, TREE), replicates=99)
    blocks = limits_section(study, False, "", 1).blocks
    text = " ".join(block.words for block in blocks)
    return text, {name for name, words in WORDS.items() if words in text}


@pytest.mark.parametrize(
    ("sizes", "labels", "errors", "expected"),
    [
        ([2] * 60, [0, 1, 2] * 20, 0.3, set()),
        ([1, 2, 3, 4, 5, 6] * 10, [0, 1, 2] * 20, 0.3, set()),  # photographed as is usual
        ([1] * 57 + [20, 30, 60], [0, 1, 2] * 20, 0.3, {"sizes"}),
        ([2] * 60, [0, 1] * 29 + [2, 2], 0.3, {"few"}),
        ([2] * 60, [0, 1, 2] * 20, 0.0, {"right"}),
        ([1] * 10 + [60], [0] * 9 + [1, 2], 0.0, {"sizes", "few", "right"}),
        ([2] * 9, [0, 1, 2] * 3, 0.3, {"cases"}),  # of so few nothing was simulated
    ],
)
def test_a_sample_is_told_of_as_it_is(sizes, labels, errors, expected):
    assert told(sizes, np.array(labels), errors)[1] == expected


def test_effective_cases_are_counted_by_hand():
    text, _ = told([1] * 57 + [20, 30, 60], np.array([0, 1, 2] * 20))
    assert f"60 of them say as much as {round(167**2 / (57 + 400 + 900 + 3600))} of equal size would" in text
    assert "2 classes have 3 cases or fewer" in told([2] * 40, np.array([0] * 36 + [1, 1, 1, 2]))[0]
