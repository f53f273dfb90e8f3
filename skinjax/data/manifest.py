"""The manifest: which photo shows what, and whose it is. One of the project's two data contracts.

A CSV (or another table of `skinjax.labels.delimited`) or Parquet file beside the photos, one row per photo. Version 1.

| column | | holds |
|---|---|---|
| `image` | required | path of the photo relative to the manifest's folder, with `/`; each photo once |
| `label` | required | a class of the taxonomy's finest level |
| `case_id` | advised | whose photo: the patient, or lesion if patients are not known; no split parts a case |
| `lesion_id` | optional | which lesion of the case |
| `skin_tone` | optional | Fitzpatrick type 1 to 6 |
| `sex`, `age` (years), `body_site`, `source` | optional | text, for subgroups |
| `split` | optional | `train`, `validation` or `test`, where the publisher fixed them |

Any other column is kept as it is. An empty cell, and in the contract's columns R's `NA`, means not known; in `image`,
`label` and `case_id` that is a fault. (A class may be called `NA` where a taxonomy says so.) A manifest without a
`case_id` column is allowed: clusters of near-duplicate photos then stand in for cases.

In memory a manifest is a pandas frame whose columns are text, an unknown value being the empty string, save
`skin_tone`, which is `Int64` with missing values. Columns stand in the table's order, others after them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.data.spelling import alike_ids, as_named, unknown
from skinjax.data.tables import TableError, faulty_rows, read_table, to_text, utf8
from skinjax.files.atomic import replacing
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "image",
    "label",
    "case_id",
    "lesion_id",
    "skin_tone",
    "sex",
    "age",
    "body_site",
    "source",
    "split",
)
"""The contract's columns in canonical order."""

_LOG = logging.getLogger(__name__)

REQUIRED = ("image", "label")
SPLITS = ("train", "validation", "test")


class ManifestError(TableError):
    """Everything that is wrong with a manifest; `.problems` has one sentence per fault."""


def read_manifest(path: str | Path, taxonomy: Taxonomy | None = None) -> pd.DataFrame:
    """Reads and checks a manifest.

    Args:
      path: A CSV or Parquet file; the photos' paths are relative to its folder.
      taxonomy: Where given, labels must be classes of its finest level.

    Returns:
      The manifest frame described in the module's docstring, rows in the file's order. Spaces around the
      cells of the contract's columns are removed, save in `image`.

    Raises:
      ManifestError: Naming every fault at once, by column and row. Whether the photos exist and can be read
        is not asked here but in the audit.
    """
    path = Path(path)
    table = read_table(path, ManifestError)
    missing = [name for name in REQUIRED if name not in table.frame]
    if missing:
        raise ManifestError(str(path), [_missing_columns(missing, table.frame)])
    frame = known_cells(table.frame, taxonomy.classes() if taxonomy else ())
    problems = _problems(frame, taxonomy, path.parent, table.rows)
    if problems:
        raise ManifestError(str(path), problems)
    if "case_id" in frame and (told := alike_ids(frame["case_id"].unique())):
        _LOG.warning("%s: %s", path, told)
    return _canonical(frame)


def as_manifest(frame: pd.DataFrame, taxonomy: Taxonomy | None = None) -> pd.DataFrame:
    """Returns a frame of any make as a checked manifest frame: text columns in canonical order.

    Args:
      frame: At least the columns `image` and `label`; numbers become text (`12.0` becomes `12`).
      taxonomy: Where given, labels must be classes of its finest level.

    Returns:
      A new frame.

    Raises:
      ManifestError: As `read_manifest`, with rows counted from 1; links on the disk are not looked at.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"case_id": [7.0], "image": ["./a.png"], "label": ["wart"], "skin_tone": ["2.0"]})
    >>> as_manifest(frame)
       image label case_id  skin_tone
    0  a.png  wart       7          2
    """
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise ManifestError("manifest", [_missing_columns(missing, frame)])
    # Without a taxonomy a class in memory may be called NA; a file's NA is R's.
    text = known_cells(to_text(frame.reset_index(drop=True)), taxonomy.classes() if taxonomy else ("NA",))
    problems = _problems(text, taxonomy, None, np.arange(1, len(text) + 1))
    if problems:
        raise ManifestError("manifest", problems)
    return _canonical(text)


