"""A finished two-stage run answers new photos, and shows readers and photos from elsewhere afterwards, by its flags."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinjax
from skinjax.data.predictions import read_predictions
from skinjax.studies import two_stage
from tests.support import small_backbones
from tests.support.both_ways import TINY, assert_evaluated, flags_of
from tests.support.commands import Ended, run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
OPTIONS = TINY | {
    "epochs": 2,
    "burn_in": 2.0,
    "draws": 2,
    "learning_rate": 0.02,
    "fit": "pad",
    "test_time_augmentation": "flips",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos of one's own and from elsewhere, readers of the test photos, and a finished run without either."""
    folder = tmp_path_factory.mktemp("answers")
    mine = write_photos(folder / "mine", 16)
    test = mine[mine["split"] == "test"]
    calls = np.random.default_rng(0).integers(0, 2, 2 * len(test))
    readers = {"reader": np.repeat(["A", "B"], len(test)), "image": [*test["image"]] * 2, "call": calls}
    pd.DataFrame(readers).to_csv(folder / "readers.csv", index=False)
    for name, seed in (("theirs", 9), ("others", 8)):
        write_photos(folder / name, 4, seed=seed)[["image", "label"]].to_csv(
            folder / name / "manifest.csv", index=False
        )
    psoriasis(folder)
    return folder


def psoriasis(folder: Path, *flags: str, code: int = 0) -> Ended:
    photos = [f"--{name}={folder / 'mine' / name}.csv" for name in ("manifest", "taxonomy")]
    given = (*photos, *flags_of(OPTIONS), f"--workdir={folder / 'run'}", "--compilation_cache=")
    return run_small("psoriasis", *given, *flags, code=code)


def predict(folder: Path, photos: list[Path], *flags: str) -> Ended:
    named = f"--photos={','.join(map(str, photos))}"
    shared = (f"--workdir={folder / 'run'}", f"--out={folder / 'out'}", "--compilation_cache=", "--noexplain")
    return run_small("predict", named, *shared, *flags)


def lines(folder: Path) -> list[dict]:
    text = (folder / "out" / "predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def of_test(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    frame = read_predictions(folder / "run" / "predictions" / "two_stage_test.parquet")
    return frame, [folder / "mine" / image for image in frame["image"]]


def trained(folder: Path) -> dict[Path, str]:
    """Everything that training left, by content."""
    run = folder / "run"
    files = [run / "metrics.csv", *(path for path in (run / "checkpoints").rglob("*") if path.is_file())]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def page(folder: Path) -> str:
    return (folder / "run" / "report" / "index.html").read_text(encoding="utf-8")


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "run" / "report" / "tables" / f"{name}.csv")


