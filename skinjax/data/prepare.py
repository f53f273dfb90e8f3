"""Photos -> prepared ArrayRecord: every photo decoded once, upright, RGB, resized, uint8.

The folder of a preparation holds what TFDS writes and, written last, `prepared.json`: the fingerprint of what went in,
the manifest row of every record, and each photo that could not be read with its reason. A folder without that file is
half-written, one with another fingerprint is stale; both are made anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from skinjax.data import photos
from skinjax.data.tables import replacing

if TYPE_CHECKING:
    import pandas as pd

Fit = Literal["stretch", "crop", "pad"]

SCHEMA = 2
SIDECAR = "prepared.json"
MARKER = "PREPARED"  # its presence permits deleting the folder
PLACEHOLDER = -1  # stands in the list of records where a part had no readable photo at all


class PreparationError(ValueError):
    """Too many photos of a manifest cannot be read; the message names the first of them."""


@dataclasses.dataclass(frozen=True)
class BadPhoto:
    """A photo that was left out: its manifest row (0-based), its path as the manifest has it, and why."""

    row: int
    image: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Random access to prepared photos.

    Attributes:
      source: `source[i]` gives `{"image": uint8[size, size, 3], "row": int64}`; safe to read from several threads.
      rows: int64[N], the manifest row (0-based) of record i, ascending.
      bad: the photos left out.
      image_size: side in pixels.
      fingerprint: of the manifest's image column, the files' sizes and the settings; the same on any machine.
    """

    source: Any
    rows: np.ndarray
    bad: tuple[BadPhoto, ...]
    image_size: int
    fingerprint: str


