"""Answers by case, by the command: tables, files, what is printed, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.cases import case_header, predict_cases, prepare_cases
from skinjax.predict.decisions import DecisionOptions
from skinjax.predict.degrees import degrees_of
from skinjax.predict.networks import load_predictor
from skinjax.studies import prediction
from skinjax.synthetic import CLASS_NAMES, render_case
from tests.support import small_backbones
from tests.support.commands import Ended, run_command

pytestmark = pytest.mark.slow
TAXONOMY = load_taxonomy("synthetic19")


def predict(folder: Path, *flags: str, code: int = 0) -> Ended:
    return run_command("predict", f"--compilation_cache={folder / 'cache'}", *flags, code=code, folder=folder)


@pytest.fixture(scope="module", autouse=True)
def backbones():
    with small_backbones.registered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run with random weights, and three cases in folders of their own, one with a black photo."""
    folder = tmp_path_factory.mktemp("predict_cases")
    (folder / "photos").mkdir()
    for seed in range(40):
        name = CLASS_NAMES[seed % len(CLASS_NAMES)]
        for number, photo in enumerate(render_case(np.random.default_rng(seed), name, photos=2, size=96)):
            Image.fromarray(photo).save(folder / "photos" / f"{seed}_{number}.jpg")
    make_run(folder / "run", "small", 64, folder / "photos")
    for seed in range(3):
        case = folder / "clinic" / f"patient{seed}"
        case.mkdir(parents=True)
        for number in range(2):
            source = folder / "photos" / f"{seed}_{number}.jpg"
            (case / f"{number}.jpg").write_bytes(source.read_bytes())
    Image.new("RGB", (96, 96)).save(folder / "clinic" / "patient2" / "black.png")
    return folder


def test_a_folder_per_case_is_answered_in_files_table_and_library_alike(folder):
    told = predict(folder, "--workdir=run", "--photos=clinic", "--by=case", "--out=out", "--noexplain")
    cases = [json.loads(line) for line in (folder / "out" / "cases.jsonl").read_text().splitlines()]
    assert [case["case"] for case in cases] == ["patient0", "patient1", "patient2"]
    assert [len(case["photos"]) for case in cases] == [2, 2, 3]
    assert [one["counted"] for one in cases[2]["photos"] if "black" in one["photo"]] == [False]
    with (folder / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == case_header(TAXONOMY)
    assert rows[2]["left_out"].endswith("black.png")
    photos = (folder / "out" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["photo"] for line in photos] == [
        one["photo"] for case in cases for one in case["photos"]
    ]
    predictor = load_predictor(folder / "run")
    options = DecisionOptions(degree_of_class=degrees_of(TAXONOMY))
    context = prepare_cases(predictor, options)
    groups = {case["case"]: [folder / one["photo"] for one in case["photos"]] for case in cases}
    for found, case in zip(predict_cases(predictor, groups, context), cases, strict=True):
        expected = list(case["probabilities"]["sub"].values())
        np.testing.assert_allclose(found.probabilities["sub"], expected, atol=1e-5)
        assert found.diagnosis(TAXONOMY) == case["diagnosis"]
    shown = " ".join(told.stdout.split())
    assert "3 cases of 7 photos: " in shown
    assert "black.png" in shown
    assert "Left out one of three photos: black.png." in shown
    assert "by itself: " in shown
    assert "calibrated on " in shown
    assert "Not a medical diagnosis" in shown


def test_json_and_csv_go_to_standard_output_alone(folder):
    flags = ("--workdir=run", "--photos=clinic", "--by=case", "--out=out2", "--noexplain")
    as_json = predict(folder, *flags, "--format=json")
    cases = json.loads(as_json.stdout)
    assert [case["case"] for case in cases] == ["patient0", "patient1", "patient2"]
    assert "calibrated on" in as_json.stderr
    assert "Not a medical diagnosis" in as_json.stderr
    as_csv = predict(folder, *flags, "--format=csv").stdout
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert [row["case"] for row in rows] == [case["case"] for case in cases]
    assert float(rows[0]["p_melanoma"]) == cases[0]["probabilities"]["sub"]["melanoma"]
    photos = json.loads(
        predict(folder, "--workdir=run", "--photos=clinic/patient0", "--out=out2", "--format=json").stdout
    )
    assert [Path(one["photo"]).name for one in photos] == ["0.jpg", "1.jpg"]
    left = {path.name for path in (folder / "out2").iterdir()}
    assert "cases.csv" not in left  # an earlier answer's
    assert "cases.jsonl" not in left


def test_a_table_and_a_pattern_name_the_same_cases(folder):
    table = folder / "visit.csv"
    names = [f"photos/{seed}_{number}.jpg" for number in range(2) for seed in (5, 6)]
    table.write_text("image,case_id\n" + "".join(f"{name},{name.split('/')[1][0]}\n" for name in names))
    flags = ("--workdir=run", "--by=case", "--noexplain", "--format=json")
    by_table = json.loads(predict(folder, *flags, "--photos=visit.csv", "--out=a").stdout)
    pattern = r"--case_pattern=/(\d+)_\d\.jpg$"
    by_name = json.loads(predict(folder, *flags, f"--photos={','.join(names)}", pattern, "--out=b").stdout)
    assert [case["case"] for case in by_table] == ["5", "6"]
    for one, other in zip(by_table, by_name, strict=True):
        assert (one["case"], one["diagnosis"]) == (other["case"], other["diagnosis"])
        assert one["probabilities"] == other["probabilities"]
        assert [Path(p["photo"]).name for p in one["photos"]] == [
            Path(p["photo"]).name for p in other["photos"]
        ]


def test_from_python_the_table_is_of_cases(folder, tmp_path):
    config = prediction.Config(by="case", explain=False, out=str(tmp_path / "out"))
    found = prediction.run([folder / "clinic"], config, folder / "run")
    assert found.cases is not None
    assert list(found.cases["case"]) == ["patient0", "patient1", "patient2"]
    assert found.table is found.cases
    assert len(found.answers) == 7


def test_what_cannot_be_grouped_is_told_before_anything_is_computed(folder):
    told = predict(folder, "--workdir=run", "--photos=photos", "--by=case", code=2).stderr
    assert "photos holds 80 photos, which are hardly of one case; give a folder per case" in told
    assert "Traceback" not in told
