"""The manifest: which photo shows what, and whose it is. One of the project's two data contracts.

A CSV (or another table of `skinjax.labels.delimited`) or Parquet file beside the photos, one row per photo. Version 1.

| column | | holds |
|---|---|---|
| `image` | required | path of the photo, relative to the photos' folder (the manifest's) or below it; each photo once |
| `label` | required | a class of the taxonomy's finest level |
| `case_id` | advised | whose photo: the patient, or lesion if patients are not known; no split parts a case |
| `lesion_id` | optional | which lesion of the case |
| `skin_tone` | optional | Fitzpatrick type, 1 to 6 or I to VI |
| `sex`, `age` (years), `body_site`, `source` | optional | text, for subgroups |
| `split` | optional | `train`, `validation` or `test`, where the publisher fixed them |

Any other column is kept as it is. An empty cell, and in the contract's columns a word of `spelling.MISSING_NAMES` such
as `NA`, `NULL` or `None`, means not known; in `image`, `label` and `case_id` that is a fault. (A class may be called
`None`, or `NA` where a taxonomy says so.) A manifest without a
`case_id` column is allowed: clusters of near-duplicate photos then stand in for cases.

A spreadsheet as it is becomes a manifest by names for its columns (`skinjax.data.column_names`). What can be meant in
one way alone is resolved and told: labels that are a class but for case and blanks, roman skin types, absolute paths
below the photos' folder (or of another disk, where their end is a photo there), backslashes in paths, and a column that
only numbers the rows.

In memory a manifest is a pandas frame whose columns are text, an unknown value being the empty string, save
`skin_tone`, which is `Int64` with missing values. Columns stand in the table's order, others after them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.data.column_names import ColumnNames
from skinjax.data.findings import Finding
from skinjax.data.photo_paths import as_stored, path_faults, relative_paths, tidy
from skinjax.data.spelling import (
    MISSING,
    alike_ids,
    as_classes,
    as_commonest,
    as_named,
    class_hint,
    unknown,
)
from skinjax.data.tables import (
    SHOWN,
    Table,
    TableError,
    empty_cells,
    faulty_rows,
    read_table,
    to_text,
    utf8,
)
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


@dataclasses.dataclass(frozen=True, eq=False)
class ManifestReading:
    """A manifest as far as it can be read.

    Attributes:
      frame: The manifest frame of the rows that name a photo and its label, in the file's order; labels may be unknown
        to the taxonomy, and skin types and splits that cannot be read are missing.
      findings: What was resolved (notes), and what is wrong (errors).
      problems: A sentence per fault, which keep the file from being trained on; empty for a manifest as it must be.
      rows: int64, the number of each of the frame's rows in the file, as a spreadsheet numbers them.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    rows: npt.NDArray[np.int64]


