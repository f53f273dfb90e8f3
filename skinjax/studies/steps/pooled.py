"""Averaged features of a study's photos, in parts that a stopped run goes on from."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from skinjax.data.features import Features
from skinjax.data.photo_set import PreparedPhotos
from skinjax.data.pipeline.loader import Subset
from skinjax.files.atomic import replacing
from skinjax.files.progress import Progress
from skinjax.models import registry
from skinjax.models.pretrained import load_pretrained
from skinjax.predict.features import pooled_features
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps.options import FeatureOptions
from skinjax.train.loop import StoppedError

PART = 1024
"""Photos per stored part."""


def weights(config: FeatureOptions, seed: int) -> dict[str, Any]:
    """Returns the variables of the network: of `pretrained`, or random; the head has one output and says nothing.

    Args:
      config: The study's options.
      seed: Of random weights.

    Raises:
      ValueError: The backbone is not in the registry, has no named features, or the weights do not fit.
    """
    spec = registry.spec(config.backbone)
    model = registry.create(config.backbone, 1)
    if not registry.feature_maps(model, spec):
        raise ValueError(f"backbone={config.backbone} must have named features, and gives logits alone")
    if config.pretrained:
        return load_pretrained(config.backbone, config.pretrained, 1)
    return registry.init_variables(model, jax.random.key(seed))


def features_of(
    config: FeatureOptions, data: PreparedPhotos, folder: RunFolder, variables: dict[str, Any], threads: int
) -> Features:
    """Computes the features of all photos, or reads those that this run computed before.

    Args:
      config: The study's options.
      data: The photos.
      folder: Of the run, which has begun (`skinjax.studies.steps.inputs.begin`) with these photos and options.
      variables: Of the network.
      threads: Threads that read photos.
    """
    place = folder.path / "features"
    if processes.is_first():
        place.mkdir(exist_ok=True)
    parts = []
    with (
        Progress("features", len(data), stream=processes.progress_stream()) as progress,
        processes.Termination() as termination,
    ):
        for number, first in enumerate(range(0, len(data), PART)):
            rows = np.arange(first, min(first + PART, len(data)))
            file = place / f"part_{number:04d}.npy"
            if file.exists():
                parts.append(np.load(file))
            else:
                photos = Subset(data.prepared.source, rows, data.labels[rows].astype(np.int32))
                parts.append(
                    pooled_features(
                        config.backbone, variables, photos, precision=config.precision,
                        batch_size=config.batch_size, threads=threads,
                    )
                )  # fmt: skip
                if processes.is_first():
                    with replacing(file) as temporary, open(temporary, "wb") as stream:
                        np.save(stream, parts[-1])
            progress.update(int(rows[-1]) + 1)
            if termination(0):
                raise StoppedError(
                    f"stopped after {rows[-1] + 1:,} of {len(data):,} photos, whose features are kept"
                )
    options = folder.options
    network = {
        name: options[name] for name in ("backbone", "pretrained", "fit", "precision") if name in options
    }
    return Features(
        data.frame,
        np.concatenate(parts),
        data.taxonomy,
        network
        | {
            "image_size": data.prepared.image_size,
            "seed": options.get("seed", 0),
            "weights": digest(variables, config.backbone),
        },
    )


def digest(variables: dict[str, Any], backbone: str) -> str:
    """Identifies a network's weights, its head aside.

    Args:
      variables: Of the network.
      backbone: Its name in the registry.
    """
    found, head = hashlib.sha256(), registry.spec(backbone).head
    flat = traverse_util.flatten_dict(variables, sep="/")
    for name in sorted(name for name in flat if name.split("/")[1] != head):
        found.update(name.encode())
        found.update(np.ascontiguousarray(flat[name], np.float32).tobytes())
    return found.hexdigest()[:16]
