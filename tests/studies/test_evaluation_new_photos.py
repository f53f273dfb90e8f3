"""A run's networks on new labelled photos, from flags and from Python, for every study that keeps networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score

import skinjax
from skinjax.data.images import photos as images
from skinjax.data.predictions import columns, probabilities, read_predictions, read_taxonomy, validate
from skinjax.data.reading_kit import make_kit, write_key
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.probabilities import photo_probabilities
from skinjax.studies import backbones, cross_dataset, evaluation, hierarchy, malignancy, training, two_stage
from tests.support import small_backbones
from tests.support.both_ways import TINY
from tests.support.commands import Ended, run_small
from tests.support.small_photos import CLASSES, write_photos

pytestmark = pytest.mark.slow
NO_BACKBONE = {name: value for name, value in TINY.items() if name != "backbone"}
STUDIES = {
    "training": (training, TINY | {"folds": 2, "audit": True, "test_time_augmentation": "flips"}),
    "hierarchy": (hierarchy, TINY | {"folds": 2}),
    "two_stage": (two_stage, TINY | {"draws": 2, "target": ("psoriasis", "eczema")}),
    "malignancy": (malignancy, TINY | {"folds": 2}),
    "backbones": (backbones, NO_BACKBONE | {"backbones": ("small", "smaller"), "target": ("nevus",)}),
    "cross_dataset": (cross_dataset, TINY | {"folds": 2}),
}
DEGREES = "class,degree\npsoriasis,0\neczema,0\nlichen,1\nnevus,1\nmelanoma,2\n"


def new_people(folder: Path, cases: int, seed: int) -> Path:
    """Writes photos of other people than those of a run, and returns their manifest."""
    frame = write_photos(folder, cases, seed)
    frame.assign(case_id=f"{folder.name} " + frame["case_id"]).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos of a run (mine), of a second set for those across two sets (other), and new ones (new)."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_photos(folder / "mine", 8)
    new_people(folder / "other", 4, seed=5)
    new_people(folder / "new", 4, seed=9)
    (folder / "degrees.csv").write_text(DEGREES)
    return folder


@pytest.fixture(scope="module")
def run_of(folder):
    """Returns the folder of a study's finished run, which is made once."""

    def made(name: str) -> Path:
        workdir = folder / name
        if not workdir.exists():
            study, options = STUDIES[name]
            mine, other = (
                skinjax.read_photos(folder / one / "manifest.csv", taxonomy=folder / "mine" / "taxonomy.csv")
                for one in ("mine", "other")
            )
            if name == "malignancy":
                options = options | {"degrees": str(folder / "degrees.csv")}
            more = {"other": other} if name == "cross_dataset" else {}
            with small_backbones.registered():
                study.run(mine, study.Config(**options), workdir, **more)
        return workdir

    return made


def evaluate(workdir: Path, manifest: Path, *flags: str, code: int = 0) -> Ended:
    quick = [] if any(flag.startswith("--replicates") for flag in flags) else ["--replicates=100"]
    return run_small("evaluate", f"--workdir={workdir}", f"--manifest={manifest}", *quick, *flags, code=code)


def page(out: Path) -> str:
    return (out / "index.html").read_text(encoding="utf-8")


def copied(folder: Path, manifest: Path, rows: slice = slice(None), **columns: str) -> Path:
    """Copies rows of a manifest with their photos to a new folder, with other columns; returns the new manifest."""
    frame = pd.read_csv(manifest, dtype=str)[rows].reset_index(drop=True).assign(**columns)
    for image in frame["image"]:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.parent / image, folder / image)
    frame.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.mark.parametrize("name", STUDIES)
