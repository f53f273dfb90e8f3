"""Photos -> prepared ArrayRecord: every photo decoded once, upright, RGB, resized, uint8.

The folder of a preparation holds what TFDS writes and, written last, `prepared.json`: the fingerprint of what went in,
the manifest row of every record, and each photo that could not be read with its reason. A folder without that file is
half-written, one with another fingerprint is stale; both are made anew, but for whole shards of the same photos
(`skinjax.data.pipeline.shards`).
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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from skinjax.data.images import photos
from skinjax.files.atomic import replacing
from skinjax.files.installed import require
from skinjax.files.locks import Lock

if TYPE_CHECKING:
    import pandas as pd

Fit = Literal["stretch", "crop", "pad"]

SCHEMA = 2  # is part of the fingerprint
LAYOUT = "shards"  # how the records lie; a folder of another layout is made anew
SIDECAR = "prepared.json"
MARKER = "PREPARED"  # its presence permits deleting the folder


def require_records() -> None:
    """Makes sure that the packages are here which write and read prepared photos.

    Raises:
      ModuleNotFoundError: One is not installed; the message says what to do.
    """
    require("array_record", "tensorflow_datasets")


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

    Memory does not grow with the number of photos but for one integer per photo (and the list of bad ones).

    Args:
      frame: a manifest (`skinjax.data.manifest.read_manifest`); only its `image` column is read.
      root: the folder that `image` is relative to.
      folder: where the preparation is kept; made if missing, owned by this function.
      image_size: side of the stored square in pixels.
      fit: `"stretch"`, `"crop"` or `"pad"`, see `skinjax.data.images.photos.fit`.
      max_bad_fraction: the share of unreadable photos, in [0, 1], beyond which this stops.
      threads: decoding threads.
      replace_other_settings: whether a whole preparation of another `image_size` or `fit` may be replaced; False
        protects a folder that several runs share. One whose photos have changed is always made anew.
      progress: called with (photos done, photos in all) now and then.

    Returns:
      The prepared photos, in the manifest's order.

    Raises:
      PreparationError: More photos than `max_bad_fraction` are unreadable, or all are.
      ValueError: An argument is out of range, or `folder` holds something else.
      ModuleNotFoundError: ArrayRecord or TFDS is not installed.
    """
    if image_size < 8:
        raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
    if not 0 <= max_bad_fraction <= 1:
        raise ValueError(f"max_bad_fraction must lie in [0, 1], got {max_bad_fraction}")
    if not len(frame):
        raise ValueError("frame must have at least one row, got none")
    require_records()
    images = [str(image) for image in frame["image"]]
    root, folder = Path(root), Path(folder)
    fingerprint, files = fingerprints(images, root, image_size, fit)
    sidecar = _read_sidecar(folder / SIDECAR)
    if sidecar is None or sidecar["files"] != files:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):  # of several processes one prepares
            sidecar = _read_sidecar(folder / SIDECAR)
            _refuse_other_settings(sidecar, folder, image_size, fit, replace_other_settings)
            if sidecar is None or sidecar["files"] != files:
                place = _make_empty(folder, files)
                records, bad = _write(
                    images, root, folder, place, image_size, fit, max_bad_fraction, threads, progress
                )
                sidecar = {
                    "schema": SCHEMA,
                    "layout": LAYOUT,
                    "files": files,
                    "image_size": image_size,
                    "fit": fit,
                    "records": records,
                    "bad": [dataclasses.asdict(entry) for entry in bad],
                }
                with replacing(folder / SIDECAR) as temporary:
                    temporary.write_text(json.dumps(sidecar), encoding="utf-8")
    bad_photos = tuple(BadPhoto(**entry) for entry in sidecar["bad"])
    check_bad(bad_photos, len(images), max_bad_fraction)
    rows = np.asarray(sidecar["records"], np.int64)
    return Prepared(
        source=_open(folder, len(rows), image_size),
        rows=rows,
        bad=bad_photos,
        image_size=image_size,
        fingerprint=fingerprint,
    )