def write_manifest(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a manifest as CSV or, where the path ends in `.parquet`, as Parquet; all of it or nothing.

    Args:
      frame: A manifest frame; it is checked and put in canonical order first.
      path: The file to make or replace.

    Raises:
      ManifestError: The frame is not a valid manifest.
    """
    manifest = as_manifest(frame)
    with replacing(path) as temporary:
        if Path(path).suffix.lower() in (".parquet", ".pq"):
            manifest.to_parquet(temporary, index=False)
        else:
            manifest.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def skin_tones(column: pd.Series, rows: npt.NDArray[np.int64], problems: list[str]) -> pd.Series:
    """Returns Fitzpatrick types as numbers.

    Args:
      column: Text, `"1"` to `"6"` (or `"3.0"`), empty or `NA` where not known.
      rows: int64[N], row numbers for messages.
      problems: A sentence is added to it where a cell is anything else; the cell is then missing.

    Returns:
      Int64 with missing values.
    """
    import pandas as pd

    tone = unknown(column)
    wrong = ~tone.str.fullmatch(r"(?:[1-6](?:[.,]0*)?)?")
    fault = "with a skin tone that is not 1 to 6 (Fitzpatrick; empty where not known)"
    problems += faulty_rows("skin_tone", fault, wrong, rows, tone.array)
    return pd.to_numeric(tone.str[:1].where(~wrong & (tone != ""))).astype("Int64")


def known_cells(text: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Returns a table with the contract's cells as they are meant, other columns as they are.

    Args:
      text: Columns of text, any of `COLUMNS` among them.
      classes: What the labels may be; of these alone one may be called `NA`.

    Returns:
      A new frame: cells stripped, `NA` empty, labels that are whole floats as the classes have them, ages with a point.
    """
    known = text.copy()
    for name in COLUMNS:
        if name in known:
            keep = ("NA",) if name == "image" else classes if name == "label" else ()
            known[name] = unknown(known[name], keep)
    if "label" in known:
        known["label"] = as_named(known["label"], classes)
    if "age" in known:
        known["age"] = known["age"].str.replace(r"^(\d+),(\d+)$", r"\1.\2", regex=True)
    return known


def fingerprint(frame: pd.DataFrame) -> str:
    """Returns a hash of a manifest's content, the same on every machine and for CSV and Parquet alike.

    Row order counts, since photos are drawn by position; column order does not.

    Args:
      frame: A manifest frame.

    Returns:
      64 hexadecimal digits (SHA-256).

    >>> import pandas as pd
    >>> a = pd.DataFrame({"image": ["a.png"], "label": ["x"]})
    >>> fingerprint(a) == fingerprint(a[["label", "image"]])
    True
    >>> fingerprint(a) == fingerprint(a.assign(label="y"))
    False
    """
    text = to_text(frame)
    digest = hashlib.sha256(f"skinjax manifest 1: {len(text)} rows\n".encode())
    for name in sorted(map(str, text.columns)):
        cells, lengths = utf8(text[name])
        # Lengths beside the bytes: no two columns of cells run together to the same text.
        digest.update(name.encode() + b"\n" + lengths.astype("<i8").tobytes())
        digest.update(cells)
    return digest.hexdigest()


_OUTSIDE = (
    (r"\\", "with a backslash; separate folders with '/'"),
    (r"^/", "with an absolute path; it must be relative to the manifest's folder"),
    (
        r"^[A-Za-z][A-Za-z0-9+.\-]*:",
        "with a drive or an address; it must be a path below the manifest's folder",
    ),
    (r"(?:^|/)\.\.(?:/|$)", "with '..', which may leave the manifest's folder"),
    (r"[\x00-\x1f]", "with a control character in the path"),
)


def _canonical(text: pd.DataFrame) -> pd.DataFrame:
    """Returns a faultless frame of text columns in the form that the module's docstring promises."""
    order = [name for name in COLUMNS if name in text] + [name for name in text if name not in COLUMNS]
    manifest = text[order].copy()
    manifest["image"] = _tidy(manifest["image"])
    if "skin_tone" in manifest:
        manifest["skin_tone"] = skin_tones(manifest["skin_tone"], np.arange(len(manifest)), [])
    return manifest


def _tidy(image: pd.Series) -> pd.Series:
    """Paths without `./` and doubled slashes, so that one photo has one name."""
    untidy = image.str.contains(r"^\./|//|/\./|/$", regex=True)
    return image.where(~untidy, image.map(posixpath.normpath)) if untidy.any() else image


def _missing_columns(missing: list[str], frame: pd.DataFrame) -> str:
    found = ", ".join(repr(str(name)) for name in frame.columns)
    return f"no column {' and no column '.join(map(repr, missing))}; the columns are {found}"


def _problems(
    frame: pd.DataFrame, taxonomy: Taxonomy | None, folder: Path | None, rows: npt.NDArray[np.int64]
) -> list[str]:
    """Returns everything wrong with a frame of text columns, as sentences."""
    problems = []
    if not len(frame):
        problems.append("no rows; a manifest lists at least one photo")
    for name in ("image", "label", "case_id"):
        if name in frame:
            problems += faulty_rows(name, "empty", frame[name] == "", rows)
    problems += _path_problems(frame["image"], folder, rows)
    if taxonomy is not None:
        label = frame["label"]
        wrong = ~label.isin([*taxonomy.classes(), ""])
        fault = f"with a label that is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
        problems += faulty_rows("label", fault, wrong, rows, label.array, taxonomy.hint)
    if "skin_tone" in frame:
        skin_tones(frame["skin_tone"], rows, problems)
    if "split" in frame:
        split = frame["split"]
        fault = f"with a split that is none of {', '.join(SPLITS)} (or empty)"
        problems += faulty_rows("split", fault, ~split.isin([*SPLITS, ""]), rows, split.array)
    return problems


def _path_problems(image: pd.Series, folder: Path | None, rows: npt.NDArray[np.int64]) -> list[str]:
    problems = []
    cells = image.array
    refused = np.zeros(len(image), bool)
    for pattern, fault in _OUTSIDE:
        mask = image.str.contains(pattern, regex=True).to_numpy(bool) & ~refused
        problems += faulty_rows("image", fault, mask, rows, cells)
        refused |= mask
    tidy = _tidy(image)
    repeated = tidy.duplicated(keep="first").to_numpy(bool) & (tidy != "").to_numpy(bool)
    problems += faulty_rows("image", "with a photo that an earlier row lists", repeated, rows, cells)
    if folder is not None:
        leaving = _leaves_by_link(tidy, folder, refused)
        problems += faulty_rows("image", "with a link that leads out of the folder", leaving, rows, cells)
    return problems


def _leaves_by_link(image: pd.Series, folder: Path, skip: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns a mask of the paths that resolve, through symbolic links, to a place outside the folder.

    Each folder is listed once, which tells links from files without a system call per photo.
    """
    root = os.path.realpath(folder)
    inside = root.rstrip(os.sep) + os.sep
    leaving = np.zeros(len(image), bool)
    codes, names = image.str.replace(r"/?[^/]*$", "", n=1, regex=True).factorize()
    for code, name in enumerate(names):
        members = np.flatnonzero((codes == code) & ~skip)
        place = os.path.join(root, *name.split("/"))
        if not members.size or not os.path.isdir(place):
            continue
        if not (os.path.realpath(place) + os.sep).startswith(inside):
            leaving[members] = True
            continue
        with os.scandir(place) as entries:
            links = {entry.name for entry in entries if entry.is_symlink()}
        if links:
            for i in members:
                base = image.iloc[i].rpartition("/")[2]
                target = os.path.realpath(os.path.join(place, base))
                leaving[i] = base in links and not target.startswith(inside)
    return leaving