def prepare(
    frame: pd.DataFrame,
    root: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    image_size: int,
    fit: Fit = "stretch",
    max_bad_fraction: float = 0.01,
    threads: int = 2,
    replace_other_settings: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Prepares the photos of a manifest, or opens the preparation that is already there and still true.

    Memory does not grow with the number of photos but for one integer a photo (and the list of bad ones).

    Args:
      frame: a manifest (`skinjax.data.manifest.read_manifest`); only its `image` column is read.
      root: the folder that `image` is relative to.
      folder: where the preparation is kept; made if missing, owned by this function.
      image_size: side of the stored square in pixels.
      fit: `"stretch"`, `"crop"` or `"pad"`, see `skinjax.data.photos.fit`.
      max_bad_fraction: the share of unreadable photos, in [0, 1], beyond which this stops.
      threads: decoding threads.
      replace_other_settings: whether a whole preparation of another `image_size` or `fit` may be replaced; False
        protects a folder that several runs share. One whose photos have changed is always made anew.
      progress: called with (photos done, photos in all) now and then.

    Returns:
      The prepared photos, in the manifest's order.

    Raises:
      PreparationError: more photos than `max_bad_fraction` are unreadable, or all are.
      ValueError: an argument is out of range, or `folder` holds something else.
    """
    if image_size < 8:
        raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
    if not 0 <= max_bad_fraction <= 1:
        raise ValueError(f"max_bad_fraction must lie in [0, 1], got {max_bad_fraction}")
    if not len(frame):
        raise ValueError("frame has no rows, at least one photo is wanted")
    images = [str(image) for image in frame["image"]]
    root, folder = Path(root), Path(folder)
    fingerprint, files = _fingerprints(images, root, image_size, fit)
    sidecar = _read_sidecar(folder / SIDECAR)
    there = (sidecar["image_size"], sidecar["fit"]) if sidecar else (image_size, fit)
    if there != (image_size, fit) and not replace_other_settings:
        raise ValueError(
            f"{folder} holds photos prepared with size {there[0]} and fit {there[1]}, wanted are {image_size} "
            f"and {fit}; name another folder or delete it"
        )
    if sidecar is None or sidecar["files"] != files:
        _make_empty(folder)
        records, bad = _write(images, root, folder, image_size, fit, max_bad_fraction, threads, progress)
        sidecar = {
            "schema": SCHEMA,
            "files": files,
            "image_size": image_size,
            "fit": fit,
            "records": records,
            "bad": [dataclasses.asdict(entry) for entry in bad],
        }
        with replacing(folder / SIDECAR) as temporary:
            temporary.write_text(json.dumps(sidecar), encoding="utf-8")
    bad_photos = tuple(BadPhoto(**entry) for entry in sidecar["bad"])
    _check_bad(bad_photos, len(images), max_bad_fraction)
    in_order = np.asarray(sidecar["records"], np.int64)
    return Prepared(
        source=_open(folder, in_order, len(images), image_size),
        rows=in_order[in_order != PLACEHOLDER],
        bad=bad_photos,
        image_size=image_size,
        fingerprint=fingerprint,
    )


def _write(
    images: Sequence[str],
    root: Path,
    folder: Path,
    image_size: int,
    fit: Fit,
    max_bad_fraction: float,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[int], list[BadPhoto]]:
    """Decodes and writes all photos; returns the rows written, in order, and the photos left out."""
    from skinjax.data import builder

    records: list[int] = []
    bad: list[BadPhoto] = []

    def load(row: int) -> np.ndarray | photos.PhotoError:
        try:
            image = photos.decode(root / images[row], target=image_size)
            return photos.fit(image, image_size, mode=fit)
        except photos.PhotoError as error:
            return error

    def part(rows: range) -> builder.Part:
        def generate() -> Iterator[tuple[int, np.ndarray]]:
            first_record = len(records)
            with ThreadPoolExecutor(threads) as pool:
                for row, image in zip(rows, _ahead(pool, load, rows, 4 * threads), strict=True):
                    if isinstance(image, photos.PhotoError):
                        bad.append(BadPhoto(row, images[row], image.reason))
                        _check_bad(bad, len(images), max_bad_fraction)
                    else:
                        records.append(row)
                        yield row, image
                    if progress is not None and ((row + 1) % 32 == 0 or row + 1 == len(images)):
                        progress(row + 1, len(images))
            if len(records) == first_record:  # TFDS refuses an empty split
                records.append(PLACEHOLDER)
                yield rows[0], np.zeros((image_size, image_size, 3), np.uint8)

        return generate

    parts = [part(rows) for rows in _part_rows(len(images), image_size)]
    photo_builder = builder.PreparedPhotos(image_size=image_size, parts=parts, data_dir=str(folder))
    try:
        with _quiet():
            photo_builder.download_and_prepare()
    except RuntimeError as error:  # ArrayRecord's own, for whatever goes wrong in writing
        raise OSError(f"{folder}: the prepared photos could not be written ({error})") from error
    return records, bad


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[int], Any], items: Sequence[int], lookahead: int
) -> Iterator[Any]:
    """Maps in order with at most `lookahead` results waiting, so that memory stays bounded."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= lookahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _part_rows(photo_count: int, image_size: int) -> list[range]:
    from skinjax.data import builder

    size = builder.photos_in_a_part(image_size)
    return [range(first, min(first + size, photo_count)) for first in range(0, photo_count, size)]


@dataclasses.dataclass(frozen=True)
class _Records:
    """The records of a TFDS data source that hold photos, by position."""

    data_source: Any
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.data_source[int(self.positions[index])]


def _open(folder: Path, records: np.ndarray, photo_count: int, image_size: int) -> _Records:
    from skinjax.data import builder

    with _quiet():
        photo_builder = builder.PreparedPhotos(image_size=image_size, data_dir=str(folder))
        names = [builder.part_name(number) for number in range(len(_part_rows(photo_count, image_size)))]
        data_source = photo_builder.as_data_source(split="+".join(names))
    if len(data_source) != len(records):
        raise ValueError(
            f"{folder}: holds {len(data_source)} records, its {SIDECAR} names {len(records)}; "
            "delete the folder to have it made anew"
        )
    return _Records(data_source, np.flatnonzero(records != PLACEHOLDER))


def _check_bad(bad: Sequence[BadPhoto], photo_count: int, max_bad_fraction: float) -> None:
    if len(bad) <= max_bad_fraction * photo_count and len(bad) < photo_count:
        return
    named = "; ".join(f"{entry.image}: {entry.reason}" for entry in bad[:10])
    raise PreparationError(
        f"at least {len(bad)} of {photo_count} photos cannot be read, more than the fraction {max_bad_fraction:g} "
        f"allowed by max_bad_fraction (an audit names all of them): {named}{'; ...' if len(bad) > 10 else ''}"
    )


def _fingerprints(images: Sequence[str], root: Path, image_size: int, fit: str) -> tuple[str, str]:
    """Hashes what a preparation depends on: the photos as such, and the files as they lie here with their times.

    A missing file counts as such, so that its arrival is noticed.
    """
    photos_digest = hashlib.sha256(f"{SCHEMA} {image_size} {fit}\n".encode())
    files_digest = photos_digest.copy()
    for image in images:
        try:
            status = (root / image).stat()
            size, changed = str(status.st_size), str(status.st_mtime_ns)
        except OSError:
            size, changed = "missing", "missing"
        photos_digest.update(f"{image}\0{size}\n".encode())
        files_digest.update(f"{image}\0{size}\0{changed}\n".encode())
    return photos_digest.hexdigest(), files_digest.hexdigest()


def _make_empty(folder: Path) -> None:
    """Empties a folder that an earlier preparation made; never one that holds anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ValueError(
            f"{folder} is not empty and was not made by a preparation; name an empty or new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    marker.write_text("This folder is made and deleted by skinjax.data.prepare.\n", encoding="utf-8")
    # The marker stays throughout, so that a kill in the middle leaves a folder that may be emptied; the record of
    # what is whole goes first.
    (folder / SIDECAR).unlink(missing_ok=True)
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child != marker:
            child.unlink()


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return sidecar if isinstance(sidecar, dict) and sidecar.get("schema") == SCHEMA else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's own progress bars and prints, which would tear ours."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield
