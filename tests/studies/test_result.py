"""The table of a study's result in a terminal and a notebook."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from skinjax.studies.result import StudyResult


def test_limits_that_there_are_not_give_way_to_their_reason_told_once():
    why, nothing = "there is a single case", float("nan")
    row = {"method": "flat", "f1": 0.5, "f1_low": nothing, "f1_high": nothing, "f1_reason": why}
    row |= {"accuracy": 0.25, "accuracy_low": nothing, "accuracy_high": nothing, "accuracy_reason": why}
    found = StudyResult("evaluate", Path(), ("The answer.",))
    found.__dict__["tables"] = {"methods": pd.DataFrame([row])}
    lines = str(found).splitlines()
    assert lines[2].split() == ["method", "f1", "f1_reason", "accuracy"]
    assert lines[3].split() == ["flat", "0.500", *why.split(), "0.250"]
    # A row with limits keeps their columns; where another row has none, its cells are empty.
    both = pd.DataFrame([row, row | {"f1_low": 0.4, "f1_high": 0.6, "f1_reason": nothing}])
    found.__dict__["tables"] = {"methods": both}
    assert str(found).splitlines()[2].split()[:4] == ["method", "f1", "f1_low", "f1_high"]
    assert "nan" not in (str(found) + found._repr_html_()).lower()
