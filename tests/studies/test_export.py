"""`skinjax export`: files of every format, and a folder for a hub that predicts as its run does and tells of nobody."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinjax
from skinjax.models.weights import hub
from skinjax.predict.load import load_run
from skinjax.predict.run_decisions import FILE
from skinjax.runs.folder import RunFolder
from skinjax.studies import export
from tests.support import small_backbones
from tests.support.commands import run_command
from tests.support.small_runs import COUNT, make_pair, make_photos, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with small_backbones.registered():
        folder = tmp_path_factory.mktemp("export")
        make_pair(folder / "pair", make_photos(folder / "photos", COUNT))
        make_run(folder / "several", "backbones", [("one", "disease"), ("two", "disease")], folder / "photos")
        (folder / "degrees.csv").write_text("class,degree\na,0\nb,none\nc,1\n")
        flags = [f"--degrees={folder / 'degrees.csv'}", "--licence=cc-by-4.0"]
        leaves(folder, "hub", "hub", *flags)
        yield folder


def leaves(place, kind, out, *flags, run="pair", code=0):
    places = [f"--workdir={place / run}", f"--out={place / out}"]
    return run_command("export", *places, f"--format={kind}", *flags, code=code)


def predicted(place, workdir, out, *flags):
    photos = ",".join(str(place / "photos" / f"{number}.png") for number in range(3))
    run_command(
        "predict", f"--workdir={workdir}", f"--photos={photos}", f"--out={place / out}", "--noexplain", *flags
    )
    return (place / out / "predictions.jsonl").read_text()


def predicted_cases(place, workdir, out, *flags):
    """The answer for one case of three photos."""
    predicted(place, workdir, out, "--by=case", "--case_pattern=(photos)", *flags)
    return (place / out / "cases.jsonl").read_text()


def test_a_published_folder_answers_word_for_word_as_its_run(place):
    own = predicted(place, place / "pair", "own", f"--degrees={place / 'degrees.csv'}")
    moved = place / "elsewhere" / "skin"
    shutil.copytree(place / "hub", moved)
    photos = place / "photos"
    photos.rename(place / "gone")  # what the folder answers does not come from the run's photos
    try:
        (place / "photos").mkdir()
        for number in range(3):
            shutil.copy(place / "gone" / f"{number}.png", photos)
        assert predicted(place, moved, "theirs") == own
        by_case = predicted_cases(place, moved, "their_cases")
    finally:
        shutil.rmtree(photos)
        (place / "gone").rename(photos)
    assert json.loads(own.splitlines()[0])["novelty"] is not None
    assert by_case == predicted_cases(
        place, place / "pair", "own_cases", f"--degrees={place / 'degrees.csv'}"
    )
    assert len(json.loads(by_case)["photos"]) == 3
    for stage in ("sub", "meta"):
        run, former = load_run(moved, stage), load_run(place / "pair", stage)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
        np.testing.assert_array_equal(run.predict_fn(pixels), former.predict_fn(pixels))
    table = load_run(moved).predict([photos / "1.png"])
    assert table["urgency"].notna().all()


def test_no_photo_case_or_prediction_leaves_with_it(place):
    files = {
        str(path.relative_to(place / "hub")): path for path in (place / "hub").rglob("*") if path.is_file()
    }
    assert sorted(files) == [
        "LICENSE", "README.md", "advice.json", "advice_by_case.json", "checkpoints/fold_0/meta.json",
        "checkpoints/fold_0/sub.json", "config.json", "decisions.json", "decisions_by_case.json", "degrees.csv",
        "limits.npz", "model.safetensors", "model_kind.safetensors", "taxonomy.json",
    ]  # fmt: skip
    for path in files.values():
        content = path.read_bytes()
        for told in (b"patient_", b".png", b"pair", str(place).encode()):
            assert told not in content, (path, told)
    limits = np.load(files["limits.npz"])
    kinds = {name.split("_")[0] for name in limits.files}
    assert kinds == {
        "facts",
        "directions",
        "gains",
        "rest",
        "means",
    }  # distances, qualities and cases are each photo's


def test_the_card_and_the_licence(place):
    card = (place / "hub" / "README.md").read_text()
    front = card.split("---")[1]
    assert 'license: "cc-by-4.0"' in front
    assert 'library_name: "skinjax"' in front
    assert "not a medical device" in card
    assert f"calibrated on {COUNT} photos of {COUNT} cases" in card
    assert "published under the licence cc-by-4.0" in (place / "hub" / "LICENSE").read_text()


def test_the_card_of_the_runs_report_is_taken(place):
    report = place / "pair" / "report"
    report.mkdir()
    try:
        (report / "model_card.md").write_text(
            '---\nlicense: "unknown"  # [...]\ntags:\n- "skin"\n---\n\n# mine\n'
        )
        told = leaves(place, "hub", "with_card").stdout
        card = (place / "with_card" / "README.md").read_text()
        assert card.startswith('---\nlicense: "unknown"')
        assert "# mine" in card
        assert "fill in what only its authors know" in told
        assert "is not stated" in (place / "with_card" / "LICENSE").read_text()
    finally:
        shutil.rmtree(report)


def test_published_decisions_are_not_fitted_anew(place):
    photo = place / "photos" / "0.png"
    flags = [f"--workdir={place / 'hub'}", f"--photos={photo}", f"--out={place / 'refused'}"]
    told = run_command("predict", *flags, "--coverage=0.8", code=2).stderr
    assert "--coverage must be 0.9, for which" in told


@pytest.mark.parametrize(
    "name",
    [
        FILE,
        "decisions_by_case.json",
        "advice.json",
        "degrees.csv",
        "limits.npz",
        "taxonomy.json",
        "model.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_published_folder_is_refused_where_a_file_is_not_as_it_was_exported(place, tmp_path, name, damage):
    shutil.copytree(place / "hub", tmp_path / "hub")
    file = tmp_path / "hub" / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    flags = [f"--photos={place / 'photos' / '0.png'}", f"--out={tmp_path / 'answers'}"]
    told = run_command("predict", f"--workdir={tmp_path / 'hub'}", *flags, code=2).stderr
    assert str(file) in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "answers").exists()


def test_the_folder_starts_a_training_by_its_name(place, monkeypatch):
    variables = load_run(place / "pair").variables
    with pytest.raises(ValueError, match="efficientnet"):
        skinjax.load_pretrained("efficientnet_nano", place / "hub", 3)
    asked = []

    def downloaded(repository, revision=None, **more):
        asked.append((repository, revision))
        return str(place / "hub")

    library = types.SimpleNamespace(
        snapshot_download=downloaded,
        HfApi=lambda: types.SimpleNamespace(
            list_repo_files=lambda *_, **__: ["config.json", "model.safetensors"]
        ),
        hf_hub_download=lambda repository, file, revision: str(place / "hub" / file),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    run = load_run("hf:clinic/skin@v1")
    assert asked == [("clinic/skin", "v1")]
    np.testing.assert_array_equal(
        run.variables["params"]["head"]["kernel"], variables["params"]["head"]["kernel"]
    )
    for path in (str(place / "hub"), "hf:clinic/skin"):
        back = skinjax.load_pretrained("small", path, 3)
        np.testing.assert_array_equal(back["params"]["head"]["kernel"], variables["params"]["head"]["kernel"])
    with pytest.raises(ValueError, match="must name a repository, got a file"):
        hub.fetch_folder("hf:clinic/skin:model.safetensors")


def test_photos_are_answered_by_a_run_on_the_hub_as_by_its_folder(place, tmp_path, monkeypatch):
    library = types.SimpleNamespace(snapshot_download=lambda repository, revision=None: str(place / "hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    flags = [f"--photos={place / 'photos' / '0.png'}", "--noexplain"]
    before = {path.name for path in (place / "hub").iterdir()}
    told = run_command("predict", "--workdir=hf:clinic/skin", *flags, folder=tmp_path).stdout
    assert "written: answers" in told  # the copy of the Hub stays as it is
    assert {path.name for path in (place / "hub").iterdir()} == before
    run_command("predict", f"--workdir={place / 'hub'}", *flags, f"--out={tmp_path / 'others'}")
    assert (tmp_path / "answers/predictions.csv").read_bytes() == (
        tmp_path / "others/predictions.csv"
    ).read_bytes()


def test_a_repository_that_is_not_there_is_named(monkeypatch):
    def refused(*_, **__):
        raise ConnectionError

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=refused))
    with pytest.raises(
        ValueError, match="hf:clinic/skin is not in the local cache, and the Hub could not be asked"
    ):
        load_run("hf:clinic/skin")
    told = run_command("predict", "--workdir=hf:clinic/skin", "--photos=a.jpg", code=2).stderr
    assert told.startswith("predict: hf:clinic/skin is not in the local cache")


def test_onnx_and_stablehlo_by_the_command(place):
    onnxruntime = pytest.importorskip("onnxruntime")
    told = leaves(place, "onnx", "files/pair.onnx").stdout
    assert f"calibrated on {COUNT} photos of {COUNT} cases" in told
    assert "not a medical device" in told
    session = onnxruntime.InferenceSession(str(place / "files" / "pair.onnx"))
    assert session.get_modelmeta().custom_metadata_map["licence"] == "not stated"
    leaves(place, "stablehlo", "files/pair.stablehlo")
    names = {path.name for path in (place / "files").iterdir()}
    assert names == {
        "pair.onnx",
        "pair.onnx.json",
        "pair.stablehlo",
        "pair.stablehlo.json",
        "pair.stablehlo.md",
    }


def test_weights_by_the_command(place):
    leaves(place, "safetensors", "weights")
    assert {path.name for path in (place / "weights").iterdir()} == {
        "sub.safetensors", "sub.safetensors.json", "meta.safetensors", "meta.safetensors.json",
    }  # fmt: skip
    leaves(place, "safetensors", "two.safetensors", "--stages=two", run="several")
    assert (place / "two.safetensors").is_file()


def test_a_run_without_predictions_is_not_calibrated_and_says_so(place):
    told = leaves(place, "hub", "uncalibrated", "--stages=two", run="several").stdout
    assert "what is usual is not known" in told
    assert "Probabilities are not calibrated." in (place / "uncalibrated" / "README.md").read_text()
    own = load_run(place / "several", "two").predict(place / "photos" / "0.png")
    theirs = load_run(place / "uncalibrated").predict(place / "photos" / "0.png")
    pd.testing.assert_frame_equal(own, theirs)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--format=hub", "--ensemble"], "--format=hub takes the networks of one fold"),
        (["--format=onnx", "--out={place}/photos"], "must be a file of format onnx, but is a folder"),
        (["--format=hub", "--out={place}/photos"], "must be a new folder or an earlier export"),
        (["--format=hub", "--out={place}/pair"], "must be a new folder or an earlier export"),
        (["--format=hub", "--out={place}/degrees.csv"], "must be a folder, but is a file"),
        (["--format=safetensors", "--out={place}/a.safetensors"], "must be a folder for the 2 networks"),
        (["--workdir={place}/photos"], "is not the folder of a run"),
        (["--fold=4"], "--fold=4 must be a fold with networks"),
        (["--stages=none"], "has no network 'none'"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(place, flags, told):
    before = sorted(path for path in place.rglob("*") if "photos" not in path.parts)
    given = [flag.format(place=place) for flag in (f"--workdir={place / 'pair'}", *flags)]
    assert told in run_command("export", *given, code=2).stderr
    assert sorted(path for path in place.rglob("*") if "photos" not in path.parts) == before


def test_an_export_is_replaced_as_a_whole(place):
    kept = place / "again"
    leaves(place, "hub", "again")
    (kept / "notes.txt").write_text("of the user")
    leaves(place, "hub", "again", f"--degrees={place / 'degrees.csv'}")
    assert (kept / "notes.txt").is_file()
    assert (kept / "degrees.csv").is_file()
    assert RunFolder.read(kept).published
    assert not list(place.glob(".again*"))


def test_a_card_that_was_filled_in_and_a_licence_are_kept(place):
    folder = place / "published"
    leaves(place, "hub", "published", "--licence=mit")
    assert 'license: "mit"' in (folder / "README.md").read_text()
    (folder / "README.md").write_text("what its authors know")
    told = leaves(place, "hub", "published").stdout
    assert "README.md of the earlier export was kept" in told
    assert (folder / "README.md").read_text() == "what its authors know"
    assert "licence mit" in (folder / "LICENSE").read_text()
    leaves(place, "hub", "once_more", run="published")
    assert (place / "once_more" / "README.md").read_text().startswith("what its authors know")
    assert "licence mit" in (place / "once_more" / "LICENSE").read_text()


def test_a_licence_is_an_identifier(place):
    told = run_command(
        "export", f"--workdir={place / 'pair'}", "--format=hub", "--licence=a b\nc", code=2
    ).stderr
    assert "must be an identifier of letters, digits" in told


def test_files_of_the_user_with_nearly_the_same_name_stay(place):
    (place / "mine").mkdir()
    (place / "mine" / "notes.json").write_text("of the user")
    leaves(place, "stablehlo", "mine/notes.stablehlo")
    assert (place / "mine" / "notes.json").read_text() == "of the user"


def test_python_has_the_same(place):
    result = export.run(
        None, export.Config(format="safetensors", out=str(place / "by_python")), place / "pair"
    )
    assert {path.name for path in result.files} == {"sub.safetensors", "meta.safetensors"}
    assert all(isinstance(path, Path) and path.is_file() for path in result.files)
