"""Features and probes from photos and from files, to the report, to answers and back."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

import skinjax
from experiments.recipes.other_framework import colours
from skinjax.data.features import as_features, feature_names, read_features, write_features
from skinjax.data.predictions import probabilities, read_predictions
from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.probabilities import photo_probabilities
from skinjax.runs.folder import RunFolder
from skinjax.studies import features
from skinjax.studies.steps import pooled
from tests.support import small_backbones
from tests.support.commands import Ended, run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
NETWORK = {"backbone": "small", "pretrained": "", "image_size": 32}
NETWORK_FLAGS = ("--backbone=small", "--pretrained=", "--image_size=32")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Small photos with an age that is not always known and a site."""
    folder = tmp_path_factory.mktemp("photos")
    frame = write_photos(folder, cases=8)
    cases, rng = frame["case_id"].unique(), np.random.default_rng(0)
    ages = rng.integers(20, 80, len(cases)).astype(str)
    ages[::5] = "NA"
    sites = rng.choice(["arm", "leg"], len(cases))
    frame = frame.drop(columns="split").merge(pd.DataFrame({"case_id": cases, "age": ages, "site": sites}))
    frame.to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def taxonomy(photos):
    return skinjax.load_taxonomy(photos / "taxonomy.csv")


@pytest.fixture(scope="module")
def file(photos, tmp_path_factory) -> Path:
    """The features file of the small network."""
    out = tmp_path_factory.mktemp("features") / "small.parquet"
    command("features", out.parent / "run", *NETWORK_FLAGS, *source(photos), f"--out={out}")
    return out


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory) -> Path:
    """A probe from photos, with columns."""
    workdir = tmp_path_factory.mktemp("run") / "probe"
    command("probe", workdir, *NETWORK_FLAGS, *source(photos), "--folds=3", "--columns=age,site")
    return workdir


def source(photos: Path) -> tuple[str, ...]:
    return (f"--manifest={photos / 'manifest.csv'}", f"--taxonomy={photos / 'taxonomy.csv'}")


def command(name: str, workdir: Path, *flags: str, code: int = 0) -> Ended:
    return run_small(name, f"--workdir={workdir}", *flags, "--compilation_cache=", code=code)


def test_the_file_has_the_networks_averaged_features(photos, file, taxonomy):
    found = read_features(file)
    manifest = pd.read_csv(photos / "manifest.csv", dtype=str)
    assert found.frame["image"].tolist() == manifest["image"].tolist()
    assert found.taxonomy == taxonomy
    assert {"age", "site"} <= set(found.frame)
    with small_backbones.registered():
        spec, model = registry.spec("small"), registry.create("small", 1)
        variables = registry.init_variables(model, jax.random.key(0))
        prepared = skinjax.read_photos(photos / "manifest.csv").prepare(file.parent / "again", 32)
        pixels = normalize(
            np.stack([prepared.prepared.source[i]["image"] for i in range(len(manifest))]), spec
        )
        expected = model.apply(variables, pixels, train=False, features=True)["pooled"]
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-4)


def test_a_stopped_run_computes_the_rest_alone(photos, file, tmp_path, monkeypatch):
    computed = []

    def stopping(*arguments, **more):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(len(arguments[2]))
        return whole(*arguments, **more)

    whole = pooled.pooled_features
    monkeypatch.setattr(pooled, "PART", 30)
    monkeypatch.setattr(pooled, "pooled_features", stopping)
    config = features.Config(**NETWORK)
    given = skinjax.read_photos(photos / "manifest.csv", taxonomy=photos / "taxonomy.csv")
    with small_backbones.registered(), pytest.raises(KeyboardInterrupt):
        features.run(given, config, tmp_path)
    assert not (tmp_path / features.FILE).exists()
    monkeypatch.setattr(
        pooled, "pooled_features", lambda *a, **m: (computed.append(len(a[2])), whole(*a, **m))[1]
    )
    with small_backbones.registered():
        result = features.run(given, config, tmp_path)
    assert computed == [30, 30, 20]
    assert str(result) == f"80 photos with 32 features each in {tmp_path / features.FILE}"
    np.testing.assert_allclose(read_features(result.file).values, read_features(file).values, atol=1e-5)


