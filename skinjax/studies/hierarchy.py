"""Hierarchical diagnosis by granularity transfer (thesis, chapter 4).

Does knowing the meta-class help to tell sub-classes apart? For every case-grouped, stratified fold: a network of the
finest level; a network of a coarser level that starts from its parameters (granularity transfer, section 4.3); their
outputs fused (section 4.4: soft, hard and conditional), against the finest network alone. All predictions are of photos
whose case the network has not seen; `predictions/out_of_fold.parquet` pools them and `report/index.html` says what
they show, by case.

And does the coarser network gain by the start? --transfer_variants trains it again, in each fold with the same head,
photos and order, from other starts: at random, from --pretrained, from some of the finest network's blocks, from all
its layers. The report then has figure 4-6, with a random start that the thesis does not plot, and
`predictions/meta_<start>.parquet` holds the answers of each.

    skinjax hierarchy --flagfile=experiments/flagfiles/demo.flags             # built-in photos
    skinjax hierarchy --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/mine
    skinjax hierarchy --dataset=pad_ufes_20 --source=PAD-UFES-20 --workdir=runs/pad
    skinjax hierarchy --flagfile=experiments/flagfiles/hierarchy.flags --manifest=...     # chapter 4's settings
    skinjax hierarchy --manifest=... --columns=age,sex,body_site    # also what columns add to the finest network
    skinjax hierarchy --smoke                                                 # all of it, tiny
    skinjax hierarchy --smoke --transfer_variants=0,10/45,23/45,30/45,all            # and figure 4-6
    skinjax hierarchy --fold=2 ...   # one fold; others may run in other processes, the last one reports

The same command again resumes a run that was stopped.

HAM10000's 8,625 photos, small networks from scratch at 64 pixels, three folds and five starts, 19 minutes on two
cores: a coarse network that starts from all layers ends at 81.7%, from random ones at 80.9%; soft fusion is right for
72.5% of photos (seven diseases), as is the flat network. More: benchmarks/results/studies.md and ground.md.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from skinjax.data import predictions, split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, metadata, networks, plan, reporting, running, starts
from skinjax.studies.steps.options import CrossValidatedConfig

NAME = "hierarchy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CrossValidatedConfig):
    """Options of the study; the thesis's are marked in `experiments/flagfiles/hierarchy.flags`."""

    group: ClassVar[str] = "this study"

    meta_level: str = option("", "Coarser level that is fused with the finest. Default: the level above it.")
    meta_epochs: int = option(0, "Epochs of the coarser network. 0: as many as --epochs.", low=0, smoke=0)
    transfer_blocks: str = option(
        "all",
        "Blocks that the coarser network takes over from the finest one before it is trained: random "
        "(none, and no --pretrained), a number of blocks, a share of them such as 10/45, or all.",
    )
    transfer_variants: tuple[str, ...] = option(
        (),
        "Further starts of the coarser network, trained for comparison: random, 0 (--pretrained "
        "alone), numbers or shares of blocks, all. Figure 4-6 has 0,10/45,23/45,30/45,all.",
        smoke=(),
    )

    @property
    def coarse_epochs(self) -> int:
        """Epochs of the coarser network."""
        return self.meta_epochs or self.epochs


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Fused and flat answers compared; `predictions` are out of fold, with the coarser network's columns."""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Trains the networks of every fold, fuses them and reports, or resumes where that was begun.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result, read from the folder where the run has finished; without a report while other folds are to come.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    networks.check(config)
    starts.plan(config)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _train(photos, config, folder), photos
    )


def coarse_level(taxonomy: Taxonomy, named: str = "") -> str:
    """Returns the level that is fused with the finest.

    Args:
      taxonomy: The classes.
      named: The option `meta_level`.

    Raises:
      ValueError: The taxonomy has a single level, or none of that name above the finest.
    """
    levels = taxonomy.levels
    if len(levels) < 2:
        raise ValueError(
            f"taxonomy must have two levels at least, but {taxonomy.name!r} has one; give another taxonomy=FILE"
        )
    if named and named not in levels[:-1]:
        raise ValueError(f"meta_level={named} must be one of the coarser levels {', '.join(levels[:-1])}")
    return named or levels[-2]


