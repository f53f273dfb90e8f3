"""The table on the terminal: what stands in it, what does not, and how wide it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.answer_table import MOST, AnswerTable
from skinjax.labels.degrees import advice
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.answers import Answer, Malignancy

TAXONOMY = load_taxonomy("pad_ufes_20")


@pytest.fixture
def answer() -> Answer:
    fine = np.array([0.05, 0.05, 0.1, 0.2, 0.2, 0.4], np.float32)
    parents = TAXONOMY.parents("diagnosis", "malignancy")
    coarse = np.bincount(parents, fine).astype(np.float32)
    return Answer(
        "a/very/long/path/to/a/folder/of/photos/photo.jpg",
        probabilities={"diagnosis": fine, "malignancy": coarse},
        conformal_set=("SCC", "MEL"),
        malignancy=Malignancy(70.2, 2, np.array([0.1, 0.3, 0.6], np.float32)),
    )


def test_an_answer_has_its_classes_its_set_and_what_to_do(answer):
    rows = AnswerTable(TAXONOMY, 3).rows(answer)
    assert rows[0].startswith("…")
    assert TAXONOMY.title(TAXONOMY.classes()[5]) in rows[0]
    assert " 40%" in rows[0]
    text = " ".join(" ".join(rows).split())
    assert TAXONOMY.title("SCC")[:20] in text
    assert f"malignancy 70 of 100, high. {advice(2, 3)}" in text
    assert "no diagnosis" not in text


def test_a_photo_without_a_diagnosis_gets_no_degree_and_no_advice(answer):
    rows = AnswerTable(TAXONOMY, 3).rows(dataclasses.replace(answer, reasons=("too dark", "too blurred")))
    text = " ".join(" ".join(rows).split())
    assert "no diagnosis: too dark; too blurred take another photo, or show it to a doctor" in text
    assert "of 100" not in text


def test_an_unreadable_photo_is_told_and_any_class_is_called_so(answer):
    table = AnswerTable(TAXONOMY, 0)
    assert table.rows(Answer("b.jpg", error="is empty"))[0].split() == [
        "b.jpg",
        "cannot",
        "be",
        "read:",
        "is",
        "empty",
    ]
    assert (
        "any class"
        in table.rows(dataclasses.replace(answer, conformal_set=TAXONOMY.classes(), malignancy=None))[0]
    )


def test_only_the_first_photos_are_shown(answer, capsys):
    table = AnswerTable(TAXONOMY, 3)
    for _ in range(MOST + 5):
        table.show(dataclasses.replace(answer, malignancy=None))
    shown = capsys.readouterr().out
    assert shown.count("photo.jpg") == MOST
    assert shown.count(f"... only the first {MOST} photos are shown") == 1
    assert shown.count("cannot be ruled out") == 1