def test_the_networks_of_every_studys_run_answer_new_photos(name, folder, run_of):
    workdir = run_of(name)
    out = workdir / "evaluation_new"
    told = evaluate(workdir, folder / "new" / "manifest.csv")
    assert told.stdout.endswith(f"report: {out / 'index.html'}\n")
    frame = read_predictions(out / "predictions.parquet")
    manifest = pd.read_csv(folder / "new" / "manifest.csv", dtype=str)
    assert frame["image"].tolist() == manifest["image"].tolist()
    assert frame["label"].tolist() == manifest["label"].tolist()
    tree = read_taxonomy(out / "predictions.parquet")
    assert tree == load_taxonomy(workdir / "taxonomy.json")
    validate(frame, tree)
    # Beside the same networks, loaded and fed one by one.
    with small_backbones.registered():
        stages = {"sub", "meta"} & {path.stem for path in (workdir / "checkpoints" / "fold_0").glob("*.json")}
        for stage in stages or {""}:
            run = load_run(workdir, stage)
            size = run.network.image_size
            pixels = np.stack(
                [
                    images.fit(images.decode(folder / "new" / image, target=size), size, mode="stretch")
                    for image in frame["image"][:4]
                ]
            )
            turned = [pixels]
            if name == "training":  # --test_time_augmentation=flips
                turned += [pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1]]
            expected = np.mean([run.predict_fn(np.ascontiguousarray(one)) for one in turned], axis=0)
            found = probabilities(frame, tree, run.network.level)[:4]
            np.testing.assert_allclose(found, expected, atol=2e-5)
    methods = pd.read_csv(out / "tables" / "methods.csv").set_index("method")
    predicted = np.asarray(tree.classes())[probabilities(frame, tree).argmax(axis=1)]
    assert methods.loc["flat", "accuracy"] == pytest.approx(accuracy_score(frame["label"], predicted))
    flow = pd.read_csv(out / "tables" / "photos_flow.csv").set_index("step")
    assert flow.loc["Evaluated"].tolist() == [40, 20]
    fitted = pd.read_csv(out / "tables" / "new_photos.csv").set_index("figure")
    assert fitted.loc["covered", "promised"] == 0.9
    assert 0 <= fitted.loc["covered", "new"] <= 1
    assert ("sensitivity" in fitted.index) == (name in ("two_stage", "malignancy", "backbones"))
    document = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert document["run"]["workdir"] == str(workdir)
    assert document["evaluation"]["photos"] == 40
    models = {
        "backbones": ["small", "smaller"],
        "cross_dataset": ["trained on A", "trained on B"],
    }.get(name, [name])
    assert list(document["evaluation"]["models"]) == models
    for number, model in enumerate(models):
        file = "predictions.parquet" if not number else f"predictions_{number}.parquet"
        assert document["evaluation"]["models"][model]["file"] == str(out / file)
        assert (out / file).is_file()


@pytest.mark.parametrize("name", ["training", "hierarchy"])
def test_probabilities_are_those_of_the_training_for_the_same_photos(name, folder, run_of):
    workdir = run_of(name)
    frame = read_predictions(
        workdir / "predictions" / f"{'held_out' if name == 'training' else 'fold_0'}.parquet"
    )
    with small_backbones.registered():
        predictor = load_predictor(workdir)
        found = photo_probabilities(
            predictor, [folder / "mine" / image for image in frame["image"]], batch_size=7
        )
    assert found.rows.tolist() == list(range(len(frame)))
    assert set(found.probs) == ({"disease"} if name == "training" else {"kind", "disease"})
    for level, probs in found.probs.items():
        np.testing.assert_allclose(probs, probabilities(frame, predictor.taxonomy, level), atol=2e-6)


def test_the_mean_of_folds_and_named_networks_answer_too(folder, run_of, tmp_path):
    workdir = run_of("hierarchy")
    answers = {}
    for name, flag in (("0", "--fold=0"), ("1", "--fold=1"), ("mean", "--ensemble")):
        evaluate(workdir, folder / "new" / "manifest.csv", flag, f"--out={tmp_path / name}")
        answers[name] = read_predictions(tmp_path / name / "predictions.parquet")
    for level in ("", "kind:"):
        names = [name for name in answers["0"] if name.startswith(f"{level}p_")]
        mean = (answers["0"][names] + answers["1"][names]) / 2
        np.testing.assert_allclose(answers["mean"][names], mean, atol=1e-6)
    assert "the mean of 2 folds" in page(tmp_path / "mean")
    told = evaluate(workdir, folder / "new" / "manifest.csv", "--stages=nosuch", code=2)
    assert "has no network 'nosuch'" in told.stderr
    told = evaluate(workdir, folder / "new" / "manifest.csv", "--fold=7", code=2)
    assert "--fold=7 must be a fold with networks" in told.stderr


