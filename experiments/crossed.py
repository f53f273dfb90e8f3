"""From the predictions of networks of two sets on both to the page of `cross_dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from absl import flags

from experiments.inputs import Photos
from experiments.populations import SIDES, Populations
from experiments.stored_run import training_table
from skinjax.data import predictions
from skinjax.report.sections.shift import sets_section, shift_sections
from skinjax.report.shift_tables import Shift, answers_of
from skinjax.report.study_page import write_study


def predictions_file(folder: Path, trained: int, on: int, fold: int) -> Path:
    """Returns where a network's predictions of a set's fold are."""
    return folder / "predictions" / f"{SIDES[trained]}_on_{SIDES[on]}" / f"fold_{fold}.parquet"


def report(
    folder: Path,
    sets: tuple[Photos, Photos],
    found: Populations,
    config: dict[str, Any],
    notes: Sequence[str],
) -> None:
    """Pools the folds and writes the page, once all folds are there."""
    answers = {}
    for trained in (0, 1):
        for on in (0, 1):
            files = [predictions_file(folder, trained, on, fold) for fold in range(flags.FLAGS.folds)]
            if missing := [str(file.relative_to(folder)) for file in files if not file.exists()]:
                print(f"no report yet, still to come: {', '.join(missing)}")
                return
            frame = pd.concat([predictions.read_predictions(file) for file in files], ignore_index=True)
            pooled = folder / "predictions" / f"{SIDES[trained]}_on_{SIDES[on]}.parquet"
            predictions.write_predictions(frame, pooled, sets[on].taxonomy)
            answers[trained, on] = answers_of(frame, sets[on].taxonomy)
    shift = Shift(found.names, sets[0].taxonomy, answers, seed=flags.FLAGS.seed)
    answer, sections = shift_sections(shift)
    training = training_table(pd.read_csv(folder / "metrics.csv"))
    sections.append(sets_section(shift, found.left_out, training))
    path = write_study(
        folder / "report",
        title="Another population",
        answer=answer,
        sections=sections,
        config=config,
        notes=notes,
    )
    print(f"report: {path}")
