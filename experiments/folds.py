"""Training one network of one fold from the flags, as several experiments do."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import processes, training_flags
from experiments.inputs import PHOTOS_SEEN, Photos
from skinjax.data import predictions, split
from skinjax.data.loader import Subset, steps_per_epoch
from skinjax.models import registry
from skinjax.models.pretrained import load_pretrained
from skinjax.models.transfer import transfer
from skinjax.predict.augmented import DIHEDRAL, FLIPS, Symmetry
from skinjax.train.log import MetricsLog
from skinjax.train.loop import ClassBalance, Fitted, Settings, TrainingError, fit, predict_logits
from skinjax.train.network import Network
from skinjax.train.progress import Progress


def image_size(backbone: str = "") -> int:
    """Returns the side of the photos in pixels, from the flags or the backbone; --backbone's where none is named."""
    return flags.FLAGS.image_size or registry.spec(backbone or flags.FLAGS.backbone).image_size


def seed_of(stage: str, fold: int) -> int:
    """Returns a seed of its own for a network, from --seed, its stage and its fold."""
    words = [flags.FLAGS.seed, fold, *stage.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def check_flags(backbones: Sequence[str] = ()) -> None:
    """Finds what is wrong with the network's flags before any photo is read.

    Args:
      backbones: those that are trained; --backbone's where none is named.

    Raises:
      ValueError: an unknown backbone, a rate out of range, weights that do not fit, a fold that there is not.
    """
    values = flags.FLAGS
    if "fold" in values and values.fold >= values.folds:
        raise ValueError(f"--fold={values.fold} is not below --folds={values.folds}")
    if values.final_learning_rate <= 0 and "exponential" in values.learning_rate_decay:
        raise ValueError(
            f"--learning_rate_decay={values.learning_rate_decay} wants --final_learning_rate above 0"
        )
    training_flags.settings(0, 1, values.batch_size)
    if "parts" in values and values.validation_fraction:
        raise ValueError("--validation_fraction is not used here: --parts sets validation cases apart")
    if "parts" not in values and bool(values.choose_by) != bool(values.validation_fraction):
        raise ValueError("--choose_by and --validation_fraction want each other")
    if values.patience and not values.choose_by:
        raise ValueError(f"--patience={values.patience} wants --choose_by, the metric to wait for")
    for backbone in backbones or [values.backbone]:
        described = network("check", 0, "level", ("one", "other"), backbone)
        described.model()
        blocks = len(described.spec.block_names)
        if values.frozen_blocks > blocks:
            raise ValueError(
                f"--frozen_blocks={values.frozen_blocks} is more than the {blocks} blocks of {backbone}"
            )
        if values.pretrained:
            start_variables(described)


def network(stage: str, fold: int, level: str, classes: tuple[str, ...], backbone: str = "") -> Network:
    """Returns the description of a network, from the flags; of --backbone where none is named."""
    values = flags.FLAGS
    return Network(
        stage=stage,
        fold=fold,
        backbone=backbone or values.backbone,
        level=level,
        classes=classes,
        image_size=image_size(backbone),
        precision=values.precision,
        bn_momentum=values.batch_norm_momentum,
        drop_path_rate=values.drop_path_rate,
    )


def start_variables(described: Network, *, pretrained: bool = True) -> dict[str, Any]:
    """Returns what a network starts from: random weights, or those of --pretrained; the head is always new.

    Args:
      described: the network.
      pretrained: whether --pretrained counts, where it is given.
    """
    key = jax.random.key(seed_of(described.stage, described.fold))
    fresh = registry.init_variables(described.model(), key)
    if not (pretrained and flags.FLAGS.pretrained):
        return fresh
    weights = flags.FLAGS.pretrained.replace("{backbone}", described.backbone)
    loaded = load_pretrained(described.backbone, weights, len(described.classes))
    return transfer(loaded, fresh, "all", described.spec)[0]


def refuse_weights_of_these_photos(data: Photos) -> None:
    """Refuses --pretrained weights of a run on some of the same photos: it has seen cases that are held out here.

    Photos are the same by name, case and size in bytes, whatever their labels.

    Raises:
      ValueError: the weights lie in the folder of such a run.
    """
    pretrained = flags.FLAGS.pretrained
    names = registry.list_models() if "{backbone}" in pretrained else ("",)
    folders = {
        folder
        for name in (names if pretrained else ())
        for folder in Path(pretrained.replace("{backbone}", name)).absolute().parents
        if (folder / PHOTOS_SEEN).is_file()
    }
    for folder in sorted(folders):
        seen = (folder / PHOTOS_SEEN).read_text(encoding="utf-8", errors="replace").split()
        if same := len(data.identities() & set(seen)):
            raise ValueError(
                f"--pretrained={pretrained} is of the run in {folder}, which trained on {same:,} of these photos: "
                "it has seen cases that are to be held out here"
            )


def case_folds(data: Photos, epochs: int) -> np.ndarray:
    """Returns the fold of each photo, int[N], whole cases in one, having checked that every fold can be trained.

    Raises:
      ValueError: too few cases or photos for the flags, or weights that have seen them.
    """
    values = flags.FLAGS
    refuse_weights_of_these_photos(data)
    if "split" in data.frame:
        print(
            "the manifest's column split is not used: photos are divided by case into --folds",
            file=sys.stderr,
        )
    fold_of = split.kfold_by_case(data.labels, data.cases, values.folds, values.seed)
    photo_count = int(len(fold_of) - np.bincount(fold_of).max())
    training_flags.recipe(epochs * steps_per_epoch(photo_count, training_flags.batch_size(photo_count)))
    return fold_of


def train_network(
    described: Network,
    variables: dict[str, Any],
    data: Photos,
    labels: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    workdir: Path,
    log: MetricsLog,
    title: str,
    epochs: int,
    *,
    validation: np.ndarray | None = None,
    seed: int | None = None,
    class_balance: ClassBalance | None = None,
) -> Fitted:
    """Trains a network, showing and recording its progress.

    A network whose training is finished is read, and predicts anew.

    Args:
      described: the network.
      variables: what it starts from.
      data: all photos.
      labels: int32[N], their classes at the network's level.
      train: bool[N], the photos that are trained on.
      held_out: bool[N], the photos that are predicted.
      workdir: folder of the run.
      log: of the run.
      title: for the progress line.
      epochs: passes over the training photos.
      validation: bool[N], photos that neither are trained on nor held out, by which --choose_by chooses the epoch;
        None sets --validation_fraction of the training cases apart.
      seed: of the data order and of all that is drawn; None takes the network's own. Networks of one seed see the
        same photos in the same order.
      class_balance: of this network; None takes --class_balance.

    Returns:
      The trained network, with logits of the held-out photos.
    """
    seed = seed_of(described.stage, described.fold) if seed is None else seed
    if validation is None:
        # Of one fold the same cases for every network, as one may start from another.
        train, validation = _set_apart(train, data, seed_of("validation", described.fold))
    train_photos, held_out_photos, validation_photos = (
        Subset(data.prepared.source, np.flatnonzero(chosen), labels[chosen]) if chosen.any() else None
        for chosen in (train, held_out, validation)
    )
    assert train_photos is not None
    assert held_out_photos is not None
    settings = training_flags.settings(seed, epochs, len(train_photos))
    if class_balance is not None:
        settings = dataclasses.replace(settings, class_balance=class_balance)
    steps = epochs * steps_per_epoch(len(train_photos), settings.batch_size)
    described = dataclasses.replace(described, steps=steps)
    recipe = training_flags.recipe(steps)
    processes.first_alone(f"{described.stage} of fold {described.fold}", lambda: described.write(workdir))

    def record(history: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        if processes.is_first():
            log.record(described.stage, described.fold, history, new)

    total = steps * settings.batch_size
    with (
        Progress(title, total, stream=processes.progress_stream()) as progress,
        processes.Termination() as termination,
    ):
        try:
            fitted = fit(
                described.model(),
                described.spec,
                variables,
                train_photos,
                held_out_photos,
                recipe,
                settings,
                described.folder(workdir),
                validation=validation_photos,
                on_step=lambda done, total, note: progress.update(done, note),
                on_epoch=record,
                should_stop=termination,
            )
        except TrainingError as error:
            names = ", ".join(data.frame["image"].iloc[error.photos])
            raise ValueError(f"{title}: {error}; its photos: {names}") from error
    if flags.FLAGS.test_time_augmentation == "none":
        return fitted
    return dataclasses.replace(fitted, logits=predict(described, fitted, held_out_photos))


def predict(described: Network, fitted: Fitted, photos: Subset) -> np.ndarray:
    """Returns what a network says of photos, with --test_time_augmentation: logits float32[n, K]."""
    settings = training_flags.settings(0, 1, flags.FLAGS.batch_size)
    transforms = {"none": (), "flips": FLIPS, "dihedral": DIHEDRAL}[flags.FLAGS.test_time_augmentation]
    if transforms:
        return _mean_logits(described, fitted, photos, settings, transforms)
    return predict_logits(
        described.model(), described.spec, fitted.variables, photos, settings.batch_size, settings.threads
    )


def predictions_of(
    data: Photos,
    chosen: np.ndarray,
    logits: np.ndarray,
    fold: int = 0,
    coarser: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Returns the predictions file's rows of photos.

    Args:
      data: all photos.
      chosen: bool[N], those that were predicted.
      logits: float32[n, K] of the taxonomy's finest level, one row a chosen photo.
      fold: whose test part they are.
      coarser: likewise of coarser levels' own networks, by level.
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


@dataclasses.dataclass(frozen=True)
class _Transformed:
    """A source of photos, each mirrored or turned."""

    source: Any
    transform: Symmetry

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.transform(self.source[index]["image"][None])[0]}


def _mean_logits(
    described: Network, fitted: Fitted, photos: Subset, settings: Settings, transforms: Sequence[Symmetry]
) -> np.ndarray:
    """Returns the logarithm of the mean probability of each photo over the transforms, float32[n, K]."""
    total = np.zeros((len(photos), fitted.logits.shape[1]))
    for transform in transforms:
        subset = dataclasses.replace(photos, source=_Transformed(photos.source, transform))
        logits = predict_logits(
            described.model(), described.spec, fitted.variables, subset, settings.batch_size, settings.threads
        )
        total += np.asarray(jax.nn.softmax(logits), np.float64)
    return np.log(np.maximum(total / len(transforms), np.finfo(np.float32).tiny)).astype(np.float32)


def _set_apart(train: np.ndarray, data: Photos, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides the photos that are trained on by case into those that are and those for validation, bool[N] each."""
    share = flags.FLAGS.validation_fraction
    if not share:
        return train, np.zeros_like(train)
    part = split.split_by_case(data.labels[train], data.cases[train], (1 - share, share), seed)
    validation = np.zeros_like(train)
    validation[np.flatnonzero(train)[part == 1]] = True
    return train & ~validation, validation