def test_photos_that_the_run_has_seen_are_refused_or_left_out(folder, run_of, tmp_path):
    """One by name, one a copy of another name, one encoded anew, one of the same person, and new ones."""
    workdir, mine = run_of("training"), folder / "mine"
    manifest = copied(tmp_path, folder / "new" / "manifest.csv")
    rows = pd.read_csv(manifest, dtype=str)
    known = pd.read_csv(mine / "manifest.csv", dtype=str)
    name = Path(known["image"][0]).name
    (tmp_path / "sent").mkdir()
    shutil.copy(mine / known["image"][0], tmp_path / "sent" / name)
    shutil.copy(mine / known["image"][20], tmp_path / "copy.png")
    Image.open(mine / known["image"][40]).convert("RGB").save(tmp_path / "anew.png", optimize=True)
    pixels = np.random.default_rng(5).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "later.png")
    added = pd.DataFrame(
        {
            "image": [f"sent/{name}", "copy.png", "anew.png", "later.png"],
            "label": [known["label"][0], known["label"][20], known["label"][40], known["label"][50]],
            "case_id": [known["case_id"][0], "x", "y", known["case_id"][50]],
        }
    )
    pd.concat([rows, added]).to_csv(manifest, index=False)
    told = evaluate(workdir, manifest, code=2).stderr
    for words in (
        "got 4 of 44 that it has seen",
        f"1 by name, case and size, such as sent/{name}",
        "1 as the same file, such as copy.png",
        "1 as a near-duplicate, such as anew.png",
        "1 as another photo of one of its cases, such as later.png",
        "--seen=leave_out",
        "--other_patients=True",
    ):
        assert words in told
    assert "Traceback" not in told
    out = tmp_path / "out"
    evaluate(workdir, manifest, "--seen=leave_out", f"--out={out}")
    assert read_predictions(out / "predictions.parquet")["image"].tolist() == rows["image"].tolist()
    assert "Photos that the run has seen are left out: 1 by name, case and size; 1 as the same file" in page(
        out
    )
    evaluate(workdir, manifest, "--seen=leave_out", "--other_patients", f"--out={out}")
    found = read_predictions(out / "predictions.parquet")["image"].tolist()
    assert found == [*rows["image"], "later.png"]


def test_photos_are_known_again_without_an_audit_and_where_none_is_left_that_is_told(
    folder, run_of, tmp_path
):
    workdir = run_of("hierarchy")  # trained with audit=False
    manifest = copied(tmp_path, folder / "mine" / "manifest.csv", slice(0, 6), case_id="someone else")
    frame = pd.read_csv(manifest, dtype=str)
    for number, image in enumerate(frame["image"]):
        (tmp_path / image).rename(tmp_path / f"{number}.png")
    frame.assign(image=[f"{number}.png" for number in range(6)]).to_csv(manifest, index=False)
    assert "6 as the same file" in evaluate(workdir, manifest, code=2).stderr
    told = evaluate(workdir, manifest, "--seen=leave_out", code=2).stderr
    assert "no photo of 6 is left to evaluate: 6 seen by the run" in told
    assert not list(workdir.glob("evaluation_test_photos*"))


