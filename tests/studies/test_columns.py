"""Columns beside the photos from the manifest to answers: trained, reported, stored, predicted, evaluated, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from skinjax.data.predictions import probabilities, read_predictions
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.probabilities import photo_probabilities
from skinjax.runs.folder import RunFolder
from skinjax.studies import evolution
from tests.support import small_backbones
from tests.support.commands import Ended, run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
SMALL = ("--backbone=small", "--image_size=32", "--batch_size=10", "--epochs=2", "--burn_in=1", "--noaudit")
COLUMNS = "--columns=age,sex,site"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Small photos with an age that lacks here and there, a sex, a site that the test part alone has, and leaks."""
    folder = tmp_path_factory.mktemp("photos")
    frame = write_photos(folder, cases=8)
    cases = frame["case_id"].unique()
    rng = np.random.default_rng(0)
    about = pd.DataFrame(
        {
            "case_id": cases,
            "age": rng.integers(20, 80, len(cases)).astype(str),
            "sex": rng.choice(["female", "male"], len(cases)),
            "site": rng.choice(["arm", "leg", ""], len(cases)),
        }
    )
    about.loc[::5, "age"] = "NA"
    frame = frame.merge(about, on="case_id")
    frame["biopsied"] = np.where(frame["label"] == "melanoma", "yes", "no")
    frame["asked"] = np.where(
        frame["label"].isin(["melanoma", "nevus"]), rng.choice(["yes", "no"], len(frame)), ""
    )
    first = frame.index[frame["split"] == "test"][0]
    frame.loc[first, "site"] = "toe"
    frame.to_csv(folder / "manifest.csv", index=False)
    frame.drop(columns="split").to_csv(folder / "plain.csv", index=False)
    return folder


def command(name: str, photos: Path, workdir: Path, *flags: str, manifest="manifest.csv", code=0) -> Ended:
    places = [
        f"--manifest={photos / manifest}",
        f"--taxonomy={photos / 'taxonomy.csv'}",
        f"--workdir={workdir}",
    ]
    return run_small(name, *SMALL, *places, *flags, code=code)


