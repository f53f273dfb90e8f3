"""TFDS builders: photos with label, case, fold and columns, for pipelines in any framework; without TensorFlow.

    import skinjax.data.tfds
    import tensorflow_datasets as tfds

    builder = tfds.builder("skinjax_manifest", manifest="mine/manifest.csv", data_dir="data")
    builder.download_and_prepare()
    source = builder.as_data_source("train")         # source[0]: image, label, case_id, fold and columns
    tfds.builder_from_directory(builder.data_dir)    # opens it again, also where there is no skinjax

`tfds.data_source("skinjax_manifest", data_dir=..., builder_kwargs={"manifest": ...})` does both at once. The public
sets have builders of their own, which read the publisher's files from where TFDS looks for what was downloaded by
hand: `<data_dir>/downloads/manual`, or `DownloadConfig(manual_dir=...)`. They are `skinjax_pad_ufes_20`,
`skinjax_ham10000`, `skinjax_fitzpatrick17k` and `skinjax_isic2019`; `skinjax.data.importers` says which files.

| feature | holds |
|---|---|
| `image` | uint8[size, size, 3], upright RGB, as raw bytes; `image_size=0`: `tfds.features.Image` of any size |
| `label` | number of the class; `builder.info.features["label"].names` is the taxonomy's finest level |
| `case_id` | text (bytes in TFDS): whose photo; without cases in the manifest, its cluster of near-duplicates |
| `fold` | `kfold_by_case(label, case_id, folds, seed)` of all rows of the manifest, unreadable photos too |
| `columns` | text of all other columns, `image` (the path) among them; empty where not known |

`fold` is the fold of a study with the same `folds`, `seed`, labels and cases where that study deals all rows of the
manifest: every photo can be read (studies deal those that are left once unreadable ones are out) and no class is left
out. Where there is a column `split`, `train` has no folds, and `evolve` deals rows marked `train` alone; `evolve` deals
all cases together only with `--search_fraction=1`. Other studies with folds do not look at `split`.

The manifest's column `split` gives TFDS's splits: `train`, `validation` and `test`, and `unassigned` for rows without
one. Without that column, all photos are `train`, which `fold` divides. Photos stand in the manifest's order. A
configuration is named after the settings and, of a manifest, its content and its files, so that a changed manifest is
another data set and never an old one. `metadata.json` beside the records has settings, classes, notes and the photos
that could not be read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from skinjax.data.images import photos
from skinjax.data.importers.published import PAD_UFES_20_COLUMNS
from skinjax.data.manifest import SPLITS
from skinjax.data.photo_set import PhotoSet, read_photos
from skinjax.data.pipeline.builder import PhotoBuilder, PhotoInfo, Shard, pixels, shard_rows
from skinjax.data.pipeline.prepare import BadPhoto, Fit, check_bad, fingerprints, read_ahead
from skinjax.data.split import kfold_by_case
from skinjax.data.tables import to_text
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)
UNASSIGNED = "unassigned"
_FEATURES = ("label", "case_id", "split")  # columns that are features or TFDS splits
_THREADS = os.cpu_count() or 1
_HARMLESS = {"wrong extension", "colour profile is not sRGB"}  # findings that every decoder passes over
_NATIVE = 512  # side in pixels that photos of their own size are taken to have when shards are divided


class _Photos(PhotoBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder of photos: features, folds and writing; subclasses say which photos."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        content: str,
        taxonomy: Taxonomy,
        columns: tuple[str, ...],
        *,
        image_size: int = 224,
        fit: Fit = "stretch",
        folds: int = 5,
        seed: int = 0,
        max_bad_fraction: float = 0.01,
        config: None = None,
        **tfds_options: Any,
    ):
        """Makes a builder.

        Args:
          content: Names the photos in the configuration's name; empty where the builder's name does.
          taxonomy: Of the labels.
          columns: Other columns that are stored.
          image_size: Side of the stored photos in pixels; 0 keeps each as it is.
          fit: How a photo becomes square.
          folds: How many folds of whole cases.
          seed: Of the folds.
          max_bad_fraction: Largest share of photos that may be unreadable; they are left out.
          config: None, as the configuration is named after the photos and the settings.
          **tfds_options: `data_dir`, `version` and `file_format` as TFDS has them; the latter is array_record.

        Raises:
          ValueError: An argument is out of range.
        """
        if image_size and image_size < photos.MIN_SIDE:
            raise ValueError(f"image_size must be 0 or at least {photos.MIN_SIDE} pixels, got {image_size}")
        if config is not None:
            raise ValueError(f"config must be None, since photos and settings name it, got {config!r}")
        self._taxonomy, self._columns = taxonomy, columns
        self._image_size, self._fit, self._max_bad_fraction = image_size, fit, max_bad_fraction
        self._folds, self._seed = folds, seed
        size = f"{image_size}px_{fit}" if image_size else "native"
        self._config_name = "_".join(filter(None, (content, size, f"{folds}folds", f"seed{seed}")))
        super().__init__(**{"file_format": "array_record"} | tfds_options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Opens the written photos in another process by their folder."""
        return tfds.builder_from_directory, (str(self.data_dir),)

    def _create_builder_config(self, *_: object, **__: object) -> tfds.core.BuilderConfig:
        return tfds.core.BuilderConfig(name=self._config_name, version=self.VERSION)

    def _photos(self, dl_manager: tfds.download.DownloadManager) -> PhotoSet:
        raise NotImplementedError

    def _info(self) -> PhotoInfo:
        text = tfds.features.Text()
        image = pixels(self._image_size) if self._image_size else tfds.features.Image()
        return PhotoInfo(
            builder=self,
            description="Photos of skin with label, case and fold, as skinjax read them.",
            features=tfds.features.FeaturesDict(
                {
                    "image": image,
                    "label": tfds.features.ClassLabel(names=self._taxonomy.classes()),
                    "case_id": text,
                    "fold": np.int64,
                    "columns": dict.fromkeys(self._columns, text),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # photos stand in the manifest's order
            metadata=tfds.core.MetadataDict(),
        )

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[Shard]]:
        found = self._photos(dl_manager)
        if not found.has_cases:
            found = found.with_stand_in_cases(found.audit(threads=_THREADS))
        writer = _Writer(
            found,
            to_text(found.frame).reindex(columns=[*self._columns], fill_value=""),
            kfold_by_case(found.labels, found.frame["case_id"], self._folds, self._seed),
            self._read,
            self._max_bad_fraction,
        )
        self.info.metadata.update(
            photos=found.fingerprint,
            taxonomy=self._taxonomy.to_json(),
            image_size=self._image_size,
            fit=self._fit,
            folds=self._folds,
            seed=self._seed,
            notes=found.notes,
            left_out=writer.left_out,
        )
        split = np.full(len(found), SPLITS[0], object)
        if "split" in found.frame:
            split = found.frame["split"].replace("", UNASSIGNED).to_numpy()
        shards: dict[str, list[Shard]] = {}
        for name in (*SPLITS, UNASSIGNED):
            rows = np.flatnonzero(split == name)
            parts = shard_rows(len(rows), self._image_size or _NATIVE)
            if parts:
                shards[name] = [partial(writer.examples, rows[part].tolist()) for part in parts]
        return shards

    def _read(self, path: Path) -> np.ndarray | bytes:
        if self._image_size:
            return photos.fit(photos.decode(path, target=self._image_size), self._image_size, mode=self._fit)
        file = photos.read_bytes(path)
        image = photos.decode(file)  # all of it can be read
        facts = photos.inspect(file, path.name)
        if facts.format in ("JPEG", "PNG") and _HARMLESS.issuperset(facts.findings):
            return file
        upright = io.BytesIO()
        Image.fromarray(image).save(upright, "PNG")
        return upright.getvalue()


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Makes the examples of the photos, shard by shard, and notes those that cannot be read."""

    photos: PhotoSet
    columns: pd.DataFrame
    fold: np.ndarray
    read: Callable[[Path], Any]
    max_bad_fraction: float
    left_out: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def examples(self, rows: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the row and the features of each photo that can be read."""
        frame = self.photos.frame
        images = frame["image"].tolist()
        for row, image in read_ahead(self.read, images, self.photos.root, rows, _THREADS):
            if isinstance(image, BadPhoto):
                _LOG.warning("left out %s: %s", image.image, image.reason)
                self.left_out.append(dataclasses.asdict(image))
                check_bad([BadPhoto(**bad) for bad in self.left_out], len(images), self.max_bad_fraction)
                continue
            yield (
                row,
                {
                    "image": image,
                    "label": frame["label"].iat[row],
                    "case_id": frame["case_id"].iat[row],
                    "fold": int(self.fold[row]),
                    "columns": self.columns.iloc[row].to_dict(),
                },
            )


class SkinjaxManifest(_Photos):
    """The photos of any manifest (`skinjax.data.manifest`)."""

    name = "skinjax_manifest"

    def __init__(
        self,
        *,
        manifest: str | os.PathLike[str] = "",
        taxonomy: str | os.PathLike[str] | Taxonomy | None = None,
        **settings: Any,
    ):
        """Makes a builder.

        Args:
          manifest: CSV or Parquet file; the photos lie beside it.
          taxonomy: Catalogue name, file or `Taxonomy` of the labels; None takes the labels as they are.
          **settings: `image_size` (224; 0 keeps each photo's own), `fit` ("stretch"), `folds` (5), `seed` (0) and
            `max_bad_fraction` (0.01), and TFDS's `data_dir`, `version` and `file_format`.

        Raises:
          ValueError: An argument is out of range, or everything that is wrong with the manifest.
        """
        if not manifest:
            raise ValueError(
                "manifest must be a CSV or Parquet file, got none; what was written before is opened as "
                f"{self.name}/CONFIGURATION or by builder_from_directory"
            )
        self._found = read_photos(manifest, taxonomy=taxonomy)
        frame = self._found.frame
        files, _ = fingerprints(frame["image"].tolist(), self._found.root, 0, "")
        content = hashlib.sha256(
            "\0".join((self._found.fingerprint, files, self._found.taxonomy.to_json())).encode()
        )
        stem = re.sub(r"[^\w.-]", "_", Path(manifest).stem)
        columns = tuple(str(name) for name in frame if name not in _FEATURES)
        super().__init__(f"{stem}_{content.hexdigest()[:12]}", self._found.taxonomy, columns, **settings)

    def _photos(self, dl_manager: tfds.download.DownloadManager) -> PhotoSet:
        return self._found


class _PublicSet(_Photos, skip_registration=True):  # type: ignore[call-arg]
    """A public data set, whose files the user has downloaded by hand."""

    DATASET: ClassVar[str]
    COLUMNS: ClassVar[tuple[str, ...]]

    def __init__(self, **settings: Any):
        """Makes a builder.

        Args:
          **settings: As `SkinjaxManifest` has them.
        """
        super().__init__("", load_taxonomy(self.DATASET), self.COLUMNS, **settings)

    def _photos(self, dl_manager: tfds.download.DownloadManager) -> PhotoSet:
        return read_photos(dataset=self.DATASET, source=dl_manager.manual_dir)


class SkinjaxPadUfes20(_PublicSet):
    """PAD-UFES-20: clinical photos by smartphone; cases are patients."""

    name = "skinjax_pad_ufes_20"
    DATASET = "pad_ufes_20"
    COLUMNS = (
        *("image", "lesion_id", "skin_tone", "sex", "age", "body_site", "source", "biopsed"),
        *PAD_UFES_20_COLUMNS,
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = "metadata.csv and the photos, as the publisher's archives unpack"


class SkinjaxHam10000(_PublicSet):
    """HAM10000: dermoscopic photos; cases are lesions."""

    name = "skinjax_ham10000"
    DATASET = "ham10000"
    COLUMNS = ("image", "lesion_id", "sex", "age", "body_site", "source", "dx_type", "dataset")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "HAM10000_metadata.csv and the photos, as the publisher's archives unpack"


class SkinjaxFitzpatrick17k(_PublicSet):
    """Fitzpatrick17k: clinical photos from two atlases; clusters of near-duplicates stand in for cases."""

    name = "skinjax_fitzpatrick17k"
    DATASET = "fitzpatrick17k"
    COLUMNS = ("image", "skin_tone", "source", "qc")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "fitzpatrick17k.csv and a folder `images` of the photos that it has the addresses of"
    )


class SkinjaxIsic2019(_PublicSet):
    """ISIC 2019's training photos: dermoscopic; cases are lesions where the metadata table is there."""

    name = "skinjax_isic2019"
    DATASET = "isic2019"
    COLUMNS = ("image", "lesion_id", "sex", "age", "body_site", "source")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "ISIC_2019_Training_GroundTruth.csv, ISIC_2019_Training_Metadata.csv (lesions) and the photos, as the "
        "publisher's archives unpack"
    )
