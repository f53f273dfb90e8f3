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
        "CSV, Excel or Parquet file with columns image, label and case_id; photos lie beside it.",
        path=True,
        free=True,
    )
    map: tuple[str, ...] = option(
        (),
        'The table\'s own names of these columns, as image=Filename,label=Diagnosis,case_id="Patient ID".',
        free=True,  # what is read counts, and a run knows its photos, labels and cases
    )
    dataset: str = option("", "Public data set as its publisher ships it, or folders; instead of --manifest.")
    source: str = option(
        "",
        "Folder of the --dataset, or of the --manifest's photos where they do not lie beside it.",
        path=True,
        free=True,
    )
    taxonomy: str = option(
        "", "Catalogue name or file of the classes. Default: the data set's own.", path=True
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
        "Cases per class in the built-in synthetic photos, which serve where no photos are given.",
        low=2,
        smoke=4,
    )
    audit: bool = option(True, "Audit the photos before the first training of a run.", free=True)
    threads: int = option(2, "Threads for reading and decoding photos.", low=1, free=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationOptions(SourceOptions):
    """Options of decoding and keeping photos."""

    group: ClassVar[str] = "photos"

    prepared: str = option("", "Folder of decoded photos. Default: <workdir>/prepared.", path=True, free=True)
    image_size: int = option(
        0, "Side of the square photos in pixels, e.g. 224. 0: the backbone's own.", low=0, smoke=64
    )
    fit: Fit = option("stretch", "How a photo becomes square.")
    max_bad_fraction: float = option(
        0.01, "Largest share of photos that may be unreadable; with more, the run stops.", low=0, high=1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Options of a study as a whole."""

    group: ClassVar[str] = "running"

    seed: int = option(
        0, "Seed of rendered photos, folds, initial weights, data order, augmentation and bootstrap.", low=0
    )
    smoke: bool = option(
        False,
        "Run everything on tiny settings, for a trial in about a minute; flags that are typed beside it keep their "
        "values, those of a flagfile do not. In Python: Config(...).shrunk().",
    )