@pytest.fixture(scope="module")
def trained(photos, compilations, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("run") / "columns"
    command("train", photos, workdir, COLUMNS, f"--compilation_cache={compilations}")
    return workdir


def test_the_report_says_what_columns_add_by_the_two_stored_predictions(photos, trained):
    taxonomy = load_taxonomy(photos / "taxonomy.csv")
    figures = {}
    for name, file in (("fused", "held_out"), ("alone", "photos_alone")):
        frame = read_predictions(trained / "predictions" / f"{file}.parquet")
        called = probabilities(frame, taxonomy).argmax(axis=1)
        figures[name] = balanced_accuracy_score(taxonomy.encode(frame["label"]), called)
    table = (
        pd.read_csv(trained / "report" / "tables" / "metadata.csv")
        .set_index("metric")
        .loc["balanced_accuracy"]
    )
    assert table["fused"] == pytest.approx(figures["fused"])
    assert table["alone"] == pytest.approx(figures["alone"])
    assert table["difference"] == pytest.approx(figures["fused"] - figures["alone"])
    page = (trained / "report" / "index.html").read_text(encoding="utf-8")
    assert "What metadata adds" in page
    assert "Metadata (age, sex and site) changes the finest network" in page


def test_the_encoding_is_of_the_training_photos_and_lies_with_the_network(photos, trained):
    network = RunFolder.read(trained).network()
    manifest = pd.read_csv(photos / "manifest.csv", dtype=str, keep_default_na=False)
    train = manifest[manifest["split"] == "train"]
    age = network.columns.columns[0]
    assert age.mean == pytest.approx(pd.to_numeric(train["age"], errors="coerce").mean())
    assert "site = toe" not in network.columns.names
    assert {"site = arm", "site unknown", "age unknown", "sex = male"} <= set(network.columns.names)
    assert RunFolder.read(trained).network("photos_alone").columns is None
    described = json.loads(
        (trained / "checkpoints" / "fold_0" / "photos_alone.json").read_text(encoding="utf-8")
    )
    assert "columns" not in described


def test_the_restored_network_says_the_same_of_the_same_photos_and_columns(photos, trained):
    stored = read_predictions(trained / "predictions" / "held_out.parquet")
    paths = [photos / image for image in stored["image"]]
    with small_backbones.registered():
        predictor = load_predictor(trained)
        again = photo_probabilities(predictor, paths, stored, batch_size=7)
        blank = photo_probabilities(predictor, paths, None, batch_size=7)
    assert predictor.columns == ("age", "sex", "site")
    expected = probabilities(stored, predictor.taxonomy)
    np.testing.assert_allclose(again.probs["disease"], expected, atol=1e-4)
    assert np.abs(blank.probs["disease"] - expected).max() > 1e-3
    with small_backbones.registered():
        run = load_run(trained)
        table = run.predict(paths[:2], stored.iloc[:2])
    assert len(table) == 2
    with (
        small_backbones.registered(),
        pytest.raises(ValueError, match="columns must have a row per photo, got 1 for"),
    ):
        run.predict(paths[:2], stored.iloc[:1])


def test_photos_of_a_table_are_answered_with_their_columns_and_without_it_that_is_said_once(
    photos, trained, compilations, tmp_path
):
    stored = read_predictions(trained / "predictions" / "held_out.parquet").iloc[:4]
    (photos / "today.csv").write_text(
        "image,sex,site,age\n" + "".join(f"{r.image},{r.sex},{r.site},{r.age}\n" for r in stored.itertuples())
    )
    shared = (
        f"--workdir={trained}",
        f"--compilation_cache={compilations}",
        "--explain",
        "--check_explanations",
    )
    told = run_small(
        "predict", *shared, f"--photos={photos / 'today.csv'}", f"--out={tmp_path / 'with'}"
    ).stdout
    named = ",".join(str(photos / image) for image in stored["image"])
    bare = run_small("predict", *shared, f"--photos={named}", f"--out={tmp_path / 'without'}").stdout
    assert bare.count("unknown are age of all, sex of all, site of all") == 1
    assert "sex of" not in told
    tables = [pd.read_csv(tmp_path / name / "predictions.csv") for name in ("with", "without")]
    columns = [name for name in tables[0] if name.startswith("p_")]
    assert (tables[0]["photo"] == tables[1]["photo"]).all()
    assert np.abs(tables[0][columns] - tables[1][columns]).to_numpy().max() > 1e-3
    assert len(list((tmp_path / "with" / "explanations").glob("*.png"))) == 4
    mixed = run_small("predict", *shared, f"--photos={photos / 'today.csv'},{photos}", code=2).stderr
    assert "today.csv is a table, which must be named alone, got 2 names" in mixed


def test_a_run_is_evaluated_with_the_columns_of_the_new_manifest(photos, trained, compilations, tmp_path):
    new = write_photos(tmp_path / "new", cases=4, seed=9).drop(columns="split")
    new["case_id"] = "new " + new["case_id"]
    new.assign(sex="female", age="NA").to_csv(tmp_path / "new" / "manifest.csv", index=False)
    run_small(
        "evaluate", f"--workdir={trained}", f"--manifest={tmp_path / 'new' / 'manifest.csv'}",
        f"--taxonomy={photos / 'taxonomy.csv'}", f"--out={tmp_path / 'out'}", f"--compilation_cache={compilations}",
        "--replicates=100",
    )  # fmt: skip
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "The networks read age, sex and site beside a photo: unknown are age of all, site of all." in page


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("age,biopsied", "--columns must not give the label away, got 'biopsied'"),
        ("ages", "--columns must be in the table, got 'ages'; did you mean 'age'?"),
        ("label", "--columns must describe the person or the lesion, got 'label'"),
    ],
)
def test_columns_that_cannot_serve_are_refused_before_anything_is_trained(photos, tmp_path, columns, problem):
    told = command("train", photos, tmp_path / "run", f"--columns={columns}", "--audit", code=2).stderr
    assert problem.removeprefix("--") in told.replace("--columns", "columns")
    assert not (tmp_path / "run" / "checkpoints").exists()
    named = "give the label away" not in problem  # a name is looked at before the photos are
    assert named == (not (tmp_path / "run" / "audit").exists())


