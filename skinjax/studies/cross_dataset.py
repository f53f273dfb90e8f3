"""Another population: trained on A, tested on A and on B, and the other way round (thesis, chapter 2).

Does a network lose accuracy on photos of another population, and which diseases and skin types lose most? Both sets
are divided by case into folds. For every fold a network learns from the rest of A, one from the rest of B, and both
answer the fold's photos of A and of B: each photo is tested once by networks of each set, none of which has seen its
case. So the same network is seen at home and away, and the same photos are answered by a network of the place and by a
foreign one (which tells a harder set from a foreign one). All of this is ours: of the thesis's comparison with foreign
sets only the abstract's sentence survives, that it highlights what differs between races.

    skinjax cross_dataset --dataset=pad_ufes_20 --source=PAD-UFES-20 --other_dataset=ham10000
        --other_source=HAM10000 --workdir=runs/pad_ham                               # (one line)
    skinjax cross_dataset --manifest=a/manifest.csv --taxonomy=a.csv --other_manifest=b/manifest.csv
        --other_taxonomy=b.csv --shared_taxonomy=shared.csv                          # (one line)
    skinjax cross_dataset --flagfile=experiments/flagfiles/cross_dataset.flags --dataset=...
    skinjax cross_dataset --workdir=runs/skin                          # built-in: light and dark skin
    skinjax cross_dataset --smoke                                      # all of it, tiny

Classes that one of the sets lacks are left out, and said to be. The same command again resumes a run that was stopped.

561 photos of PAD-UFES-20 and 8,411 of HAM10000, EfficientNet-B0 from scratch at 96 pixels, three folds, 25 minutes on
two cores: balanced accuracy falls from 45.9 to 22.0 % away from PAD, from 34.8 to 25.7 % away from HAM. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any, ClassVar

import numpy as np

from skinjax.data import predictions, split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import crossed, inputs, metadata, networks, plan, populations, running
from skinjax.studies.steps.data_options import SourceOptions
from skinjax.studies.steps.options import CrossValidatedConfig
from skinjax.studies.steps.populations import SIDES

NAME = "cross_dataset"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherOptions(SourceOptions):
    """The second set of photos, B."""

    group: ClassVar[str] = SourceOptions.group

    other_manifest: str = option("", "Same as --manifest, for the second data set, B.", path=True, free=True)
    other_map: tuple[str, ...] = option((), "Same as --map, for B.", free=True)
    other_dataset: str = option("", "Same as --dataset, for B.")
    other_source: str = option("", "Same as --source, for B.", path=True, free=True)
    other_taxonomy: str = option("", "Same as --taxonomy, for B.", path=True)

    @property
    def other_names(self) -> dict[str, Any]:
        """Returns the options that B is read by."""
        names = ("manifest", "dataset", "source", "taxonomy", "map")
        return {name: getattr(self, f"other_{name}") for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OtherOptions, CrossValidatedConfig):
    """Options of the study."""

    group: ClassVar[str] = "this study"

    shared_taxonomy: str = option(
        "",
        "Classes that both sets share: a CSV with columns class, a and b, or a name of the catalogue. "
        "Default: the catalogue's, or else equal names.",
        path=True,
    )
    equal_size: bool = option(
        False, "Train on equally many photos of both sets, by drawing whole cases of the larger one."
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Figures at home and away; `predictions` are of A, by the networks trained on A."""

    main_table: str = "shift_matrix"


