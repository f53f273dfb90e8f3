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

A data set of one's own is a function from its folder to a manifest and a report, which `register_dataset` gives a name:

    def import_clinic(source: Path) -> tuple[pd.DataFrame, ImportReport]:
        table = read_table(source / "clinic.csv").frame                    # columns of text, checked
        taxonomy = load_taxonomy(source / "classes.csv")
        frame = table.rename(columns={"file": "image", "diagnosis": "label", "patient": "case_id"})
        there = [(source / name).is_file() for name in frame["image"]]     # relative to the source
        manifest = as_manifest(frame[there].assign(source="clinic"), taxonomy)
        report = ImportReport("clinic", taxonomy, len(frame), len(manifest), manifest["case_id"].nunique())
        return manifest, report

    register_dataset("clinic", import_clinic)

`case_id` is what no split may cut: the patient where that is known, else the lesion. Columns that give the label away,
such as how it was confirmed, are kept and named in the report's `notes`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.importers import folders, published
from skinjax.data.importers.report import CountCheck, ImportReport, MissingPhoto

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CountCheck",
    "ImportReport",
    "MissingPhoto",
    "import_dataset",
    "list_datasets",
    "register_dataset",
]

Importer = Callable[[Path], "tuple[pd.DataFrame, ImportReport]"]
"""Reads the folder of a data set; the manifest's `image` is relative to it."""

_IMPORTERS: dict[str, Importer] = {
    "pad_ufes_20": published.import_pad_ufes_20,
    "ham10000": published.import_ham10000,
    "fitzpatrick17k": published.import_fitzpatrick17k,
    "isic2019": published.import_isic2019,
    "folders": folders.import_folders,
}


def list_datasets() -> tuple[str, ...]:
    """Returns the names that `import_dataset` takes.

    Example:
      >>> list_datasets()[:2]
      ('pad_ufes_20', 'ham10000')
    """
    return tuple(_IMPORTERS)


def register_dataset(name: str, importer: Importer) -> None:
    """Adds a data set, which every study of this process then takes by name.

    Args:
      name: Name that no other data set has.
      importer: Function from the folder with the data set's files to a manifest (`skinjax.data.manifest.as_manifest`)
        and a report. It raises ValueError where the folder does not hold what it needs.

    Raises:
      ValueError: The name is empty or taken.
    """
    if not name or name in _IMPORTERS:
        raise ValueError(f"name must be none of {', '.join(_IMPORTERS)} and not empty, got {name!r}")
    _IMPORTERS[name] = importer


def import_dataset(name: str, source: str | Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads a data set as its publisher ships it.

    Args:
      name: One of `list_datasets()`.
      source: Folder that holds its files.

    Returns:
      The manifest frame (`skinjax.data.manifest`), with `image` relative to `source` and only photos that are
      there, and the report on what was found and what is missing. With no photo there, the frame is empty.

    Raises:
      ValueError: The name or the folder is unknown, the table with the labels is not there or lacks a
        column, or it holds a label that the data set's taxonomy does not know.
    """
    if name not in _IMPORTERS:
        raise ValueError(f"dataset must be one of {', '.join(_IMPORTERS)}, got {name!r}")
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(f"source of {name} must be a folder, got {str(source)!r}")
    return _IMPORTERS[name](folder)