def read_manifest(
    path: str | Path,
    taxonomy: Taxonomy | None = None,
    *,
    map: Mapping[str, str] | Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Reads and checks a manifest.

    Args:
      path: A table (`skinjax.labels.delimited`) or Parquet file.
      taxonomy: Where given, labels must be classes of its finest level.
      map: The file's own names of columns, such as `{"image": "Filename"}` or `["image=Filename"]`.
      root: Folder that the photos' paths are relative to; None takes the file's.

    Returns:
      The manifest frame described in the module's docstring, rows in the file's order. Spaces around the
      cells of the contract's columns are removed.

    Raises:
      ManifestError: Naming every fault at once, by column and row. Whether the photos exist and can be read
        is not asked here but in the audit.
    """
    reading = inspect_manifest(path, taxonomy, map=map, root=root)
    if reading.problems:
        raise ManifestError(str(path), reading.problems)
    return reading.frame


def inspect_manifest(
    path: str | Path,
    taxonomy: Taxonomy | None = None,
    *,
    map: Mapping[str, str] | Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> ManifestReading:
    """Reads a manifest as far as it can be read, and tells what was resolved and what is wrong.

    Args:
      path: As of `read_manifest`, like the other arguments.
      taxonomy: Likewise.
      map: Likewise.
      root: Likewise.

    Raises:
      ManifestError: There is no table to speak of, or it has no column `image` or `label`.
    """
    path = Path(path)
    table = read_table(path, ManifestError, names=ColumnNames.of(map))
    missing = [name for name in REQUIRED if name not in table.frame]
    if missing:
        raise ManifestError(str(path), [_missing_columns(missing, table)])
    folder = Path(root) if root is not None else path.parent
    frame = known_cells(table.frame, taxonomy.classes() if taxonomy else ())
    frame, findings = _resolved(frame, table, taxonomy, folder)
    faults = _faults(frame, taxonomy, folder)
    problems = [] if len(frame) else ["no rows; a manifest lists at least one photo"]
    problems += _other_case_ids(frame)
    bad = np.zeros(len(frame), bool)
    for fault in faults:
        told = fault.told(table.rows)
        problems += told
        if fault.kind:
            findings += [Finding(fault.kind, "error", sentence) for sentence in told]
            bad |= fault.mask & fault.drops
        if fault.column == "split":
            frame = frame.assign(split=frame["split"].where(~fault.mask, ""))
    if "skin_tone" in frame:
        wrong: list[str] = []
        skin_tones(frame["skin_tone"], table.rows, wrong)
        problems += wrong
        findings += [Finding("unknown_skin_tone", "error", sentence) for sentence in wrong]
    if "case_id" in frame and (told_of := alike_ids(frame["case_id"].unique())):
        _LOG.warning("%s: %s", path, told_of)
    kept = _canonical(frame[~bad].reset_index(drop=True))
    return ManifestReading(kept, tuple(findings), tuple(problems), table.rows[~bad])


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
        raise ManifestError("manifest", [_missing_columns(missing, Table(frame, np.arange(0)))])
    # Without a taxonomy a class in memory may be called NA; a file's NA is R's.
    text = known_cells(to_text(frame.reset_index(drop=True)), taxonomy.classes() if taxonomy else MISSING)
    text["image"] = relative_paths(text["image"])
    rows = np.arange(1, len(text) + 1)
    problems = [] if len(text) else ["no rows; a manifest lists at least one photo"]
    problems += [sentence for fault in _faults(text, taxonomy, None) for sentence in fault.told(rows)]
    if "skin_tone" in text:
        skin_tones(text["skin_tone"], rows, problems)
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
      column: Text, `"1"` to `"6"` (or `"3.0"`) or `"I"` to `"VI"`, also behind the word type or Fitzpatrick; empty or
        a word such as `NA` where not known.
      rows: int64[N], row numbers for messages.
      problems: A sentence is added to it where a cell is anything else; the cell is then missing.

    Returns:
      Int64 with missing values.
    """
    import pandas as pd

    tone = _arabic(unknown(column))
    wrong = ~tone.str.fullmatch(r"(?:[1-6](?:[.,]0*)?)?")
    fault = "with a skin tone that is not 1 to 6 or I to VI (Fitzpatrick; empty where not known)"
    problems += faulty_rows("skin_tone", fault, wrong, rows, tone.array)
    return pd.to_numeric(tone.str[:1].where(~wrong & (tone != ""))).astype("Int64")


def known_cells(text: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Returns a table with the contract's cells as they are meant, other columns as they are.

    Args:
      text: Columns of text, any of `COLUMNS` among them.
      classes: What the labels may be; of these alone one may be called `NA` or the like.

    Returns:
      A new frame: cells stripped, words for a missing value empty (but for `image`, and for `case_id`, whose check
      names the word), labels that are whole floats as the classes have them, ages with a point.
    """
    known = text.copy()
    for name in COLUMNS:
        if name in ("image", "case_id") and name in known:
            known[name] = known[name].str.strip()
        elif name == "label" and name in known:
            known[name] = unknown(known[name], classes, MISSING)
        elif name in known:
            known[name] = unknown(known[name])
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


def _canonical(text: pd.DataFrame) -> pd.DataFrame:
    """Returns a faultless frame of text columns in the form that the module's docstring promises."""
    order = [name for name in COLUMNS if name in text] + [name for name in text if name not in COLUMNS]
    manifest = text[order].copy()
    manifest["image"] = tidy(manifest["image"])
    if "skin_tone" in manifest:
        manifest["skin_tone"] = skin_tones(manifest["skin_tone"], np.arange(len(manifest)), [])
    return manifest


_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}
_TYPE = r"(?i)^(?:(?:fitzpatrick|skin|photo|fst|type|tone)[\s_:.\-]*)*([1-6](?:[.,]0*)?|i{1,3}|iv|vi?)$"


def _arabic(tone: pd.Series) -> pd.Series:
    """Returns skin types as the numbers 1 to 6 where cells are roman numbers, or either behind a word."""
    short = {}
    for cell in tone.unique():
        match = re.fullmatch(_TYPE, cell)
        number = _ROMAN.get(match[1].casefold(), match[1]) if match else cell
        if number != cell:
            short[cell] = number
    return tone.replace(short) if short else tone


_ALIKE = {"image": ("image",), "label": ("label",), "case_id": ("caseid", "patientid", "patient")}
"""Names of columns that can only be meant for one of the contract's, by their letters."""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _missing_columns(missing: list[str], table: Table) -> str:
    found = ", ".join(repr(str(name)) for name in table.frame.columns)
    spelled = {_letters(str(name)): str(name) for name in reversed(list(table.frame.columns))}
    own = {name: next((spelled[key] for key in _ALIKE[name] if key in spelled), "COLUMN") for name in _ALIKE}
    asked = [*missing, *(["case_id"] if "case_id" not in table.frame and own["case_id"] != "COLUMN" else [])]
    pairs = ",".join(f"{name}={own[name]}" for name in asked)
    sheet = f" ({table.sheet})" if table.sheet else ""
    return (
        f"no column {' and no column '.join(map(repr, missing))}; the columns are {found}{sheet}; name what they are "
        f"called by map={pairs}"
    )


def _other_case_ids(frame: pd.DataFrame) -> list[str]:
    """Returns a sentence where the column of cases is there, but called otherwise: photos would count one by one."""
    if "case_id" in frame:
        return []
    spelled = [name for name in map(str, frame.columns) if _letters(name) == "caseid"]
    return [f"no column 'case_id', but one {name!r}; name it by map=case_id={name}" for name in spelled[:1]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Fault:
    """Something that is wrong with some rows.

    Attributes:
      kind: Of the finding; empty where the audit tells of it.
      column: The column.
      words: What is wrong, following "2 rows".
      mask: bool[N], the rows.
      cells: N cells to quote; None for none.
      taxonomy: Whose classes labels should be, so that each unknown label is one finding.
      drops: Whether the rows can only be left out.
    """

    kind: str
    column: str
    words: str
    mask: npt.NDArray[np.bool_]
    cells: Sequence[str] | None = None
    taxonomy: Taxonomy | None = None
    drops: bool = True

    def told(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Returns a sentence, or nothing where no row is wrong."""
        at = np.flatnonzero(self.mask)
        if self.taxonomy is None or self.cells is None or not at.size:
            return faulty_rows(self.column, self.words, self.mask, rows, self.cells)
        places: dict[str, list[int]] = {}
        for i in at.tolist():
            places.setdefault(str(self.cells[i]), []).append(int(rows[i]))
        shown = [
            f"row {found[0]} {label!r}{class_hint(label, self.taxonomy)}"
            + (f" ({len(found):,} rows)" if len(found) > 1 else "")
            for label, found in itertools.islice(places.items(), SHOWN)
        ]
        more = [f"and {len(places) - SHOWN:,} more labels"] if len(places) > SHOWN else []
        return [
            f"column {self.column!r}, {at.size:,} row{'s' if at.size != 1 else ''} {self.words}: "
            + ", ".join(shown + more)
        ]


def _faults(frame: pd.DataFrame, taxonomy: Taxonomy | None, folder: Path | None) -> list[_Fault]:
    """Returns everything wrong with a frame of text columns."""
    faults = [
        _Fault(f"empty_{name}", name, "empty", (frame[name] == "").to_numpy(bool))
        for name in REQUIRED
        if name in frame
    ]
    if "case_id" in frame:
        empty = empty_cells(frame["case_id"])
        faults += [_Fault("empty_case_id", "case_id", words, mask) for words, mask in empty.items()]
    for words, mask in path_faults(frame["image"], folder):
        kind = "listed_twice" if "earlier row" in words else "unusable_path"
        faults.append(_Fault(kind, "image", words, mask, frame["image"].array))
    if taxonomy is not None:
        label = frame["label"]
        wrong = ~label.isin([*taxonomy.classes(), ""]).to_numpy(bool)
        words = f"with a label that is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
        faults.append(_Fault("", "label", words, wrong, label.array, taxonomy))
    if "split" in frame:
        split = frame["split"]
        words = f"with a split that is none of {', '.join(SPLITS)} (or empty)"
        wrong = ~split.isin([*SPLITS, ""]).to_numpy(bool)
        faults.append(_Fault("unknown_split", "split", words, wrong, split.array, drops=False))
    return faults


def _resolved(
    frame: pd.DataFrame, table: Table, taxonomy: Taxonomy | None, folder: Path
) -> tuple[pd.DataFrame, list[Finding]]:
    """Returns a frame whose cells are spelled as the contract has them, where that is certain, and what was changed."""
    findings = []
    if table.renamed:
        shown = ", ".join(f"{own!r} is read as {name!r}" for name, own in table.renamed.items())
        findings.append(Finding("columns_renamed", "note", f"columns by other names: {shown}"))
    if table.index:
        shown = ", ".join(repr(name) if name else "without a name" for name in table.index)
        findings.append(
            Finding("index_column", "note", f"a column only numbers the rows and is left out: {shown}")
        )
    image = as_stored(relative_paths(frame["image"], folder), folder)
    if moved := int((image != frame["image"]).sum()):
        message = f"paths with backslashes or of a disk, made relative to the photos' folder: {moved:,}"
        findings.append(Finding("paths_made_relative", "note", message))
    label = frame["label"]
    if taxonomy is None:
        meant = as_commonest(label)
    else:
        meant = as_classes(label.unique(), taxonomy.classes(), dict(taxonomy.titles))
    for given, found in meant.items():
        at = np.flatnonzero((label == given).to_numpy(bool))
        where = f"{len(at):,} photos" if len(at) > 1 else "1 photo"
        findings.append(
            Finding(
                "label_resolved",
                "note",
                f"has the label {given!r}, which is taken for {found!r} ({where})",
                image.iloc[at[0]],
                int(table.rows[at[0]]),
                tuple(image.iloc[at[1:]]),
            )
        )
    frame = frame.assign(image=image, label=label.replace(meant) if meant else label)
    if "skin_tone" in frame:
        tone = unknown(frame["skin_tone"])
        arabic = _arabic(tone)
        if changed := int((tone != arabic).sum()):
            example = tone[tone != arabic].iloc[0]
            message = f"skin types such as {example!r}, read as 1 to 6: {changed:,}"
            findings.append(Finding("skin_types_as_numbers", "note", message))
            frame = frame.assign(skin_tone=arabic)
    return frame, findings
