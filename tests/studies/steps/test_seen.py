"""Which photos a run has seen, as far as its folder knows."""

from __future__ import annotations

import numpy as np

from skinjax.data.photo_set import case_identity
from skinjax.data.predictions import from_arrays, write_predictions
from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps.seen import _cases_of_predictions

TREE = Taxonomy("pair", ("class",), (("a",), ("b",)))


def test_cases_that_a_former_two_stage_run_only_answered_are_not_taken_for_its_own(tmp_path):
    (tmp_path / "predictions").mkdir()
    for name in ("validation", "test", "left_out", "foreign"):
        frame = from_arrays([f"{name}.png"], [name], ["a"], 0, np.array([[0.7, 0.3]]), TREE)
        write_predictions(frame, tmp_path / "predictions" / f"two_stage_{name}.parquet", TREE)
    notes: list[str] = []
    found = _cases_of_predictions(RunFolder(tmp_path, "two_stage"), notes)
    assert found == {case_identity("validation"), case_identity("test")}
    assert len(notes) == 1
