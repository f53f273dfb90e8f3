"""Histories of lesions: means, changes and their limits by hand, what is left out, and what is said of them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from skinjax.data.visits import Visit, VisitsError, read_visits
from skinjax.evaluate.repeatability import Repeatability
from skinjax.predict.history import HISTORY_COLUMNS, PhotoScore, lesion_histories

OF = Repeatability(8.0, 50, 120)


def visit(day: int, name: str = "", lesion: str = "arm", case: str = "p") -> Visit:
    return Visit(Path(name or f"{day}.jpg"), case, lesion, datetime.date(2025, 1, day))


def score(value: float, urgency: str | None = "routine") -> PhotoScore:
    return PhotoScore("", value, 0.9, urgency)


def test_scores_and_changes_are_those_by_hand_whatever_the_order():
    visits = [visit(9, "b"), visit(2, "a"), visit(9, "c"), visit(5, "d", "leg")]
    scores = [score(70, "soon"), score(20), score(50, "urgent"), score(10)]
    arm, leg = lesion_histories(visits, scores, OF)
    first, last = arm.visits
    quantile = t.ppf(0.975, 70)
    assert (first.date, first.score, first.change, first.changed) == ("2025-01-02", 20, None, "")
    assert first.high == pytest.approx(20 + quantile * 8, abs=0.01)
    assert (last.photos, last.score, last.change, last.urgency) == (2, 60, 40, "urgent")
    half = quantile * 8 * np.sqrt(1.5)
    assert (last.change_low, last.change_high) == pytest.approx((40 - half, 40 + half), abs=0.01)
    assert last.changed == "higher"
    assert "Higher on 2025-01-09 than on 2025-01-02" in arm.note
    assert "no change can be told" in leg.note
    assert 0 <= leg.visits[0].low <= leg.visits[0].high <= 100
    assert json.loads(json.dumps(arm.to_dict(), allow_nan=False))["visits"][1]["change"] == 40
    assert all(len(row) == len(HISTORY_COLUMNS) for row in arm.to_rows())


def test_what_cannot_be_judged_is_left_out_with_its_reason():
    visits = [visit(1), visit(2), visit(2, "x.jpg"), visit(3)]
    scores = [PhotoScore("too dark", 90.0), score(30), PhotoScore("does not exist"), score(34)]
    (arm,) = lesion_histories(visits, scores, OF)
    assert [one.photos for one in arm.visits] == [0, 1, 1]
    assert (arm.visits[0].score, arm.visits[0].urgency, arm.visits[1].left_out) == (None, None, 1)
    assert arm.visits[2].change == 4  # since the first visit that counts
    assert arm.left_out == {"1.jpg": "too dark", "x.jpg": "does not exist"}
    assert arm.note.startswith("No change from 2025-01-02 to 2025-01-03")
    (none,) = lesion_histories(visits[:1], scores[:1], OF)
    assert none.note.startswith("No photo of it can be judged. No answer is possible")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([20, 90], "Higher on"),
        ([90, 20], "no all-clear"),
        ([20, 90, 25], "It was higher on 2025-01-02 than on 2025-01-01, and is not any more: show it to a doctor"),
        ([50, 55], "should be seen by a doctor all the same"),
    ],
)  # fmt: skip
def test_what_is_said_reassures_nobody(values, said):
    visits = [visit(day) for day in range(1, len(values) + 1)]
    assert said in lesion_histories(visits, [score(value) for value in values], OF)[0].note


def test_without_a_measure_of_chance_nothing_is_called_a_change():
    (arm,) = lesion_histories([visit(1), visit(2)], [score(1), score(99)], None)
    assert (arm.visits[1].change, arm.visits[1].change_low, arm.visits[1].changed) == (98, None, "")
    assert "is not known of this run" in arm.note


@pytest.mark.parametrize(
    ("scores", "repeats"),
    [
        ([PhotoScore("too dark"), PhotoScore("too dark", urgency="urgent")], OF),
        ([score(20), score(90), score(25, "urgent")], OF),
        ([score(20, "urgent"), score(90)], OF),
        ([score(80, "urgent")] * 3, OF),
        ([score(90, "urgent"), score(20)], OF),
        ([score(80, "urgent")], OF),
        ([score(10), score(80, "urgent")], None),
    ],
)
def test_a_note_is_as_urgent_as_the_most_urgent_visit(scores, repeats):
    visits = [visit(day) for day in range(1, len(scores) + 1)]
    note = lesion_histories(visits, scores, repeats)[0].note
    assert "dangerous: see a dermatologist within days" in note
    assert "weeks" not in note
    assert "another photo, sharp" not in note


def test_a_note_says_soon_where_a_visit_is():
    (arm,) = lesion_histories([visit(1)], [score(40, "soon")], OF)
    assert arm.note.endswith(
        "May need treatment: see a doctor, best a dermatologist, within the next few weeks."
    )
    (dark,) = lesion_histories([visit(1)], [PhotoScore("too dark", urgency="soon")], OF)
    assert "may need treatment" in dark.note


def test_lesions_of_two_cases_are_two():
    found = lesion_histories([visit(1), visit(2, case="q")], [score(1), score(2)], OF)
    assert [one.case for one in found] == ["p", "q"]


def test_a_table_is_read_and_its_faults_are_named(tmp_path):
    (tmp_path / "v.csv").write_text(
        "date;image;lesion_id;note\n2025-02-28; a.jpg ;arm;x\n2024-02-29;../b.jpg;arm;y\n"
    )
    found = read_visits(tmp_path / "v.csv")
    assert [one.path for one in found] == [tmp_path / "a.jpg", tmp_path.parent / "b.jpg"]
    assert found[1].date == datetime.date(2024, 2, 29)
    for text, message in (
        ("image,lesion_id,date\n", "no rows"),
        ("image,lesion_id,date\na,b,2025-02-29\n", r"row 2 '2025-02-29'"),
        ("image,lesion_id,date\na,b,2025-02-03T10:00+01:00\n", "written as in 2026-01-31"),
        ("image,lesion_id,date\na,b,20250203\n", "written as in 2026-01-31"),
        ("image,lesion_id,day\na,b,c\n", "no column 'date'"),
        ("image,lesion_id,date\na,NA,2025-02-03\n", "lesion_id"),
    ):
        (tmp_path / "v.csv").write_text(text)
        with pytest.raises(VisitsError, match=message):
            read_visits(tmp_path / "v.csv")
