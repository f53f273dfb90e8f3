"""TFDS builders: what TFDS alone reads of them equals the manifest, its photos and its folds, computed here."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import grain
import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import skinjax.data.tfds  # noqa: F401  registers the builders
from skinjax.data.images import photos
from skinjax.data.importers import import_dataset
from skinjax.data.manifest import read_manifest, write_manifest
from skinjax.data.photo_set import read_photos
from skinjax.data.pipeline import builder as builder_module
from skinjax.data.pipeline.prepare import PreparationError, prepare
from skinjax.data.split import kfold_by_case
from skinjax.runs import RunFolder
from tests.support.commands import REPOSITORY, run_small
from tests.support.small_photos import write_photos

SHARED = REPOSITORY.parent / "shared" / "data"


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Twelve photos of six cases, in names, columns and files as untidy as they are outside."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for number in range(12):
        name = f"{number:02d}." + ("jpg" if number % 3 == 2 else "png")
        pixels = rng.integers(0, 256, (30 + number, 40, 4 if number == 4 else 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if number == 5:
            exif = image.getexif()
            exif[274] = 6
            image.save(folder / name, exif=exif)
        else:
            image.save(folder / name)
        rows.append(
            {
                "image": name,
                "label": ["naevus", "melanoma", "Ekzem, akut"][number // 2 % 3],
                "case_id": f"case {number // 2}",
                "skin_tone": str(number % 6 + 1) if number else "",
                "Größe / mm": str(number),
            }
        )
    write_manifest(pd.DataFrame(rows), folder / "mine.csv")
    return folder / "mine.csv"


def expected_image(path: Path, size: int) -> np.ndarray:
    return photos.fit(photos.decode(path, target=size), size)


def check_examples(examples, frame: pd.DataFrame, root: Path, names: list[str], size: int) -> None:
    assert len(examples) == len(frame)
    fold = kfold_by_case([names.index(label) for label in frame["label"]], frame["case_id"], 5, 0)
    for example, row, number in zip(examples, frame.to_dict("records"), fold, strict=True):
        np.testing.assert_array_equal(example["image"], expected_image(root / row["image"], size))
        assert names[example["label"]] == row["label"]
        assert example["case_id"].decode() == row["case_id"]
        assert example["fold"] == number
        columns = {name: text.decode() for name, text in example["columns"].items()}
        assert columns == {
            name: "" if pd.isna(value) else str(value)
            for name, value in row.items()
            if name not in ("label", "case_id", "split")
        }


def test_a_manifest_is_opened_by_tfds_as_it_stands(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(builder_module, "SHARD_BYTES", 5 * 16 * 16 * 3)  # five photos per shard
    builder = tfds.builder("skinjax_manifest", manifest=manifest, image_size=16, data_dir=tmp_path / "data")
    builder.download_and_prepare()
    frame = read_manifest(manifest)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 12}
    assert builder.info.splits["train"].num_shards == 3
    assert builder.info.supervised_keys == ("image", "label")
    names = builder.info.features["label"].names
    assert names == ["Ekzem, akut", "melanoma", "naevus"]
    check_examples(builder.as_data_source("train"), frame, manifest.parent, names, 16)
    source = tfds.data_source(
        "skinjax_manifest",
        split="train",
        data_dir=tmp_path / "data",
        builder_kwargs={"manifest": manifest, "image_size": 16},
    )
    check_examples(source, frame, manifest.parent, names, 16)
    again = pickle.loads(pickle.dumps(source))
    check_examples(again, frame, manifest.parent, names, 16)
    assert "tensorflow" not in sys.modules


def test_without_skinjax_tfds_opens_it_by_its_folder_and_by_its_name(manifest, tmp_path):
    data = tmp_path / "data"
    builder = tfds.builder("skinjax_manifest", manifest=manifest, image_size=16, data_dir=data)
    builder.download_and_prepare()
    frame = read_manifest(manifest)
    manifest.unlink()  # what was written stands alone
    code = """
        import sys
        import numpy as np
        import tensorflow_datasets as tfds

        folder, data, name, out = sys.argv[1:]
        here = tfds.builder_from_directory(folder)
        by_name = tfds.builder(name, data_dir=data)
        assert by_name.data_dir == folder, by_name.data_dir
        source = here.as_data_source("train")
        names = here.info.features["label"].names
        np.savez(
            out,
            images=np.stack([one["image"] for one in source]),
            labels=[names[one["label"]] for one in source],
            cases=[one["case_id"].decode() for one in source],
            folds=[one["fold"] for one in source],
            tones=[one["columns"]["skin_tone"].decode() for one in source],
        )
        assert not {"skinjax", "tensorflow"} & set(sys.modules)
    """
    name = f"skinjax_manifest/{builder.builder_config.name}"
    arguments = [str(builder.data_dir), str(data), name, str(tmp_path / "read.npz")]
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True, cwd=tmp_path)
    read = np.load(tmp_path / "read.npz")
    assert read["labels"].tolist() == frame["label"].tolist()
    assert read["cases"].tolist() == frame["case_id"].tolist()
    assert read["tones"].tolist() == ["", *"23456123456"]
    assert read["folds"].tolist() == kfold_by_case(frame["label"], frame["case_id"], 5, 0).tolist()
    for image, name in zip(read["images"], frame["image"], strict=True):
        np.testing.assert_array_equal(image, expected_image(manifest.parent / name, 16))


def test_photos_of_their_own_size_are_the_files_where_any_decoder_reads_them_right(manifest, tmp_path):
    builder = tfds.builder("skinjax_manifest", manifest=manifest, image_size=0, data_dir=tmp_path)
    builder.download_and_prepare()
    source = builder.as_data_source("train")
    frame = read_manifest(manifest)
    for example, name in zip(source, frame["image"], strict=True):
        expected = photos.decode(manifest.parent / name).astype(int)
        assert example["image"].shape == expected.shape
        # OpenCV, which TFDS takes where it is installed, rounds a JPEG's pixels its own way.
        assert np.abs(example["image"].astype(int) - expected).max() <= (3 if name.endswith("jpg") else 0)
    raw = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    for number, (example, name) in enumerate(zip(raw, frame["image"], strict=True)):
        as_filed = example["image"] == (manifest.parent / name).read_bytes()
        assert as_filed == (number not in (4, 5))  # one has alpha, one lies on its side


def test_split_column_gives_tfds_splits(manifest, tmp_path):
    frame = read_manifest(manifest)
    split = ["test"] * 4 + ["train"] * 5 + ["validation"] * 2 + [""]
    write_manifest(frame.assign(split=split), manifest)
    source = tfds.data_source(
        "skinjax_manifest",
        data_dir=tmp_path,
        builder_kwargs={"manifest": manifest, "image_size": 16, "seed": 3},
    )
    assert list(source) == ["train", "validation", "test", "unassigned"]
    fold = kfold_by_case(frame["label"], frame["case_id"], 5, 3)
    for name, examples in source.items():
        chosen = np.array(split) == name.replace("unassigned", "")
        assert [one["columns"]["image"].decode() for one in examples] == frame["image"][chosen].tolist()
        assert [one["fold"] for one in examples] == fold[chosen].tolist()


def test_clusters_of_near_duplicates_stand_in_for_missing_cases(manifest, tmp_path):
    frame = read_manifest(manifest).drop(columns="case_id")
    for twin, original in ((1, 0), (7, 6)):
        Image.open(manifest.parent / frame["image"][original]).save(manifest.parent / frame["image"][twin])
    write_manifest(frame, manifest)
    builder = tfds.builder("skinjax_manifest", manifest=manifest, image_size=16, folds=3, data_dir=tmp_path)
    builder.download_and_prepare()
    examples = list(builder.as_data_source("train"))
    cases = [one["case_id"] for one in examples]
    assert cases[0] == cases[1]
    assert cases[6] == cases[7]
    assert len(set(cases)) == 10
    assert examples[0]["fold"] == examples[1]["fold"]
    notes = json.loads((Path(builder.data_dir) / "metadata.json").read_text())["notes"]
    assert "10 clusters of near-duplicate photos stand in for cases" in notes[0]


def test_another_content_or_setting_is_another_configuration(manifest, tmp_path):
    def name(**changes) -> str:
        settings = {"manifest": manifest, "image_size": 16, "data_dir": tmp_path} | changes
        return tfds.builder("skinjax_manifest", **settings).builder_config.name

    before = name()
    assert before.startswith("mine_")
    assert name() == before
    assert len({before, name(image_size=0), name(fit="pad"), name(folds=3), name(seed=1)}) == 5
    Image.new("RGB", (40, 40)).save(manifest.parent / "00.png")
    assert name() != before
    photo = name()
    write_manifest(read_manifest(manifest).assign(label="naevus"), manifest)
    assert name() not in (photo, before)


def test_photos_that_cannot_be_read_are_left_out_and_told(manifest, tmp_path):
    (manifest.parent / "03.png").write_bytes(b"no photo")
    settings = {"manifest": manifest, "image_size": 16, "data_dir": tmp_path}
    with pytest.raises(PreparationError, match=r"03\.png: "):
        tfds.builder("skinjax_manifest", **settings).download_and_prepare()
    builder = tfds.builder("skinjax_manifest", max_bad_fraction=0.1, **settings)
    builder.download_and_prepare()
    names = [one["columns"]["image"].decode() for one in builder.as_data_source("train")]
    assert names == [name for name in read_manifest(manifest)["image"] if name != "03.png"]
    left_out = json.loads((Path(builder.data_dir) / "metadata.json").read_text())["left_out"]
    assert [(bad["row"], bad["image"]) for bad in left_out] == [(3, "03.png")]
    folds = [one["fold"] for one in builder.as_data_source("train")]
    frame = read_manifest(manifest)
    assert folds == np.delete(kfold_by_case(frame["label"], frame["case_id"], 5, 0), 3).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 4}, "image_size must be 0 or at least 8 pixels, got 4"),
        ({"config": "mine"}, "config must be None, since photos and settings name it, got 'mine'"),
        ({"manifest": ""}, "manifest must be a CSV or Parquet file, got none"),
        ({"manifest": "nowhere.csv"}, "nowhere.csv"),
        ({"taxonomy": "ham10000"}, "with a label that is no"),
    ],
)
def test_wrong_arguments_are_told(manifest, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        tfds.builder("skinjax_manifest", **({"manifest": manifest, "data_dir": tmp_path} | settings))


def test_prepared_photos_of_training_are_opened_by_tfds_too(manifest, tmp_path):
    frame = read_manifest(manifest)
    folder = tmp_path / "prepared"
    prepare(frame, manifest.parent, folder, image_size=16)
    by_name = tfds.builder("prepared_photos", data_dir=folder)
    by_folder = tfds.builder_from_directory(folder / "prepared_photos" / "1.1.0")
    for source in (by_name.as_data_source("photos"), by_folder.as_data_source("photos")):
        for row, (example, name) in enumerate(zip(source, frame["image"], strict=True)):
            assert example["row"] == row
            np.testing.assert_array_equal(example["image"], expected_image(manifest.parent / name, 16))


def test_grain_takes_the_source_as_it_is(manifest, tmp_path):
    source = tfds.data_source(
        "skinjax_manifest",
        split="train",
        data_dir=tmp_path,
        builder_kwargs={"manifest": manifest, "image_size": 16},
    )
    batches = list(grain.MapDataset.source(source).seed(0).shuffle().batch(4))
    assert [batch["image"].shape for batch in batches] == [(4, 16, 16, 3)] * 3
    assert sorted(np.concatenate([batch["columns"]["image"] for batch in batches])) == [
        name.encode() for name in read_manifest(manifest)["image"]
    ]


TABLES = {
    "pad_ufes_20": "metadata.csv",
    "ham10000": "HAM10000_metadata.csv",
    "fitzpatrick17k": "fitzpatrick17k.csv",
    "isic2019": "ISIC_2019_Training_GroundTruth.csv",
}


def publishers_folder(dataset: str, folder: Path) -> Path:
    """The publisher's own table with twenty photos: its own where some are at hand, else noise under their names."""
    published = SHARED / dataset
    if not published.is_dir():
        pytest.skip(f"needs the files of {dataset}, kept outside the repository")
    (folder / "images").mkdir(parents=True)
    shutil.copy(published / TABLES[dataset], folder)
    if (published / "images").is_dir():
        for photo in sorted((published / "images").iterdir())[:20]:
            shutil.copy(photo, folder / "images")
        return folder
    table = pd.read_csv(published / TABLES[dataset])
    rng = np.random.default_rng(0)
    for name in table["md5hash" if dataset == "fitzpatrick17k" else "image"][:20]:
        noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{name}.jpg")
    return folder


