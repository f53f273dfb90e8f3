"""The photos that a reading kit is drawn from: held-out ones of a run, of anybody's predictions, or of a manifest."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.column_names import ColumnNames
from skinjax.data.manifest import known_cells, read_manifest
from skinjax.data.photo_paths import relative_paths
from skinjax.data.photo_set import PhotoSet, read_photos
from skinjax.data.prediction_checks import REQUIRED
from skinjax.data.prediction_columns import CLASS_COLUMN
from skinjax.data.predictions import read_taxonomy
from skinjax.data.spelling import alike_labels, as_classes, spelled
from skinjax.data.tables import TableError, empty_names, faulty_rows, missing_columns, read_table
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import targets

if TYPE_CHECKING:
    from skinjax.studies.reader_kit import Config

_SMOKE_TARGET = "melanoma"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class KitPhotos:
    """Photos to draw from.

    Attributes:
      frame: Columns `image`, `case_id` and `label`, a row per photo, sorted by image.
      root: Folder that the images start from.
      taxonomy: Of the labels.
      target: Class or classes of one level that readers are asked about.
      beside: Folder in which the kit's folder lies unless another is named.
      words: What the photos are, for people.
      back: Flags of `skinjax evaluate` that take the readers' answers, without the answers.
      synthetic: Whether the photos are rendered.
      notes: Sentences that whoever draws must read.
    """

    frame: pd.DataFrame
    root: Path
    taxonomy: Taxonomy
    target: tuple[str, ...]
    beside: Path
    words: str
    back: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Returns whether each photo shows the target."""
        return self.frame["label"].isin(targets.members("target", self.target, self.taxonomy)).to_numpy(bool)


def read(photos: PhotoSet | None, config: Config) -> KitPhotos:
    """Reads the photos that the options name.

    Args:
      photos: The photos; None takes those of the options.
      config: The options.

    Raises:
      ValueError: None or several sources are named, one cannot be read, or no target is known.
    """
    sources = [name for name in ("workdir", "predictions", "manifest", "dataset") if getattr(config, name)]
    if photos is None and len(sources) != 1 and not (config.smoke and not sources):
        given = ", ".join(f"{name}={getattr(config, name)}" for name in sources) or "none"
        raise ValueError(
            "one of workdir=RUN, predictions=FILE, manifest=FILE and dataset=NAME must name the photos to draw from, "
            f"got {given}"
        )
    if photos is not None:
        found = _of_set(photos, config)
    elif config.workdir:
        found = _of_run(config)
    elif config.predictions:
        found = _of_predictions(config)
    elif sources:
        found = _of_set(
            read_photos(
                config.manifest or None,
                dataset=config.dataset or None,
                source=config.source or None,
                taxonomy=config.taxonomy or None,
                map=config.map,
            ),
            config,
        )
    else:
        found = _rendered(config)
    targets.members("target", found.target, found.taxonomy)
    frame = found.frame[["image", "case_id", "label"]].sort_values("image", ignore_index=True)
    return dataclasses.replace(found, frame=frame)


def _of_run(config: Config) -> KitPhotos:
    run = RunFolder.read(config.workdir)
    file = next(iter(run.predictions.values()))
    taxonomy = load_taxonomy(config.taxonomy) if config.taxonomy else run.taxonomy
    stored = run.options.get("target") or ()
    target = config.target or ((stored,) if isinstance(stored, str) else tuple(stored))
    root = Path(config.photo_root) if config.photo_root else run.photo_root
    if root is None:
        raise ValueError(f"workdir={config.workdir} names photos that are not there; give photo_root=FOLDER")
    frame, _ = _table(file, taxonomy)
    return KitPhotos(
        frame, root, taxonomy, target, run.path, f"the {len(frame):,} held-out photos of {run.path}",
        f"--workdir={run.path}", run.synthetic,
    )  # fmt: skip


def _of_predictions(config: Config) -> KitPhotos:
    path = Path(config.predictions)
    named = load_taxonomy(config.taxonomy) if config.taxonomy else read_taxonomy(path)
    frame, taxonomy = _table(path, named, ColumnNames.of(config.map, config.prefix))
    root = Path(config.photo_root) if config.photo_root else path.parent
    words = f"the {len(frame):,} photos of {path}"
    alone = bool((frame["case_id"] == frame["image"]).all())
    notes: tuple[str, ...] = ("The table has no case_id: each photo counts as a case.",) if alone else ()
    notes += tuple(
        f"The labels {' and '.join(spelled(name, group) for name in group)} count as different classes, but may be one."
        for group in (() if named else alike_labels(taxonomy.classes()))
    )
    return KitPhotos(
        frame, root, taxonomy, config.target, path.parent, words, f"--predictions={path}", notes=notes
    )


