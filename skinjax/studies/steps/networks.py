"""Training one network of one fold, as several studies do."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from skinjax.data import predictions, split
from skinjax.data.columns import Column, ColumnCoding
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.data.pipeline.loader import Subset
from skinjax.files.progress import Progress
from skinjax.models import registry
from skinjax.models.pretrained import load_with_report
from skinjax.models.transfer import transfer
from skinjax.models.weights import packages
from skinjax.predict.augmented import DIHEDRAL, FLIPS, Symmetry
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.networks import Network
from skinjax.studies.steps.course import Course
from skinjax.studies.steps.options import FeatureOptions, FoldsConfig, TrainingConfig
from skinjax.train.loop import (
    RESUMED,
    ClassBalance,
    Fitted,
    Settings,
    TrainingError,
    class_weights,
    fit,
    predict_logits,
)
from skinjax.train.losses import is_chance

_LOG = logging.getLogger(__name__)


def image_size(config: Any, backbone: str = "") -> int:
    """Returns the side of the photos in pixels: `image_size`, or else the backbone's own.

    Args:
      config: The study's options.
      backbone: Whose size; the options' own where none is named.
    """
    return config.image_size or registry.spec(backbone or config.backbone).image_size


def seed_of(config: TrainingConfig, stage: str, fold: int) -> int:
    """Returns a seed of its own for each network.

    Args:
      config: The study's options, whose `seed` it depends on.
      stage: Of the network.
      fold: That the network has not seen.
    """
    words = [config.seed, fold, *stage.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def check(config: TrainingConfig, backbones: Sequence[str] = ()) -> None:
    """Finds what is wrong with the network's options before any photo is read.

    Args:
      config: The study's options.
      backbones: Those that are trained; the options' own where none is named.

    Raises:
      ValueError: An unknown backbone, a rate out of range, or weights that do not fit.
    """
    config.settings(0, 1, config.batch_size)
    for backbone in backbones or [config.backbone]:
        coding = ColumnCoding((Column("check", "number"),)) if config.columns else None
        network = describe(config, "check", 0, "level", ("one", "other"), backbone, coding)
        network.model()
        blocks = len(network.spec.block_names)
        if config.frozen_blocks > blocks:
            raise ValueError(
                f"frozen_blocks={config.frozen_blocks} must be at most {blocks}, the blocks of {backbone}"
            )
        if config.pretrained:
            start_variables(config, network)


def describe(
    config: TrainingConfig,
    stage: str,
    fold: int,
    level: str,
    classes: tuple[str, ...],
    backbone: str = "",
    columns: ColumnCoding | None = None,
) -> Network:
    """Returns the description of a network.

    Args:
      config: The study's options.
      stage: What the network is for, such as `sub`.
      fold: The fold that it does not see.
      level: Level of the taxonomy that it tells apart.
      classes: Their names.
      backbone: Name in the registry; the options' own where none is named.
      columns: Encoding of the columns that it reads beside a photo; None for photos alone.
    """
    return Network(
        stage=stage,
        fold=fold,
        backbone=backbone or config.backbone,
        level=level,
        classes=classes,
        image_size=image_size(config, backbone),
        precision=config.precision,
        bn_momentum=config.batch_norm_momentum,
        drop_path_rate=config.drop_path_rate,
        columns=columns,
        columns_fusion=config.columns_fusion if columns else "concat",
    )


def start_variables(config: TrainingConfig, network: Network, *, pretrained: bool = True) -> dict[str, Any]:
    """Returns what a network starts from: random weights, or those of `pretrained`; the head is always new.

    Args:
      config: The study's options.
      network: The network.
      pretrained: Whether the option `pretrained` counts, where it is given.
    """
    key = jax.random.key(seed_of(config, network.stage, network.fold))
    fresh = registry.init_variables(network.model(), key)
    if not (pretrained and config.pretrained):
        return fresh
    weights = config.pretrained.replace("{backbone}", network.backbone)
    loaded, report = load_with_report(network.backbone, weights, len(network.classes))
    _tell_once(str(report))
    return transfer(loaded, fresh, "all", network.spec)[0]


@functools.lru_cache(maxsize=64)
def _tell_once(sentence: str) -> None:
    _LOG.info("%s", sentence)


def refuse_weights_of_these_photos(
    config: TrainingConfig | FeatureOptions, data: PhotoSet | PreparedPhotos
) -> None:
    """Refuses pretrained weights of a run on some of the same photos: it has seen cases that are held out here.

    Photos are the same by name, case and size in bytes, whatever their labels.

    Args:
      config: The study's options.
      data: The photos.

    Raises:
      ValueError: The weights lie in the folder of such a run.
    """
    if not config.pretrained:
        return
    names = registry.list_models() if "{backbone}" in config.pretrained else ("",)
    folders = {
        folder
        for name in names
        for folder in packages.folders_of(config.pretrained.replace("{backbone}", name))
    }
    for folder in sorted(folders):
        if same := len(data.identities() & _seen(folder)):
            raise ValueError(
                f"pretrained={config.pretrained} is of the run in {folder}, which trained on {same:,} of these photos: "
                "it has seen cases that are to be held out here"
            )


def refuse_one_class(labels: np.ndarray) -> None:
    """Refuses photos of a single class, of which nothing can be learned.

    Args:
      labels: str[N], the class of each photo.

    Raises:
      ValueError: They are of one class.
    """
    if len(found := pd.unique(labels)) == 1:
        raise ValueError(f"photos must be of two classes at least, got {found[0]!r} alone")


def case_folds(config: FoldsConfig, data: PhotoSet | PreparedPhotos, epochs: int) -> np.ndarray:
    """Divides photos into folds of whole cases, having checked that every fold can be trained.

    Args:
      config: The study's options.
      data: The photos, decoded or, for the check alone, not yet.
      epochs: The fewest that a network is trained.

    Returns:
      int[N], the fold of each photo.

    Raises:
      ValueError: Too few cases, photos or classes for the options, or weights that have seen them.
    """
    refuse_one_class(data.labels_by_name)
    refuse_weights_of_these_photos(config, data)
    if "split" in data.frame and isinstance(data, PreparedPhotos):
        _LOG.warning("the manifest's column split is not used: photos are divided by case into folds")
    fold_of = split.kfold_by_case(data.labels, data.cases, config.folds, config.seed)
    photo_count = int(len(fold_of) - np.bincount(fold_of).max())
    config.recipe(config.updates(epochs, photo_count))
    return fold_of


def chosen_folds(config: FoldsConfig) -> Sequence[int]:
    """Returns the folds that this process trains.

    Args:
      config: The study's options, with `fold`.
    """
    fold = getattr(config, "fold", -1)
    return range(config.folds) if fold < 0 else [fold]


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Common settings of the networks of a run.

    Attributes:
      config: The study's options.
      folder: Of the run.
      log: Of the run.
      course: How far the run is on its way; None where nobody asks.
    """

    config: TrainingConfig
    folder: RunFolder
    log: MetricsLog
    course: Course | None = None

    def train(
        self,
        network: Network,
        variables: dict[str, Any],
        data: PreparedPhotos,
        labels: np.ndarray,
        train: np.ndarray,
        held_out: np.ndarray,
        title: str,
        epochs: int,
        *,
        validation: np.ndarray | None = None,
        seed: int | None = None,
        class_balance: ClassBalance | None = None,
    ) -> Fitted:
        """Trains a network, showing and recording its progress; one that is finished is read, and predicts anew.

        Args:
          network: The network.
          variables: What it starts from.
          data: All photos.
          labels: int32[N], their classes at the network's level.
          train: bool[N], the photos that are trained on.
          held_out: bool[N], the photos that are predicted.
          title: For the progress line.
          epochs: Passes over the training photos.
          validation: bool[N], photos that neither are trained on nor held out, by which `choose_by` chooses the
            epoch; None sets `validation_fraction` of the training cases apart.
          seed: Of the data order and of all that is drawn; None takes the network's own. Networks of one seed see the
            same photos in the same order.
          class_balance: Of this network; None takes the options'.

        Returns:
          The trained network, with logits of the held-out photos.

        Raises:
          ValueError: The loss is no longer a number, or a setting does not fit.
          StoppedError: The process was asked to end, and the state is saved.
        """
        config = self.config
        seed = seed_of(config, network.stage, network.fold) if seed is None else seed
        if validation is None:
            # Of one fold the same cases for every network, as one may start from another.
            validation_seed = seed_of(config, "validation", network.fold)
            train, validation = _set_apart(train, data, config.validation_fraction, validation_seed)
        train_photos, held_out_photos, validation_photos = (
            subset(data, chosen, labels, network, training=chosen is train) if chosen.any() else None
            for chosen in (train, held_out, validation)
        )
        assert train_photos is not None
        assert held_out_photos is not None
        settings = config.settings(seed, epochs, len(train_photos))
        if class_balance is not None:
            settings = dataclasses.replace(settings, class_balance=class_balance, prior_adjustment=0.0)
        steps = config.updates(epochs, len(train_photos))
        network = dataclasses.replace(network, steps=steps)
        recipe = config.recipe(steps)
        name = f"{network.stage} of fold {network.fold + 1}"
        processes.first_alone(name, lambda: self.folder.write_network(network))

        def record(history: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
            if processes.is_first():
                self.log.record(network.stage, network.fold, history, new)

        course = self.course or Course([steps * settings.batch_size])
        title = course.begin(title)

        def show(done: int, total: int, note: str) -> None:
            if note == RESUMED:  # said at once, as a fast run would hide it behind its first epoch
                progress.wait(note if done >= total else f"{note}, compiling", done)
            elif done:  # speed counts from the first update on, which pays for the compilation
                progress.update(done, ", ".join(filter(None, (course.update(done), note))))

        with (
            Progress(title, steps * settings.batch_size, stream=processes.progress_stream()) as progress,
            processes.Termination() as termination,
        ):
            progress.wait("compiling")
            try:
                fitted = fit(
                    network.model(),
                    network.spec,
                    variables,
                    train_photos,
                    held_out_photos,
                    recipe,
                    settings,
                    self.folder.checkpoints(network),
                    validation=validation_photos,
                    on_step=show,
                    on_epoch=record,
                    should_stop=termination,
                )
            except TrainingError as error:
                names = ", ".join(data.frame["image"].iloc[error.photos])
                raise ValueError(f"{title}: {error}; its photos: {names}") from error
        course.end(steps * settings.batch_size)
        self._warn_of_chance(title, train_photos.labels, settings, fitted)
        if config.test_time_augmentation == "none":
            return fitted
        return dataclasses.replace(fitted, logits=predict(config, network, fitted, held_out_photos))

    def _warn_of_chance(self, title: str, labels: np.ndarray, settings: Settings, fitted: Fitted) -> None:
        """Warns of a network whose training loss is that of chance, and notes it in the run's folder."""
        losses = [row["loss"] for row in fitted.history if row["split"] == "train"]
        weights = class_weights(labels, int(labels.max()) + 1, settings)
        evenly = settings.class_balance == "sampling"
        if (
            self.config.smoke
            or not losses
            or not is_chance(labels, losses[-1], weights, sampled_evenly=evenly)
        ):
            return
        text = (
            f"The network {title} has learnt next to nothing: its loss on the training photos, {losses[-1]:.2f}, is "
            "that of answering every photo alike; give more --epochs, another "
            "--learning_rate, or --preset=laptop, which starts from ImageNet weights."
        )
        _LOG.warning("%s", text)
        if processes.is_first():
            self.folder.remark(text)


def subset(
    data: PreparedPhotos,
    chosen: np.ndarray,
    labels: np.ndarray | None = None,
    network: Network | None = None,
    *,
    training: bool = False,
) -> Subset:
    """Returns chosen photos for a network.

    Args:
      data: All photos.
      chosen: bool[N].
      labels: int[N], their classes; None for those of the finest level.
      network: Whose columns come with them; None for photos alone.
      training: Whether these are the photos that it is trained on.
    """
    labels = data.labels if labels is None else labels
    rows = np.flatnonzero(chosen)
    photos = Subset(data.prepared.source, rows, labels[chosen].astype(np.int32))
    if network is None or network.columns is None:
        return photos
    fill = np.random.default_rng(network.fold) if training else None
    (encoded,) = network.table(data.frame.iloc[rows], len(rows), fill)
    table = np.zeros((len(data), encoded.shape[1]), np.float32)
    table[rows] = encoded
    return dataclasses.replace(photos, table=table)


def predict(config: TrainingConfig, network: Network, fitted: Fitted, photos: Subset) -> np.ndarray:
    """Returns the logits of photos, with the options' test-time augmentation.

    Args:
      config: The study's options.
      network: The network.
      fitted: Its variables.
      photos: n photos.

    Returns:
      float32[n, K].
    """
    settings = config.settings(0, 1, config.batch_size)
    transforms = {"none": (), "flips": FLIPS, "dihedral": DIHEDRAL}[config.test_time_augmentation]
    if transforms:
        return _mean_logits(network, fitted, photos, settings, transforms)
    return predict_logits(
        network.model(), network.spec, fitted.variables, photos, settings.batch_size, settings.threads
    )


def predictions_of(
    data: PreparedPhotos,
    chosen: np.ndarray,
    logits: np.ndarray,
    fold: int = 0,
    coarser: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Returns the predictions file's rows of photos.

    Args:
      data: All photos.
      chosen: bool[N], those that were predicted.
      logits: float32[n, K] of the taxonomy's finest level, one row per chosen photo.
      fold: Whose test part they are.
      coarser: Likewise of coarser levels' own networks, by level.
    """
    frame = data.frame[chosen]
    return predictions.from_arrays(
        frame["image"],
        frame["case_id"],
        frame["label"],
        fold,
        jax.nn.softmax(logits),
        data.taxonomy,
        coarser={level: jax.nn.softmax(values) for level, values in (coarser or {}).items()},
        extra=frame,
    )


def _seen(folder: Path) -> frozenset[str]:
    return RunFolder(folder, "").photos_seen


@dataclasses.dataclass(frozen=True)
class _Transformed:
    """A source of photos, each mirrored or turned."""

    source: Any
    transform: Symmetry

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.transform(self.source[index]["image"][None])[0]}


def _mean_logits(
    network: Network, fitted: Fitted, photos: Subset, settings: Settings, transforms: Sequence[Symmetry]
) -> np.ndarray:
    """Returns the logarithm of the mean probability of each photo over the transforms, float32[n, K]."""
    total = np.zeros((len(photos), fitted.logits.shape[1]))
    for transform in transforms:
        subset = dataclasses.replace(photos, source=_Transformed(photos.source, transform))
        logits = predict_logits(
            network.model(), network.spec, fitted.variables, subset, settings.batch_size, settings.threads
        )
        total += np.asarray(jax.nn.softmax(logits), np.float64)
    return np.log(np.maximum(total / len(transforms), np.finfo(np.float32).tiny)).astype(np.float32)


def _set_apart(
    train: np.ndarray, data: PreparedPhotos, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the photos that are trained on by case into those that are and those for validation, bool[N] each."""
    if not share:
        return train, np.zeros_like(train)
    part = split.split_by_case(data.labels[train], data.cases[train], (1 - share, share), seed)
    validation = np.zeros_like(train)
    validation[np.flatnonzero(train)[part == 1]] = True
    return train & ~validation, validation
