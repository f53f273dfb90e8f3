"""Backbones trained alike on one split of cases, compared on its test photos (thesis, chapter 2 and section 3.2).

Which network diagnoses best, and what does it cost? All see the same training photos under the same settings;
thresholds are Youden's on the validation photos, which also choose the epoch where --choose_by asks for it. The report
has the thesis's table 3-1 for --target (without one, the mean area over classes), all ROC curves, a confusion matrix
each, paired tests of all pairs, parameters and speed. The rest of it is about the backbone that is best on the
validation photos.

    skinjax benchmark_backbones                                              # built-in photos
    skinjax benchmark_backbones --manifest=photos/manifest.csv --target=psoriasis --workdir=runs/mine
    skinjax benchmark_backbones --dataset=ham10000 --source=HAM10000 --target=mel --workdir=runs/ham
    skinjax benchmark_backbones --backbones=efficientnet_b0,xception --pretrained=weights/{backbone}.h5
    skinjax benchmark_backbones --flagfile=experiments/flagfiles/benchmark_backbones.flags --manifest=...
    skinjax benchmark_backbones --smoke                                      # all of it, tiny

Photos have --image_size, or each backbone its own; they are prepared once per size. Predictions are in
`predictions/<backbone>_test.parquet` and `_validation.parquet`. The same command again resumes.

PAD-UFES-20's basal cell carcinoma, 172 test photos, the thesis's four from scratch at 96 pixels, 25 minutes on two
cores: AUC 0.818 DenseNet121, 0.787 InceptionV3, 0.863 Inception-ResNet-v2, 0.860 Xception, no two distinguished. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar

import jax
import numpy as np
import pandas as pd

from skinjax.data import predictions
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.models import registry
from skinjax.report.sections.backbones import (
    NetworkStudies,
    backbones_section,
    best_on_validation,
    network_studies,
)
from skinjax.report.tables.target_models import Intervals
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.networks import Network
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, metadata, networks, plan, reporting, running, targets
from skinjax.studies.steps.division import Parts, divide
from skinjax.studies.steps.options import DividedConfig
from skinjax.studies.steps.presets import Preset
from skinjax.train.loop import Fitted

NAME = "backbones"
FOUR = ("densenet121", "inception_v3", "inception_resnet_v2", "xception")
"""The networks of the thesis."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DividedConfig):
    """Options of the study."""

    group: ClassVar[str] = "this study"
    command_preset: ClassVar[Preset] = "thesis"
    unfilled: ClassVar[frozenset[str]] = frozenset({"backbone"})

    backbone: str = option("", "Not used by this study, which takes --backbones.")
    backbones: tuple[str, ...] = option(
        FOUR,
        "Networks to compare, comma-separated; skinjax.list_models() has their names.",
        smoke=("efficientnet_nano", "efficientnet_b0"),
    )
    target: tuple[str, ...] = option((), targets.TARGET_HELP)
    readers: str = option("", targets.READERS_HELP, path=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone:
            raise ValueError(
                f"backbone={self.backbone} is not used here; name the networks in backbones={self.backbone}"
            )
        if not self.backbones or len(set(self.backbones)) < len(self.backbones):
            raise ValueError(f"backbones={','.join(self.backbones)} must be different names, at least one")
        if self.readers and not self.target:
            raise ValueError(
                f"readers={self.readers} needs target=CLASS, the class that the readers' calls are about"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Networks compared; `predictions` are the first one's, `tables["backbones"]` has all of them."""

    main_table: str = "backbones"


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Trains the networks one after the other and compares them on the test photos, or resumes where that was begun.

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
    networks.check(config, config.backbones)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _compare(photos, config, folder), photos
    )


def _compare(photos: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    read = inputs.photos_of(photos, config, folder)
    if config.target:
        targets.members("target", config.target, read.taxonomy)
    targets.readers(config.readers, read.frame["image"])
    audited = inputs.audited(read, config, folder, lambda photos: divide(config, photos))
    prepared = _prepare(audited, config, folder)
    data = next(iter(prepared.values()))
    divided = divide(config, data)
    readers = targets.readers(config.readers, data.frame["image"][divided.test])
    counts = int(divided.train.sum()), int(divided.test.sum() + divided.validation.sum())
    classes = len(data.taxonomy.classes())
    tasks = [
        plan.Task(name, *counts, config.epochs, classes, networks.image_size(config, name), name)
        for name in config.backbones
    ]
    course = plan.announce(config, folder, [data], tasks)
    document = inputs.begin(folder, config, data)
    found, tests, costs = {}, {}, []
    with MetricsLog(folder.path) as log:
        trainer = networks.Trainer(config, folder, log, course)
        for name in config.backbones:
            size = networks.image_size(config, name)
            found[name], tests[name], cost = _train(trainer, config, name, prepared[size], divided)
            costs.append(cost)
    if not processes.is_first():
        return []
    best = best_on_validation(found)
    section, verdict = backbones_section(found, pd.DataFrame(costs), Intervals(seed=config.seed))
    reporting.report(
        folder,
        "Backbones compared",
        tests[best],
        None,
        data,
        document,
        [f"Sections that do not compare backbones are about {best}.", *divided.notes],
        name=best,
        target=config.target,
        readers=readers,
        others={name: frame for name, frame in tests.items() if name != best},
        extra=[section],
        verdict=[verdict],
    )
    return []


def _prepare(read: PhotoSet, config: Config, folder: RunFolder) -> dict[int, PreparedPhotos]:
    """Returns the photos at each size that a backbone takes."""
    sizes = dict.fromkeys(networks.image_size(config, name) for name in config.backbones)
    return {
        size: inputs.prepared(read, config, folder, size, f"_{size}" if len(sizes) > 1 else "")
        for size in sizes
    }


def _train(
    trainer: networks.Trainer, config: Config, name: str, data: PreparedPhotos, divided: Parts
) -> tuple[NetworkStudies, pd.DataFrame, dict[str, Any]]:
    """Trains a backbone, or reads it where that is done; returns its figures, test predictions and costs."""
    coding = metadata.coding(config, data, divided.train)
    network = networks.describe(config, name, 0, data.taxonomy.finest, data.taxonomy.classes(), name, coding)
    start = networks.start_variables(config, network)
    fitted = trainer.train(
        network, start, data, data.labels, divided.train, divided.test, name, config.epochs,
        validation=divided.validation,
    )  # fmt: skip
    validation = networks.subset(data, divided.validation, network=network)
    logits = networks.predict(config, network, fitted, validation)
    frames = {
        "validation": networks.predictions_of(data, divided.validation, logits),
        "test": networks.predictions_of(data, divided.test, fitted.logits),
    }
    for part, frame in frames.items():
        if processes.is_first():
            path = trainer.folder.predictions_file(f"{name}_{part}")
            predictions.write_predictions(frame, path, data.taxonomy)
    cost = {"backbone": name, "image_size": network.image_size, **costs_of(network, fitted)}
    parsed = {
        part: predictions.Predictions.from_frame(frame, data.taxonomy) for part, frame in frames.items()
    }
    intervals = Intervals(seed=config.seed)
    found = network_studies(parsed["validation"], parsed["test"], config.target, intervals)
    return found, frames["test"], cost


def costs_of(network: Network, fitted: Fitted) -> dict[str, float]:
    """Counts a network's parameters, and reads from its history how long it was trained and how fast."""
    shapes = registry.variable_shapes(network.model())["params"]
    epochs = [row for row in fitted.history if row["split"] == "train"]
    rates = [row["photos"] / row["seconds"] for row in epochs if row["seconds"]]
    return {
        "parameters": sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)),
        "epochs": len(epochs),
        "seconds": sum(row["seconds"] for row in epochs),
        "photos_per_second": float(
            np.median(rates[1:] or rates)
        ),  # the first epoch has the compilation in it
    }