def test_predictions_are_those_of_scikit_learns_heads_on_the_other_folds(photos, file, taxonomy, tmp_path):
    command("probe", tmp_path, f"--features={file}", "--folds=3")
    stored = read_predictions(tmp_path / "predictions" / "out_of_fold.parquet")
    found, given = probabilities(stored, taxonomy), read_features(file)
    by_fold = pd.read_csv(tmp_path / "report" / "tables" / "probes.csv").query("level == 'disease'")
    labels = taxonomy.encode(stored["label"])
    for fold, penalty in zip(by_fold["fold"], by_fold["penalty"], strict=True):
        held_out = (stored["fold"] == fold).to_numpy()
        assert not set(stored["case_id"][held_out]) & set(stored["case_id"][~held_out])
        scaler = StandardScaler().fit(given.values[~held_out].astype(np.float64))
        train, test = (
            scaler.transform(given.values[part].astype(np.float64)) for part in (~held_out, held_out)
        )
        peer = LogisticRegression(C=1 / (penalty * len(train)), tol=1e-8, max_iter=10_000)
        expected = peer.fit(train, labels[~held_out]).predict_proba(test)
        counts = np.bincount(labels[~held_out])
        expected *= 0.5 + 0.5 * len(train) / (len(counts) * counts)  # the default of prior_adjustment
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found[held_out], expected, atol=1e-2)
    kinds = probabilities(stored, taxonomy, "kind")
    assert np.abs(kinds - found @ taxonomy.membership("disease", "kind").T).max() > 1e-3  # a head of its own


def test_photos_and_their_file_give_the_same_run(photos, file, tmp_path):
    flags = ("--folds=3", "--taxonomy=" + str(photos / "taxonomy.csv"))
    command("probe", tmp_path / "file", f"--features={file}", *flags)
    command("probe", tmp_path / "photos", *NETWORK_FLAGS, f"--manifest={photos / 'manifest.csv'}", *flags)
    one, other = (
        read_predictions(tmp_path / name / "predictions" / "out_of_fold.parquet")
        for name in ("file", "photos")
    )
    pd.testing.assert_frame_equal(one, other, atol=1e-4)
    paths = [photos / image for image in one["image"][:4]]
    with small_backbones.registered():
        answers = [
            np.asarray(photo_probabilities(load_predictor(tmp_path / name), paths).probs["disease"])
            for name in ("file", "photos")
        ]
    np.testing.assert_allclose(*answers, atol=1e-4)


def test_stored_networks_say_of_photos_what_the_heads_said_of_features(photos, run, taxonomy):
    stored = read_predictions(run / "predictions" / "out_of_fold.parquet")
    held_out = stored[stored["fold"] == 1]
    paths = [photos / image for image in held_out["image"]]
    with small_backbones.registered():
        predictor = load_predictor(run, fold=1)
        found = photo_probabilities(predictor, paths, held_out)
        table = load_run(run, fold=1).predict(paths[:3], held_out.iloc[:3])
    told = command(
        "predict", run, "--photos=" + ",".join(map(str, paths[:2])), "--fold=1", f"--out={run / 'out'}"
    )
    assert predictor.stages == {"kind": "meta", "disease": "sub"}
    for level in taxonomy.levels:
        np.testing.assert_allclose(found.probs[level], probabilities(held_out, taxonomy, level), atol=2e-3)
    assert len(table) == 3
    assert "the networks read age and site beside a photo: unknown are age of all, site of all" in told.stdout
    assert len(pd.read_csv(run / "out" / "predictions.csv")) == 2


def test_the_report_says_what_columns_add_and_a_run_is_evaluated_again(photos, run, taxonomy, tmp_path):
    figures = {}
    for name, file_name in (("fused", "out_of_fold"), ("alone", "out_of_fold_2")):
        frame = read_predictions(run / "predictions" / f"{file_name}.parquet")
        called = probabilities(frame, taxonomy).argmax(axis=1)
        figures[name] = balanced_accuracy_score(taxonomy.encode(frame["label"]), called)
    table = (
        pd.read_csv(run / "report" / "tables" / "metadata.csv").set_index("metric").loc["balanced_accuracy"]
    )
    assert table["fused"] == pytest.approx(figures["fused"])
    assert table["alone"] == pytest.approx(figures["alone"])
    models = pd.read_csv(run / "report" / "tables" / "models.csv")
    assert models["model"].tolist() == ["small with columns", "small"]
    command_evaluate = ("--compilation_cache=", f"--out={tmp_path / 'again'}")
    run_small("evaluate", f"--workdir={run}", *command_evaluate)
    again = pd.read_csv(tmp_path / "again" / "tables" / "models.csv")
    pd.testing.assert_frame_equal(again, models)
    new = tmp_path / "new"
    frame = write_photos(new, 3, seed=9).assign(age="50", site="arm")
    frame.assign(case_id="new " + frame["case_id"]).to_csv(new / "manifest.csv", index=False)
    told = run_small(
        "evaluate", f"--workdir={run}", f"--manifest={new / 'manifest.csv'}", "--ensemble", "--compilation_cache=",
        f"--out={tmp_path / 'new_out'}",
    )  # fmt: skip
    assert "30 photos" in told.stdout
    assert RunFolder.read(run).finished