def prepare_share(
    frame: pd.DataFrame,
    root: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    share: tuple[int, int],
    *,
    image_size: int,
    fit: Fit = "stretch",
    max_bad_fraction: float = 0.01,
    threads: int = 2,
    replace_other_settings: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Decodes one process's shards of a preparation, which `prepare` then finds done.

    Several processes call it at the same time with the same photos and settings, and all wait for each other before one
    of them calls `prepare`, which refuses what is to be refused. Shards that are there already are kept, whatever the
    number of processes that wrote them.

    Args:
      frame: A manifest, of which only `image` is read.
      root: The folder that `image` is relative to.
      folder: Of the preparation, which all processes see.
      share: Number of this process, from 0, and how many there are.
      image_size: As in `prepare`, and so are the others.
      fit: How a photo becomes square.
      max_bad_fraction: Share of unreadable photos beyond which this stops.
      threads: Decoding threads.
      replace_other_settings: Whether a preparation of other settings may be replaced.
      progress: Called with (photos done, photos in all) of this process.

    Raises:
      ValueError: `folder` holds something else.
    """
    require_records()
    from skinjax.data.pipeline import shards

    images = [str(image) for image in frame["image"]]
    root, folder = Path(root), Path(folder)
    _, files = fingerprints(images, root, image_size, fit)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder, shared=True):  # others may write other shards meanwhile, but nobody empties the folder
        sidecar = _read_sidecar(folder / SIDECAR)
        there = (sidecar["image_size"], sidecar["fit"]) if sidecar else (image_size, fit)
        if sidecar is not None and (
            sidecar["files"] == files or (there != (image_size, fit) and not replace_other_settings)
        ):
            return
        _mark(folder)
        with contextlib.suppress(PreparationError):
            shards.write_shards(
                images,
                root,
                _place(folder, files),
                share,
                image_size,
                fit,
                max_bad_fraction,
                threads,
                progress,
            )


def _lock(folder: Path, *, shared: bool = False) -> Lock:
    return Lock(folder.parent / f".{folder.name}.lock", shared=shared, wait=True)


def _refuse_other_settings(
    sidecar: dict[str, Any] | None, folder: Path, image_size: int, fit: Fit, replaceable: bool
) -> None:
    there = (sidecar["image_size"], sidecar["fit"]) if sidecar else (image_size, fit)
    if there != (image_size, fit) and not replaceable:
        raise ValueError(
            f"{folder} must hold photos prepared with size {image_size} and fit {fit}, but holds photos of size "
            f"{there[0]} and fit {there[1]}; name another folder or delete it"
        )


def _write(
    images: Sequence[str],
    root: Path,
    folder: Path,
    place: Path,
    image_size: int,
    fit: Fit,
    max_bad_fraction: float,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[int], list[BadPhoto]]:
    """Decodes and writes all photos; returns the rows written, in order, and the photos left out."""
    from skinjax.data.pipeline import shards

    try:
        written = shards.write_shards(
            images, root, place, (0, 1), image_size, fit, max_bad_fraction, threads, progress
        )
        full = [rows for rows, (records, _) in written.items() if records]
        shards.put_together(folder, place, full, image_size)
    except RuntimeError as error:  # ArrayRecord's own, for whatever goes wrong in writing
        raise OSError(f"{folder}: the prepared photos could not be written ({error})") from error
    return (
        [row for records, _ in written.values() for row in records],
        [one for _, bad in written.values() for one in bad],
    )


def read_ahead(
    read: Callable[[Path], Any], images: Sequence[str], root: Path, rows: Sequence[int], threads: int
) -> Iterator[tuple[int, Any]]:
    """Reads photos in order by several threads, with few results waiting, so that memory stays bounded.

    Args:
      read: Function of a photo's path; raises `skinjax.data.images.photos.PhotoError` where it cannot be read.
      images: Paths of all photos as the manifest has them.
      root: Folder that they are relative to.
      rows: Which of them, in this order.
      threads: How many read.

    Yields:
      Each row with what `read` returns, or with its `BadPhoto`.
    """

    def attempt(row: int) -> Any:
        try:
            return read(root / images[row])
        except photos.PhotoError as error:
            return BadPhoto(row, images[row], error.reason)

    waiting: deque[tuple[int, Future[Any]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for row in rows:
            waiting.append((row, pool.submit(attempt, row)))
            if len(waiting) >= 4 * threads:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _open(folder: Path, record_count: int, image_size: int) -> Any:
    from skinjax.data.pipeline import builder

    with quiet():
        photo_builder = builder.PreparedPhotos(image_size=image_size, data_dir=str(folder))
        data_source = photo_builder.as_data_source(split=photo_builder.SPLIT)
    if len(data_source) != record_count:
        raise ValueError(
            f"{folder}: holds {len(data_source)} records, its {SIDECAR} names {record_count}; "
            "delete the folder to have it made anew"
        )
    return data_source


def check_bad(bad: Sequence[BadPhoto], photo_count: int, max_bad_fraction: float) -> None:
    """Stops where too many photos of a manifest are unreadable.

    Args:
      bad: Those found so far.
      photo_count: Rows of the manifest.
      max_bad_fraction: Largest share of them that may be unreadable.

    Raises:
      PreparationError: There are more, or all are.
    """
    if len(bad) <= max_bad_fraction * photo_count and len(bad) < photo_count:
        return
    named = "; ".join(f"{entry.image}: {entry.reason}" for entry in bad[:10])
    raise PreparationError(
        f"at least {len(bad)} of {photo_count} photos cannot be read, more than the fraction {max_bad_fraction:g} "
        f"allowed by max_bad_fraction (an audit names all of them): {named}{'; ...' if len(bad) > 10 else ''}"
    )


def fingerprints(images: Sequence[str], root: Path, image_size: int, fit: str) -> tuple[str, str]:
    """Hashes what decoded photos depend on; a missing file counts as such, so that its arrival is noticed.

    Args:
      images: Paths as the manifest has them.
      root: Folder that they are relative to.
      image_size: Side of the decoded photos.
      fit: How they become square.

    Returns:
      The hash of names and sizes, the same on any machine, and the hash of these files here with their times.
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


def _mark(folder: Path) -> None:
    """Marks a folder as a preparation's, which permits deleting what is in it; never one that holds anything else."""
    ours = (MARKER, f".{MARKER}.")  # the marker, and one that another process is about to put there
    others = (
        [child for child in folder.iterdir() if not child.name.startswith(ours)] if folder.exists() else []
    )
    if others and not (folder / MARKER).exists():
        raise ValueError(
            f"{folder} is not empty and was not made by a preparation; name an empty or new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / MARKER) as temporary:
        temporary.write_text(
            "This folder is made and deleted by skinjax.data.pipeline.prepare.\n", encoding="utf-8"
        )


def _place(folder: Path, files: str) -> Path:
    """Returns the folder of shards of these photos that are not put together yet."""
    return folder / f"shards_{files[:16]}"


def _make_empty(folder: Path, files: str) -> Path:
    """Empties a folder that an earlier preparation made but for whole shards of these photos; returns their folder."""
    _mark(folder)
    # The marker stays throughout, so that a kill in the middle leaves a folder that may be emptied; the record of
    # what is whole goes first.
    (folder / SIDECAR).unlink(missing_ok=True)
    place = _place(folder, files)
    for child in folder.iterdir():
        if child == place:
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != MARKER:
            child.unlink()
    return place


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(sidecar, dict) and (sidecar.get("schema"), sidecar.get("layout")) == (SCHEMA, LAYOUT)
    return sidecar if known else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences TFDS's own progress bars and prints, which would tear ours."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield
