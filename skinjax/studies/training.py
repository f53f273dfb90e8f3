"""Trains one network on one case-grouped fold, or on the manifest's own `split` column (thesis, chapters 3 and 4).

    skinjax train --manifest=photos/manifest.csv --taxonomy=classes.csv
    skinjax train --dataset=ham10000 --source=HAM10000 --fold=0 --folds=5 --workdir=runs/ham
    skinjax train --manifest=photos/manifest.csv --columns=age,sex,body_site   # and what they add to the photos
    skinjax train --smoke
    skinjax train --coordinator=host:1234 --processes=2 --process_index=0 ...   # and 1 on another host

Where the manifest has a `split` column, the photos marked `train` are trained on and those marked `test` are held out;
else --fold of --folds is held out. The report is on the held-out photos alone. The same command again resumes.

HAM10000, fold 1 of 5 (--fold=0), EfficientNet-B0 from scratch at 96 pixels
(experiments/flagfiles/ham_from_scratch.flags), 12 epochs of 3.8 s on an H100: accuracy 0.779, macro AUC
0.925; timm by the same recipe 0.737 and 0.900. More: benchmarks/results/studies.md.
"""

from __future__ import annotations

import dataclasses
import logging
import os

import numpy as np

from skinjax.data import predictions, split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, metadata, networks, plan, reporting, running
from skinjax.studies.steps.options import OneFoldConfig

NAME = "training"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OneFoldConfig):
    """Options of the study."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The network's figures on the held-out photos; `predictions` are of these."""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Trains a network and reports on the photos that it has not seen, or resumes where that was begun.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result, read from the folder where the run has finished.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    networks.check(config)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _train(photos, config, folder), photos
    )


def _train(photos: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    read = inputs.photos_of(photos, config, folder)
    fold = max(config.fold, 0)
    audited = inputs.audited(read, config, folder, lambda photos: _parts(config, photos, fold))
    data = inputs.prepared(audited, config, folder, networks.image_size(config))
    level = data.taxonomy.finest
    train, test = _parts(config, data, fold)
    coding = metadata.coding(config, data, train)
    network = networks.describe(config, "sub", fold, level, data.taxonomy.classes(level), columns=coding)
    variables = networks.start_variables(config, network)
    trained = round((1 - config.validation_fraction) * int(train.sum()))
    task = plan.Task(
        "network", trained, int(test.sum()), config.epochs, len(network.classes), network.image_size
    )
    alone = [dataclasses.replace(task, kind="photos alone")] if coding is not None else []
    course = plan.announce(config, folder, [data], [task, *alone])
    document = inputs.begin(folder, config, data)
    with MetricsLog(folder.path) as log:
        trainer = networks.Trainer(config, folder, log, course)
        fitted = trainer.train(
            network, variables, data, data.labels, train, test, network.backbone, config.epochs
        )
        frame = networks.predictions_of(data, test, fitted.logits, fold)
        if processes.is_first():
            predictions.write_predictions(frame, folder.predictions_file("held_out"), data.taxonomy)
        more = {}
        if coding is not None:
            on_photos = metadata.train_alone(
                trainer, network, data, train, test, network.backbone, metadata.ALONE
            )
            more = metadata.told(config, data, frame, on_photos)
    used = train | test
    part = test[used].astype(int)
    notes = split.split_warnings(data.labels_by_name[used], data.cases[used], part, list(np.bincount(part)))
    reporting.report(folder, f"One network: {network.backbone}", frame, None, data, document, notes, **more)
    return []


def _parts(config: Config, data: PhotoSet | PreparedPhotos, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which photos are trained on and which are held out, bool[N] each, no case in both."""
    if "split" not in data.frame:
        fold_of = networks.case_folds(config, data, config.epochs)
        return fold_of != fold, fold_of == fold
    if isinstance(data, PreparedPhotos):
        _LOG.warning("the manifest's column split is used; the options folds and fold are not")
    networks.refuse_one_class(data.labels_by_name)
    train, test = (data.frame["split"].to_numpy() == part for part in ("train", "test"))
    for name, part in (("train", train), ("test", test)):
        if not part.any():
            raise ValueError(f"the manifest's column split marks no photo as {name}")
    if both := sorted(set(data.cases[train]) & set(data.cases[test])):
        raise ValueError(
            f"the manifest's column split puts {len(both)} cases into train and test at once: {', '.join(both[:10])}"
        )
    networks.refuse_weights_of_these_photos(config, data)
    return train, test
