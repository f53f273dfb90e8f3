"""The table on the terminal: what stands in it, what does not, and how wide it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skinjax.labels.degrees import advice, withheld_advice
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.advice import AdviceRecord, advise
from skinjax.predict.answers import Answer
from skinjax.predict.conclusions import Malignancy
from skinjax.studies.steps.answer_table import MOST, AnswerTable

TAXONOMY = load_taxonomy("pad_ufes_20")

SHARE = {"rate": 0.031, "low": 0.012, "high": 0.07, "photos": 1234, "cases": 800}
RECORD = AdviceRecord(SHARE, SHARE, {"routine": SHARE, "soon": SHARE, "urgent": SHARE | {"rate": 0.0}})


@pytest.fixture
def answer() -> Answer:
    fine = np.array([0.05, 0.05, 0.1, 0.2, 0.2, 0.4], np.float32)
    parents = TAXONOMY.parents("diagnosis", "malignancy")
    coarse = np.bincount(parents, fine).astype(np.float32)
    return Answer(
        "a/very/long/path/to/a/folder/of/photos/photo.jpg",
        probabilities={"diagnosis": fine, "malignancy": coarse},
        conformal_set=("SCC", "MEL"),
        malignancy=Malignancy(70.2, 2, np.array([0.1, 0.3, 0.6], np.float32), 0.93),
        advice=advise(2, 2, (), 3, RECORD),
    )


def test_an_answer_has_its_classes_its_set_and_what_to_do(answer):
    rows = AnswerTable(TAXONOMY).rows(answer)
    assert rows[0].startswith("…")
    assert TAXONOMY.title(TAXONOMY.classes()[5]) in rows[0]
    assert " 40%" in rows[0]
    text = " ".join(" ".join(rows).split())
    assert TAXONOMY.title("SCC")[:20] in text
    assert f"tumour 93%, malignancy 70 of 100, high URGENT: {advice(2, 3)}" in text
    assert "no diagnosis" not in text
    assert "held-out" not in text  # what is urgent cannot be too late


def test_beside_the_advice_stands_how_often_it_was_too_late(answer):
    malignancy = dataclasses.replace(answer.malignancy, degree=-1, tumour=0.1)
    calm = dataclasses.replace(answer, malignancy=malignancy, advice=advise(0, -1, (), 3, RECORD))
    text = " ".join(" ".join(AnswerTable(TAXONOMY).rows(calm)).split())
    assert f"tumour 10%, none is called ROUTINE: {advice(-1, 3)}" in text
    assert "of 1,234 held-out photos told the same, 3.1% (1.2% to 7.0%) needed to be seen sooner" in text


def test_a_photo_without_a_diagnosis_gets_no_degree_and_nothing_reassuring(answer):
    reasons = ("too dark", "too blurred")
    for urgency, said in ((-1, withheld_advice(None)), (2, f"URGENT: {withheld_advice(2)}")):
        dark = dataclasses.replace(answer, reasons=reasons, advice=advise(urgency, 0, reasons, 3, RECORD))
        text = " ".join(" ".join(AnswerTable(TAXONOMY).rows(dark)).split())
        assert f"no diagnosis: too dark; too blurred {said}" in text
        assert "of 100" not in text


def test_an_unreadable_photo_is_told_and_any_class_is_called_so(answer):
    table = AnswerTable(TAXONOMY)
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


def test_only_the_first_photos_are_shown(answer):
    table = AnswerTable(TAXONOMY)
    for _ in range(MOST + 5):
        table.add(dataclasses.replace(answer, malignancy=None))
    shown = "\n".join(table.lines)
    assert shown.count("photo.jpg") == MOST
    assert shown.count(f"... only the first {MOST} photos are shown") == 1
    assert shown.count("cannot be ruled out") == 1
