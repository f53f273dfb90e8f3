"""From the predictions of networks of two sets on both to the study's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from skinjax.data import predictions
from skinjax.data.photo_set import PreparedPhotos
from skinjax.report.sections.shift import sets_section, shift_sections
from skinjax.report.study_page import write_study
from skinjax.report.tables.shift import Shift, answers_of
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import training_table
from skinjax.studies.steps.populations import SIDES, Populations


def predictions_name(trained: int, on: int) -> str:
    """Returns the name of a network's predictions of a set."""
    return f"{SIDES[trained]}_on_{SIDES[on]}"


def missing(folder: RunFolder, folds: int) -> list[str]:
    """Returns the folds' predictions that are still to come.

    Args:
      folder: Of the run.
      folds: How many folds there are.
    """
    names = [
        (predictions_name(trained, on), fold) for trained in (0, 1) for on in (0, 1) for fold in range(folds)
    ]
    files = [folder.predictions_file(name, f"fold_{fold}") for name, fold in names]
    return [str(file.relative_to(folder.path)) for file in files if not file.exists()]


def report(
    folder: RunFolder,
    sets: tuple[PreparedPhotos, PreparedPhotos],
    found: Populations,
    folds: int,
    document: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Pools the folds and writes the page.

    Args:
      folder: Of the run, which has the predictions of all folds.
      sets: The photos of A and B.
      found: How they were matched.
      folds: How many folds there are.
      document: What `config.json` holds.
      notes: Sentences to be read beside the result.
    """
    answers = {}
    for trained in (0, 1):
        for on in (0, 1):
            name = predictions_name(trained, on)
            files = [folder.predictions_file(name, f"fold_{fold}") for fold in range(folds)]
            frame = pd.concat([predictions.read_predictions(file) for file in files], ignore_index=True)
            predictions.write_predictions(frame, folder.predictions_file(name), sets[on].taxonomy)
            answers[trained, on] = answers_of(predictions.Predictions.from_frame(frame, sets[on].taxonomy))
    shift = Shift(found.names, sets[0].taxonomy, answers, seed=document["config"]["seed"])
    answer, sections = shift_sections(shift)
    curves = folder.metrics
    assert curves is not None
    training = training_table(curves)
    sections.append(sets_section(shift, found.left_out, training))
    write_study(
        folder.report,
        title="Another population",
        answer=answer,
        sections=sections,
        config=document,
        notes=notes,
    )
