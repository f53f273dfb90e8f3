"""Advice and histories by the command, on a run of tiny networks: fields of JSON lines and CSV, and faults."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.data.predictions import Predictions, read_predictions, write_predictions
from skinjax.labels.degrees import URGENCIES, load_degrees, urgency_of
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.load import load_run
from skinjax.runs.folder import RunFolder
from skinjax.studies import prediction
from skinjax.synthetic import CLASS_NAMES, render_case
from tests.support import small_backbones
from tests.support.commands import Ended, run_small

pytestmark = pytest.mark.slow
TAXONOMY = load_taxonomy("synthetic19")
DEGREES = dict(load_degrees("synthetic19").degrees)
OF_CLASS = [DEGREES.get(name, -1) for name in TAXONOMY.classes()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of synthetic photos with random weights and made-up predictions, two photos a case."""
    folder = tmp_path_factory.mktemp("advice")
    (folder / "photos").mkdir()
    for seed in range(60):
        name = CLASS_NAMES[seed % len(CLASS_NAMES)]
        for number, photo in enumerate(render_case(np.random.default_rng(seed), name, photos=2, size=64)):
            Image.fromarray(photo).save(folder / "photos" / f"{seed}_{number}.jpg")
    Image.new("RGB", (64, 64), (0, 0, 0)).save(folder / "black.png")
    with small_backbones.registered():
        make_run(folder / "run", "small", 32, folder / "photos")
    file = RunFolder.read(folder / "run").predictions_file("out_of_fold")
    frame = read_predictions(file)
    frame["case_id"] = frame["image"].str.split("_").str[0]
    frame["label"] = frame.groupby("case_id")["label"].transform("first")
    write_predictions(frame, file, TAXONOMY)
    return folder


def predict(folder: Path, *flags: str, code: int = 0) -> Ended:
    kept = (f"--workdir={folder / 'run'}", f"--compilation_cache={folder / 'cache'}", "--noexplain")
    return run_small("predict", *kept, *flags, code=code, folder=folder)