def test_a_run_that_knows_little_of_its_photos_says_what_could_not_be_compared(folder, run_of, tmp_path):
    """As those of former versions, without a list of cases, an audit or the photos."""
    workdir = tmp_path / "former"
    shutil.copytree(run_of("hierarchy"), workdir)
    (workdir / "cases_seen.txt").unlink()
    config = json.loads((workdir / "config.json").read_text())
    config["config"]["manifest"] = str(tmp_path / "gone.csv")
    (workdir / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    evaluate(workdir, folder / "new" / "manifest.csv", f"--out={out}")
    assert "copies of them under other names or cases would not be recognised" in page(out)
    assert "has no list of its cases" in page(out)
    manifest = copied(tmp_path / "same", folder / "new" / "manifest.csv", case_id="nevus 1")
    assert "40 as another photo of one of its cases" in evaluate(workdir, manifest, code=2).stderr


def labelled(folder: Path, target: Path, change) -> Path:
    """Copies the new photos with other labels; rows labelled None are left out."""
    manifest = copied(target, folder / "new" / "manifest.csv")
    frame = pd.read_csv(manifest, dtype=str)
    frame = frame.assign(label=frame["label"].map(change))
    frame[frame["label"].notna()].to_csv(manifest, index=False)
    return manifest


def test_labels_may_be_some_classes_in_any_letter_case_and_those_of_a_coarser_level(folder, run_of, tmp_path):
    workdir = run_of("hierarchy")
    few = labelled(folder, tmp_path / "few", {"nevus": "Nevus", "melanoma": "MELANOMA"}.get)
    evaluate(workdir, few, f"--out={tmp_path / 'a'}")
    frame = read_predictions(tmp_path / "a" / "predictions.parquet")
    assert set(frame["label"]) == {"nevus", "melanoma"}
    assert [name for name in frame if name.startswith("p_")] == [f"p_{name}" for name in CLASSES]
    kinds = {name: "rash" if name in CLASSES[:3] else "tumour" for name in CLASSES}
    coarse = labelled(folder, tmp_path / "coarse", kinds.get)
    evaluate(workdir, coarse, f"--out={tmp_path / 'b'}", "--target=tumour")
    found = read_predictions(tmp_path / "b" / "predictions.parquet")
    evaluate(workdir, folder / "new" / "manifest.csv", f"--out={tmp_path / 'c'}")
    whole = read_predictions(tmp_path / "c" / "predictions.parquet")
    np.testing.assert_array_equal(found["p_tumour"], whole["kind:p_tumour"])  # the level's own network
    assert "coarser than the run" in page(tmp_path / "b")
    one = copied(tmp_path / "one", folder / "new" / "manifest.csv", slice(0, 1))
    evaluate(workdir, one, f"--out={tmp_path / 'd'}")
    assert len(read_predictions(tmp_path / "d" / "predictions.parquet")) == 1
    assert pd.read_csv(tmp_path / "b" / "tables" / "new_photos.csv")["new"].notna().all()


def test_unlike_classes_are_refused_left_out_or_matched(folder, run_of, tmp_path):
    workdir = run_of("hierarchy")
    manifest = labelled(
        folder, tmp_path / "unlike", lambda name: {"lichen": "wart", "nevus": "mole"}.get(name, name)
    )
    told = evaluate(workdir, manifest, code=2).stderr
    assert "16 of 40 photos of others: wart (8), mole (8)" in told
    assert "--other_classes=leave_out" in told
    evaluate(workdir, manifest, "--other_classes=leave_out", f"--out={tmp_path / 'a'}")
    assert len(read_predictions(tmp_path / "a" / "predictions.parquet")) == 24
    assert "Photos of classes that the run does not know are left out: wart (8), mole (8)" in page(
        tmp_path / "a"
    )
    (tmp_path / "shared.csv").write_text(
        "class,a,b\nitchy,psoriasis,psoriasis\nitchy,eczema,eczema\nmole,nevus,mole\nmelanoma,melanoma,melanoma\n"
    )
    evaluate(
        workdir, manifest, f"--shared_taxonomy={tmp_path / 'shared.csv'}", "--other_classes=leave_out",
        f"--out={tmp_path / 'b'}",
    )  # fmt: skip
    frame = read_predictions(tmp_path / "b" / "predictions.parquet")
    assert frame["label"].value_counts().to_dict() == {"itchy": 16, "mole": 8, "melanoma": 8}
    assert [name for name in frame if name.startswith("p_")] == [
        "p_itchy",
        "p_lichen",
        "p_mole",
        "p_melanoma",
    ]
    np.testing.assert_allclose(frame.filter(like="p_").sum(axis=1), 1, atol=1e-5)
    assert set(frame["given_label"][frame["label"] == "itchy"]) == {"psoriasis", "eczema"}


def test_photos_that_cannot_be_read_are_told_and_near_duplicates_stand_in_for_cases(folder, run_of, tmp_path):
    manifest = copied(tmp_path, folder / "new" / "manifest.csv")
    frame = pd.read_csv(manifest, dtype=str).drop(columns="case_id")
    (tmp_path / frame["image"][3]).write_bytes(b"no photo")
    (tmp_path / frame["image"][5]).unlink()
    frame.to_csv(manifest, index=False)
    out = tmp_path / "out"
    told = evaluate(run_of("training"), manifest, f"--out={out}").stderr
    assert f"left out {frame['image'][3]}" in told
    assert f"left out {frame['image'][5]}" in told
    found = read_predictions(out / "predictions.parquet")
    assert found["image"].tolist() == frame["image"].drop([3, 5]).tolist()
    assert found["case_id"].str.startswith("look_").all()
    assert "Photos that cannot be read are left out: 2." in page(out)
    assert "whether its people are among those of the run is not known" in page(out)
    audit = pd.read_csv(out / "audit" / "audit.csv")
    assert {frame["image"][3], frame["image"][5]} <= set(audit["image"])


def test_readers_target_and_degrees_go_with_new_photos(folder, run_of, tmp_path):
    manifest = pd.read_csv(folder / "new" / "manifest.csv", dtype=str)
    calls = np.random.default_rng(0).integers(0, 2, (3, len(manifest))).ravel()
    readers = pd.DataFrame(
        {"reader": np.repeat(list("ABC"), len(manifest)), "image": [*manifest["image"]] * 3, "call": calls}
    )
    readers.to_csv(tmp_path / "readers.csv", index=False)
    more = [f"--readers={tmp_path / 'readers.csv'}", f"--degrees={folder / 'degrees.csv'}"]
    out = tmp_path / "out"
    evaluate(run_of("training"), folder / "new" / "manifest.csv", "--target=melanoma", *more, f"--out={out}")
    assert 'id="readers"' in page(out)
    assert 'id="malignancy"' in page(out)
    readers.assign(image="nowhere.png").to_csv(tmp_path / "readers.csv", index=False)
    told = evaluate(
        run_of("training"), folder / "new" / "manifest.csv", "--target=melanom", *more, code=2
    ).stderr
    assert "target 'melanom' is no class" in told
    assert "nowhere.png" in told
    kit = make_kit(manifest, np.arange(24, 40), manifest["label"] == "melanoma", ["melanoma"])
    write_key(kit, tmp_path / "key.csv")
    kept = pd.DataFrame({"reader": "A", "kit": kit.id, "image": kit.photos["photo"], "call": 1})
    kept.to_csv(tmp_path / "readers.csv", index=False)
    more += [f"--readers_key={tmp_path / 'key.csv'}", "--prevalence=0.1", f"--out={out}"]
    evaluate(run_of("training"), folder / "new" / "manifest.csv", *more)
    assert "are a balanced draw" in page(out)


def test_an_evaluation_never_replaces_one_of_other_photos(folder, run_of, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run_of("training"), workdir, ignore=shutil.ignore_patterns("evaluation*"))
    for seed in (11, 12):
        manifest = new_people(tmp_path / str(seed) / "clinic", 2, seed)
        for _ in range(2):
            evaluate(workdir, manifest)
    there = sorted(path.name for path in workdir.glob("evaluation*"))
    assert there == ["evaluation_clinic", "evaluation_clinic_2"]
    first, second = (read_predictions(workdir / name / "predictions.parquet") for name in there)
    assert first["image"].tolist() == second["image"].tolist()
    assert not np.allclose(first[columns(load_taxonomy(workdir / "taxonomy.json"))], second.filter(like="p_"))
    told = evaluate(workdir / "evaluation_clinic", manifest, code=2).stderr
    assert "must be the folder of a run, got that of an evaluation" in told


def test_from_python_the_same_comes_back(folder, run_of, tmp_path):
    workdir = run_of("two_stage")
    evaluate(workdir, folder / "new" / "manifest.csv", f"--out={tmp_path / 'command'}")
    photos = skinjax.read_photos(folder / "new" / "manifest.csv")
    with small_backbones.registered():
        found = evaluation.evaluate_run(workdir, photos, out=tmp_path / "python", replicates=100)
    assert found.workdir == tmp_path / "python"
    for name in ("methods", "new_photos", "photos_flow"):
        pd.testing.assert_frame_equal(
            found.tables[name], pd.read_csv(tmp_path / "command" / "tables" / f"{name}.csv")
        )
    pd.testing.assert_frame_equal(
        found.predictions, read_predictions(tmp_path / "command" / "predictions.parquet")
    )
    # One interval for the new photos, one for the run's own, and each in a sentence of its own.
    *_, answer, own = found.headline
    assert "predicts the right one of" in answer
    assert "of 40 photos (95% interval over " in answer
    assert own.startswith("The run has not seen these 40 photos; of its own ")
    assert sum("of 40 photos" in sentence for sentence in found.headline) == 1
    assert "1 fold" not in (tmp_path / "python" / "index.html").read_text(encoding="utf-8")


def test_folders_without_networks_and_options_that_do_not_fit_are_refused(folder, run_of, tmp_path):
    manifest = folder / "new" / "manifest.csv"
    (tmp_path / "config.json").write_text(
        json.dumps({"schema": 2, "study": "evolution", "config": {}, "data_fingerprint": "x"})
    )
    assert "evolution, which keeps no networks" in evaluate(tmp_path, manifest, code=2).stderr
    (tmp_path / "answers").mkdir()
    told = evaluate(tmp_path / "answers", manifest, code=2).stderr
    assert "is not the folder of a run" in told
    told = run_small("evaluate", f"--manifest={manifest}", code=2).stderr
    assert "new photos must come with --workdir=FOLDER" in told
    told = run_small("evaluate", f"--workdir={run_of('training')}", "--fold=1", code=2).stderr
    assert "--fold=1 is for new photos: give --manifest=FILE" in told
    told = evaluate(run_of("training"), tmp_path / "nowhere.csv", code=2).stderr
    assert "no such file" in told


def test_answers_of_predict_are_evaluated_once_they_have_labels(folder, run_of, tmp_path):
    workdir, new = run_of("hierarchy"), folder / "new"
    (tmp_path / "bad.png").write_bytes(b"no photo")
    run_small(
        "predict", f"--workdir={workdir}", f"--photos={new / 'images'},{tmp_path / 'bad.png'}", "--noexplain",
        f"--out={tmp_path / 'answers'}",
    )  # fmt: skip
    path = tmp_path / "answers" / "predictions.csv"
    told = run_small("evaluate", f"--predictions={path}", code=2).stderr
    assert "have no column with the true class of each photo; add one, called 'label'" in told
    answers = pd.read_csv(path, dtype=str, keep_default_na=False)
    labels = answers["photo"].str.extract(r"([a-z]+)_\d+_\d+\.png$")[0].fillna("")
    answers.assign(label=labels, urgency="soon").to_csv(path, index=False)
    out = tmp_path / "out"
    told = run_small("evaluate", f"--predictions={path}", "--replicates=100", f"--out={out}")
    assert "Photos that `predict` could not read are left out: 1." in told.stderr
    assert "each photo counts by itself" in page(out)
    right = (answers["disease"] == labels)[answers["error"] == ""]
    methods = pd.read_csv(out / "tables" / "methods.csv").set_index("method")
    assert methods.loc["flat", "accuracy"] == pytest.approx(right.mean())
    # Where the run's level is itself called label, that column is what was predicted.
    clash = answers.rename(columns={"disease": "label", "disease_probability": "label_probability"})
    clash.to_csv(path, index=False)
    told = run_small("evaluate", f"--predictions={path}", code=2).stderr
    assert "'true_label', as 'label' is what was predicted" in told
    clash.assign(true_label=labels).to_csv(path, index=False)
    run_small("evaluate", f"--predictions={path}", "--replicates=100", f"--out={out}")
    again = pd.read_csv(out / "tables" / "methods.csv").set_index("method")
    assert again.loc["flat", "accuracy"] == pytest.approx(right.mean())