def test_other_features_are_no_finished_run(file, photos, tmp_path):
    """Vectors exported anew under the same name are not taken for those of the run."""
    theirs = colour_file(photos, tmp_path / "colours.csv")
    flags = [f"--features={theirs}", f"--taxonomy={photos / 'taxonomy.csv'}", "--folds=2"]
    first = command("probe", tmp_path / "run", *flags)
    assert command("probe", tmp_path / "run", *flags).stdout == first.stdout
    table = pd.read_csv(theirs)
    table.assign(f_3=table["f_3"] + 1e-3).to_csv(theirs, index=False)
    told = command("probe", tmp_path / "run", *flags, code=2)
    assert (
        "holds a finished run of other features, photos, labels or cases; name another folder" in told.stderr
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "the weights drawn are not those that made these features"),
        ({"image_size": "x"}, "what the file says of its network is not valid"),
        ({"fit": "crop"}, "the photos were prepared with fit=crop; give --fit=crop"),
        ({"pretrained": "gone.pth"}, "gone.pth"),
    ],
)
def test_no_networks_are_stored_that_did_not_make_the_features(file, tmp_path, change, words):
    given = read_features(file)
    other = tmp_path / "other.parquet"
    write_features(dataclasses.replace(given, network=given.network | change), other)
    told = command("probe", tmp_path / "run", f"--features={other}", "--folds=2")
    assert "no networks are stored, so predict cannot answer photos with these heads: " in told.stderr
    assert words.replace("--", "") in told.stderr.replace("--", "")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_fewer_features_than_the_network_has_are_no_network_s(file, tmp_path):
    given, other = read_features(file), tmp_path / "other.parquet"
    write_features(dataclasses.replace(given, values=given.values[:, :9]), other)
    told = command("probe", tmp_path / "run", f"--features={other}", "--folds=2")
    assert "small has 32 features, and these are 9" in told.stderr


def test_the_configuration_names_the_network_of_the_file(file, photos, tmp_path):
    command("probe", tmp_path / "ours", f"--features={file}", "--folds=2")
    assert RunFolder.read(tmp_path / "ours").options["backbone"] == "small"
    page = (tmp_path / "ours" / "report" / "index.html").read_text(encoding="utf-8")
    assert (
        "averaged last map of small with random weights, which learned nothing, of photos of 32 pixels"
        in page
    )
    theirs = colour_file(photos, tmp_path / "colours.csv")
    told = command("probe", tmp_path / "theirs", f"--features={theirs}", "--folds=2")
    assert RunFolder.read(tmp_path / "theirs").options["backbone"] == ""
    assert "skinjax did not make these features" in told.stderr
    page = (tmp_path / "theirs" / "report" / "index.html").read_text(encoding="utf-8")
    assert "The network that made the features of colours is not known" in page


def test_a_frame_of_photos_and_columns_is_answered(photos, run):
    stored = read_predictions(run / "predictions" / "out_of_fold.parquet").iloc[:3]
    frame = stored.assign(image=[str(photos / image) for image in stored["image"]], age=["old", "44", "61"])
    with small_backbones.registered():
        loaded = load_run(run)
        table = loaded.predict(frame[["image", "age", "site"]])
        same = loaded.predict(frame["image"].tolist(), frame[["age", "site"]])
        pd.testing.assert_frame_equal(table, same)
        with pytest.raises(ValueError, match="photos must have a column image, got age, site"):
            loaded.predict(frame[["age", "site"]])
    (photos / "odd.csv").write_text(f"image,age,site\n{stored['image'].iloc[0]},old,moon\n")
    told = command("predict", run, f"--photos={photos / 'odd.csv'}", f"--out={run / 'odd'}")
    assert "age of all ('old' is no number), site of all ('moon' is in no training photo)" in told.stdout


def test_a_finished_run_is_read_again(run, photos):
    before = (run / "report" / "index.html").stat().st_mtime_ns
    command("probe", run, *NETWORK_FLAGS, *source(photos), "--folds=3", "--columns=age,site")
    assert (run / "report" / "index.html").stat().st_mtime_ns == before