def answered(out: Path) -> tuple[list[dict], list[dict]]:
    objects = [
        json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return objects, list(csv.DictReader(file))


@pytest.mark.parametrize("flag", ["", "--degrees=synthetic19", "--degrees=ours.json"])
def test_urgency_and_advice_are_fields_of_every_answer(folder, flag):
    own = {name: DEGREES.get(name) for name in TAXONOMY.classes()}
    (folder / "ours.json").write_text(json.dumps(own))
    out = folder / f"out{len(flag)}"
    shown = predict(folder, "--photos=photos,black.png", f"--out={out}", *filter(None, [flag])).stdout
    objects, rows = answered(out)
    assert len(objects) == 121
    for one, row in zip(objects, rows, strict=True):
        fine = np.array(list(one["probabilities"]["sub"].values()))
        top = TAXONOMY.classes()[fine.argmax()]
        tumour = fine[np.array(OF_CLASS) >= 0].sum()
        assert one["malignancy"]["probability_of_tumour"] == pytest.approx(tumour, abs=1e-5)
        among = [fine[np.array(OF_CLASS) == degree].sum() / tumour for degree in range(3)]
        np.testing.assert_allclose(one["malignancy"]["probabilities"], among, atol=1e-5)
        assert one["malignancy"]["score"] == pytest.approx(50 * among[1] + 100 * among[2], abs=0.01)
        assert one["advice"]
        assert one["advice_withheld"] == one["reasons"]
        needed = urgency_of(DEGREES.get(top, -1), 3)
        uncertain = ("certain enough", "ruled out")
        unusable = any(all(word not in reason for word in uncertain) for reason in one["reasons"])
        if needed == 2 or (needed and not unusable):
            assert URGENCIES.index(one["urgency"]) >= needed
        elif unusable:
            assert one["urgency"] is None
        if one["urgency"] == "routine":
            assert not one["reasons"]
        assert row["urgency"] == (one["urgency"] or "")
        assert row["advice"] == one["advice"]
        assert row["advice_withheld"] == "; ".join(one["reasons"])
        assert row["malignancy_called"] == one["malignancy"]["called"]
        assert float(row["too_late_cancers_rate"]) == one["too_late"]["cancers"]["rate"]
    assert any("too dark" in reason for reason in objects[-1]["advice_withheld"])
    assert "were advised too late" in shown
    assert shown.count("Not a medical diagnosis") == 1


def test_what_is_called_a_tumour_of_the_highest_degree_is_urgent_even_in_the_dark(folder):
    photos = "--photos=photos/0_0.jpg,photos/7_1.jpg,black.png"
    predict(folder, photos, f"--out={folder / 'before'}")
    called = {one["top"]["sub"][0]["class"] for one in answered(folder / "before")[0]}
    others = [name for name in TAXONOMY.classes() if name not in called]
    own = {name: (0, 1, None)[number % 3] for number, name in enumerate(others)} | dict.fromkeys(called, 2)
    (folder / "high.json").write_text(json.dumps(own))
    predict(folder, photos, f"--out={folder / 'after'}", "--degrees=high.json", "--answered=0.1")
    for one in answered(folder / "after")[0]:
        assert one["urgency"] == "urgent"
        assert one["advice_withheld"]
        assert one["advice"].startswith("This is not certain, and may be dangerous")


def test_python_gives_the_same_columns(folder):
    with small_backbones.registered():
        frame = load_run(folder / "run").predict([folder / "photos" / "0_0.jpg", folder / "black.png"])
    assert {"urgency", "advice", "advice_withheld", "probability_of_tumour", "too_late_cancers_rate"} <= {
        *frame
    }
    assert frame["advice"].notna().all()


def test_lesions_over_time(folder):
    rows = [
        "image,case_id,lesion_id,date",
        "photos/0_0.jpg,p1,arm,2025-01-31", "photos/0_1.jpg,p1,arm,2025-06-30",
        "photos/1_0.jpg,p1,leg,2025-06-30", "black.png,p1,leg,2025-01-31",
        "photos/2_0.jpg,p2,arm,2025-06-30", "photos/3_0.jpg,p2,arm,2025-06-30", "gone.jpg,p2,arm,2025-07-01",
    ]  # fmt: skip
    (folder / "visits.csv").write_text("\n".join(rows) + "\n")
    out = folder / "over_time"
    shown = predict(folder, "--photos=visits.csv", "--by=lesion", f"--out={out}").stdout
    found = [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    with (out / "history.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    scores = {Path(one["photo"]).name: one.get("malignancy", {}).get("score") for one in answered(out)[0]}
    assert [(one["case_id"], one["lesion_id"]) for one in found] == [
        ("p1", "arm"),
        ("p1", "leg"),
        ("p2", "arm"),
    ]
    first, last = found[0]["visits"]
    assert (first["date"], last["date"]) == ("2025-01-31", "2025-06-30")
    assert last["change"] == pytest.approx(scores["0_1.jpg"] - scores["0_0.jpg"], abs=0.02)
    assert last["change_low"] < last["change"] < last["change_high"]
    assert (first["change"], first["changed"]) == (None, "")
    assert [visit["photos"] for visit in found[1]["visits"]] == [0, 1]
    assert "too dark" in next(iter(found[1]["left_out"].values()))
    assert found[2]["visits"][0]["score"] == pytest.approx(
        (scores["2_0.jpg"] + scores["3_0.jpg"]) / 2, abs=0.02
    )
    assert [row["date"] for row in table] == [visit["date"] for one in found for visit in one["visits"]]
    assert float(table[1]["change"]) == last["change"]
    assert "lesion over time" in shown
    assert "scores of photos of one lesion differ by a standard deviation of " in shown
    config = prediction.Config(explain=False, by="lesion", out=str(folder / "again"))
    with small_backbones.registered():
        result = prediction.run([folder / "visits.csv"], config, folder / "run")
        assert list(result.history["lesion_id"]) == [row["lesion_id"] for row in table]
        config = prediction.Config(explain=False, out=str(folder / "again"))
        assert prediction.run([folder / "photos" / "0_0.jpg"], config, folder / "run").history is None


def test_too_late_is_what_the_stored_predictions_give_by_hand(folder):
    """The rule anew in numpy, but for the fits: certainty and temperature of each part are taken from the library."""
    from skinjax.predict.decisions import DecisionOptions, decide, fit_decisions

    predict(folder, "--photos=photos/0_0.jpg", f"--out={folder / 'one'}")
    told = answered(folder / "one")[0][0]["too_late"]["cancers"]
    file = RunFolder.read(folder / "run").predictions_file("out_of_fold")
    stored = Predictions.from_frame(read_predictions(file), TAXONOMY)
    cases = np.unique(stored.case_id.astype(str), return_inverse=True)[1]
    part = (np.random.default_rng(0).permutation(60) % 5)[cases]
    options, late, cancers = DecisionOptions(degree_of_class=tuple(OF_CLASS)), 0, 0
    of_class = np.array(OF_CLASS)
    for number in range(5):
        rest = {level: stored.probabilities(level)[part != number] for level in ("sub", "meta")}
        fitted = fit_decisions(rest, stored.label[part != number], cases[part != number], TAXONOMY, options)
        mine = {level: stored.probabilities(level)[part == number] for level in ("sub", "meta")}
        decided = decide(mine, TAXONOMY, options, fitted)
        probs = decided["probs"]["sub"].astype(np.float64)
        for p, size, label in zip(probs, decided["set_size"], stored.label[part == number], strict=True):
            by_degree = [p[of_class <= 0].sum(), p[of_class == 1].sum(), p[of_class == 2].sum()]
            above = [sum(by_degree[1:]), by_degree[2], 0]
            degree = next(d for d in range(3) if above[d] <= 0.2)
            urgency = max(degree, of_class[p.argmax()], 0)
            sure = p.max() >= fitted.certainty and size <= 3
            given = urgency if urgency > 0 or sure else None
            cancers += of_class[label] > 0
            late += given is not None and of_class[label] > max(given, 0)
    assert told["photos"] == cancers
    assert told["rate"] == pytest.approx(late / cancers, abs=1e-4)


@pytest.mark.parametrize(
    ("table", "flags", "messages"),
    [
        ("image,lesion_id,date\na.jpg,arm,31.1.2025\nb.jpg,,2025-02-30\na.jpg,leg,2025-01-01\n", ("--by=lesion",),
         ("column 'lesion_id', 1 row empty: row 3",
          "column 'date', 2 rows that is no day written as in 2026-01-31: row 2 '31.1.2025', row 3 '2025-02-30'",
          "column 'image', 1 row with a photo that an earlier row lists: row 4 'a.jpg'")),
        ("image,lesion,date\na.jpg,arm,2025-01-31\n", ("--by=lesion",), ("no column 'lesion_id'",)),
        ("image,lesion_id,date\na.jpg,arm,2025-01-31\n", (), ("bad.csv is a table", "need --by=lesion")),
        ("", ("--by=lesion", "--photos=photos"),
         ("--by=lesion needs --photos=TABLE, one table (CSV, Excel or Parquet) with columns image, lesion_id and",)),
        ("class,degree\nmelanoma,2\n", ("--photos=photos/0_0.jpg", "--degrees=bad.csv"),
         ("no degree for 'psoriasis'", "a class that is no tumour must say none")),
    ],
)  # fmt: skip
def test_faults_are_told(folder, table, flags, messages):
    (folder / "bad.csv").write_text(table)
    told = predict(folder, "--photos=bad.csv", *flags, code=2).stderr
    for message in messages:
        assert message in told
