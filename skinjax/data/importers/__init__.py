"""Importers: a public data set, in the files its publisher ships, or a tree of folders, into a manifest.

    frame, report = import_dataset("ham10000", "downloads/HAM10000")
    print(report.text())

An importer reads what is there and changes nothing. Rows whose photo is not there are left out of the
manifest and listed in the report, whose counts stand beside the publisher's own (`third_party/labels.md`
cites them): a part of a data set is imported, and said to be a part.

| name | labels from | case | folders of photos |
|---|---|---|---|
| `pad_ufes_20` | `metadata.csv` | patient | `imgs_part_1` to `imgs_part_3`, `images` |
| `ham10000` | `HAM10000_metadata.csv` | lesion | `HAM10000_images_part_1`, `..._part_2`, `images` |
| `fitzpatrick17k` | `fitzpatrick17k.csv` | none published | `images`, `finalfitz17k` |
| `isic2019` | `ISIC_2019_Training_GroundTruth.csv` | lesion | `ISIC_2019_Training_Input`, `images` |
| `folders` | names of the folders | none | all |

Where none of a set's folders is there, its photos are looked for everywhere below the source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.importers import folders, published
from skinjax.data.importers.report import CountCheck, ImportReport, MissingPhoto

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASETS", "CountCheck", "ImportReport", "MissingPhoto", "import_dataset"]

_IMPORTERS = {
    "pad_ufes_20": published.import_pad_ufes_20,
    "ham10000": published.import_ham10000,
    "fitzpatrick17k": published.import_fitzpatrick17k,
    "isic2019": published.import_isic2019,
    "folders": folders.import_folders,
}

DATASETS = tuple(_IMPORTERS)
"""Names that `import_dataset` knows."""


def import_dataset(name: str, source: str | Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads a data set as its publisher ships it.

    Args:
      name: One of `DATASETS`.
      source: The folder that holds its files.

    Returns:
      The manifest frame (`skinjax.data.manifest`), with `image` relative to `source` and only photos that are
      there, and the report on what was found and what is missing. With no photo there, the frame is empty.

    Raises:
      ValueError: If the name or the folder is unknown, the table with the labels is not there or lacks a
        column, or it holds a label that the data set's taxonomy does not know.
    """
    if name not in _IMPORTERS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(f"source of {name} must be a folder, got {str(source)!r}")
    return _IMPORTERS[name](folder)
