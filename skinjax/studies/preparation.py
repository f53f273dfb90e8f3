"""Decodes photos once into prepared ArrayRecords (thesis, chapter 2). Other studies do this by themselves.

    skinjax prepare_data --manifest=photos/manifest.csv --image_size=224 --prepared=prepared/224
    skinjax prepare_data --smoke

Give the same --prepared, --image_size and --fit to the studies that are to share it. Rate:
benchmarks/results/ground.md.
"""

from __future__ import annotations

import dataclasses
import os

from skinjax.data.photo_set import PhotoSet
from skinjax.runs.folder import RunFolder
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions

NAME = "preparation"
DEFAULT_SIZE = 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PreparationOptions, RunOptions):
    """Options of the preparation."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Number of decoded photos, and their folder, as `headline`."""


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Decodes photos.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder that built-in photos, and photos without a place named for them, are written to.

    Returns:
      How many, and where.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    with RunFolder.open(workdir, NAME, config) as folder:
        read = inputs.photos_of(photos, config, folder)
        data = inputs.prepared(read, config, folder, config.image_size or DEFAULT_SIZE)
        place = folder.prepared(config)
        told = f"{len(data)} photos prepared in {place}, {len(data.prepared.bad)} left out"
        return Result(NAME, folder.path, (told,))
