"""Training one network of one fold from the flags, as several experiments do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import flags as shared
from experiments.inputs import Photos
from skinjax.data.loader import Subset
from skinjax.models import registry
from skinjax.models.pretrained import load_pretrained
from skinjax.train.log import MetricsLog
from skinjax.train.loop import Fitted, fit
from skinjax.train.network import Network
from skinjax.train.progress import Progress


def image_size() -> int:
    """Returns the side of the photos in pixels, from the flags or the backbone."""
    return flags.FLAGS.image_size or registry.spec(flags.FLAGS.backbone).image_size


def seed_of(stage: str, fold: int) -> int:
    """Returns a seed of its own for a network, from --seed, its stage and its fold."""
    words = [flags.FLAGS.seed, fold, *stage.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def network(stage: str, fold: int, level: str, classes: tuple[str, ...]) -> Network:
    """Returns the description of a network, from the flags."""
    values = flags.FLAGS
    return Network(
        stage=stage,
        fold=fold,
        backbone=values.backbone,
        level=level,
        classes=classes,
        image_size=image_size(),
        precision=values.precision,
        bn_momentum=values.batch_norm_momentum,
        drop_path_rate=values.drop_path_rate,
    )


def start_variables(described: Network) -> dict[str, Any]:
    """Returns what a network starts from: the weights of --pretrained with a new head, or random ones."""
    if flags.FLAGS.pretrained:
        return load_pretrained(described.backbone, flags.FLAGS.pretrained, len(described.classes))
    key = jax.random.key(seed_of(described.stage, described.fold))
    return registry.init_variables(described.model(), key)


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
) -> Fitted:
    """Trains a network, showing and recording its progress.

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

    Returns:
      The trained network, with logits of the held-out photos.
    """
    described.write(workdir)
    train_photos, held_out_photos = (
        Subset(data.prepared.source, np.flatnonzero(chosen), labels[chosen]) for chosen in (train, held_out)
    )
    settings = shared.settings(seed_of(described.stage, described.fold), epochs)
    with Progress(
        title, epochs * (len(train_photos) // settings.batch_size) * settings.batch_size
    ) as progress:
        return fit(
            described.model(),
            described.spec,
            variables,
            train_photos,
            held_out_photos,
            shared.recipe(),
            settings,
            described.folder(workdir),
            on_step=lambda done, total, note: progress.update(done, note),
            on_epoch=lambda history, new: log.record(described.stage, described.fold, history, new),
        )
