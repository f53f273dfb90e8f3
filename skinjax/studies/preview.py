"""Shows photos under the augmentation of a training, before it is trained (thesis, section 4.1 and Table 4-1).

    skinjax preview --manifest=mine/manifest.csv --taxonomy=mine/classes.csv --workdir=runs/look
    skinjax preview --flagfile=experiments/flagfiles/hierarchy.flags --dataset=pad_ufes_20 --source=PAD-UFES-20
    skinjax preview --manifest=... --rotation=0 --hsv_h=0.05          # a stronger change of colour, and no rotation
    skinjax preview --smoke

Takes the flags of `skinjax hierarchy` and the other trainings, so that their command line can be used as it is. The
page shows a few photos of every class as the network is fed them, square and at --image_size, each beside versions
that training may draw. Look for what a doctor would not accept: a colour that skin never has, or a lesion that has left
the picture.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinjax.augment import Strengths, augment
from skinjax.data.images import photos as images
from skinjax.data.photo_set import PhotoSet
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, networks
from skinjax.studies.steps.options import TrainingConfig

NAME = "preview"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Options of the preview: those of a training, and how much is shown."""

    group = "this study"

    shown: int = option(8, "Photos to show, spread over the classes.", low=1, high=100, free=True)
    versions: int = option(6, "Augmented versions of each photo.", low=1, high=20, free=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Number of photos that are shown, as `headline`, and the page as `report`."""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Writes a page of photos under the augmentation of the options.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder whose `preview/index.html` is written, made if missing.

    Returns:
      How many photos are shown, and the page.

    Raises:
      ValueError: Options, photos or the folder do not fit, or none of the photos can be read; the message names what
        was found and what must be.
    """
    with RunFolder.open(workdir, NAME, config) as folder:
        read = inputs.photos_of(photos, config, folder)
        size = networks.image_size(config)
        names, pixels = _decoded(read, config, size)
        key = jax.random.key(config.seed)
        versions = augmented_versions(key, pixels, config.strengths(), config.versions)
        from skinjax.report.preview_page import (
            write_preview,  # after the photos were read: this takes seconds to import
        )

        page = write_preview(
            folder.path / NAME,
            names=names,
            labels=[read.taxonomy.title(name) for name in _labels(read, names)],
            photos=[Image.fromarray(one) for one in pixels],
            versions=[[Image.fromarray(one) for one in of_photo] for of_photo in versions],
            strengths=config.strengths()._asdict(),
            size=size,
            config=config.to_dict(),
            notes=read.notes,
            synthetic=read.synthetic,
        )
        told = f"{len(names)} of {len(read):,} photos at {size} pixels, each with {config.versions} augmented versions"
        return Result(NAME, folder.path, (told,), report=page)


def augmented_versions(
    key: jax.Array, photos: NDArray[np.uint8], strengths: Strengths, count: int
) -> NDArray[np.uint8]:
    """Returns versions of photos as training may draw them.

    Args:
      key: A JAX random key.
      photos: uint8[N, H, W, 3].
      strengths: How much of each augmentation.
      count: V, versions of each photo.

    Returns:
      uint8[N, V, H, W, 3].

    >>> from skinjax.augment import NO_AUGMENTATION
    >>> photo = np.full((1, 8, 8, 3), 51, np.uint8)
    >>> augmented_versions(jax.random.key(0), photo, NO_AUGMENTATION, 2).shape
    (1, 2, 8, 8, 3)
    """
    draw = jax.jit(augment)
    drawn = [np.asarray(draw(one, jnp.asarray(photos), strengths)) for one in jax.random.split(key, count)]
    return np.round(255 * np.stack(drawn, axis=1)).astype(np.uint8)


def spread(labels: NDArray[np.integer], generator: np.random.Generator) -> NDArray[np.integer]:
    """Returns the numbers of photos in a random order that takes one of each class, then a second of each, and so on.

    Args:
      labels: int[N], their classes.
      generator: Draws the order.

    >>> spread(np.array([0, 0, 0, 1]), np.random.default_rng(0))[:2].tolist() in ([0, 3], [1, 3], [2, 3], [3, 0])
    True
    """
    order = generator.permutation(len(labels))
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        turn[labels[order] == label] = np.arange((labels == label).sum())
    return order[np.lexsort((labels[order], turn))]


def _decoded(read: PhotoSet, config: Config, size: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Returns the first photos of a spread over the classes that can be read, as a network is fed them."""
    order = spread(read.labels, np.random.default_rng(config.seed))
    fit = functools.partial(images.fit, mode=config.fit)
    names: list[str] = []
    pixels = []
    for name, one in _readable(read, order, size):
        names.append(name)
        pixels.append(fit(one, size))
        if len(names) == config.shown:
            break
    if not names:
        raise ValueError(f"photos of {read.root} must be readable, but none of {len(read):,} is")
    return names, np.stack(pixels)


def _readable(
    read: PhotoSet, order: NDArray[np.integer], size: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name in read.frame["image"].astype(str).to_numpy()[order]:
        try:
            yield name, images.decode(Path(read.root, name), target=size)
        except images.PhotoError as error:
            _LOG.warning("left out %s: %s", name, error.reason)


def _labels(read: PhotoSet, names: list[str]) -> list[str]:
    label = dict(zip(read.frame["image"].astype(str), read.frame["label"].astype(str), strict=True))
    return [label[name] for name in names]
