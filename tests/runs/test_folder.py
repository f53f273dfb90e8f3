"""The folder of a run: who may work in it, what makes it the same run, what earlier versions left, and its layout."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pandas as pd
import pytest

from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs import RunFolder, processes
from skinjax.runs.metrics import training_table
from skinjax.runs.networks import Network
from skinjax.runs.options import Options, option
from tests.support.commands import ENVIRONMENT, REPOSITORY

TREE = Taxonomy("three", ("class",), (("a",), ("b",), ("c",)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Options):
    group: ClassVar[str] = "this study"

    epochs: int = option(20, "Passes.", low=1)
    parts: tuple[float, ...] = option((6.0, 2.0, 1.0), "Shares.")
    backbones: tuple[str, ...] = option((), "Networks.")
    seed: int = option(0, "Seed.")
    manifest: str = option("", "Photos.", path=True, free=True)
    dataset: str = option("", "Photos.")
    source: str = option("", "Photos.", path=True, free=True)
    prepared: str = option("", "Decoded photos.", path=True, free=True)
    fold: int = option(-1, "The fold.", free=True)


def opened(path, fold=-1, study="hierarchy", **options):
    return RunFolder.open(path, study, Config(fold=fold, **options))


def begun(path, study="hierarchy", config=None, **facts):
    """The folder of a run that has begun, and is not open."""
    config = config or Config()
    with RunFolder.open(path, study, config) as folder:
        folder.begin(config, "photos", TREE, {"one", "other"}, **facts)
    return folder


# Who may work in it.


@pytest.mark.parametrize(("first", "second"), [(-1, -1), (-1, 0), (0, -1), (1, 1)])
def test_one_run_keeps_out_another_until_it_is_closed(tmp_path, first, second):
    with (
        opened(tmp_path / "run", first),
        pytest.raises(ValueError, match=r"run is in use by another run; wait"),
    ):
        opened(tmp_path / "run", second)
    opened(tmp_path / "run", second).close()


def test_single_folds_keep_out_only_each_other(tmp_path):
    with opened(tmp_path, 0), opened(tmp_path, 1), opened(tmp_path, 2):
        for fold in (-1, 0, 1, 2):
            with pytest.raises(ValueError, match="in use"):
                opened(tmp_path, fold)
        opened(tmp_path, 3).close()
    opened(tmp_path).close()


def test_a_study_without_folds_has_the_folder_for_itself(tmp_path):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Plain(Options):
        seed: int = option(0, "Seed.")

    with RunFolder.open(tmp_path, "two_stage", Plain()), pytest.raises(ValueError, match="in use"):
        RunFolder.open(tmp_path, "two_stage", Plain())


def test_a_run_that_is_refused_leaves_no_lock(tmp_path):
    with opened(tmp_path, 1), pytest.raises(ValueError, match="in use"):
        opened(tmp_path, 1)  # which shares the folder with all single folds before it is refused the fold
    opened(tmp_path).close()
    begun(tmp_path)
    with pytest.raises(ValueError, match="cannot be resumed"):
        opened(tmp_path, epochs=3)
    opened(tmp_path).close()


def test_of_several_processes_of_one_run_the_first_holds_for_all(tmp_path, monkeypatch):
    with opened(tmp_path):
        monkeypatch.setattr(processes, "is_first", lambda: False)
        opened(tmp_path).close()


def test_readers_are_neither_kept_out_nor_do_they_keep_out(tmp_path):
    begun(tmp_path)
    with opened(tmp_path):
        assert RunFolder.read(tmp_path).options["epochs"] == 20
    read = RunFolder.read(tmp_path)
    with opened(tmp_path):
        assert read.study == "hierarchy"


@pytest.mark.slow
def test_a_killed_process_lets_others_in(tmp_path):
    code = (
        "import sys, time\nfrom skinjax.runs import RunFolder\n"
        "from skinjax.studies.steps.data_options import RunOptions\n"
        "folder = RunFolder.open(sys.argv[1], 'two_stage', RunOptions()); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="in use"):
        opened(tmp_path)
    holder.kill()
    holder.communicate()
    opened(tmp_path).close()


# What makes it the same run.


def test_options_that_differ_are_all_named_and_those_that_no_result_depends_on_are_not(tmp_path):
    begun(tmp_path)
    told = (
        f"workdir={tmp_path} cannot be resumed: epochs=3, was 20; parts=1,1,1, was 6,2,1; name another folder"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        opened(tmp_path, fold=2, epochs=3, parts=(1, 1, 1), manifest="elsewhere.csv")
    opened(tmp_path, fold=2, manifest="elsewhere.csv").close()


def test_a_run_of_another_study_is_refused(tmp_path):
    begun(tmp_path, study="malignancy")
    with pytest.raises(
        ValueError, match="cannot be resumed: it holds a run of malignancy; name another folder"
    ):
        opened(tmp_path)


def test_runs_of_two_folds_that_begin_at_the_same_moment_are_compared_in_full(tmp_path):
    """Both have found the folder empty by the time one of them writes its configuration."""
    with opened(tmp_path, 0) as first, opened(tmp_path, 1) as same, opened(tmp_path, 2, epochs=3) as other:
        document = first.begin(Config(fold=0), "photos", TREE, {"one"}, photos=1)
        assert document["config"]["fold"] == 0
        assert same.begin(Config(fold=1), "photos", TREE, {"one"}, photos=1) == document
        with pytest.raises(ValueError, match="cannot be resumed: epochs=3, was 20"):
            other.begin(Config(fold=2, epochs=3), "photos", TREE, {"one"}, photos=1)
        with pytest.raises(ValueError, match="photos, labels, cases or classes have changed since it began"):
            same.begin(Config(fold=1), "other photos", TREE, {"one"}, photos=1)
    assert json.loads((tmp_path / "config.json").read_text()) == document


def test_of_runs_that_begin_together_with_other_options_one_begins(tmp_path):
    count = 8
    together = threading.Barrier(count)

    def begin(fold):
        config = Config(fold=fold, epochs=fold + 1)
        with RunFolder.open(tmp_path, "hierarchy", config) as folder:
            together.wait(timeout=60)
            try:
                return folder.begin(config, "photos", TREE, {str(fold)})
            except ValueError as error:
                return str(error)

    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(begin, range(count)))
    (document,) = [result for result in results if isinstance(result, dict)]
    assert RunFolder.read(tmp_path).document == document
    assert RunFolder.read(tmp_path).photos_seen == {str(document["config"]["fold"])}
    refused = [result for result in results if isinstance(result, str)]
    assert len(refused) == count - 1
    assert all(f"was {document['config']['epochs']}" in sentence for sentence in refused)


def test_an_option_that_the_runs_version_did_not_have_counts_as_its_default(tmp_path):
    begun(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    del document["config"]["epochs"]
    document["config"]["gone"] = 5
    (tmp_path / "config.json").write_text(json.dumps(document))
    opened(tmp_path).close()
    with pytest.raises(ValueError, match="epochs=3, was 20"):
        opened(tmp_path, epochs=3)


def test_options_that_are_refused_now_are_told_as_such(tmp_path):
    begun(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document["config"]["epochs"] = 0
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(
        ValueError, match=r"begun with options that are refused now \(epochs must be at least 1"
    ):
        opened(tmp_path)


# Folders that are none of a run, or of a former version's.


def test_folders_that_cannot_be_used_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file must be a folder, but is a file"):
        opened(tmp_path / "file")
    with pytest.raises(ValueError, match=r"must have none of the characters \*, \? and \["):
        opened(tmp_path / "a[1]")
    assert not (tmp_path / "a[1]").exists()
    with pytest.raises(ValueError, match=r"is not the folder of a run: it has no config\.json"):
        RunFolder.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"x": 1}', '{"experiment": "train"}',
                                  '{"study": "training", "config": [], "data_fingerprint": "x"}'])  # fmt: skip
def test_a_foreign_config_json_is_refused_and_left_alone(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    message = "config.json is not the configuration of a run; name another workdir"
    for use in (opened, RunFolder.read):
        with pytest.raises(ValueError, match=message):
            use(tmp_path)
    assert (tmp_path / "config.json").read_text() == text


FORMER_NAMES = {
    "hierarchy": "hierarchy", "train": "training", "psoriasis": "two_stage", "benchmark_backbones": "backbones",
    "evolve": "evolution", "malignancy": "malignancy", "cross_dataset": "cross_dataset",
}  # fmt: skip


@pytest.mark.parametrize(("experiment", "study"), FORMER_NAMES.items())
def test_a_run_of_the_former_format_is_read_and_resumed(tmp_path, experiment, study):
    """As the version before studies were a library wrote it: flags, lists of numbers as texts, no schema."""
    former = {
        "experiment": experiment,
        "flags": {"epochs": 3, "parts": ["6", "2", "0.5"], "fold": -1, "manifest": "gone/manifest.csv", "smoke": False},
        "synthetic": False, "taxonomy": "three", "photos": 8, "cases": 4, "data_fingerprint": "photos", "notes": [],
        "git_revision": "unknown", "versions": {"jax": "0.10.2"},
    }  # fmt: skip
    text = json.dumps(former, indent=1)
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "photos_seen.txt").write_text("one\nother\n")
    read = RunFolder.read(tmp_path)
    assert (read.study, read.options, read.synthetic) == (study, former["flags"], False)
    assert read.photos_seen == {"one", "other"}
    config = Config(epochs=3, parts=(6, 2, 0.5))
    with RunFolder.open(tmp_path, study, config) as folder:
        assert folder.begin(config, "photos", TREE, {"one", "other"})["photos"] == 8
        with pytest.raises(ValueError, match="photos, labels, cases or classes have changed"):
            folder.begin(config, "changed", TREE, {"one", "other"})
    with pytest.raises(ValueError, match=r"parts=6,2,1, was 6,2,0\.5"):
        RunFolder.open(tmp_path, study, Config(epochs=3))
    assert (tmp_path / "config.json").read_text() == text


# Its layout.


def test_what_a_run_writes_when_it_begins_is_read_again(tmp_path):
    config = Config(epochs=3, parts=(1, 2, 3))
    folder = begun(tmp_path / "run", config=config, synthetic=True, cases=4)
    read = RunFolder.read(tmp_path / "run")
    assert read.document["study"] == read.study == "hierarchy"
    assert read.document["cases"] == 4
    assert Config.from_dict(read.options) == config
    assert read.taxonomy == TREE
    assert read.synthetic
    assert read.photos_seen == {"one", "other"}
    assert RunFolder(tmp_path, "").photos_seen == frozenset()
    assert RunFolder(tmp_path, "").document is None
    assert RunFolder(tmp_path, "").options == {}
    assert not read.finished
    folder.report.mkdir()
    folder.page.write_text("")
    assert read.finished


def test_where_photos_and_decoded_photos_lie(tmp_path):
    folder = begun(tmp_path / "run")
    assert folder.photo_root is None
    folder.photos.mkdir()
    assert folder.photo_root == folder.photos
    assert folder.prepared(Config()) == tmp_path / "run" / "prepared"
    assert folder.prepared({"prepared": "x/y"}, "_b").as_posix() == "x/y_b"
    mine = begun(tmp_path / "mine", config=Config(manifest=str(tmp_path / "manifest.csv")))
    assert mine.photo_root == tmp_path
    public = begun(tmp_path / "public", config=Config(dataset="ham10000", source=str(tmp_path / "nowhere")))
    assert public.photo_root is None


def test_networks_are_found_by_stage_and_fold(tmp_path):
    folder = begun(tmp_path)
    network = Network("sub", 1, "efficientnet_nano", "class", TREE.classes(), 64, steps=9)
    folder.write_network(network)
    folder.write_network(dataclasses.replace(network, stage="meta"))
    assert folder.folds == [1]
    assert folder.network(fold=1) == folder.network("sub", 1) == network
    assert [one.stage for one in folder.networks(1)] == ["meta", "sub"]
    assert folder.networks(0) == []
    assert folder.checkpoints(network) == tmp_path / "checkpoints" / "fold_1" / "sub"
    with pytest.raises(FileNotFoundError, match=r"x.json is missing: .*\(fold=1 has meta, sub\)"):
        folder.network("x", 1)
    with pytest.raises(FileNotFoundError, match=r"\(folds with networks: 1\)"):
        folder.network("sub", 0)
    folder.write_network(network)
    with pytest.raises(ValueError, match=r"describes another network \(backbone, steps differ\)"):
        folder.write_network(dataclasses.replace(network, backbone="xception", steps=8))
    assert folder.network("sub", 1) == network


def test_the_main_network_of_a_fold_is_told_by_its_study(tmp_path):
    folder = begun(tmp_path, study="backbones", config=Config(backbones=("xception", "densenet121")))
    for stage in ("densenet121", "xception"):
        folder.write_network(Network(stage, 0, stage, "class", TREE.classes(), 64))
    assert folder.network().stage == "xception"


@pytest.mark.parametrize(
    ("study", "names"),
    [
        ("hierarchy", {"run": "out_of_fold"}),
        ("malignancy", {"run": "out_of_fold"}),
        ("training", {"run": "held_out"}),
        ("two_stage", {"run": "two_stage_test"}),
        ("backbones", {"xception": "xception_test", "densenet121": "densenet121_test"}),
        ("cross_dataset", {"trained on A": "a_on_a", "trained on B": "b_on_a"}),
        ("evolution", {"evolved set": "evolved_0", "start set": "start_0"}),
    ],
)
def test_the_predictions_of_every_study_are_found(tmp_path, study, names):
    folder = begun(tmp_path / "run", study, Config(backbones=("xception", "densenet121")))
    for name in names.values():
        with pytest.raises(ValueError, match=r"has no predictions/\w+.parquet: the run has not finished"):
            folder.predictions  # noqa: B018
        file = folder.predictions_file(name)
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert folder.predictions == {
        model: tmp_path / "run" / "predictions" / f"{name}.parquet" for model, name in names.items()
    }
    assert list(folder.predictions) == list(names)  # the main one first


def test_a_study_without_predictions_is_told(tmp_path):
    with pytest.raises(ValueError, match="is a run of audit, which makes no predictions"):
        begun(tmp_path, "audit").predictions  # noqa: B018


def test_predictions_of_parts_lie_in_folders_of_their_own(tmp_path):
    folder = RunFolder(tmp_path, "hierarchy")
    assert (
        folder.predictions_file("meta_random", "fold_1")
        == tmp_path / "predictions" / "meta_random" / "fold_1.parquet"
    )


def test_tables_of_what_was_audited_and_trained(tmp_path):
    folder = RunFolder(tmp_path, "hierarchy")
    assert folder.audit_table is None
    assert folder.metrics is None
    folder.audit.mkdir()
    findings = [["error", "unreadable", "a.jpg", "cut"], ["error", "unreadable", "b.jpg", "empty"]]
    findings += [["warning", "label", "", "one class"]]
    pd.DataFrame(findings, columns=["severity", "kind", "image", "message"]).to_csv(
        folder.audit / "audit.csv", index=False
    )
    table = folder.audit_table.set_index("kind")
    assert list(table["count"]) == [2, 1]
    assert list(table.loc["unreadable", ["photo", "first"]]) == ["a.jpg", "cut"]
    rows = [
        ("sub", 0, epoch, split, photos) for epoch in (1, 2) for split, photos in (("train", 8), ("test", 3))
    ]
    pd.DataFrame(rows, columns=["stage", "fold", "epoch", "split", "photos"]).to_csv(
        tmp_path / "metrics.csv", index=False
    )
    trained = training_table(folder.metrics)
    assert trained.to_dict("records") == [{"network": "sub", "fold": 0, "epochs": 2, "photos per epoch": 8}]


def test_a_run_is_read_without_jax(tmp_path):
    begun(tmp_path)
    code = "import sys; from skinjax.runs import RunFolder; print(RunFolder.read(sys.argv[1]), 'jax' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert result.stdout == f"{RunFolder(tmp_path, 'hierarchy')} False\n"
