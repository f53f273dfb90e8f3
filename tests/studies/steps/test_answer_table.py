"""The table on the terminal: what stands in it, what does not, and how wide it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skinjax.labels.degrees import advice, withheld_advice
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.advice import AdviceRecord, advise
from skinjax.predict.answers import Answer
from skinjax.predict.cases import CaseAnswer
from skinjax.predict.conclusions import Malignancy
from skinjax.studies.steps.answer_table import MOST, AnswerTable, CaseTable

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
    said = "A tumour with a probability of 93%; as such, malignancy 70 of 100: high malignancy."
    assert f"{said} {advice(2, 3)}" in text
    assert "no diagnosis" not in text
    assert "held-out" not in text  # what is urgent cannot be too late


def test_beside_the_advice_stands_how_often_it_was_too_late(answer):
    malignancy = dataclasses.replace(answer.malignancy, degree=-1, tumour=0.1)
    calm = dataclasses.replace(answer, malignancy=malignancy, advice=advise(0, -1, (), 3, RECORD))
    text = " ".join(" ".join(AnswerTable(TAXONOMY).rows(calm)).split())
    assert f"No tumour is called; the probability of one is 10%. {advice(-1, 3)}" in text
    assert (
        "Of 1,234 held-out photos that got this advice, 3% needed a doctor sooner (95% interval 1% to 7%)."
        in text
    )


def test_a_photo_without_a_diagnosis_gets_no_degree_and_nothing_reassuring(answer):
    reasons = ("too dark", "too blurred")
    for urgency, said in ((-1, withheld_advice(None)), (2, withheld_advice(2))):
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


def test_a_case_has_its_answer_and_its_photos_below_it(answer):
    first = dataclasses.replace(answer, photo="a.jpg")
    dark = dataclasses.replace(answer, photo="b.jpg", reasons=("too dark",), usable=False)
    fields = {
        name: getattr(answer, name) for name in ("probabilities", "conformal_set", "malignancy", "advice")
    }
    case = CaseAnswer("arm", (first, dark), (True, False), **fields)
    rows = CaseTable(TAXONOMY, 0.9).rows(case)
    assert rows[0].split() == ["arm", "Melanoma,", "40%", "within", "days", "2"]
    text = " ".join(" ".join(rows).split())
    assert "nine times in ten" in text
    assert advice(2, 3) in text
    assert "Left out one of two photos: b.jpg." in text
    assert rows[-2].split()[:5] == ["a.jpg", "by", "itself:", "Melanoma", "40%"]
    assert rows[-1].startswith("  b.jpg")
    assert max(map(len, rows)) <= 110
    broken = CaseAnswer("leg", (Answer("c.jpg", error="is empty"),), (False,), error="is empty")
    assert [row.split() for row in CaseTable(TAXONOMY, None).rows(broken)] == [
        ["leg", "cannot", "be", "read:", "is", "empty", "1"],
        ["c.jpg", "cannot", "be", "read:", "is", "empty"],
    ]


def test_only_the_first_cases_are_shown(answer):
    table = CaseTable(TAXONOMY, 0.9)
    fields = {name: getattr(answer, name) for name in ("probabilities", "conformal_set")}
    for number in range(MOST + 3):
        table.add(CaseAnswer(f"case {number}", (answer,), (True,), **fields))
    assert sum(line.startswith("case ") for line in table.lines) == MOST + 1  # and the heading
    assert table.lines[-1] == f"... only the first {MOST} cases are shown"


def test_names_with_control_characters_do_not_reach_the_terminal(answer):
    photo = dataclasses.replace(answer, photo="b\x1b[2J\n.jpg")
    shown = "\n".join(AnswerTable(TAXONOMY).rows(photo))
    assert "\x1b" not in shown
    assert "b?[2J?.jpg" in shown
