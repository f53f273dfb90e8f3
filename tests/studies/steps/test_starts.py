"""The ways to start the coarser network: how options name them, what they share, and the study that compares them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from skinjax.cli.flags import as_flags
from skinjax.data.predictions import columns, probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.models import registry
from skinjax.runs import RunFolder
from skinjax.studies.hierarchy import Config
from skinjax.studies.steps import networks, starts
from skinjax.studies.steps.starts import Start
from skinjax.synthetic import SyntheticSpec, write_dataset
from tests.support.commands import Ended, run_small

FIGURE_4_6 = ("0", "10/45", "23/45", "30/45", "all")
CONFIG = Config(
    backbone="efficientnet_nano", image_size=32, batch_size=8, transfer_variants=("random", *FIGURE_4_6)
)


def changed(**options) -> Config:
    return dataclasses.replace(CONFIG, **options)


# What the options ask for.


@pytest.mark.parametrize(
    ("backbone", "blocks"),
    [
        ("efficientnet_b6", [None, 0, 10, 23, 30, "all"]),
        ("efficientnet_b0", [None, 0, 4, 8, 11, "all"]),
        ("densenet121", [None, 0, 14, 31, 41, "all"]),
    ],
)
def test_the_thesis_s_shares_fit_every_backbone_and_are_its_own_numbers_on_b6(backbone, blocks):
    plan = starts.plan(changed(backbone=backbone, pretrained="weights.h5"))
    assert [start.blocks for start in plan.starts] == blocks
    assert plan.fused.blocks == "all"
    assert f"10/45 is {blocks[2]}, 23/45 is {blocks[3]}, 30/45 is {blocks[4]}" in plan.notes[0]
    stages = [plan.stage(start) for start in plan.starts]
    assert stages[-1] == "meta"
    assert stages[:-1] == ["meta_random", *(f"meta_{count}" for count in blocks[1:-1])]


def test_without_weights_direct_is_random_and_trained_once():
    plan = starts.plan(CONFIG)
    assert [start.name for start in plan.starts] == ["random", "2", "4", "5", "all"]
    assert "Without pretrained weights, 0 is a random start too" in plan.notes[0]
    plan = starts.plan(changed(transfer_variants=("0",)))
    assert [start.name for start in plan.starts] == ["random", "all"]
    assert plan.notes == ()


def test_the_fused_way_is_always_there_and_equal_ways_are_trained_once():
    plan = starts.plan(changed(transfer_blocks="3", transfer_variants=("random", "3", "3/7", "4/9")))
    assert [start.name for start in plan.starts] == ["random", "3"]
    assert plan.fused == Start(3, 7)
    assert starts.plan(changed(transfer_blocks="3", transfer_variants=())).starts == (Start(3, 7),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "most",
            "--transfer_variants=most must be random, a number of blocks, a share of them such as 10/45, or all",
        ),
        ("-1", "must be random, a number of blocks"),
        ("1.5", "must be random, a number of blocks"),
        ("", "must be random, a number of blocks"),
        ("8", "--transfer_variants=8 is more than the 7 blocks of efficientnet_nano; the share 8/45"),
        ("46/45", "--transfer_variants=46/45 must be a share from 0 to 1"),
        ("0/0", "must be a share from 0 to 1"),
    ],
)
def test_what_is_no_way_to_start_is_refused(text, message):
    with pytest.raises(ValueError, match=r"^transfer_variants=") as told:
        starts.plan(changed(transfer_variants=("random", text)))
    assert message in as_flags(str(told.value), {"transfer_variants"})


def test_the_option_that_names_a_wrong_way_is_told():
    with pytest.raises(ValueError, match=r"^transfer_blocks=9 is more than the 7 blocks"):
        starts.plan(changed(transfer_blocks="9"))


# What the networks start from.


def test_ways_share_the_head_and_take_over_what_they_say(monkeypatch):
    config = changed(pretrained="weights.h5")
    coarse = networks.describe(config, "meta", 1, "meta", ("x", "y"))

    shapes = dict(registry.variable_shapes(registry.create("efficientnet_nano", 5)))

    def filled(value):
        return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.float32), shapes)

    fine, loaded = filled(2), filled(3)
    monkeypatch.setattr(networks, "load_with_report", lambda name, path, classes: (loaded, "made up"))
    heads = []
    for start in (Start(None, 7), Start(0, 7), Start(4, 7), Start("all", 7)):
        variables = starts.variables(config, start, coarse, fine)
        heads.append(np.asarray(variables["params"]["head"]["kernel"]))
        rows = [name for name in coarse.spec.block_names if "params" in variables]
        first = {name: np.asarray(jax.tree.leaves(variables["params"][name])[0]).flat[0] for name in rows}
        taken = {None: 0, "all": 7}.get(start.blocks, start.blocks)
        for number, name in enumerate(rows):
            if number < taken:
                assert first[name] == 2
            elif start.blocks is None:
                assert first[name] not in (2, 3)
            else:
                assert first[name] == 3
    for head in heads[1:]:
        np.testing.assert_array_equal(head, heads[0])
    assert heads[0].shape == (640, 2)
    assert np.unique(heads[0]).size > 1000


def test_the_coarse_network_is_validated_on_cases_that_its_start_has_not_seen(monkeypatch, tmp_path):
    config = changed(validation_fraction=0.3, choose_by="loss", burn_in=1.0, epochs=1)
    cases = np.repeat(np.arange(40), 2).astype(str)
    data = SimpleNamespace(labels=np.arange(80) // 2 % 4, cases=cases, prepared=SimpleNamespace(source=None))
    taken = []

    class TakenError(Exception):
        pass

    def fit(model, spec, variables, train, *rest, validation, **more):
        taken.append((set(train.indices), set(validation.indices)))
        raise TakenError

    monkeypatch.setattr(networks, "fit", fit)
    trainer = networks.Trainer(config, RunFolder(tmp_path, "hierarchy"), None)
    held_out = np.arange(80) < 20
    for stage in ("sub", "meta"):
        described = networks.describe(config, stage, 0, stage, tuple("abcd"))
        with pytest.raises(TakenError):
            trainer.train(described, {}, data, data.labels, ~held_out, held_out, stage, 1)
    (fine, by_fine), (coarse, by_coarse) = taken
    assert by_fine == by_coarse
    assert len(by_fine) == 18
    assert not fine & by_coarse
    assert fine | by_fine == coarse | by_coarse == set(range(20, 80))


# The study, with a network of two blocks that compiles fast.


def run(*options: str, code: int = 0) -> Ended:
    return run_small("hierarchy", "--backbone=small", "--smoke", "--noaudit", *options, code=code)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    """Four classes in two meta-classes, small photos, and compilations kept."""
    folder = tmp_path_factory.mktemp("inputs")
    path = write_dataset(folder / "photos", SyntheticSpec(4, (2, 2), size=32))
    frame = pd.read_csv(path, dtype=str)
    taxonomy = load_taxonomy("synthetic19")
    parents = taxonomy.parents("sub", "meta")
    kept = [np.flatnonzero(parents == meta)[:2] for meta in (0, 1)]
    pairs = [
        (taxonomy.classes("meta")[meta], taxonomy.classes()[sub]) for meta in (0, 1) for sub in kept[meta]
    ]
    frame[frame["label"].isin([sub for _, sub in pairs])].to_csv(path, index=False)
    (folder / "tree.json").write_text(
        json.dumps({"name": "four", "levels": ["meta", "sub"], "paths": [list(pair) for pair in pairs]})
    )
    return [
        f"--manifest={path}", f"--taxonomy={folder / 'tree.json'}", f"--compilation_cache={folder / 'cache'}",
        "--image_size=32", "--batch_size=8", f"--prepared={folder / 'prepared'}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory) -> Path:
    """A run whose second fold was trained first, by a command of its own."""
    workdir = tmp_path_factory.mktemp("run") / "variants"
    options = [*inputs, f"--workdir={workdir}", "--transfer_variants=random,0,23/45,all"]
    told = run(*options, "--fold=1").stdout
    assert "no report yet, still to come: fold_0.parquet" in told
    run(*options)
    return workdir


@pytest.mark.slow
def test_every_way_has_its_predictions_and_the_fused_one_those_of_the_report(finished):
    fused = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    whole = load_taxonomy(finished / "taxonomy.json")
    flat = starts.flat(whole, "meta")
    coarse = np.array(whole.classes("meta"))[whole.parents("sub", "meta")[whole.encode(fused["label"])]]
    names = {path.stem for path in (finished / "predictions").glob("meta_*.parquet")}
    assert names == {"meta_random", "meta_1", "meta_all"}
    for name in names:
        own = read_predictions(finished / "predictions" / f"{name}.parquet")
        validate(own, flat)
        for column in ("image", "case_id", "fold"):
            pd.testing.assert_series_equal(own[column], fused[column])
        np.testing.assert_array_equal(own["label"], coarse)
        same = np.array_equal(own[columns(flat)].to_numpy(), fused[columns(whole, "meta")].to_numpy())
        assert same == (name == "meta_all")


@pytest.mark.slow
def test_the_report_has_the_stored_figures(finished):
    rows = pd.read_csv(finished / "report" / "tables" / "transfer.csv").set_index("variant")
    metrics = pd.read_csv(finished / "metrics.csv")
    assert set(metrics["stage"]) == {"sub", "meta", "meta_random", "meta_1"}
    for name, stage in {"random": "meta_random", "1": "meta_1", "all": "meta"}.items():
        own = read_predictions(finished / "predictions" / f"meta_{name}.parquet")
        flat = starts.flat(load_taxonomy(finished / "taxonomy.json"), "meta")
        probs = probabilities(own, flat)
        expected = accuracy_score(flat.encode(own["label"]), probs.argmax(axis=1))
        assert rows.loc[name, "accuracy"] == pytest.approx(expected, abs=1e-12)
        test = metrics[(metrics["stage"] == stage) & (metrics["split"] == "test")]
        first = test[test["epoch"] == 1]["accuracy"]
        assert len(first) == 2
        assert rows.loc[name, "accuracy_first"] == pytest.approx(first.mean(), abs=1e-12)
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert '<section id="transfer">' in page
    assert "Without pretrained weights, 0 is a random start too" in page
    assert "Shares of the 2 blocks of small: 23/45 is 1" in page
    shown = pd.read_csv(finished / "report" / "figures" / "learning_curves.csv")
    assert set(shown["stage"]) == {"sub", "meta"}  # the two that are fused; figure 4-6 has the others


@pytest.mark.slow
def test_a_way_gives_the_same_bits_beside_others_and_alone(finished, inputs, tmp_path):
    """The same seed, head and order of photos: stage meta_random is what stage meta is when started at random."""
    run(*inputs, f"--workdir={tmp_path / 'alone'}", "--transfer_blocks=random", "--fold=0")
    taxonomy = load_taxonomy(finished / "taxonomy.json")
    alone = read_predictions(tmp_path / "alone" / "predictions" / "fold_0.parquet")
    beside = read_predictions(finished / "predictions" / "meta_random" / "fold_0.parquet")
    flat = starts.flat(taxonomy, "meta")
    np.testing.assert_array_equal(alone[columns(taxonomy, "meta")], beside[columns(flat)])
    fused = read_predictions(finished / "predictions" / "fold_0.parquet")
    np.testing.assert_array_equal(alone[columns(taxonomy)], fused[columns(taxonomy)])
    assert not (tmp_path / "alone" / "predictions" / "meta_random").exists()


@pytest.mark.slow
def test_a_finished_run_and_other_variants(finished, inputs):
    options = [*inputs, f"--workdir={finished}"]
    told = run(*options, "--transfer_variants=random", code=2).stderr
    assert "--transfer_variants=random, was random,0,23/45,all; name another folder" in told
    config = json.loads((finished / "config.json").read_text())
    del config["config"]["transfer_variants"]  # as a version wrote it that had no such option
    (finished / "config.json").write_text(json.dumps(config))
    assert "finished already" in run(*options).stderr