def run(
    photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str], *, other: PhotoSet | None = None
) -> Result:
    """Trains networks of both sets, tests each on both and reports, or resumes where that was begun.

    Args:
      photos: The first set, A; None takes the one that the options name, or built-in photos of light skin.
      config: The options.
      workdir: Folder of the run, made if missing.
      other: The second set, B; None takes the one that the options name, or built-in photos of dark skin.

    Returns:
      The result, read from the folder where the run has finished; without a report while other folds are to come.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    if other is not None:
        config = dataclasses.replace(
            config, **{f"other_{name}": value for name, value in other.origin.items()}
        )
    networks.check(config)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _train(photos, other, config, folder), photos, other
    )


def _train(photos: PhotoSet | None, other: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    """Trains and reports; returns the names of the predictions that are still to come."""
    found = populations.read(config, photos, other, folder)
    size = networks.image_size(config)
    audited = [
        inputs.audited(
            one,
            config,
            folder.part(side),
            lambda photos: networks.case_folds(config, photos, config.epochs),
        )
        for side, one in zip(SIDES, found.sets, strict=True)
    ]
    first, second = (
        inputs.prepared(one, config, folder, size, f"_{side}")
        for side, one in zip(SIDES, audited, strict=True)
    )
    sets = (first, second)
    fold_of = [networks.case_folds(config, data, config.epochs) for data in sets]
    tasks = [task for fold in networks.chosen_folds(config) for task in _tasks(config, sets, fold_of, fold)]
    course = plan.announce(config, folder, sets, tasks)
    document = inputs.begin(folder, config, *sets)
    if config.equal_size:
        _LOG.info("training on equally many photos of both sets")
    with MetricsLog(folder.path) as log:
        trainer = networks.Trainer(config, folder, log, course)
        for fold in networks.chosen_folds(config):
            _run_fold(trainer, config, fold, sets, fold_of)
    if not processes.is_first():
        return []
    if pending := crossed.missing(folder, config.folds):
        return pending
    notes = [*found.notes]
    for name, data, of in zip(found.names, sets, fold_of, strict=True):
        remarks = (*data.photos.notes, *split.split_warnings(data.labels_by_name, data.cases, of))
        notes += [f"{name}: {remark}" for remark in remarks]
    crossed.report(folder, sets, found, config.folds, document, notes)
    return []


def _tasks(
    config: Config, sets: tuple[PreparedPhotos, PreparedPhotos], fold_of: list[np.ndarray], fold: int
) -> list[plan.Task]:
    """Returns the networks of a fold in the order of training."""
    size, found = networks.image_size(config), []
    masks = populations.train_masks(sets, fold_of, fold, config.equal_size, config.seed)
    for side, (data, train) in enumerate(zip(sets, masks, strict=True)):
        photos = int(train.sum())
        photos -= round(config.validation_fraction * photos)
        held_out = sum(int((of == fold).sum()) for of in fold_of)
        classes = len(data.taxonomy.classes())
        found.append(plan.Task(f"set {SIDES[side].upper()}", photos, held_out, config.epochs, classes, size))
    return found


def _run_fold(
    trainer: networks.Trainer,
    config: Config,
    fold: int,
    sets: tuple[PreparedPhotos, PreparedPhotos],
    fold_of: list[np.ndarray],
) -> None:
    """Trains a fold's network of each set, and stores what both say of the fold's photos of both sets."""
    masks = populations.train_masks(sets, fold_of, fold, config.equal_size, config.seed)
    for side, (data, train) in enumerate(zip(sets, masks, strict=True)):
        coding = metadata.coding(config, data, train)
        network = networks.describe(
            config, SIDES[side], fold, data.taxonomy.finest, data.taxonomy.classes(), columns=coding
        )
        title = f"fold {fold + 1} of {config.folds}, {SIDES[side].upper()}"
        fitted = trainer.train(
            network, networks.start_variables(config, network), data, data.labels, train, fold_of[side] == fold,
            title, config.epochs,
        )  # fmt: skip
        for on, other in enumerate(sets):
            held_out = fold_of[on] == fold
            subset = networks.subset(other, held_out, network=network)
            logits = fitted.logits if on == side else networks.predict(config, network, fitted, subset)
            frame = networks.predictions_of(other, held_out, logits, fold)
            if processes.is_first():
                path = trainer.folder.predictions_file(crossed.predictions_name(side, on), f"fold_{fold}")
                predictions.write_predictions(frame, path, other.taxonomy)
