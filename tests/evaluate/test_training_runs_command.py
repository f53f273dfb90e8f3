"""The command that says how much a training run moves the figures, on run folders made by hand."""

import dataclasses
import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from benchmarks import training_runs
from skinjax.data.predictions import from_arrays, write_predictions
from skinjax.labels.taxonomy import Taxonomy

TREE = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c")], name="three")
PHOTOS = 90


def write_run(path, seed, sure, photos=PHOTOS, study="hierarchy", fused=True, **options):
    """Writes the folder of a run whose photos stand in an order of their own; returns the labels and probabilities."""
    rng = np.random.default_rng([seed, round(10 * sure)])
    order = rng.permutation(PHOTOS)[:photos]
    labels = (np.arange(PHOTOS) // 3 % 3)[order]
    fine = rng.dirichlet(np.ones(3), photos) + sure * np.eye(3)[labels]
    fine /= fine.sum(axis=1, keepdims=True)
    coarse = rng.dirichlet(np.ones(2), photos) + np.eye(2)[labels // 2]
    coarse /= coarse.sum(axis=1, keepdims=True)
    frame = from_arrays(
        [f"{i:03d}.png" for i in order], [f"case {i // 3}" for i in order], np.array(TREE.classes())[labels],
        order // 3 % 5, fine, TREE, {TREE.levels[0]: coarse} if fused else None,
    )  # fmt: skip
    (path / "predictions").mkdir(parents=True)
    write_predictions(frame, path / "predictions" / "out_of_fold.parquet", TREE)
    (path / "taxonomy.json").write_text(TREE.to_json(), encoding="utf-8")
    document = {"study": study, "config": {"seed": seed} | options, "data_fingerprint": ""}
    (path / "config.json").write_text(json.dumps(document), encoding="utf-8")
    return path, labels, fine


def given(name, *written):
    return f"{name}=" + ",".join(str(path) for path, *_ in written)


def told(monkeypatch, capsys, *arguments):
    """Returns the rows of the command's tables, by their first cells."""
    monkeypatch.setattr(sys, "argv", ["training_runs", "--replicates=99", *arguments])
    training_runs.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def refused(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["training_runs", *arguments])
    with pytest.raises(SystemExit):
        training_runs.main()
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def sure(tmp_path):
    return [write_run(tmp_path / f"sure{seed}", seed, 0.6) for seed in (2, 0, 1)]


@pytest.fixture
def unsure(tmp_path):
    return [write_run(tmp_path / f"unsure{seed}", seed, 0.2) for seed in (0, 1, 2)]


@pytest.mark.slow
def test_runs_are_matched_by_photo_and_seed(sure, unsure, monkeypatch, capsys):
    rows = told(
        monkeypatch, capsys, "--runs", given("A", *sure), "--runs", given("B", *unsure), "--method=flat"
    )
    by_seed = [sure[1], sure[2], sure[0]]
    expected = [accuracy_score(labels, probs.argmax(axis=1)) for _, labels, probs in by_seed]
    found = next(row for row in rows if row[:3] == ["A", "flat", "accuracy"])
    assert found[4] == ", ".join(f"{value:.3f}" for value in expected)
    assert found[3].startswith(f"{np.mean(expected):.3f} (")
    assert found[6] == f"{np.std(expected, ddof=1):.3f}"
    areas = [roc_auc_score(labels, probs, multi_class="ovr") for _, labels, probs in by_seed]
    assert next(row for row in rows if row[:3] == ["A", "flat", "macro AUC"])[4] == ", ".join(
        f"{value:.3f}" for value in areas
    )
    other = [accuracy_score(labels, probs.argmax(axis=1)) for _, labels, probs in unsure]
    difference = next(row for row in rows if row[:2] == ["A − B", "accuracy"])
    assert difference[2].startswith(f"{np.mean(expected) - np.mean(other):+.3f} (")
    assert difference[4] == f"{np.std(np.subtract(expected, other), ddof=1):.3f}"


def test_other_levels_and_runs_without_fusion(sure, tmp_path, monkeypatch, capsys):
    flat = [write_run(tmp_path / f"flat{seed}", seed, 0.6, fused=False) for seed in (5, 6)]
    rows = told(
        monkeypatch,
        capsys,
        "--runs",
        given("A", *sure),
        "--runs",
        given("C", *flat),
        f"--level={TREE.levels[0]}",
    )
    assert [row[1] for row in rows if row[0] == "C"] == ["marginalized"] * 4
    assert [row[0] for row in rows if "−" in row[0]] == ["A − C (other seeds)"] * 4
    fused = told(monkeypatch, capsys, "--runs", given("A", *sure))
    assert [row[:2] for row in fused[1:5]] == [["A", "soft"]] * 4
    assert [row[0] for row in fused if "−" in row[0]] == ["A: soft − flat"] * 4


def test_only_photos_that_every_run_answered_count(sure, tmp_path, monkeypatch, capsys):
    fewer = [write_run(tmp_path / f"fewer{seed}", seed, 0.6, photos=60) for seed in (0, 1)]
    common = set.intersection(
        *({f"{i:03d}" for i in np.random.default_rng([seed, 6]).permutation(90)[:60]} for seed in (0, 1))
    )
    monkeypatch.setattr(
        sys,
        "argv",
        ["training_runs", "--replicates=99", "--runs", given("A", *sure), "--runs", given("F", *fewer)],
    )
    training_runs.main()
    assert capsys.readouterr().out.startswith(f"{len(common)} photos of ")


def test_runs_that_do_not_belong_together_are_refused(sure, tmp_path, monkeypatch, capsys):
    again = write_run(tmp_path / "again", 2, 0.5)
    assert "must each have a seed of their own" in refused(
        monkeypatch, capsys, "--runs", given("A", *sure, again)
    )
    assert "at least two folders" in refused(monkeypatch, capsys, "--runs", given("A", again))
    other = write_run(tmp_path / "other", 7, 0.5, study="malignancy")
    assert "must be of one study" in refused(monkeypatch, capsys, "--runs", given("A", *sure, other))
    assert "is not the folder of a run" in refused(monkeypatch, capsys, "--runs", f"A={tmp_path},{tmp_path}")
    assert "level must be one of" in refused(monkeypatch, capsys, "--runs", given("A", *sure), "--level=no")
    assert "method must be one of flat, soft" in refused(
        monkeypatch, capsys, "--runs", given("A", *sure), "--method=no"
    )
    assert "must be one of the predictions of" in refused(monkeypatch, capsys, "--runs", given("A:no", *sure))


def test_a_name_may_take_another_file_of_its_runs(sure, monkeypatch, capsys):
    for path, _, _ in sure:
        main = pd.read_parquet(path / "predictions" / "out_of_fold.parquet")
        shuffled = main.assign(
            **{f"p_{name}": main[f"p_{other}"].to_numpy() for name, other in ("ab", "bc", "ca")}
        )
        write_predictions(shuffled, path / "predictions" / "wrong.parquet", TREE)
    rows = told(
        monkeypatch, capsys, "--runs", given("A", *sure), "--runs", given("B:wrong", *sure), "--method=flat"
    )
    shares = {row[0]: float(row[3].split()[0]) for row in rows if row[1:3] == ["flat", "accuracy"]}
    assert shares["A"] > 0.6 > 0.3 > shares["B"]
    difference = next(row for row in rows if row[:2] == ["A − B", "accuracy"])[2]
    assert float(difference.split()[0]) == pytest.approx(shares["A"] - shares["B"], abs=0.0011)
    twice = ("--runs", given("A", *sure), "--runs", given("A:wrong", *sure))
    assert "must each have a name of their own, got A, A" in refused(monkeypatch, capsys, *twice)
    assert "must be NAME[:FILE]=" in refused(monkeypatch, capsys, "--runs", given("A:", *sure))


def test_options_other_than_the_seed_are_named(sure, tmp_path, capsys):
    more = write_run(tmp_path / "more", 8, 0.6, epochs=3)
    training_runs.read(given("A", sure[0], more))
    assert "differ in more than the seed: epochs" in capsys.readouterr().err


def test_photos_whose_labels_differ_are_refused(sure, tmp_path):
    named = training_runs.read(given("A", *sure))
    part = named.predictions[1]
    wrong = part.label.copy()
    wrong[3] = (wrong[3] + 1) % 3
    changed = (named.predictions[0], dataclasses.replace(part, label=wrong))
    with pytest.raises(ValueError, match=r"must agree on the label of 003.png, got another in A"):
        training_runs.align([dataclasses.replace(named, predictions=changed)])