def _train(photos: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    """Trains and reports; returns the names of the predictions that are still to come."""
    read = inputs.photos_of(photos, config, folder)
    meta_level = coarse_level(read.taxonomy, config.meta_level)
    epochs = min(config.epochs, config.coarse_epochs)
    audited = inputs.audited(read, config, folder, lambda photos: networks.case_folds(config, photos, epochs))
    data = inputs.prepared(audited, config, folder, networks.image_size(config))
    fold_of = networks.case_folds(config, data, epochs)
    course = plan.announce(config, folder, [data], _tasks(config, data, fold_of, meta_level))
    document = inputs.begin(folder, config, data)
    with MetricsLog(folder.path) as log:
        trainer = networks.Trainer(config, folder, log, course)
        for fold in networks.chosen_folds(config):
            frame = _run_fold(trainer, config, fold, data, fold_of == fold, meta_level)
            if processes.is_first():
                predictions.write_predictions(frame, folder.predictions_file(f"fold_{fold}"), data.taxonomy)
    if not processes.is_first():
        return []
    if pending := reporting.missing_folds(folder, config.folds):
        return pending
    pooled = reporting.pool(folder, config.folds, data)
    ways, extra = starts.plan(config), []
    if config.transfer_variants:
        variants = starts.pool(folder, ways, config.folds, data, meta_level)
        extra = [starts.section(folder, ways, variants, data, meta_level, config.seed)]
    more: dict[str, Any] = {"extra": extra}
    if config.columns:
        more = metadata.told(config, data, pooled, metadata.pool(folder, config.folds, data), extra)
    reporting.report(
        folder,
        "Hierarchical diagnosis",
        pooled,
        meta_level,
        data,
        document,
        split.split_warnings(data.labels_by_name, data.cases, fold_of),
        curves=starts.own_curves(folder),
        **more,
    )
    return []


def _tasks(config: Config, data: PreparedPhotos, fold_of: np.ndarray, meta_level: str) -> list[plan.Task]:
    """Returns the networks of a run in the order of training."""
    taxonomy, ways = data.taxonomy, starts.plan(config)
    fine, coarse = len(taxonomy.classes()), len(taxonomy.classes(meta_level))
    kinds = [("sub", config.epochs, fine)]
    kinds += [("photos alone", config.epochs, fine)] if config.columns else []
    kinds += [(ways.stage(start), config.coarse_epochs, coarse) for start in ways.starts]
    return plan.of_folds(config, fold_of, networks.chosen_folds(config), kinds, networks.image_size(config))


def _run_fold(
    trainer: networks.Trainer,
    config: Config,
    fold: int,
    data: PreparedPhotos,
    held_out: np.ndarray,
    meta_level: str,
) -> pd.DataFrame:
    """Trains the networks of a fold; returns the predictions of the two that are fused, of the photos held out."""
    taxonomy, sub_level = data.taxonomy, data.taxonomy.finest
    coding = metadata.coding(config, data, ~held_out)
    sub = networks.describe(config, "sub", fold, sub_level, taxonomy.classes(sub_level), columns=coding)
    meta = networks.describe(config, "meta", fold, meta_level, taxonomy.classes(meta_level), columns=coding)
    meta_labels = taxonomy.parents(sub_level, meta_level)[data.labels]
    title = f"fold {fold + 1} of {config.folds}"
    fine = trainer.train(
        sub, networks.start_variables(config, sub), data, data.labels, ~held_out, held_out, f"{title}, sub",
        config.epochs,
    )  # fmt: skip
    if coding is not None:
        metadata.train_alone(
            trainer, sub, data, ~held_out, held_out, f"{title}, sub", metadata.ALONE, f"fold_{fold}"
        )
    ways, seed = starts.plan(config), networks.seed_of(config, "meta", fold)
    logits = {}
    for start in ways.starts:
        network = dataclasses.replace(meta, stage=ways.stage(start))
        logits[start] = trainer.train(
            network, starts.variables(config, start, meta, fine.variables), data, meta_labels, ~held_out, held_out,
            f"{title}, {network.stage}", config.coarse_epochs, seed=seed,
        ).logits  # fmt: skip
        if config.transfer_variants and processes.is_first():
            starts.write_fold(trainer.folder, start, fold, data, held_out, logits[start], meta_level)
    return networks.predictions_of(data, held_out, fine.logits, fold, {meta_level: logits[ways.fused]})
