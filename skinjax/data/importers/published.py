"""Importers of the public data sets, each in its publisher's own layout.

Counts are the publishers' and cited, with the licences, in `third_party/labels.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skinjax.data.importers.files import find_photos, find_table
from skinjax.data.importers.report import CountCheck, ImportReport, MissingPhoto
from skinjax.data.manifest import as_manifest
from skinjax.data.tables import TableError, faulty_rows, read_table
from skinjax.labels.taxonomy import load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

_PAD_UFES_20 = {"BCC": 845, "ACK": 730, "NEV": 244, "SEK": 235, "SCC": 192, "MEL": 52}
_HAM10000 = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
_ISIC2019 = {
    "NV": 12875,
    "MEL": 4522,
    "BCC": 3323,
    "BKL": 2624,
    "AK": 867,
    "SCC": 628,
    "VASC": 253,
    "DF": 239,
}
PAD_UFES_20_COLUMNS = (
    "smoke", "drink", "background_father", "background_mother", "pesticide", "skin_cancer_history", "cancer_history",
    "has_piped_water", "has_sewage_system", "diameter_1", "diameter_2", "itch", "grew", "hurt", "changed", "bleed",
    "elevation",
)  # fmt: skip
"""Columns of PAD-UFES-20's publisher on persons and lesions, beside the manifest's own."""

_FITZPATRICK17K_TYPES = {"-1": 565, "1": 2947, "2": 4808, "3": 3308, "4": 2781, "5": 1533, "6": 635}


def import_pad_ufes_20(source: Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads PAD-UFES-20 (Pacheco et al. 2020): clinical photos by smartphone, cases are patients.

    `lesion_id` becomes `patient/lesion`, since the publisher's lesion numbers recur under several patients.
    `biopsed` is kept; it gives the label away, as every cancer and about a fifth of the rest were biopsied. The history
    and measures of `PAD_UFES_20_COLUMNS` are kept too, those not known (`UNK`) empty; most were asked where a biopsy
    was taken, so that their absence gives the label away.
    """
    columns = (
        "img_id",
        "diagnostic",
        "patient_id",
        "lesion_id",
        "fitspatrick",
        "gender",
        "age",
        "region",
        "biopsed",
    )
    table = _table(source, "pad_ufes_20", ("metadata.csv",), columns)
    import pandas as pd

    frame = pd.DataFrame(
        {
            "label": table["diagnostic"],
            "case_id": table["patient_id"],
            "lesion_id": table["patient_id"] + "/" + table["lesion_id"],
            "skin_tone": table["fitspatrick"],
            "sex": table["gender"].str.lower(),
            "age": table["age"],
            "body_site": table["region"].str.lower(),
            "biopsed": table["biopsed"],
        }
    )
    told = [name for name in PAD_UFES_20_COLUMNS if name in table]
    frame = frame.assign(**{name: table[name].replace("UNK", "") for name in told})
    owners = table.groupby("lesion_id")["patient_id"].nunique()
    counts = {
        "photos": (2298, len(table)),
        "patients": (1373, table["patient_id"].nunique()),
        "lesion ids": (1641, table["lesion_id"].nunique()),
    }
    recurring = f"{(owners > 1).sum()} of {len(owners)} lesion ids stand under more than one patient"
    notes = [
        f"{recurring}; a lesion is keyed by both.",
        "biopsed gives the label away: keep it out of any model.",
    ]
    if told:
        notes.append(
            "Histories, skin tones and diameters were mostly recorded of lesions that were biopsied: that they are "
            "missing gives the label away."
        )
    folders = ("imgs_part_1", "imgs_part_2", "imgs_part_3", "images")
    return _finish("pad_ufes_20", source, frame, table["img_id"], folders, counts, _PAD_UFES_20, notes)


