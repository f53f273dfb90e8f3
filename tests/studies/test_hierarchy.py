"""The study as a user runs it, from flags to the report: its figures, killed, resumed, misused and answering photos."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from skinjax.data.images import photos
from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.decide.hierarchy import fuse
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.predict.load import load_run
from skinjax.studies import hierarchy
from tests.support import small_backbones
from tests.support.commands import Ended, run_command, run_small
from tests.support.small_command import devices_of_this_process, start_small

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(compilations) -> Path:
    return compilations


def smoke_flags(workdir: Path, cache: Path) -> list[str]:
    return ["--smoke", f"--workdir={workdir}", f"--compilation_cache={cache}", "--epochs=3"]


def run(*flags: str, code: int = 0) -> Ended:
    return run_small("hierarchy", "--backbone=small", *flags, code=code)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache) -> Path:
    """A run of the built-in photos that was never stopped."""
    workdir = tmp_path_factory.mktemp("run") / "smoke"
    told = run(*smoke_flags(workdir, cache))
    assert told.stdout.rstrip().endswith(f"report: {workdir / 'report' / 'index.html'}")
    assert "No --manifest: rendering the built-in synthetic photos" in told.stderr
    return workdir


def test_every_photo_is_predicted_once_by_networks_that_have_not_seen_its_case(finished):
    taxonomy = load_taxonomy("synthetic19")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    validate(frame, taxonomy)
    manifest = pd.read_csv(finished / "photos" / "manifest.csv", dtype=str)
    assert sorted(frame["image"]) == sorted(manifest["image"])
    assert (frame.groupby("case_id")["fold"].nunique() == 1).all()
    assert set(frame["fold"]) == {0, 1}
    assert probabilities(frame, taxonomy, "meta").shape == (len(frame), 6)


def test_the_figures_of_the_report_equal_scikit_learns_on_the_stored_predictions(finished):
    taxonomy = load_taxonomy("synthetic19")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    labels = taxonomy.encode(frame["label"])
    sub, meta = probabilities(frame, taxonomy), probabilities(frame, taxonomy, "meta")
    parents = taxonomy.parents("sub", "meta")
    methods = pd.read_csv(finished / "report" / "tables" / "methods.csv").set_index("method")
    for rule in ("soft", "hard", "conditional"):
        predicted = np.asarray(fuse(meta, sub, parents, rule=rule)).argmax(axis=1)
        row = methods.loc[rule]
        assert row["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-9)
        assert row["macro_f1"] == pytest.approx(
            f1_score(labels, predicted, average="macro", zero_division=0), abs=1e-9
        )
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    predicted = sub.argmax(axis=1)
    assert methods.loc["flat", "accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-9)
    by_meta = pd.read_csv(finished / "report" / "tables" / "methods_coarse.csv").set_index("method")
    expected = accuracy_score(parents[labels], meta.argmax(axis=1))
    assert by_meta.loc["network", "accuracy"] == pytest.approx(expected, abs=1e-9)


def test_the_per_class_table_and_matrix_equal_scikit_learns(finished):
    taxonomy = load_taxonomy("synthetic19")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    labels = taxonomy.encode(frame["label"])
    soft = fuse(
        probabilities(frame, taxonomy, "meta"),
        probabilities(frame, taxonomy),
        taxonomy.parents("sub", "meta"),
    )
    predicted = np.asarray(soft).argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(19), zero_division=0
    )
    classes = pd.read_csv(finished / "report" / "tables" / "classes.csv")
    for column, expected in (("recall", recall), ("precision", precision), ("f1", f1)):
        np.testing.assert_allclose(classes[column].fillna(0), expected, atol=1e-9)
    np.testing.assert_array_equal(classes["photos"], support)
    matrix = pd.read_csv(finished / "report" / "figures" / "confusion_fine.csv").set_index("true")
    assert list(matrix.index) == list(matrix.columns) == list(taxonomy.classes("sub"))
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, predicted, labels=range(19)))


def test_the_page_is_self_contained_and_has_every_section(finished):
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    for heading in (
        "Methods compared",
        "What was trained on what",
        "Learning curves",
        "Confusion",
        "Configuration",
    ):
        assert heading in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page)
    assert "<script" not in page
    assert "not a medical device" in page
    assert "endered" in page  # the photos are, and the page says so


def test_the_folder_holds_configuration_metrics_and_events(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["synthetic"] is True
    assert config["study"] == "hierarchy"
    assert config["config"]["epochs"] == 3
    assert config["versions"]["jax"]
    metrics = pd.read_csv(finished / "metrics.csv")
    assert len(metrics) == 2 * 2 * 3 * 2  # folds, networks, epochs, splits
    assert list((finished / "tensorboard").rglob("events*"))


@pytest.mark.parametrize(("stage", "level"), [("sub", "sub"), ("meta", "meta")])
def test_a_loaded_network_gives_the_stored_predictions_and_a_half_trained_one_is_refused(
    finished, stage, level
):
    frame = read_predictions(finished / "predictions" / "fold_1.parquet")[:9]
    with small_backbones.registered():
        run_of = load_run(finished, stage=stage, fold=1)
    assert run_of.network.steps > 0
    images = [photos.decode(finished / "photos" / name, target=64) for name in frame["image"]]
    predicted = run_of.predict_fn(np.stack([photos.fit(image, 64) for image in images]))
    np.testing.assert_allclose(predicted, probabilities(frame, run_of.taxonomy, level), rtol=1e-4, atol=1e-6)
    final = finished / "checkpoints" / "fold_1" / stage / "final"
    final.rename(final.with_name("kept"))
    try:
        with pytest.raises(ValueError, match=rf"in training, after {run_of.network.steps} of"):
            load_run(finished, stage=stage, fold=1)
    finally:
        final.with_name("kept").rename(final)


def test_the_same_command_again_says_that_it_is_finished_and_another_is_refused(finished, cache):
    again = run(*smoke_flags(finished, cache))
    assert "finished already" in again.stderr
    (finished / "report" / "index.html").rename(finished / "report" / "kept.html")
    other = run(*smoke_flags(finished, cache), "--learning_rate=0.5", code=2)
    assert "cannot be resumed: --learning_rate=0.5, was 0.02; name another folder" in other.stderr
    (finished / "report" / "kept.html").rename(finished / "report" / "index.html")


def test_the_result_of_a_finished_run_shows_itself(finished):
    document = json.loads((finished / "config.json").read_text())
    with small_backbones.registered():
        result = hierarchy.run(None, hierarchy.Config.from_dict(document["config"]), finished)
    expected = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    pd.testing.assert_frame_equal(result.predictions, expected)
    assert result.report == finished / "report" / "index.html"
    assert {"methods", "classes"} <= set(result.tables)
    told = str(result)
    assert told.startswith(result.headline[0])
    assert "conditional" in told
    assert str(result.report) in told
    assert repr(result).startswith(f"Result(hierarchy, {finished}: ")
    shown = result._repr_html_()
    assert "<table" in shown
    assert result.report.as_uri() in shown


def photos_rendered(workdir: Path) -> int:
    return len(list(workdir.glob("photos/images/*")))


def updates_saved(workdir: Path) -> int:
    """The newest update that is saved of each network, added up."""
    steps = [path for path in workdir.glob("checkpoints/fold_*/*/*") if path.name.isdigit()]
    newest = {path.parent: max(int(one.name) for one in steps if one.parent == path.parent) for path in steps}
    return sum(newest.values())


def test_killed_at_any_moment_and_started_again_it_ends_with_the_same_bits(finished, cache, tmp_path):
    """SIGKILL while photos are rendered, audited or prepared, and twice soon after an update was saved."""
    rng = np.random.default_rng(0)
    workdir = tmp_path / "killed"
    flags = [*smoke_flags(workdir, cache), "--checkpoint_seconds=0"]
    for progress, longest in ((photos_rendered, 2.0), (updates_saved, 0.5), (updates_saved, 0.5)):
        before = progress(workdir)
        process = start_small("hierarchy", *flags, **devices_of_this_process())
        deadline = time.monotonic() + 240
        while progress(workdir) <= before:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(rng.uniform(0, longest))
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert updates_saved(workdir) >= 2
    assert not (workdir / "report").exists()
    run(*flags)
    expected = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    pd.testing.assert_frame_equal(
        read_predictions(workdir / "predictions" / "out_of_fold.parquet"), expected, check_exact=True
    )
    columns = [name for name in pd.read_csv(workdir / "metrics.csv") if name != "seconds"]
    pd.testing.assert_frame_equal(
        pd.read_csv(workdir / "metrics.csv")[columns], pd.read_csv(finished / "metrics.csv")[columns]
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--manifest=nowhere.csv"], "nowhere.csv"),
        (["--dataset=ham10000"], "--dataset=ham10000 needs --source=FOLDER"),
        (["--backbone=efficientnet_b9"], "efficientnet_b9"),
        (["--transfer_blocks=10"], "--transfer_blocks=10 is more than the 7 blocks of efficientnet_nano"),
        (["--pretrained=nowhere"], "nowhere"),
        (["--fold=2"], "--fold=2 is out of range: there are 2 folds, 0 to 1"),
        (["--nosuch=1"], "nosuch"),
        (["--epochs=none"], "--epochs"),
        (["--meta_level=order"], "--meta_level=order must be one of the coarser levels meta"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(flags, message, cache, tmp_path):
    workdir = tmp_path / "bad"
    result = run_command(
        "hierarchy", "--smoke", f"--workdir={workdir}", f"--compilation_cache={cache}", *flags, code=2
    )
    assert message in result.stderr
    assert not (workdir / "config.json").exists()  # so that the flag can be mended in the same folder


def test_a_workdir_that_cannot_be_used_is_told(cache, tmp_path):
    (tmp_path / "file").write_text("")
    told = run_command("hierarchy", "--smoke", f"--workdir={tmp_path / 'file'}", code=2).stderr
    assert f"--workdir={tmp_path / 'file'} must be a folder, but is a file" in told
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"x": 1}')
    foreign = run_command("hierarchy", "--smoke", f"--workdir={tmp_path / 'other'}", code=2).stderr
    assert "config.json is not the configuration of a run" in foreign


def test_a_taxonomy_of_one_level_is_refused():
    flat = Taxonomy("flat", ("class",), (("a",), ("b",)))
    with pytest.raises(ValueError, match="taxonomy must have two levels at least, but 'flat' has one"):
        hierarchy.coarse_level(flat)
    assert hierarchy.coarse_level(load_taxonomy("synthetic19")) == "meta"


def test_weights_that_have_seen_the_held_out_cases_are_refused(finished, cache, tmp_path):
    weights = finished / "checkpoints" / "fold_0" / "sub"
    flags = [*smoke_flags(tmp_path / "leak", cache), f"--manifest={finished / 'photos' / 'manifest.csv'}"]
    taxonomy = [f"--taxonomy={finished / 'taxonomy.json'}", f"--pretrained={weights}"]
    # --smoke takes a few cases of a manifest; here they are all of them, so the photos are those of the run
    assert "it has seen cases that are to be held out" in run(*flags, *taxonomy, code=2).stderr
    # Other labels, of the old cases one alone, and a folder that is named by the backbone.
    frame = pd.read_csv(finished / "photos" / "manifest.csv", dtype=str)
    new = frame.assign(case_id="new " + frame["case_id"], label="x" + frame["label"])
    old = frame["case_id"] == frame["case_id"][0]
    new.loc[old, "case_id"] = frame["case_id"][0]
    new.to_csv(finished / "photos" / "relabelled.csv", index=False)
    named = finished.parent / "small"
    named.symlink_to(finished)
    changed = [
        *smoke_flags(tmp_path / "other", cache),
        f"--manifest={finished / 'photos' / 'relabelled.csv'}",
    ]
    weights = named.with_name("{backbone}") / "checkpoints" / "fold_0" / "sub"
    refused = run_small("train", "--backbone=small", *changed, "--noaudit", f"--pretrained={weights}", code=2)
    assert f"which trained on {old.sum()} of these photos: it has seen cases" in refused.stderr


def test_a_full_disk_is_told_in_one_sentence_and_the_run_goes_on_afterwards(finished, cache, tmp_path):
    """The disk has room for the photos, not for what is saved of training; the process that meets it is a real one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    inputs = [path for name in ("photos", "prepared", "audit") for path in (finished / name).rglob("*")]
    pages = sum(1 + path.stat().st_size // 4096 for path in inputs) + 64
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        flags = [*smoke_flags(disk / "run", cache), "--checkpoint_seconds=0"]
        process = start_small("hierarchy", *flags, **devices_of_this_process())
        output, error = process.communicate(timeout=300)
        assert process.returncode == 2, output + error
        assert "no space" in error.lower()
        assert "Traceback" not in error
        assert (disk / "run" / "config.json").exists()
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        run(*flags)
        expected = read_predictions(finished / "predictions" / "out_of_fold.parquet")
        there = read_predictions(disk / "run" / "predictions" / "out_of_fold.parquet")
        pd.testing.assert_frame_equal(there, expected, check_exact=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_photos_of_ones_own_with_everything_wrong_with_them(finished, cache, tmp_path):
    """No case_id, a damaged photo, a hostile class name: audited, named, trained, reported."""
    source = pd.read_csv(finished / "photos" / "manifest.csv", dtype=str)
    classes = {"psoriasis": "<script>alert(1)</script>", "melanoma": "黑色素瘤"}
    chosen = source[source["label"].isin(classes)].reset_index(drop=True)
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    for image in chosen["image"]:
        (folder / image).write_bytes((finished / "photos" / image).read_bytes())
    (folder / chosen["image"][0]).write_bytes((folder / chosen["image"][0]).read_bytes()[:200])
    chosen["label"] = chosen["label"].map(classes)
    chosen[["image", "label"]].to_csv(folder / "manifest.csv", index=False)
    (folder / "tree.csv").write_text(
        "kind,disease\nrash,<script>alert(1)</script>\ntumour,黑色素瘤\n", encoding="utf-8"
    )
    flags = [
        f"--manifest={folder / 'manifest.csv'}", f"--taxonomy={folder / 'tree.csv'}", f"--workdir={tmp_path / 'run'}",
        f"--compilation_cache={cache}", "--smoke", "--batch_size=2", "--epochs=1",
    ]  # fmt: skip
    stopped = run(*flags, code=2)
    assert chosen["image"][0] in stopped.stderr
    assert "max_bad_fraction" in stopped.stderr
    result = run(*flags, "--max_bad_fraction=0.2")
    assert "clusters of near-duplicate photos stand in for cases" in result.stderr
    assert f"left out {chosen['image'][0]}" in result.stderr
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "黑色素瘤" in page
    assert "stand in for" in page
    assert "unreadable" in page or "truncated" in page


def test_help_shows_the_flags_in_groups():
    shown = run_command("hierarchy", "--helpfull").stdout
    places = [
        shown.index(heading) for heading in ("this study:", "running:", "photos:", "network and training:")
    ]
    assert places == sorted(places)
    assert "--transfer_blocks" in shown
    assert "thesis, chapter 4" in shown


def test_the_finished_run_answers_photos_as_it_answered_them_when_they_were_held_out(
    finished, cache, tmp_path
):
    """From the file, by the fold's own networks: the same numbers as were stored, then calibrated."""
    taxonomy = load_taxonomy("synthetic19")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    rows = frame[frame["fold"] == 1].iloc[:3]
    photos_of_fold = ",".join(str(finished / "photos" / name) for name in rows["image"])
    flags = (
        f"--workdir={finished}",
        f"--photos={photos_of_fold}",
        "--fold=1",
        f"--out={tmp_path / 'answers'}",
    )
    run_small("predict", *flags, f"--compilation_cache={cache}")
    lines = (tmp_path / "answers" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    temperatures = json.loads((finished / "decisions.json").read_text(encoding="utf-8"))["decisions"][
        "temperatures"
    ]
    sub, meta = probabilities(rows, taxonomy), probabilities(rows, taxonomy, "meta")
    fused = np.asarray(fuse(meta, sub, taxonomy.parents("sub", "meta"), normalize=True))
    for level, values in (("sub", fused), ("meta", meta)):
        powers = values ** (1 / temperatures[level])
        expected = powers / powers.sum(axis=1, keepdims=True)
        found = [list(json.loads(line)["probabilities"][level].values()) for line in lines]
        np.testing.assert_allclose(found, expected, atol=2e-4)
