"""The overview of a data set on the audit's page: counts against loops over the rows, examples, and what is said."""

from __future__ import annotations

import base64
import collections
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image
from scipy.stats import norm

from skinjax.data.audit import audit_manifest
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report import audit_page
from skinjax.report.blocks import Strips, Table, Text
from skinjax.report.sections import class_overview, data_set
from skinjax.report.tables import data_set as tables

TREE = Taxonomy.from_pairs(
    [("benign", "nevus"), ("benign", "wart"), ("malignant", "melanoma"), ("malignant", "bcc")]
)


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory):
    """Sixty photos of three classes in cases, one of which is no photo, with EXIF of a camera."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera of Dr. Who"
    rows = []
    for place in range(60):
        name = f"{place:02d}.jpg"
        width, height = [(60, 40), (40, 60), (48, 48)][place % 3]
        pixels = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(root / name, exif=exif)
        label = "nevus" if place < 40 else "melanoma" if place < 55 else "mole"
        case = 0 if place < 15 else place // 2
        rows.append((name, label, f"p{case:02d}", ["", "f", "m", "NA"][place % 4], str(20 + place), "same"))
    (root / "07.jpg").write_text("not a photo")
    columns = ["image", "label", "case_id", "sex", "age", "clinic"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=1), root


@pytest.fixture(scope="module")
def found(photo_folder):
    frame, root = photo_folder
    report = audit_manifest(frame, root, taxonomy=TREE)
    return tables.photos_by_case(frame, report), report


def test_classes_are_counted_at_every_level_and_unknown_labels_stand_apart(photo_folder, found):
    frame, _ = photo_folder
    usable = frame[frame["image"] != "07.jpg"]
    paths = tables.paths_of_labels(frame["label"].unique().tolist(), TREE)
    parent = {"nevus": "benign", "melanoma": "malignant", "mole": tables.UNKNOWN}
    for level, of in (("sub", str), ("meta", parent.get)):
        counts = tables.count_classes(found[0], paths, level).set_index("class")
        for name, row in counts.iterrows():
            listed = [of(label) == name for label in frame["label"]]
            mine = usable[[of(label) == name for label in usable["label"]]]
            assert row["listed"] == sum(listed)
            assert (row["photos"], row["cases"]) == (len(mine), mine["case_id"].nunique())
    fine = tables.count_classes(found[0], paths, "sub")
    assert fine["class"].tolist() == ["nevus", "wart", "melanoma", "bcc", "mole"]
    assert fine["group"].tolist() == ["benign", "benign", "malignant", "malignant", tables.UNKNOWN]


def test_cases_are_counted_by_size_and_the_largest_come_first(photo_folder, found):
    frame, _ = photo_folder
    sizes = collections.Counter(frame.loc[frame["image"] != "07.jpg", "case_id"])
    assert dict(found[0].sizes) == dict(sizes)
    bins = tables.size_bins(np.array(list(sizes.values())))
    for low, high, cases in bins.itertuples(index=False):
        assert cases == sum(low <= size <= high for size in sizes.values())
    assert bins["cases"].sum() == len(sizes)
    largest = tables.largest_cases(found[0], 3)
    assert largest["case_id"].tolist()[0] == "p00"
    assert largest["photos"].tolist() == sorted(sizes.values(), reverse=True)[:3]
    assert largest["labels"].iloc[0] == f"nevus {sizes['p00']}"


def test_labels_of_one_case_are_counted_together():
    photos = pd.DataFrame(
        {
            "case_id": ["b", "b", "a", "a", "a", "c", "d", "d"],
            "label": ["x", "y", "y", "x", "x", "x", "x", "z"],
        }
    )
    given = tables.PhotosByCase(photos, pd.DataFrame(), "case", photos["label"].value_counts())
    together = tables.labels_together(given)
    assert together.to_numpy().tolist() == [["x + y", 2, 5, "a"], ["x + z", 1, 2, "d"]]
    one = tables.PhotosByCase(photos[5:6], pd.DataFrame(), "case", photos["label"].value_counts())
    assert tables.labels_together(one).empty


def test_a_class_of_few_cases_has_the_interval_of_wilson_if_all_is_right():
    photos = pd.DataFrame({"case_id": list("abcdeff"), "label": ["x"] * 5 + ["y"] * 2})
    given = tables.PhotosByCase(photos, pd.DataFrame(), "case", photos["label"].value_counts())
    counts = tables.count_classes(
        given, tables.paths_of_labels(["x", "y"], Taxonomy("t", ("l",), (("x",), ("y",)))), "l"
    )
    rare = tables.few_cases(given, counts, 10, 0.95).set_index("class")
    assert rare.index.tolist() == ["y", "x"]
    z = norm.ppf(0.975)
    assert rare.loc["x", "low"] == pytest.approx(5 / (5 + z**2))  # Wilson 1927 at 5 of 5
    assert np.isnan(rare.loc["y", "low"])  # both photos are of one case
    assert tables.few_cases(given, counts, 2, 0.95).index.size == 1


def test_sizes_shapes_and_columns_are_those_of_the_photos(photo_folder, found):
    by_case, report = found
    sizes = tables.photo_sizes(by_case.facts).set_index("measure")
    assert sizes.loc["shorter side", ["smallest", "median", "largest"]].tolist() == [40, 40, 48]
    assert sizes.loc["longer to shorter side", "largest"] == pytest.approx(1.5)
    shapes = tables.count_shapes(by_case.facts)
    assert shapes[["width", "height", "photos"]].to_numpy().tolist() == [
        [48, 48, 20],
        [60, 40, 20],
        [40, 60, 19],
    ]
    columns = tables.columns_beside(by_case.photos, report).set_index("column")
    frame = by_case.photos
    assert columns.loc["sex", "missing"] == frame["sex"].isin(["", "NA"]).sum()
    assert columns.loc["sex", "kind"] == "category"
    assert columns.loc["sex", "examples"] == ", ".join(f"{v} {(frame['sex'] == v).sum()}" for v in "fm")
    ages = frame["age"].astype(int)
    assert columns.loc["age", "kind"] == "number"
    assert columns.loc["age", "examples"] == f"{ages.min()} to {ages.max()}, median {ages.median():g}"


def test_examples_are_of_different_cases_and_do_not_depend_on_the_order_of_rows(found):
    photos = found[0].photos
    chosen = class_overview.example_photos(photos, 6)
    assert chosen == class_overview.example_photos(photos.sample(frac=1, random_state=7), 6)
    cases = photos.set_index("image").loc[chosen, "case_id"]
    assert cases.is_unique
    assert {cases.min(), cases.max()} == {photos["case_id"].min(), photos["case_id"].max()}


def page_of(photo_folder, tmp_path, frame=None, taxonomy=TREE):
    frame, root = photo_folder if frame is None else (frame, photo_folder[1])
    report = audit_manifest(frame, root, taxonomy=taxonomy)
    path = audit_page.write_audit(
        tmp_path, title="Audit", frame=frame, root=root, report=report, config={}, taxonomy=taxonomy
    )
    return path.read_text(encoding="utf-8")


def section_of(page, id):
    return page[page.index(f'<section id="{id}">') :].split("</section>")[0]


def test_the_page_shows_photos_without_their_metadata_and_what_is_rare(photo_folder, tmp_path):
    page = page_of(photo_folder, tmp_path)
    order = [
        page.index(f'<section id="{id}">')
        for id in ("found", "errors", "labels", "cases", "sizes", "columns")
    ]
    assert order == sorted(order)
    classes = section_of(page, "labels")
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', classes)
    assert pictures
    for data in pictures:
        raw = base64.b64decode(data)
        assert b"Camera" not in raw
        assert not Image.open(io.BytesIO(raw)).getexif()
    assert "2 classes have no usable photo: Wart and Bcc." in classes
    assert "Not in the taxonomy" in classes
    assert "Classes with fewer than 10 cases (2)" in classes
    assert "59 usable photos of" in section_of(page, "cases")
    assert "59 of 59 have a side of less than 224 pixels" in section_of(page, "sizes")
    table = pd.read_csv(tmp_path / "tables" / "labels.csv")
    assert table["photos"].sum() == 59


def test_without_case_ids_groups_of_near_duplicates_are_counted_and_called_so(photo_folder, tmp_path):
    frame = photo_folder[0].drop(columns="case_id")
    page = page_of(photo_folder, tmp_path, frame)
    cases = section_of(page, "cases")
    assert "<h2>Groups of near-duplicates</h2>" in cases
    assert "The manifest has no case_id, so groups of near-duplicate photos stand in for cases." in cases
    assert ">Groups<" in section_of(page, "labels")
    assert ">Cases<" not in section_of(page, "labels")


def test_photos_that_are_cases_of_their_own_have_no_section_of_cases(photo_folder, tmp_path):
    frame = photo_folder[0].assign(case_id=photo_folder[0]["image"])
    page = page_of(photo_folder, tmp_path, frame)
    assert '<section id="cases">' not in page
    assert "Classes with fewer than 10 photos" in page


def test_a_manifest_without_a_usable_photo_has_a_page(photo_folder, tmp_path):
    frame = pd.DataFrame({"image": ["no.jpg"], "label": ["nevus"], "case_id": ["a"]})
    page = page_of(photo_folder, tmp_path, frame)
    assert '<section id="sizes">' not in page
    assert "4 classes have no usable photo" in section_of(page, "labels")


@pytest.mark.parametrize("levels", [1, 2])
def test_a_thousand_classes_fit_on_a_page(levels):
    names = [f"class {n:04d}" for n in range(1000)]
    photos = pd.DataFrame(
        {
            "image": [f"{n}.jpg" for n in range(9000)],
            "label": names * 9,
            "case_id": [f"c{n}" for n in range(9000)],
        }
    )
    photos = pd.concat([photos, photos[500:501].assign(image="more.jpg", case_id="more")])
    tree = Taxonomy("many", ("one",), tuple((name,) for name in names))
    if levels == 2:
        tree = Taxonomy.from_pairs([(f"group {n % 20:02d}", name) for n, name in enumerate(names)])
    given = tables.PhotosByCase(photos, pd.DataFrame(), "case", photos["label"].value_counts())
    shown = []
    section = class_overview.classes_section(
        given, tree, lambda image: shown.append(image) or class_overview.Tile(image, "", "")
    )
    assert len(shown) <= class_overview.MOST_EXAMPLES
    strips = next(block for block in section.blocks if isinstance(block, Strips)).strips
    if levels == 1:
        assert len(strips) == class_overview.MOST_STRIPS
        assert "Class 0500" in [strip.title for strip in strips]  # which has the most cases
        words = [block.words for block in section.blocks if isinstance(block, Text)]
        assert f"And {1000 - class_overview.MOST_STRIPS} classes more, with as many cases or fewer." in words
    else:
        assert [strip.title for strip in strips] == [f"Group {n:02d}" for n in range(20)]
    long = [block for block in section.blocks if isinstance(block, Table) and len(block.data) > 40]
    assert long
    assert all(block.folded for block in long)


def test_cases_of_very_unequal_size_are_told_to_say_less():
    case = ["a"] * 60 + [f"b{n}" for n in range(20)]
    photos = pd.DataFrame({"image": map(str, range(80)), "label": "x", "case_id": case})
    given = tables.PhotosByCase(photos, pd.DataFrame(), "case", photos["label"].value_counts())
    words = " ".join(block.words for block in data_set.cases_section(given).blocks if isinstance(block, Text))
    worth = 80**2 / (60**2 + 20)
    assert f"all of them say as much as {worth:,.0f} of equal size" in words
