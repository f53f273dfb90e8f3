"""What a page calls the cases: cases, photos that count by themselves, or groups of near-duplicates."""

from __future__ import annotations

import re

import numpy as np
import pytest

from skinjax.data.images.duplicates import stand_in_cases
from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import Predictions
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report.cases import case_columns, counted, photos_of, unit_of
from skinjax.report.page import ReportContext, write_report
from skinjax.report.study import Study


def test_stand_ins_of_any_photos_are_known_as_such():
    names = stand_in_cases(np.random.default_rng(0).integers(0, 2**63, (50, 4)).astype(np.uint64))
    assert unit_of(names) == "look"
    assert unit_of([*names, "look_flat"]) == "look"
    assert unit_of([*names, "patient 7"]) == "case"
    assert unit_of([], []) == "case"


def test_numbers_in_words():
    assert counted(1, "case") == "1 case"
    assert photos_of(1205, 190, "look") == "1,205 photos of 190 groups of near-duplicates"
    assert [column.heading for column in case_columns([1, 2], "look")] == ["Groups"]
    assert case_columns([1, 2], "photo") == ()


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["case", "photo", "look"])
def test_the_page_calls_them_what_they_are(tmp_path, unit):
    (frame,) = invent_predictions(load_taxonomy("psoriasis9"), 40)
    cases = {
        "case": frame["case_id"],
        "photo": frame["image"],
        "look": [f"look_{number:016x}" for number in range(len(frame))],
    }[unit]
    frame = frame.assign(case_id=cases)
    photos, count = len(frame), frame["case_id"].nunique()
    study = Study.from_predictions(
        Predictions.from_frame(frame, load_taxonomy("psoriasis9")), target=("psoriasis",), replicates=100
    )
    write_report(tmp_path, study, ReportContext(title="x"))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    words = {
        "case": f"{photos} photos of {count} cases",
        "photo": f"{photos} photos without case ids",
        "look": f"{photos} photos of {count} groups of near-duplicates",
    }
    for kind, phrase in words.items():
        assert (phrase in page) == (kind == unit)
    assert bool(re.search(rf"\b{count} cases|<b>{count}</b> <span>cases|>Cases<", page)) == (unit == "case")
    assert ("**Cases:** not known" in card) == (unit != "case")