@pytest.mark.parametrize("dataset", TABLES)
def test_public_sets_have_builders_of_their_own(dataset, tmp_path):
    folder = publishers_folder(dataset, tmp_path / "by_hand")
    source = tfds.data_source(
        f"skinjax_{dataset}",
        split="train",
        data_dir=tmp_path / "data",
        builder_kwargs={"image_size": 16},
        download_and_prepare_kwargs={"download_config": tfds.download.DownloadConfig(manual_dir=folder)},
    )
    frame, report = import_dataset(dataset, folder)
    if "case_id" not in frame:
        read = read_photos(dataset=dataset, source=folder)
        frame = read.with_stand_in_cases(read.audit()).frame
    assert len(source) == len(frame) == 20
    columns = source[0]["columns"].keys()
    assert set(frame) - {"label", "case_id"} <= set(columns)
    frame = frame.assign(**dict.fromkeys(set(columns) - set(frame), ""))
    names = (
        tfds.builder(f"skinjax_{dataset}", data_dir=tmp_path / "data", image_size=16)
        .info.features["label"]
        .names
    )
    assert tuple(names) == report.taxonomy.classes()
    check_examples(source, frame, folder, names, 16)


def test_isic2019_has_the_columns_of_its_metadata_table(tmp_path):
    folder = publishers_folder("isic2019", tmp_path / "by_hand")
    names = [path.stem for path in sorted((folder / "images").iterdir())]
    pd.DataFrame(
        {
            "image": names,
            "age_approx": "55.0",
            "anatom_site_general": "head/neck",
            "lesion_id": [f"BCN_{number // 2}" for number in range(20)],
            "sex": "male",
        }
    ).to_csv(folder / "ISIC_2019_Training_Metadata.csv", index=False)
    builder = tfds.builder("skinjax_isic2019", data_dir=tmp_path / "data", image_size=16)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    frame, report = import_dataset("isic2019", folder)
    assert frame["case_id"].nunique() == 10
    check_examples(builder.as_data_source("train"), frame, folder, list(report.taxonomy.classes()), 16)