def colour_file(photos: Path, out: Path) -> Path:
    """Writes colours as features, as somebody would who has never seen skinjax."""
    manifest = pd.read_csv(photos / "manifest.csv")
    vectors = np.stack([colours(photos / image) for image in manifest["image"]])
    manifest[[f"f_{number}" for number in range(vectors.shape[1])]] = vectors
    manifest.sample(frac=1, random_state=0).to_csv(out, index=False)
    return out


def test_files_of_other_programs_are_compared_by_case(photos, file, taxonomy, tmp_path):
    theirs = colour_file(photos, tmp_path / "colours.csv")
    told = command("probe", tmp_path / "run", f"--features={file},theirs={theirs}", "--folds=3")
    models = pd.read_csv(tmp_path / "run" / "report" / "tables" / "models.csv").set_index("model")
    for name, stored in (("small", "out_of_fold"), ("theirs", "out_of_fold_2")):
        frame = read_predictions(tmp_path / "run" / "predictions" / f"{stored}.parquet")
        called = probabilities(frame, taxonomy).argmax(axis=1)
        correct = (called == taxonomy.encode(frame["label"])).mean()
        assert models["accuracy"][name] == pytest.approx(correct)
    assert models["accuracy"]["theirs"] > 0.6  # colours are all that there is to know
    assert "report:" in told.stdout
    # The headline speaks of both files, and the page of heads, which nothing trained.
    assert "On the same photos “small”, right for " in told.stdout
    assert f"“theirs” with {100 * models['accuracy']['theirs']:.1f}%" in told.stdout
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Learning curves" not in page
    assert "that were fitted on the photos of the other folds" in page
    # A file of others has no network: its heads are reported on, and nothing can be asked of photos.
    command(
        "probe",
        tmp_path / "alone",
        f"--features={theirs}",
        f"--taxonomy={photos / 'taxonomy.csv'}",
        "--folds=3",
    )
    assert not (tmp_path / "alone" / "checkpoints").exists()
    refused = command("predict", tmp_path / "alone", f"--photos={photos / 'images'}", code=2)
    assert "holds no network: its heads read the features in" in refused.stderr
    assert "run `skinjax probe` on photos (--manifest, --backbone)" in refused.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (extra: peers)"
)
def test_the_recipe_of_pytorch_users(photos, tmp_path):
    from experiments.recipes import torch_features

    out = tmp_path / "torch.parquet"
    torch_features.main([f"--manifest={photos / 'manifest.csv'}", f"--out={out}"])
    assert read_features(out).values.shape == (80, torch_features.WIDTH)
    command(
        "probe", tmp_path / "run", f"--features={out}", f"--taxonomy={photos / 'taxonomy.csv'}", "--folds=2"
    )
    assert (tmp_path / "run" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--features={file},{file}"],
            "must have a name of its own for each file, and has 'small' 2 times; give name=path",
        ),
        (["--features={file}", "--manifest=m.csv"], "--manifest=m.csv are both given; give one of them"),
        (["--features=none.parquet"], "none.parquet: no such file"),
        (["--features={file}", "--columns=weight"], "--columns must be in the table, got 'weight'"),
        (["--features={file},b={other}"], "label of images/psoriasis_0_0.png is eczema and not psoriasis"),
        (
            ["--features={file}", "--meta_level=family"],
            "--meta_level=family must be one of the coarser levels kind",
        ),
        (["--features={file}", "--folds=90"], "--folds=90 must be at most the number of cases, 40"),
        (
            ["--features={file}", "--backbone=densenet121"],
            "--backbone=densenet121 is not used with --features=",
        ),
    ],
)
def test_what_cannot_be_probed_is_refused(file, tmp_path, flags, words):
    given = read_features(file)
    changed = given.frame.assign(label=["eczema", *given.frame["label"][1:]])
    other = tmp_path / "other.parquet"
    values = pd.DataFrame(given.values, columns=feature_names(given.values.shape[1]))
    write_features(as_features(pd.concat([changed, values], axis=1), given.taxonomy), other)
    told = command(
        "probe", tmp_path / "run", *[flag.format(file=file, other=other) for flag in flags], code=2
    )
    assert words in told.stderr
    assert len(told.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "run" / "report").exists()


def test_an_unknown_network_and_an_unknown_ending_are_refused(photos, tmp_path):
    told = command("features", tmp_path, "--backbone=nothing", "--pretrained=", *source(photos), code=2)
    assert "--backbone must be a registered one, such as " in told.stderr
    assert 'got "nothing"' in told.stderr
    told = command("features", tmp_path, *NETWORK_FLAGS, *source(photos), "--out=features.txt", code=2)
    assert "--out=features.txt must end in .parquet or .csv" in told.stderr
