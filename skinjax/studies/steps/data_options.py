"""The options of photos and of running, which every study has; imports nothing that trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from skinjax.data.column_names import ColumnNames, as_entries
from skinjax.data.pipeline.prepare import Fit
from skinjax.runs.options import Options, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedPhotosOptions(Options):
    """Options that name photos and their labels."""

    group: ClassVar[str] = "photos"

    manifest: str = option(
        "",
        "Table of the photos (CSV, Excel or Parquet) with columns image (path relative to the table), "
        "label and case_id, e.g. mine/manifest.csv. Without it and --dataset: "
        "built-in photos (evaluate: the stored predictions).",
        path=True,
        free=True,
    )
    map: tuple[str, ...] = option(
        (),
        "Names that these columns have in the table, as ours=theirs, e.g. "
        'image=Filename,label=Diagnosis,case_id="Patient ID".',
        free=True,  # what is read counts, and a run knows its photos, labels and cases
    )
    dataset: str = option(
        "",
        "Public data set, read as its publisher ships it, in place of --manifest: pad_ufes_20, "
        "ham10000, fitzpatrick17k, isic2019, or folders for a folder per class.",
    )
    source: str = option(
        "",
        "Folder of --dataset, or of the photos of --manifest where they are not beside the table.",
        path=True,
        free=True,
    )
    taxonomy: str = option(
        "",
        "Classes and their levels: a CSV with a column per level, coarsest first, or a name of the "
        "catalogue, e.g. ham10000. Default: that of --dataset, else one level with the labels of the table.",
        path=True,
    )

    def __post_init__(self) -> None:
        entries = as_entries(self.map) if isinstance(self.map, Mapping | list | tuple) else self.map
        object.__setattr__(self, "map", entries)
        super().__post_init__()
        ColumnNames.of(self.map)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions(NamedPhotosOptions):
    """Options of the photos and their labels, as studies that train have them."""

    group: ClassVar[str] = "photos"

    synthetic_cases: int = option(
        12,
        "Cases per class of the built-in rendered photos, which are used where no photos are given.",
        low=2,
        smoke=4,
    )
    audit: bool = option(
        True, "Check the photos for damage, duplicates and leakage before a run's first training.", free=True
    )
    threads: int = option(2, "Threads that read and decode photos.", low=1, free=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationOptions(SourceOptions):
    """Options of decoding and keeping photos."""

    group: ClassVar[str] = "photos"

    prepared: str = option(
        "",
        "Folder of decoded photos, which several runs may share. Default: <workdir>/prepared.",
        path=True,
        free=True,
    )
    image_size: int = option(
        0,
        "Side of the square photos that the network sees, in pixels, e.g. 224. 0: the size the "
        "backbone was designed for.",
        low=0,
        smoke=64,
    )
    fit: Fit = option(
        "stretch", "How a photo becomes square: stretch its sides, crop its middle, or pad the shorter side."
    )
    max_bad_fraction: float = option(
        0.01,
        "Largest share of unreadable photos, in [0, 1], that a run leaves out and names; with more it stops.",
        low=0,
        high=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Options of a study as a whole."""

    group: ClassVar[str] = "running"

    seed: int = option(
        0,
        "Seed of everything random: folds, initial weights, order of the photos, augmentation, "
        "bootstrap and the built-in photos. The same seed gives the same result on a CPU.",
        low=0,
    )
    smoke: bool = option(
        False,
        "Run the whole study on tiny settings in about a minute, as a trial. Flags typed on the "
        "command line keep their values, those of a flagfile do not. In Python: Config(...).shrunk().",
    )
