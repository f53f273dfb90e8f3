"""Shards of a preparation, each written into a folder of its own before all are put together.

So several processes can write different shards of one preparation, and a preparation that was killed goes on with the
shards that it lacks. A shard's folder is named after its rows and holds what TFDS writes and, last, `shard.json`. A
shard counts as written while all files that this names are there: a kill while they are moved or deleted leaves some.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from skinjax.data.images import photos
from skinjax.data.pipeline.builder import PreparedPhotos, shard_rows
from skinjax.data.pipeline.prepare import BadPhoto, Fit, check_bad, quiet, read_ahead
from skinjax.files.atomic import replacing

LEAST_SHARDS = 16  # of large enough sets, so that several processes have something to do
LEAST_PHOTOS = 32  # of a shard, but the last
RECORD = "shard.json"


def rows_of_shards(photo_count: int, image_size: int) -> list[range]:
    """Divides photos into shards that depend on nothing else, so that any number of processes finds the same ones.

    Args:
      photo_count: How many photos there are.
      image_size: Side in pixels of each.

    >>> [len(rows) for rows in rows_of_shards(100, 224)]
    [32, 32, 32, 4]
    """
    return shard_rows(photo_count, image_size, max(LEAST_PHOTOS, -(-photo_count // LEAST_SHARDS)))


def write_shards(
    images: Sequence[str],
    root: Path,
    place: Path,
    share: tuple[int, int],
    image_size: int,
    fit: Fit,
    max_bad_fraction: float,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> dict[range, tuple[list[int], list[BadPhoto]]]:
    """Decodes and writes the shards of one process's share, but for those that are there.

    Args:
      images: Paths of all photos as the manifest has them.
      root: Folder that they are relative to.
      place: Folder of all shards.
      share: Number of the process, from 0, and how many share the work.
      image_size: Side of the square photos in pixels.
      fit: How a photo becomes square.
      max_bad_fraction: Share of all photos beyond which unreadable ones of this share stop it.
      threads: How many decode.
      progress: Called with (photos done, photos in all) of this share.

    Returns:
      By the rows of each shard: the rows that were written, and the photos left out.

    Raises:
      PreparationError: Too many photos are unreadable.
    """

    def decode(path: Path) -> np.ndarray:
        return photos.fit(photos.decode(path, target=image_size), image_size, mode=fit)

    mine = rows_of_shards(len(images), image_size)[share[0] :: share[1]]
    total, done, bad = sum(map(len, mine)), 0, list[BadPhoto]()

    def told(problem: BadPhoto | None) -> None:
        nonlocal done
        done += 1
        if problem is not None:
            bad.append(problem)
            check_bad(bad, len(images), max_bad_fraction)
        if progress is not None and (done % 32 == 0 or done == total):
            progress(done, total)

    written = {}
    for rows in mine:
        before = done
        written[rows] = _write_shard(decode, images, root, rows, place, image_size, threads, told)
        if done == before:  # it was there already
            done += len(rows)
            bad += written[rows][1]
    check_bad(bad, len(images), max_bad_fraction)
    return written


def _write_shard(
    decode: Callable[[Path], np.ndarray],
    images: Sequence[str],
    root: Path,
    rows: range,
    place: Path,
    image_size: int,
    threads: int,
    told: Callable[[BadPhoto | None], None],
) -> tuple[list[int], list[BadPhoto]]:
    """Writes one shard unless that was done; `told` is called for each photo that is decoded now."""
    folder = _folder(place, rows)
    if (found := _read(folder)) is not None:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records: list[int] = []
    bad: list[BadPhoto] = []

    def readable() -> Iterator[tuple[int, dict[str, Any]]]:
        for row, image in read_ahead(decode, images, root, rows, threads):
            if isinstance(image, BadPhoto):
                bad.append(image)
                told(image)
                continue
            records.append(row)
            yield row, {"image": image, "row": row}
            told(None)

    examples = readable()
    first = next(examples, None)
    if first is not None:  # TFDS writes no shard without photos
        shards = (lambda: chain([first], examples),)
        with quiet():
            PreparedPhotos(image_size=image_size, shards=shards, data_dir=str(folder)).download_and_prepare()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with replacing(folder / RECORD) as temporary:
        found_here = {
            "records": records,
            "bad": [[one.row, one.image, one.reason] for one in bad],
            "files": [path.relative_to(folder).as_posix() for path in files],
        }
        temporary.write_text(json.dumps(found_here), encoding="utf-8")
    return records, bad


def put_together(folder: Path, place: Path, shards: Sequence[range], image_size: int) -> None:
    """Moves the records of all shards into one data set, and writes what TFDS needs to open it.

    Args:
      folder: Of the data set.
      place: Folder of the shards; goes.
      shards: Rows of those that hold photos.
      image_size: Side of the photos in pixels.
    """
    with quiet():
        whole = PreparedPhotos(image_size=image_size, data_dir=str(folder))
        parts = [
            PreparedPhotos(image_size=image_size, data_dir=str(_folder(place, rows))).info.splits[whole.SPLIT]
            for rows in shards
        ]
    target = Path(whole.data_dir)
    target.mkdir(parents=True, exist_ok=True)
    names = tfds.core.ShardedFileTemplate(
        data_dir=whole.data_path, dataset_name=whole.name, split=whole.SPLIT, filetype_suffix="array_record"
    )
    for number, part in enumerate(parts):
        (file,) = part.filepaths
        os.replace(file, names.sharded_filepath(shard_index=number, num_shards=len(parts)))
    split = tfds.core.SplitInfo(
        name=whole.SPLIT,
        shard_lengths=[length for part in parts for length in part.shard_lengths],
        num_bytes=sum(part.num_bytes for part in parts),
        filename_template=names,
    )
    whole.info.set_splits(tfds.core.splits.SplitDict([split]))
    whole.info.write_to_directory(whole.data_path)
    shutil.rmtree(place)


def _folder(place: Path, rows: range) -> Path:
    """Returns the folder of the shard of these rows."""
    return place / f"{rows.start:09d}-{rows.stop:09d}"


def _read(folder: Path) -> tuple[list[int], list[BadPhoto]] | None:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if "files" not in found or not all((folder / name).is_file() for name in found["files"]):
        return None
    return found["records"], [BadPhoto(*one) for one in found["bad"]]
