"""The audit: every damage named, copies across cases and labels found, columns that tell the label shown."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.data.audit import _label_findings, audit_manifest
from skinjax.data.leakage import _guesses, columns_that_predict
from skinjax.data.survey import in_order, survey
from skinjax.labels.taxonomy import Taxonomy
from tests.support import damage


def manifest(images, **columns):
    plain = {"label": ["nevus"] * len(images), "case_id": [f"case {n}" for n in range(len(images))]}
    return pd.DataFrame({"image": images, **plain, **columns})


def textured(seed):
    """A scene with spots of many sizes, as skin has. uint8[120, 160, 3]."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.normal(0, 60 / side, (side, side)).astype(np.float32)).resize((160, 120))
        )
        for side in (4, 8, 16, 32)
    ]
    return (damage.scene(seed, 120, 160) + 2 * sum(layers)[:, :, None]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    cases = damage.write(folder)
    return folder, cases, audit_manifest(manifest([case.name for case in cases]), folder)


def test_each_of_two_hundred_damaged_files_is_named_with_its_reason(damaged):
    _, cases, report = damaged
    errors = {(found.image, found.row): found for found in report.findings if found.severity == "error"}
    for row, case in enumerate(cases, 1):
        found = errors.get((case.name, row))
        if "any" in case.kinds:
            continue
        if case.kinds:
            assert found is not None, case.name
            assert found.kind in case.kinds, case.name
            assert found.message
            assert report.photos["problem"][row - 1] == found.kind
        elif found is not None:
            assert found.kind.startswith("exact_duplicate"), case.name
    assert len(cases) >= 200
    assert sum(report.counts.values()) == len(report.findings)


def test_oddities_are_remarked_on(damaged):
    _, cases, report = damaged
    remarks = {(found.image, found.kind) for found in report.findings}
    for case in cases:
        for finding in case.findings:
            kind = "damaged_beside_the_pixels" if finding.startswith("damaged") else finding
            assert (case.name, kind.replace(" ", "_").lower()) in remarks
    severity = {found.kind: found.severity for found in report.findings}
    assert severity["wrong_extension"] == severity["damaged_beside_the_pixels"] == "warning"
    assert severity["cmyk"] == severity["16-bit"] == severity["rotated_by_exif"] == "note"


def test_threads_and_progress_change_nothing(damaged):
    folder, cases, report = damaged
    seen = []
    again = audit_manifest(
        manifest([case.name for case in cases]),
        folder,
        threads=5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert again.findings == report.findings
    assert again.text() == report.text()
    pd.testing.assert_frame_equal(again.photos, report.photos)
    assert seen == [(n, len(cases)) for n in range(1, len(cases) + 1)]


def test_the_report_is_written_whole(damaged, tmp_path):
    _, _, report = damaged
    folder = tmp_path / "new" / "audit"
    report.write(folder)
    report.write(folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "audit.csv",
        "audit.json",
        "audit.txt",
        "audit_photos.csv",
    ]
    whole = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert whole["counts"] == report.counts
    assert len(whole["findings"]) == len(report.findings)
    table = pd.read_csv(folder / "audit.csv", keep_default_na=False, encoding="utf-8")
    assert table["kind"].tolist() == report.to_frame()["kind"].tolist()
    assert len(pd.read_csv(folder / "audit_photos.csv")) == len(report.photos)
    text = (folder / "audit.txt").read_text(encoding="utf-8")
    assert text == report.text()
    assert "error: truncated" in text
    assert "\0" not in text
    assert f"{report.num_errors} errors" in text


def test_copies_across_cases_and_labels(tmp_path):
    first, second, third = (textured(n) for n in (101, 102, 103))
    files = {
        "a.png": damage.encoded(first, "PNG"),
        "a_same.png": damage.encoded(first, "PNG"),
        "a_small.jpg": damage.encoded(first[::2, ::2], "JPEG", quality=60),
        "b.png": damage.encoded(second, "PNG"),
        "b_dark.png": damage.encoded((second * 0.7).astype(np.uint8), "PNG"),
        "c.png": damage.encoded(third, "PNG"),
        "c_again.jpg": damage.encoded(third, "JPEG"),
        "flat_1.png": damage.encoded(np.full((50, 50, 3), 90, np.uint8), "PNG"),
        "flat_2.png": damage.encoded(np.full((60, 50, 3), 190, np.uint8), "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    frame = manifest(
        list(files),
        label=["nevus", "melanoma", "nevus", "nevus", "melanoma", "nevus", "nevus", "nevus", "nevus"],
        case_id=["1", "1", "1", "2", "3", "4", "4", "5", "6"],
    )
    report = audit_manifest(frame, tmp_path)
    found = {(finding.kind, finding.severity, finding.image, finding.others) for finding in report.findings}
    assert found == {
        ("exact_duplicate_across_labels", "error", "a.png", ("a_same.png",)),
        ("near_duplicate_across_labels", "warning", "a.png", ("a_same.png", "a_small.jpg")),
        ("near_duplicate_across_labels", "warning", "b.png", ("b_dark.png",)),
        ("near_duplicate_across_cases", "warning", "b.png", ("b_dark.png",)),
        ("near_duplicate", "note", "c.png", ("c_again.jpg",)),
        ("case_with_several_labels", "note", "a.png", ()),
        ("one_colour", "warning", "flat_1.png", ()),
        ("one_colour", "warning", "flat_2.png", ()),
    }
    assert report.num_errors == 1
    stand_in = report.stand_in_cases()
    assert stand_in[0] == stand_in[1] == stand_in[2]
    assert stand_in[7] == stand_in[8] == "look_flat"
    assert len(set(stand_in)) == 4
    report = audit_manifest(frame.assign(case_id=list("123456789")), tmp_path)
    assert report.counts["exact_duplicate_across_cases"] == 1


def test_labels_and_lesions(tmp_path):
    names = [f"{n}.png" for n in range(5)]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(damage.encoded(damage.scene(n + 200), "PNG"))
    taxonomy = Taxonomy.from_pairs([("benign", "nevus"), ("malignant", "melanoma")])
    frame = manifest(
        names,
        label=["nevus", "melanoma", "nevus", "melanoma", "mole"],
        case_id=["1", "1", "2", "2", "3"],
        lesion_id=["7", "7", "7", "8", ""],
    )
    found = {
        (f.kind, f.severity, f.row): f for f in audit_manifest(frame, tmp_path, taxonomy=taxonomy).findings
    }
    assert set(found) == {
        ("unknown_label", "error", 5),
        ("contradicting_labels", "warning", 1),
        ("case_with_several_labels", "note", 1),
        ("case_with_several_labels", "note", 3),
        ("lesion_id_under_several_cases", "note", 0),
    }
    assert "'mole'" in found["unknown_label", "error", 5].message
    assert "lesion 7 of case 1" in found["contradicting_labels", "warning", 1].message
    with pytest.raises(ValueError, match="must have the columns image and label, got image, case_id"):
        audit_manifest(frame.drop(columns="label"), tmp_path)


def random_study(seed=0, cases=300):
    """Three labels; a case has one to three photos and one label."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), rng.integers(1, 4, cases))
    label = rng.choice(3, cases, p=[0.6, 0.3, 0.1])[case]
    return rng, case, label


def test_the_explained_share_is_the_mutual_information():
    """On many cases U tends to I(label; value) / H(label), counted from the table."""
    rng, case, label = random_study(1, cases=6000)
    value = np.where(rng.random(len(label)) < 0.7, label, rng.integers(0, 4, len(label)))
    (figure,) = columns_that_predict({"value": value.tolist()}, label.tolist(), case.tolist())
    joint = pd.crosstab(label, value, normalize=True).to_numpy()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    information = (joint * np.log(np.where(joint > 0, joint / product, 1))).sum()
    entropy = -(joint.sum(1) * np.log(joint.sum(1))).sum()
    assert figure.explained == pytest.approx(information / entropy, abs=0.01)
    assert figure.accuracy == pytest.approx(joint.max(0).sum(), abs=0.01)
    assert figure.baseline == pytest.approx(joint.sum(1).max(), abs=0.01)
    assert 0 < figure.standard_error < 0.02


def test_identifiers_and_noise_raise_no_alarm():
    for seed in range(8):
        rng, case, label = random_study(seed)
        number = len(label)
        columns = {
            "case name": [f"patient {n}" for n in case],
            "file name": [f"photo {n}" for n in range(number)],
            "case number": rng.permutation(300)[case].tolist(),
            "noise": rng.normal(size=number).tolist(),
            "coin": rng.integers(0, 2, 300)[case].tolist(),
            "city": [f"city {n}" for n in rng.integers(0, 40, 300)[case]],
            "mostly empty": np.where(rng.random(number) < 0.95, "", "x").tolist(),
        }
        for figure in columns_that_predict(columns, label.tolist(), case.tolist()):
            assert figure.explained < 0.02, (seed, figure)


def test_columns_that_tell_the_label():
    _, case, label = random_study(3)
    columns = {
        "diagnosis": label.tolist(),
        "grouped": (label > 0).tolist(),
        "number": (label * 1000.0 + np.arange(len(label)) % 97).tolist(),
        "filled": np.where(label == 0, "", (np.arange(len(label)) % 5).astype(str)).tolist(),
        "constant": [1] * len(label),
    }
    figures = {f.column: f for f in columns_that_predict(columns, label.tolist(), case.tolist())}
    assert set(figures) == {"diagnosis", "grouped", "number", "filled"}
    assert figures["diagnosis"].explained > 0.9
    assert figures["diagnosis"].accuracy == 1
    assert figures["number"].explained > 0.8
    assert 0.5 < figures["grouped"].explained < 0.95
    assert figures["filled"].explained_by_missing == pytest.approx(figures["grouped"].explained, abs=0.02)
    assert columns_that_predict({"a": [1, 2]}, ["x", "y"], ["1", "2"]) == []
    with pytest.raises(
        ValueError, match="columns must have one value per label, got 1 values of a for 2 labels"
    ):
        columns_that_predict({"a": [1]}, ["x", "y"], ["1", "2"])


def guesses_of_a_whole_table(codes, label, test, prior):
    table = np.zeros((codes.max() + 1, len(prior)))
    np.add.at(table, (codes[~test], label[~test]), 1)
    chance = (table + prior) / (table + prior).sum(axis=1, keepdims=True)
    return chance[codes[test], label[test]], (table + prior).argmax(axis=1)[codes[test]]


def test_guesses_are_those_of_a_table_of_all_values_and_labels():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        codes, label = rng.integers(rng.integers(1, 60), size=200), rng.integers(6, size=200)
        test, prior = rng.random(200) < 0.3, rng.integers(1, 4, 6) / 2  # equal weights are common
        found, expected = (f(codes, label, test, prior) for f in (_guesses, guesses_of_a_whole_table))
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
        np.testing.assert_array_equal(found[1], expected[1])


def test_memory_for_a_column_of_identifiers_does_not_grow_with_the_labels():
    label = [f"label {n % 500}" for n in range(8000)]
    case = [f"case {n}" for n in range(8000)]
    tracemalloc.start()
    columns_that_predict({"address": [f"photo {n}" for n in range(8000)]}, label, case)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000 * 500 * 8 / 2  # a table of all values and labels is twice as much


class CountedLabels(list):
    """Labels that count how often all of them are gone through."""

    passes = 0

    def __iter__(self):
        type(self).passes += 1
        return super().__iter__()


def test_labels_are_gone_through_once_however_many_are_unknown():
    labels = CountedLabels(f"free text {n % 50}" for n in range(100))
    images = [f"{n}.png" for n in range(100)]
    found = _label_findings(images, labels, Taxonomy("one", ("label",), (("nevus",),)))
    assert len(found) == 50
    assert labels.passes == 1
    first = min(found, key=lambda one: one.row)
    assert (first.image, first.row, first.others) == ("0.png", 1, ("50.png",))


def test_the_file_itself_gives_the_label_away(tmp_path):
    rng = np.random.default_rng(5)
    names, labels = [f"{n}.png" for n in range(60)], ["nevus", "melanoma"] * 30
    for n, name in enumerate(names):
        photo = damage.scene(300 + n, 30, 40 if n % 2 else 44)
        (tmp_path / name).write_bytes(damage.encoded(photo, "PNG"))
    frame = manifest(
        names, label=labels, age=(rng.integers(20, 40, 60) + 40 * (np.arange(60) % 2)).astype(str)
    )
    report = audit_manifest(frame, tmp_path)
    found = {(f.kind, f.severity): f.message for f in report.findings if "column" in f.kind}
    assert set(found) == {
        ("column_predicts_label", "warning"),
        ("clinical_column_predicts_label", "note"),
    }
    assert [f.column for f in report.columns[:2]] in (["(file) width", "age"], ["age", "(file) width"])
    assert "(file) width alone explains" in found["column_predicts_label", "warning"]


def test_memory_does_not_grow_with_the_photos(tmp_path):
    """Photos of half a megabyte each once decoded; the peak over 40 of them is that over 10."""
    photo = damage.scene(0, 400, 400)
    for n in range(40):
        (tmp_path / f"{n}.bmp").write_bytes(damage.encoded(np.roll(photo, 9 * n, axis=1), "BMP"))

    def peak(number):
        tracemalloc.start()
        audit_manifest(manifest([f"{n}.bmp" for n in range(number)]), tmp_path, threads=2)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    audit_manifest(manifest(["0.bmp", "1.bmp"]), tmp_path)  # imports what it needs, untraced
    few, many = peak(10), peak(40)
    assert many < few + 1e6


def test_reading_ahead_is_bounded():
    begun = []
    results = in_order(lambda n: begun.append(n) or n, range(1000), threads=3, ahead=2)
    assert next(results) == 0
    assert len(begun) <= 7
    results.close()
    assert len(begun) <= 7
    with pytest.raises(ValueError, match="threads must be at least 1"):
        next(in_order(str, "a", threads=0))


def test_nothing_to_audit(tmp_path):
    report = audit_manifest(manifest([]), tmp_path)
    assert report.findings == ()
    assert report.text().startswith("0 photos")
    assert survey([], tmp_path) == []


@pytest.mark.slow
def test_pad_ufes(shared_data):
    pad = shared_data / "pad_ufes_20"
    table = pd.read_csv(pad / "metadata.csv", dtype=str, keep_default_na=False)
    table = table.rename(columns={"img_id": "image", "diagnostic": "label", "patient_id": "case_id"})
    cases = table.groupby("case_id").ngroup()
    table = table[table["image"].map(lambda name: (pad / "images" / name).exists()) & (cases % 2 == 0)]
    report = audit_manifest(table.reset_index(drop=True), pad / "images")
    assert report.num_errors == 0
    assert report.counts["alpha"] == len(table)
    figures = {figure.column: figure for figure in report.columns}
    assert figures["biopsed"].explained > 0.1
    assert report.columns[0].column == "biopsed"
    # Most clinical columns were filled in for biopsied patients only.
    assert figures["smoke"].explained_by_missing > 0.8 * figures["smoke"].explained


@pytest.mark.slow
def test_ham10000(shared_data):
    ham = shared_data / "ham10000"
    table = pd.read_csv(ham / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table = table.assign(image=table["image_id"] + ".jpg")
    table = table.rename(columns={"dx": "label", "lesion_id": "case_id", "localization": "body_site"})
    table = table[[(ham / "images" / name).exists() for name in table["image"]]].reset_index(drop=True)
    report = audit_manifest(table, ham / "images")
    assert report.num_errors == 0
    assert report.counts["near_duplicate_across_cases"] == 2
    assert "near_duplicate_across_labels" not in report.counts
    assert report.columns[0].column == "dx_type"
    assert {f.kind for f in report.findings if "body_site" in f.message} == {"clinical_column_predicts_label"}


def test_findings_name_the_rows_of_the_file_whatever_was_left_out(tmp_path):
    """Rows are those that a spreadsheet shows: the header is the first, and rows that are left out count."""
    from skinjax.data.photo_set import read_photos

    for number in range(4):
        Image.fromarray(textured(number)).save(tmp_path / f"{number}.png")
    lines = [
        "image,label",
        "0.png,",
        "1.png,nevus",
        "1.png,nevus",
        "gone.png,nevus",
        "2.png,Nevus",
        "3.png,nevus",
        "3.png,wart",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = Taxonomy("tree", ("disease",), (("nevus",), ("melanoma",)))
    photos = read_photos(tmp_path / "manifest.csv", taxonomy=tree, inspect=True)
    rows = {found.kind: found.row for found in photos.audit().findings if found.row}
    assert rows["missing"] == 5
    assert rows["label_resolved"] == 6
    assert photos.rows.tolist() == [3, 5, 6, 7]
    few = photos.chosen(np.array([3, 1]))
    assert few.frame["image"].tolist() == ["3.png", "gone.png"]
    assert [found.row for found in few.audit().findings if found.kind == "missing"] == [5]


def test_missing_photos_are_looked_for_one_folder_further(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / ".cache").mkdir()
    heat_maps = tmp_path / "mine" / "answers" / "explanations"  # before "photos", and called like them
    heat_maps.mkdir(parents=True)
    (tmp_path / "mine" / ".lock").touch()
    for number in range(3):
        Image.fromarray(textured(number)).save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(textured(number)).save(tmp_path / ".cache" / f"{number}.png")
        Image.fromarray(textured(number)).save(heat_maps / f"{number}.png")
    report = audit_manifest(manifest(["0.png", "1.png", "2.png", "3.png"]), tmp_path)
    message = next(found.message for found in report.findings if found.kind == "photos_elsewhere")
    assert message == (
        f"3 of 4 missing photos lie in the folder photos; source={tmp_path / 'photos'} names it as the photos' folder"
    )
    assert "photos_elsewhere" not in audit_manifest(manifest(["4.png"]), tmp_path).counts


def test_a_manifest_without_cases_is_warned_of(tmp_path):
    Image.fromarray(textured(0)).save(tmp_path / "0.png")
    frame = manifest(["0.png"])
    assert "no_case_ids" not in audit_manifest(frame, tmp_path).counts
    report = audit_manifest(frame.drop(columns="case_id"), tmp_path)
    found = next(found for found in report.findings if found.kind == "no_case_ids")
    assert found.severity == "warning"
    assert "map=case_id=COLUMN" in found.message


def test_unknown_labels_are_told_with_the_class_that_may_be_meant(tmp_path):
    Image.fromarray(textured(0)).save(tmp_path / "0.png")
    tree = Taxonomy("tree", ("disease",), (("nevus",), ("AK",)))
    told = (("Nevs", ", did you mean 'nevus'?"), ("Actinic keratosis", ", did you mean 'AK'?"), ("wart", ""))
    for label, hint in told:
        report = audit_manifest(manifest(["0.png"], label=[label]), tmp_path, taxonomy=tree)
        message = next(found.message for found in report.findings if found.kind == "unknown_label")
        assert message == f"has the label {label!r}, which is no disease of taxonomy 'tree'{hint}"
