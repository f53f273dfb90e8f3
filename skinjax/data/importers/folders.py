"""Importer of a plain tree of folders, one folder per class."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.images.listing import list_photos
from skinjax.data.importers.report import ImportReport
from skinjax.data.manifest import as_manifest
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_LEVELS = {1: ("class",), 2: ("meta", "sub")}


def import_folders(source: Path) -> tuple[pd.DataFrame, ImportReport]:
    """Labels photos by the folder they are in.

    `psoriasis/1.jpg` gives a flat taxonomy with the level `class`; `inflammatory/psoriasis/1.jpg` one with
    the levels `meta` and `sub`; deeper trees have levels `level_1`, `level_2`, ... Where every folder at the
    top is called train, validation (val, valid) or test, that is the split and the classes begin below it.

    Args:
      source: The folder at the top.

    Returns:
      The manifest, without case ids, and the report, whose `taxonomy` is the one that the folders form.

    Raises:
      ValueError: There is no photo in a folder, classes lie at different depths, or they are no taxonomy
        (one class name in two folders).
    """
    import pandas as pd

    listing = list_photos(source)
    paths = listing.photos
    parts = [path.split("/")[:-1] for path in paths]
    loose = sum(not folders for folders in parts)
    labelled = [(path, folders) for path, folders in zip(paths, parts, strict=True) if folders]
    if not labelled:
        raise ValueError(
            f"source must hold photos in folders named after classes, got {source}, where {loose} lie in no folder"
            + "".join(f"; {sentence.removesuffix('.')}" for sentence in listing.told())
        )
    split = all(len(folders) > 1 and folders[0].lower() in _SPLITS for _, folders in labelled)
    classes = [tuple(folders[1:] if split else folders) for _, folders in labelled]
    depths = Counter(map(len, classes))
    if len(depths) > 1:
        examples = {len(path): path for path in reversed(classes)}
        shown = " and ".join(repr("/".join(examples[depth])) for depth in sorted(examples))
        raise ValueError(
            f"source must hold photos in folders of one depth, got {source} with some such as {shown}"
        )
    depth = next(iter(depths))
    levels = _LEVELS.get(depth, tuple(f"level_{i + 1}" for i in range(depth)))
    tree = tuple(sorted(set(classes)))
    try:
        taxonomy = Taxonomy(source.resolve().name or "folders", levels, tree)
    except ValueError as error:
        raise ValueError(f"source must have folders that form a taxonomy, got {source} ({error})") from error
    frame = pd.DataFrame({"image": [path for path, _ in labelled], "label": [path[-1] for path in classes]})
    if split:
        frame["split"] = [_SPLITS[folders[0].lower()] for _, folders in labelled]
    notes = ["no case ids: clusters of near-duplicates must stand in for cases."]
    if loose:
        notes.append(f"{loose} photos lie in no folder and were left out.")
    for sentence in listing.told():
        _LOG.warning("%s: %s", source, sentence)
        notes.append(sentence)
    manifest = as_manifest(frame.assign(source=taxonomy.name), taxonomy)
    return manifest, ImportReport("folders", taxonomy, len(paths), len(manifest), None, notes=tuple(notes))