def test_photos_of_the_test_get_the_stored_score_the_call_and_the_reports_figures(folder):
    stored, paths = of_test(folder)
    (folder / "broken.jpg").write_bytes(b"no photo")
    told = predict(folder, [*paths, folder / "broken.jpg"]).stdout
    reported = table(folder, "two_stage_strategies").set_index("strategy").loc["probability"]
    answers = lines(folder)
    assert "target" not in answers[-1]  # no photo at all
    with (folder / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["target_score"] == rows[-1]["target_call"] == ""
    for answer, row, p in zip(answers, rows, stored["p_psoriasis"], strict=False):
        found = answer["target"]
        assert (found["title"], found["classes"], found["strategy"]) == (
            "Psoriasis",
            ["psoriasis"],
            "probability",
        )
        assert found["score"] == pytest.approx(p, rel=1e-4)
        assert found["threshold"] == pytest.approx(reported["threshold_low"])
        assert found["call"] is bool(p >= reported["threshold_low"])
        rates = found["figures"]
        for name, column in (
            ("sensitivity", "sensitivity"), ("specificity", "specificity"),
            ("missed_diagnosis_rate", "missed"), ("misdiagnosis_rate", "misdiagnosed"),
        ):  # fmt: skip
            limits = [reported[f"{column}{end}"] for end in ("", "_low", "_high")]
            np.testing.assert_allclose(list(rates[name].values()), limits)
        assert (rates["photos"], rates["cases"]) == (len(stored), stored["case_id"].nunique())
        assert float(row["target_score"]) == found["score"]
        assert float(row["target_threshold"]) == pytest.approx(found["threshold"])
        assert row["target_call"] == str(found["call"]).lower()
    assert {answer["target"]["call"] for answer in answers[:-1]} == {True, False}
    words = " ".join(told.split())
    assert "target Psoriasis by strategy probability: called where the score is at least " in words
    assert f"{100 * reported['sensitivity']:.1f}% (" in words
    assert "The run calls Psoriasis: score " in words
    assert "The run does not call Psoriasis: score " in words


def test_the_threshold_calls_validation_photos_as_it_was_fitted_to(folder):
    """The photo that set the threshold among them."""
    stored = read_predictions(folder / "run" / "predictions" / "two_stage_validation.parquet")
    with small_backbones.registered():
        run = skinjax.load_run(folder / "run")
        found = run.predict([folder / "mine" / image for image in stored["image"]])
    called = stored["p_psoriasis"] >= table(folder, "two_stage")["threshold_low"][0]
    np.testing.assert_array_equal(found["target_call"].astype(bool), called)


def test_a_run_of_an_earlier_version_answers_the_same(folder):
    paths = of_test(folder)[1]
    text = (folder / "run" / "target.json").read_text()
    (folder / "run" / "target.json").unlink()
    (folder / "run" / "report" / "asked.json").unlink()
    predict(folder, paths[:1])
    assert (folder / "run" / "target.json").read_text() == text
    before = page(folder)
    assert "finished already" in psoriasis(folder).stderr
    assert page(folder) == before


def test_another_strategy_needs_no_training(folder):
    before = trained(folder)
    psoriasis(folder, "--strategy=merged")
    assert trained(folder) == before
    assert table(folder, "two_stage")["threshold_low"][0] == 0
    stored, paths = of_test(folder)
    told = predict(folder, paths).stdout
    for answer, p in zip(lines(folder), stored["p_psoriasis"], strict=True):
        assert answer["target"]["score"] == pytest.approx(2 * p - 1, abs=1e-5)
        assert answer["target"]["threshold"] == 0
        assert answer["target"]["call"] is bool(p >= 0.5)
    assert "at least 0 (fixed)" in " ".join(told.split())
    psoriasis(folder)  # back to what the other tests look at
    assert json.loads((folder / "run" / "target.json").read_text())["strategy"] == "probability"


def test_readers_and_photos_from_elsewhere_are_shown_after_the_end_and_nothing_is_trained(folder, tmp_path):
    before, plain = trained(folder), page(folder)
    assert "Photos from elsewhere" not in plain
    later = (f"--foreign={folder / 'theirs' / 'manifest.csv'}", f"--readers={folder / 'readers.csv'}")
    psoriasis(folder, *later)
    assert trained(folder) == before
    assert "Photos from elsewhere" in page(folder)
    assert "Diamonds: the 2 readers" in page(folder)
    frame = read_predictions(folder / "run" / "predictions" / "single_0_foreign.parquet")
    assert len(frame) == 40
    written = (folder / "run" / "report" / "index.html").stat().st_mtime_ns
    assert "finished already" in psoriasis(folder, *later).stderr
    assert (folder / "run" / "report" / "index.html").stat().st_mtime_ns == written
    # Others of the same names: what the networks said of the first is not taken for theirs.
    psoriasis(folder, f"--foreign={folder / 'others' / 'manifest.csv'}")
    other = read_predictions(folder / "run" / "predictions" / "single_0_foreign.parquet")
    assert list(other["image"]) == list(frame["image"])
    assert (other["p_target"] != frame["p_target"]).any()
    assert_evaluated(folder / "run", tmp_path / "evaluation")
    assert trained(folder) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--foreign=nowhere.csv"], "--foreign=nowhere.csv: no such file"),
        (["--readers=nobody.csv"], "nobody.csv"),
        (["--readers={mine}"], "no column 'reader'"),
        (["--foreign={copied}"], "must hold no photo of the run's own, got 1 that are, such as a.png"),
        (["--relatives=cousins"], "relatives=cousins must be a level of taxonomy, which are kind, disease"),
        (["--epochs=3"], "epochs=3, was 2"),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_sentence_and_the_finished_run_stays(folder, flags, message):
    (folder / "copied").mkdir(exist_ok=True)
    copied = folder / "mine" / "images" / "nevus_0_0.png"
    (folder / "copied" / "a.png").write_bytes(copied.read_bytes())
    (folder / "copied" / "m.csv").write_text("image,label\na.png,unheard of\n")
    files = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    named = [
        f.format(mine=folder / "mine" / "manifest.csv", copied=folder / "copied" / "m.csv") for f in flags
    ]
    told = psoriasis(folder, *named, code=2).stderr
    assert message in told
    assert len(told.strip().splitlines()) <= 3  # of a file that has several faults, each
    after = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    assert {p: c for p, c in after.items() if ".lock" not in p.name} == {
        p: c for p, c in files.items() if ".lock" not in p.name
    }


def test_relatives_are_grouped_by_the_level_above_or_any_other(folder, monkeypatch):
    stored, _ = of_test(folder)
    found = table(folder, "relatives").set_index("group")
    called = stored["p_psoriasis"] >= table(folder, "two_stage")["threshold_low"][0]
    for group, members in (
        ("Rash, other than Psoriasis", ["eczema", "lichen"]),
        ("Tumour", ["nevus", "melanoma"]),
    ):
        of_group = stored["label"].isin(members)
        assert found.loc[group, "called"] == pytest.approx(called[of_group].mean())
        assert found.loc[group, "photos"] == of_group.sum()
        assert found.loc[group, "cases"] == stored["case_id"][of_group].nunique()
    assert "Relatives of the target" in page(folder)
    assert "2.5%" in page(folder)
    before = page(folder)
    with monkeypatch.context() as patch:

        def broken(*given):
            raise ValueError("no page today")

        patch.setattr(two_stage, "relatives_section", broken)
        psoriasis(folder, "--relatives=disease", code=2)
    assert page(folder) == before  # the old one stays until the new one is there
    psoriasis(folder, "--relatives=disease")
    each = table(folder, "relatives").set_index("group")["called"]
    assert set(each.index) == {"Eczema", "Lichen", "Nevus", "Melanoma"}