def test_the_search_trains_on_photos_alone():
    with pytest.raises(
        ValueError, match="columns=age is not used here: candidates are trained on photos alone"
    ):
        evolution.Config(columns=("age",))


def test_the_hierarchy_with_metablocks_silences_a_column_whose_absence_tells(photos, compilations, tmp_path):
    workdir = tmp_path / "run"
    command(
        "hierarchy", photos, workdir, "--columns=sex,asked", "--columns_fusion=metablock", "--folds=2", "--epochs=1",
        f"--compilation_cache={compilations}", manifest="plain.csv",
    )  # fmt: skip
    folder = RunFolder.read(workdir)
    for stage in ("sub", "meta"):
        network = folder.network(stage, 1)
        assert network.columns.silent == ("asked",)
        assert "asked unknown" not in network.columns.names
        assert network.columns_fusion == "metablock"
    alone = read_predictions(folder.predictions_file("photos_alone"))
    pooled = read_predictions(folder.predictions_file("out_of_fold"))
    assert sorted(alone["image"]) == sorted(pooled["image"])
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")
    assert "Whether a column is known gives the label away" in page
    assert "by a MetaBlock" in page


@pytest.mark.parametrize(
    ("study", "more"),
    [
        ("malignancy", ("--degrees={degrees}", "--folds=2")),
        ("psoriasis", ("--draws=2", "--target=psoriasis")),
        ("benchmark_backbones", ("--backbone=", "--backbones=small,smaller")),
    ],
)
def test_other_studies_read_columns_too(photos, compilations, tmp_path, study, more):
    degrees = tmp_path / "degrees.json"
    given = {"nevus": 0, "melanoma": 1}
    degrees.write_text(json.dumps({"degrees": given | dict.fromkeys(["psoriasis", "eczema", "lichen"])}))
    flags = [flag.format(degrees=degrees) for flag in more]
    command(study, photos, tmp_path / "run", "--columns=age,sex", "--epochs=1", "--batch_size=4",
            f"--compilation_cache={compilations}", *flags)  # fmt: skip
    folder = RunFolder.read(tmp_path / "run")
    networks = [network for fold in folder.folds for network in folder.networks(fold)]
    assert networks
    assert {network.columns.column_names for network in networks} == {("age", "sex")}


def test_networks_of_two_sets_read_the_columns_of_both(photos, compilations, tmp_path):
    other = write_photos(tmp_path / "other", cases=8, seed=5).drop(columns="split")
    other["case_id"] = "other " + other["case_id"]
    rng = np.random.default_rng(3)
    age, sex = rng.integers(20, 80, len(other)), rng.choice(["female", "male"], len(other))
    other.assign(age=age, sex=sex).to_csv(tmp_path / "other" / "manifest.csv", index=False)
    lacking = f"--other_manifest={tmp_path / 'other' / 'manifest.csv'}"
    more = (lacking, f"--other_taxonomy={photos / 'taxonomy.csv'}", "--folds=2", "--epochs=1")
    told = command(
        "cross_dataset", photos, tmp_path / "no", COLUMNS, *more, manifest="plain.csv", code=2
    ).stderr
    assert "columns must be in the table, got 'site'" in told
    command("cross_dataset", photos, tmp_path / "run", "--columns=age,sex", *more,
            f"--compilation_cache={compilations}", manifest="plain.csv")  # fmt: skip
    folder = RunFolder.read(tmp_path / "run")
    means = [folder.network(side, 0).columns.columns[0].mean for side in "ab"]
    assert means[0] != means[1]
    assert len(read_predictions(folder.predictions_file("a_on_b"))) == len(other)