def _of_set(photos: PhotoSet, config: Config) -> KitPhotos:
    frame, words = photos.frame, "photos of the manifest"
    notes: tuple[str, ...] = ()
    if "split" in frame and (frame["split"] == "test").any():
        frame, words = frame[frame["split"] == "test"], "test photos of the manifest"
    else:
        notes = (
            "These photos may be ones that a network learns from: draw from a run’s, or leave them out of it.",
        )
    if "case_id" not in frame:
        frame = frame.assign(case_id=frame["image"])
        notes = (*notes, "The manifest has no case_id: each photo counts as a case.")
    root = Path(config.photo_root) if config.photo_root else photos.root
    return KitPhotos(
        frame, root, photos.taxonomy, config.target, photos.root, f"the {len(frame):,} {words}",
        "--predictions=FILE", photos.synthetic, notes,
    )  # fmt: skip


def _rendered(config: Config) -> KitPhotos:
    from skinjax.synthetic import SyntheticSpec, write_dataset

    folder = Path("runs/reader_kit_smoke/photos")
    folder.mkdir(parents=True, exist_ok=True)
    path = write_dataset(folder, SyntheticSpec(cases_per_class=6, size=96, seed=config.seed))
    taxonomy = load_taxonomy("synthetic19")
    photos = PhotoSet(read_manifest(path, taxonomy), path.parent, taxonomy, synthetic=True)
    found = _of_set(photos, dataclasses.replace(config, target=config.target or (_SMOKE_TARGET,)))
    return dataclasses.replace(found, beside=folder.parent, notes=())


def _table(
    path: Path, taxonomy: Taxonomy | None, own: ColumnNames | None = None
) -> tuple[pd.DataFrame, Taxonomy]:
    """Returns the photos of a table, read as predictions are, and the classes of their labels.

    Without a taxonomy, the classes are those of the columns of probabilities; without these, the labels.
    """
    table = read_table(path, names=own)
    if "image" in table.frame and missing_columns(("case_id",), table.frame) == ["no column 'case_id'"]:
        table = dataclasses.replace(table, frame=table.frame.assign(case_id=table.frame["image"]))
    if problems := missing_columns(REQUIRED, table.frame):
        raise TableError(str(path), problems)
    if taxonomy is None:
        matches = [CLASS_COLUMN.fullmatch(str(name)) for name in table.frame]
        names = [match["name"] for match in matches if match and not match["level"]]
        if len(set(names)) < 2:
            names = sorted(set(known_cells(table.frame[["label"]], ())["label"]) - {""})
        if not names:
            raise TableError(str(path), ["column 'label' must hold the photos' classes, got none"])
        taxonomy = Taxonomy("labels", ("label",), tuple((name,) for name in dict.fromkeys(names)))
    frame = known_cells(table.frame[list(REQUIRED)], taxonomy.classes())
    meant = as_classes(frame["label"].unique(), taxonomy.classes(), dict(taxonomy.titles))
    frame = frame.assign(
        image=relative_paths(frame["image"], path.parent), label=frame["label"].replace(meant)
    )
    if meant:
        told = ", ".join(f"{given!r} for {found!r}" for given, found in meant.items())
        _LOG.warning(
            "%s: labels that differ from a class by case, blanks or such were taken for it: %s", path, told
        )
    for name in REQUIRED:
        if name == "case_id":
            problems += empty_names("case_id", frame["case_id"], table.rows)
        else:
            problems += faulty_rows(name, "empty", frame[name] == "", table.rows)
    cells = frame["image"]
    repeated = cells.duplicated() & (cells != "")
    problems += faulty_rows(
        "image", "with a photo that an earlier row lists", repeated, table.rows, cells.array
    )
    unknown = ~frame["label"].isin([*taxonomy.classes(), ""])
    fault = f"with a label that is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
    problems += faulty_rows("label", fault, unknown, table.rows, frame["label"].array, taxonomy.hint)
    if problems:
        raise TableError(str(path), problems)
    return frame, taxonomy
