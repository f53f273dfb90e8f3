"""Page of photos under the augmentation of a training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from skinjax.report.blocks import Block, Column, Heading, Section, Table, Text, Tile, Tiles
from skinjax.report.figures.thumbnails import data_uri
from skinjax.report.study_page import write_study

_MEANINGS = {
    "hsv_h": "largest shift of the hue, as a share of the colour circle",
    "hsv_s": "largest change of the saturation, as a share",
    "hsv_v": "largest change of the brightness, as a share",
    "rotation": "largest rotation either way, in degrees",
    "translation": "largest shift, as a share of the side",
    "scale": "largest zoom in or out, as a share",
    "shear": "largest shear either way, in degrees",
    "flip_horizontal": "probability of mirroring left to right",
    "flip_vertical": "probability of mirroring top to bottom",
    "cutout": "probability of erasing each of two rectangles",
    "cutout_size": "longest side of an erased rectangle, as a share of the photo's side",
}


def write_preview(
    folder: str | os.PathLike[str],
    *,
    names: Sequence[str],
    labels: Sequence[str],
    photos: Sequence[Image.Image],
    versions: Sequence[Sequence[Image.Image]],
    strengths: Mapping[str, float],
    size: int,
    config: Mapping[str, Any],
    notes: Sequence[str] = (),
    synthetic: bool = False,
) -> Path:
    """Writes the page.

    Args:
      folder: Where to write; made if missing.
      names: Path of each photo.
      labels: Title of each photo's class.
      photos: Each as the network is fed it without augmentation.
      versions: Augmented versions of each.
      strengths: Strength of each augmentation by name.
      size: Side of the photos in pixels.
      config: The options, shown last.
      notes: Sentences to be read beside the page.
      synthetic: Whether the photos are rendered.

    Returns:
      The path of `index.html`.
    """
    blocks: list[Block] = []
    for name, label, photo, drawn in zip(names, labels, photos, versions, strict=True):
        tiles = [Tile("as it is", "", data_uri(photo))]
        tiles += [Tile(f"version {number}", "", data_uri(one)) for number, one in enumerate(drawn, 1)]
        blocks += [Heading(f"{label}: {name}"), Tiles(tuple(tiles))]
    words = (
        f"Square and at {size} pixels, as a network is fed them. Every pass over the photos draws "
        "another version of each; photos that are predicted are as they are."
    )
    count = f"{len(names)} photo{'s' * (len(names) != 1)}"
    answer = f"{count} beside {len(versions[0])} versions each that training may draw."
    return write_study(
        folder,
        title="Preview of the augmentation",
        answer=[answer],
        sections=[Section("photos", "Photos", (Text(words), *blocks)), _strengths(strengths)],
        notes=notes,
        config={**config, "synthetic": synthetic},
    )


def _strengths(strengths: Mapping[str, float]) -> Section:
    table = pd.DataFrame(
        [(name, value, _MEANINGS[name]) for name, value in strengths.items()],
        columns=["flag", "value", "meaning"],
    )
    columns = (
        Column("Flag", [f"--{name}" for name in table["flag"]]),
        Column("Value", [f"{value:g}" for value in table["value"]], number=True),
        Column("Meaning", list(table["meaning"])),
    )
    return Section("strengths", "Strengths", (Table("strengths", table, columns),))