def import_ham10000(source: Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads HAM10000 (Tschandl et al. 2018): dermoscopic photos, cases are lesions; patients are not published.

    `dx_type` (how the diagnosis was made) is kept; it gives the label away, as only nevi were followed up.
    """
    names = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
    columns = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")
    table = _table(source, "ham10000", names, columns)
    import pandas as pd

    frame = pd.DataFrame(
        {
            "label": table["dx"],
            "case_id": table["lesion_id"],
            "lesion_id": table["lesion_id"],
            "sex": table["sex"].replace("unknown", ""),
            "age": table["age"].str.removesuffix(".0"),
            "body_site": table["localization"].replace("unknown", ""),
            "dx_type": table["dx_type"],
        }
    )
    if "dataset" in table:  # which hospital; in later releases of the table
        frame["dataset"] = table["dataset"]
    counts = {"photos": (10015, len(table)), "lesions": (7470, table["lesion_id"].nunique())}
    notes = [
        "dx_type gives the label away: keep it out of any model.",
        "cases are lesions: two lesions of one patient can stand in two parts of a split.",
    ]
    folders = ("HAM10000_images_part_1", "HAM10000_images_part_2", "images")
    return _finish("ham10000", source, frame, table["image_id"], folders, counts, _HAM10000, notes)


def import_fitzpatrick17k(source: Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads Fitzpatrick17k (Groh et al. 2021): clinical photos from two atlases, with skin types; no patient ids.

    The publisher ships a table of addresses. Photos are found under `<md5hash>` or under the name in
    `url_alphanum`, and those not yet there are listed with their address.
    """
    columns = ("md5hash", "fitzpatrick_scale", "label", "qc", "url", "url_alphanum")
    table = _table(source, "fitzpatrick17k", ("fitzpatrick17k.csv",), columns)
    import pandas as pd

    frame = pd.DataFrame(
        {
            "label": table["label"],
            "skin_tone": table["fitzpatrick_scale"].replace("-1", ""),
            "qc": table["qc"],
        }
    )
    counts = {"photos": (16577, len(table)), "conditions": (114, table["label"].nunique())}
    for scale, number in _FITZPATRICK17K_TYPES.items():
        name = "skin type unknown" if scale == "-1" else f"skin type {scale}"
        counts[name] = (number, int((table["fitzpatrick_scale"] == scale).sum()))
    wrong = int((table["qc"] == "3 Wrongly labelled").sum())
    notes = [
        "no patient ids are published: clusters of near-duplicates must stand in for cases.",
        f"{wrong} rows are marked as wrongly labelled in column qc, which is kept.",
    ]
    return _finish(
        "fitzpatrick17k",
        source,
        frame,
        table["md5hash"] + ".jpg",
        ("images", "finalfitz17k"),
        counts,
        {},
        notes,
        other_names=table["url_alphanum"],
        urls=table["url"],
    )


def import_isic2019(source: Path) -> tuple[pd.DataFrame, ImportReport]:
    """Reads ISIC 2019's training photos: dermoscopic; cases are lesions where the metadata table is there too.

    A photo whose lesion the metadata leave empty is a case of its own.
    """
    table = _table(source, "isic2019", ("ISIC_2019_Training_GroundTruth.csv",), ("image", *_ISIC2019))
    import pandas as pd

    marks = [name for name in (*_ISIC2019, "UNK") if name in table]
    numbers = table[marks].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    wrong = ~(np.isin(numbers, (0.0, 1.0)).all(1) & (numbers.sum(1) == 1))
    problems = faulty_rows(
        f"{marks[0]} to {marks[-1]}", "that must hold one 1 among 0s", wrong, np.arange(2, len(table) + 2)
    )
    if problems:
        raise TableError(str(source), problems)
    label = pd.Series(np.array(marks)[numbers.argmax(1)], dtype=str)
    known = (label != "UNK").to_numpy()
    frame = pd.DataFrame({"label": label})
    notes = ["HAM10000 is a part of ISIC 2019: a test of one on the other is no test."]
    if not known.all():
        notes.append(f"{(~known).sum()} rows marked UNK, which is no diagnosis, were left out.")
    try:
        path = find_table(source, "isic2019", ("ISIC_2019_Training_Metadata.csv",))
    except ValueError:
        notes.append("no ISIC_2019_Training_Metadata.csv: without it there are no cases.")
    else:
        columns = ("image", "age_approx", "anatom_site_general", "lesion_id", "sex")
        about = (
            _columns(path, columns)
            .drop_duplicates("image")
            .set_index("image")
            .reindex(table["image"])
            .fillna("")
        )
        lesion = about["lesion_id"].to_numpy(object)
        alone = (lesion == "") & known
        frame["case_id"] = np.where(lesion == "", table["image"], lesion)
        frame["lesion_id"] = lesion
        frame["sex"] = about["sex"].replace("unknown", "").to_numpy()
        frame["age"] = about["age_approx"].str.removesuffix(".0").to_numpy()
        frame["body_site"] = about["anatom_site_general"].to_numpy()
        if alone.any():
            notes.append(f"{alone.sum():,} photos have no lesion id; each is a case of its own.")
    counts = {"photos": (25331, len(table))}
    folders = ("ISIC_2019_Training_Input", "images")
    image = table["image"][known].reset_index(drop=True)
    return _finish(
        "isic2019", source, frame[known].reset_index(drop=True), image, folders, counts, _ISIC2019, notes
    )


def _table(source: Path, dataset: str, names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    return _columns(find_table(source, dataset, names), columns)


def _columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    frame = read_table(path).frame
    missing = [name for name in columns if name not in frame]
    if missing:
        raise TableError(
            str(path), [f"no column {name!r}, which the publisher's table has" for name in missing]
        )
    return frame


def _finish(
    dataset: str,
    source: Path,
    frame: pd.DataFrame,
    image: pd.Series,
    folders: Sequence[str],
    counts: Mapping[str, tuple[int, int]],
    label_counts: Mapping[str, int],
    notes: Sequence[str],
    other_names: pd.Series | None = None,
    urls: pd.Series | None = None,
) -> tuple[pd.DataFrame, ImportReport]:
    """Adds the photos' paths to a frame of labels, leaves out rows without photo, and counts.

    Args:
      dataset: Also the name of its taxonomy.
      source: Folder that the paths are relative to.
      frame: Manifest columns other than `image`.
      image: File name of each row's photo, with or without ending.
      folders: As `find_photos`.
      counts: What -> (published, found).
      label_counts: Label -> published photos.
      notes: Sentences for the report.
      other_names: Further names that the photos may have.
      urls: Where each can be had.
    """
    taxonomy = load_taxonomy(dataset)
    try:
        taxonomy.encode(frame["label"])
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    found, several, links = find_photos(source, folders)
    stems = [_stem(name) for name in image]
    path = [found.get(stem, "") for stem in stems]
    if other_names is not None:
        path = [at or found.get(_stem(name), "") for at, name in zip(path, other_names, strict=True)]
    there = np.array([at != "" for at in path], bool)
    address = [""] * len(image) if urls is None else urls.tolist()
    missing = tuple(
        MissingPhoto(name, url) for name, url, ok in zip(image, address, there, strict=True) if not ok
    )
    notes = list(notes)
    taken = set(stems) & set(several)
    if taken:
        order = ", ".join(folders)
        notes.append(f"{len(taken)} photos stand in several folders; the first of {order} was taken.")
    if links and not there.all():
        notes.append(f"linked folders are not followed: {', '.join(links)}.")
    full = frame.assign(image=path, source=dataset)[there]
    # A manifest of no photos is not valid, but the list of missing ones is then needed all the more.
    first = ["image", "label"]
    full = full[first + [name for name in full if name not in first]]
    manifest = as_manifest(full, taxonomy) if there.any() else full.reset_index(drop=True)
    checks = [CountCheck(what, published, int(number)) for what, (published, number) in counts.items()]
    checks += [
        CountCheck(f"label {name}", number, int((frame["label"] == name).sum()))
        for name, number in label_counts.items()
    ]
    cases = int(manifest["case_id"].nunique()) if "case_id" in manifest else None
    report = ImportReport(
        dataset, taxonomy, len(frame), len(manifest), cases, tuple(checks), missing, tuple(notes)
    )
    return manifest, report


def _stem(name: str) -> str:
    """Returns a photo's name without its ending; ids with a dot that is no ending keep it."""
    head, dot, tail = name.rpartition(".")
    return head if dot and tail.lower() in ("jpg", "jpeg", "png") else name
