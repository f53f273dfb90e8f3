"""The comparison of backbones on photos of one's own, from Python and as a command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

import skinjax
from skinjax.data.predictions import probabilities, read_predictions
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.studies import backbones
from tests.support import small_backbones
from tests.support.both_ways import TINY, assert_evaluated, flags_of, run_both_ways
from tests.support.commands import run_small
from tests.support.small_photos import write_photos

NAMES = ("small", "smaller")
OPTIONS = {name: value for name, value in TINY.items() if name != "backbone"} | {
    "backbones": NAMES, "epochs": 3, "burn_in": 2.0, "target": ("psoriasis",), "choose_by": "auc",
    "test_time_augmentation": "flips",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbones")
    write_photos(folder / "mine", 12)
    run_both_ways(backbones, "benchmark_backbones", folder / "mine", OPTIONS, folder)
    (folder / "python").rename(folder / "run")
    return folder


def stored(folder: Path, name: str, part: str) -> pd.DataFrame:
    return read_predictions(folder / "run" / "predictions" / f"{name}_{part}.parquet")


@pytest.mark.slow
def test_all_backbones_answer_for_the_same_photos_each_at_its_own_size(folder):
    manifest = pd.read_csv(folder / "mine" / "manifest.csv", dtype=str)
    for part in ("validation", "test"):
        wanted = sorted(manifest.loc[manifest["split"] == part, "image"])
        for name in NAMES:
            assert sorted(stored(folder, name, part)["image"]) == wanted
    assert {path.name for path in (folder / "run").glob("prepared*")} == {"prepared_32", "prepared_24"}


@pytest.mark.slow
def test_the_table_is_scikit_learns_on_the_stored_predictions(folder):
    tables = folder / "run" / "report" / "tables"
    found = pd.read_csv(tables / "backbones.csv").set_index("backbone")
    tree = load_taxonomy(folder / "run" / "taxonomy.json")
    matrices = pd.read_csv(folder / "run" / "report" / "figures" / "backbones_confusion.csv")
    for name in NAMES:
        test = stored(folder, name, "test")
        truth = tree.encode(test["label"])
        predicted = probabilities(test, tree).argmax(axis=1)
        assert found.loc[name, "auc"] == pytest.approx(
            roc_auc_score(test["label"] == "psoriasis", test["p_psoriasis"])
        )
        assert found.loc[name, "accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        validation = stored(folder, name, "validation")
        assert found.loc[name, "threshold"] in set(validation["p_psoriasis"])
        counts = matrices[matrices["backbone"] == name].pivot_table(
            index="true", columns="predicted", values="photos", fill_value=0
        )
        full = counts.reindex(index=tree.classes(), columns=tree.classes(), fill_value=0)
        np.testing.assert_array_equal(full, confusion_matrix(truth, predicted, labels=range(5)))
    pairs = pd.read_csv(tables / "model_pairs.csv")
    assert set(pairs["first"]) | set(pairs["second"]) == set(NAMES)


@pytest.mark.slow
def test_parameters_are_counted_and_epochs_are_those_of_the_record(folder):
    costs = pd.read_csv(folder / "run" / "report" / "tables" / "backbone_costs.csv").set_index("backbone")
    for name, width in (("small", 32), ("smaller", 8)):
        # two 3 x 3 convolutions, each with a scale and an offset a channel, and a head of 5 classes
        by_hand = 9 * 3 * width + 9 * width * width + 4 * width + width * 5 + 5
        assert costs.loc[name, "parameters"] == by_hand
        assert costs.loc[name, "epochs"] == 3
        assert costs.loc[name, "photos_per_second"] > 0
    metrics = pd.read_csv(folder / "run" / "metrics.csv")
    seconds = metrics[metrics["split"] == "train"].groupby("stage")["seconds"].sum()
    for name in NAMES:
        assert costs.loc[name, "seconds"] == pytest.approx(seconds[name], abs=1e-6)


@pytest.mark.slow
def test_the_report_is_about_the_backbone_that_is_best_on_the_validation_photos(folder):
    areas = {
        name: roc_auc_score(frame["label"] == "psoriasis", frame["p_psoriasis"])
        for name in NAMES
        for frame in [stored(folder, name, "validation")]
    }
    best = max(NAMES, key=lambda name: areas[name])
    page = (folder / "run" / "report" / "index.html").read_text(encoding="utf-8")
    answer = re.search(r'<p class="answer">(.*?)</p>', page, re.DOTALL)[1]
    assert answer.startswith(f"Of the backbones, {best} is best on the validation photos")
    assert f"Sections that do not compare backbones are about {best}." in page


@pytest.mark.slow
def test_the_run_is_evaluated_and_loaded(folder, tmp_path):
    found = assert_evaluated(folder / "run", tmp_path / "evaluation")
    compared = found.tables["models"].set_index("model")
    tree = load_taxonomy(folder / "run" / "taxonomy.json")
    for name in NAMES:
        test = stored(folder, name, "test")
        predicted = probabilities(test, tree).argmax(axis=1)
        assert compared.loc[name, "accuracy"] == pytest.approx(
            (predicted == tree.encode(test["label"])).mean()
        )
    with small_backbones.registered():
        assert skinjax.load_run(folder / "run").network.backbone == "small"
        second = skinjax.load_run(folder / "run", "smaller")
        assert (second.network.backbone, second.network.image_size) == ("smaller", 24)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backbones=small,efficientnet_b9"], "efficientnet_b9"),
        (["--backbones=small,small"], "--backbones=small,small must be different names, at least one"),
        (["--backbone=small"], "--backbone=small is not used here; name the networks in --backbones=small"),
        (["--manifest="], "is given without --manifest=FILE or --dataset=NAME"),
        (["--target=", "--readers=r.csv"], "--readers=r.csv needs --target=CLASS"),
    ],
)
def test_bad_input_gets_one_sentence_before_anything_is_prepared(tmp_path, flags, message):
    write_photos(tmp_path / "mine", 2)
    mine = [f"--{name}={tmp_path / 'mine' / name}.csv" for name in ("manifest", "taxonomy")]
    result = run_small(
        "benchmark_backbones", *mine, *flags_of(OPTIONS), f"--workdir={tmp_path / 'bad'}", "--compilation_cache=",
        *flags, code=2,
    )  # fmt: skip
    assert message in result.stderr
    assert not list((tmp_path / "bad").glob("prepared*"))
