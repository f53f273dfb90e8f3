"""Malignancy of skin tumours: a reference score and a degree, against readers (thesis, chapter 5).

How seldom can a network call a cancer more benign than it is, and at what price? For every case-grouped, stratified
fold a network learns to tell the tumours apart with the classification loss. Its probabilities, after a temperature
fitted on the other folds, add up to the probabilities of the degrees; these give the score, 0 to 100, and the degree by
three rules: the most probable, cut-points on the score fitted on the other folds, and the least expected cost. The
report names every cancer that was graded too low. Folds and not parts 6:2:1, so that each cancer of a small set is
graded once.

    skinjax malignancy --dataset=pad_ufes_20 --source=PAD-UFES-20 --workdir=runs/pad_malignancy
    skinjax malignancy --manifest=photos/manifest.csv --taxonomy=tumours10 --cost="0,1,2;4,0,1;8,4,0"
    skinjax malignancy --manifest=... --taxonomy=classes.csv --degrees=degrees.csv --readers=readers.csv
    skinjax malignancy --flagfile=experiments/flagfiles/malignancy.flags --manifest=...
    skinjax malignancy --smoke                                  # all of it, tiny, with made-up readers

Which tumours the thesis took, their degrees and its formula cannot be read: these are ours (skinjax/labels/degrees.py).
The same command again resumes a run that was stopped; of a finished one it writes the report again, with the --cost and
--readers of now.

HAM10000's 8,625 photos, EfficientNet-B0 from scratch at 96 pixels, three folds of 12 epochs of 2.6 s on an H100: of
1,669 cancers the most probable degree is too low for 63.0 %, the least cost for 20.8 %. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar

import numpy as np

from skinjax.data import predictions, split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.report.sections.grading import grading_section
from skinjax.report.sections.malignancy import check_degrees
from skinjax.report.study import Study
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, metadata, networks, plan, reporting, running, tumours
from skinjax.studies.steps.options import CrossValidatedConfig

NAME = "malignancy"
CONFIDENCE, REPLICATES = 0.95, 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CrossValidatedConfig):
    """Options of the study."""

    group: ClassVar[str] = "this study"

    degrees: str = option(
        "",
        "Degrees of malignancy of the classes: a CSV with columns class and degree (0 is the most "
        "benign), a JSON, or a name of the catalogue. Default: the catalogue's for the taxonomy.",
        path=True,
    )
    cost: str = option(
        "",
        "Cost of each answered degree (column) for each true degree (row). Default: "
        '"0,1,2;4,0,1;8,4,0", by which too low costs four times as much as too high.',
        free=True,
    )
    readers: str = option(
        "",
        "Degrees that readers gave the photos: a CSV with columns reader, image and degree.",
        path=True,
        free=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        tumours.cost_matrix(self.cost)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Degrees by three rules against the true ones; `predictions` are out of fold, of the tumours."""

    main_table: str = "malignancy"


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Trains a network per fold on the tumours, grades every photo and reports, or resumes where that was begun.

    The report of a finished run is written again with the costs and readers of now.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result; without a report while other folds are to come.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    networks.check(config)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _train(photos, config, folder), photos, again=True
    )


def _train(photos: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    """Trains and reports; returns the names of the predictions that are still to come."""
    read, degrees = tumours.tumours_of(inputs.photos_of(photos, config, folder), config.degrees)
    cost = tumours.cost_matrix(config.cost, max(degrees.values()) + 1)
    readers, reader_notes = tumours.degree_readers(
        read, degrees, config.readers, smoke=config.smoke, seed=config.seed
    )
    audited = inputs.audited(
        read, config, folder, lambda photos: networks.case_folds(config, photos, config.epochs)
    )
    data = inputs.prepared(audited, config, folder, networks.image_size(config))
    fold_of = networks.case_folds(config, data, config.epochs)
    kinds = [("sub", config.epochs, len(data.taxonomy.classes()))]
    tasks = plan.of_folds(config, fold_of, networks.chosen_folds(config), kinds, networks.image_size(config))
    course = plan.announce(config, folder, [data], tasks)
    document = inputs.begin(folder, config, data)
    if not folder.predictions_file("out_of_fold").exists():
        with MetricsLog(folder.path) as log:
            trainer = networks.Trainer(config, folder, log, course)
            for fold in networks.chosen_folds(config):
                _run_fold(trainer, config, fold, data, fold_of == fold)
    if not processes.is_first():
        return []
    if pending := reporting.missing_folds(folder, config.folds):
        return pending
    pooled = reporting.pool(folder, config.folds, data)
    tree, names = data.taxonomy, data.taxonomy.classes("degree")
    model = Study.from_predictions(
        predictions.Predictions.from_frame(pooled, tree), name="malignancy", target=names[1:], confidence=CONFIDENCE,
        replicates=REPLICATES, seed=config.seed,
    )  # fmt: skip
    if readers is not None:
        readers = readers[readers["image"].isin(pooled["image"])]
    verdict, section = grading_section(
        model, check_degrees(degrees, tree), tumours.titles(len(names)), cost, readers
    )
    notes = (*reader_notes, *split.split_warnings(data.labels_by_name, data.cases, fold_of))
    reporting.report(
        folder, "Degrees of malignancy", pooled, "degree", data, {**document, "config": config.to_dict()}, notes,
        target=names[1:], extra=[section], verdict=verdict,
    )  # fmt: skip
    return []


def _run_fold(
    trainer: networks.Trainer, config: Config, fold: int, data: PreparedPhotos, held_out: np.ndarray
) -> None:
    """Trains the network of a fold and stores its predictions of the photos held out."""
    coding = metadata.coding(config, data, ~held_out)
    network = networks.describe(
        config, "sub", fold, data.taxonomy.finest, data.taxonomy.classes(), columns=coding
    )
    variables, title = networks.start_variables(config, network), f"fold {fold + 1} of {config.folds}"
    fitted = trainer.train(network, variables, data, data.labels, ~held_out, held_out, title, config.epochs)
    frame = networks.predictions_of(data, held_out, fitted.logits, fold)
    if processes.is_first():
        path = trainer.folder.predictions_file(f"fold_{fold}")
        predictions.write_predictions(frame, path, data.taxonomy)