@pytest.mark.parametrize("dataset", TABLES)
def test_public_sets_say_what_must_be_downloaded(dataset, tmp_path):
    with pytest.raises(AssertionError, match=TABLES[dataset]):
        tfds.builder(f"skinjax_{dataset}", data_dir=tmp_path).download_and_prepare()


@pytest.mark.slow
def test_a_run_from_flags_holds_out_the_fold_that_tfds_has_and_reads_the_same_photos(tmp_path, compilations):
    write_photos(tmp_path, cases=4).drop(columns="split").to_csv(tmp_path / "plain.csv", index=False)
    given = {"manifest": tmp_path / "plain.csv", "taxonomy": tmp_path / "taxonomy.csv"}
    same = given | {"image_size": 32, "folds": 4, "seed": 3}
    other = {"fold": 1, "workdir": tmp_path / "run", "backbone": "small", "batch_size": 10, "epochs": 1}
    other |= {"burn_in": 0.5, "compilation_cache": compilations}
    run_small("train", *(f"--{name}={value}" for name, value in (same | other).items()), "--noaudit")
    builder = tfds.builder("skinjax_manifest", data_dir=tmp_path / "data", **same)
    builder.download_and_prepare()
    examples = list(builder.as_data_source("train"))
    names = builder.info.features["label"].names
    (held_out,) = RunFolder.read(tmp_path / "run").predictions.values()
    frame = pd.read_parquet(held_out)
    assert len(frame) == 10
    assert sorted(zip(frame["image"], frame["label"], frame["case_id"], strict=True)) == sorted(
        (one["columns"]["image"].decode(), names[one["label"]], one["case_id"].decode())
        for one in examples
        if one["fold"] == 1
    )
    prepared = tfds.builder("prepared_photos", data_dir=tmp_path / "run" / "prepared").as_data_source(
        "photos"
    )
    for ours, written in zip(prepared, examples, strict=True):
        np.testing.assert_array_equal(ours["image"], written["image"])
