"""Photos good, odd and damaged, by the command and from Python, to table, files and pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.answers import csv_header
from skinjax.predict.networks import load_predictor
from skinjax.predict.photos import predict_photos, prepare_answers
from skinjax.studies import prediction
from skinjax.synthetic import CLASS_NAMES, render_case
from tests.support.commands import Ended, run_command

pytestmark = pytest.mark.slow
TAXONOMY = load_taxonomy("synthetic19")


def predict(folder: Path, *flags: str, code: int = 0) -> Ended:
    kept = f"--compilation_cache={folder / 'cache'}"
    return run_command("predict", kept, *flags, code=code, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With a run of synthetic photos and random weights where --smoke looks for the one that it would train."""
    folder = tmp_path_factory.mktemp("predict")
    run = folder / "runs" / "predict_smoke" / "run"
    photos = write_photos(folder / "some", seeds=range(60))
    make_run(run, "efficientnet_nano", 64, photos)
    photos.rename(run / "photos")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["config"]["manifest"] = ""
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (run / "report").mkdir()
    (run / "report" / "index.html").touch()
    return folder


def write_photos(folder: Path, seeds: range) -> Path:
    """Two photos of a synthetic case a seed."""
    folder.mkdir()
    for seed in seeds:
        name = CLASS_NAMES[seed % len(CLASS_NAMES)]
        for number, photo in enumerate(render_case(np.random.default_rng(seed), name, photos=2, size=96)):
            Image.fromarray(photo).save(folder / f"{seed}_{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def smoke(folder) -> Ended:
    return predict(folder, "--smoke")


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def decisions(run: Path) -> dict:
    return json.loads((run / "decisions.json").read_text(encoding="utf-8"))["decisions"]


def test_every_photo_is_answered_and_the_damaged_one_is_named(smoke, folder):
    found = {Path(line["photo"]).name: line for line in lines(folder / "runs/predict_smoke/answers")}
    assert len(found) == 9
    assert found["damaged.jpg"] == {
        "photo": "runs/predict_smoke/made_up/damaged.jpg",
        "error": found["damaged.jpg"]["error"],
    }
    assert f"left out runs/predict_smoke/made_up/damaged.jpg: {found['damaged.jpg']['error']}" in smoke.stderr
    assert "9 photos:" in smoke.stdout
    assert "1 not readable" in smoke.stdout
    assert "nothing they say is medical evidence" in smoke.stdout
    assert "Not a medical diagnosis" in smoke.stdout
    assert found["blank.png"]["diagnosis"] is None
    assert any("too blurred" in reason for reason in found["blank.png"]["reasons"])
    for name, line in found.items():
        if name != "damaged.jpg":
            for level in TAXONOMY.levels:
                assert sum(line["probabilities"][level].values()) == pytest.approx(1, abs=1e-5)
                assert line["top"][level][0]["probability"] == max(line["probabilities"][level].values())
            assert line["top"]["sub"][0]["class"] in line["conformal_set"]


def test_the_csv_says_what_the_json_lines_say(smoke, folder):
    out = folder / "runs/predict_smoke/answers"
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(csv_header(TAXONOMY))
    for row, line in zip(rows, lines(out), strict=True):
        assert row["photo"] == line["photo"]
        assert row["error"] == (line["error"] or "")
        if not line["error"]:
            assert float(row["sub_probability"]) == line["top"]["sub"][0]["probability"]


def test_each_answered_photo_has_a_picture_and_explanations_change_with_the_weights(smoke, folder):
    out = folder / "runs/predict_smoke/answers"
    pictures = [line["explanation"] for line in lines(out) if not line["error"]]
    assert len(set(pictures)) == 8
    for name in pictures:
        with Image.open(out / name) as picture:
            assert picture.width >= 420
    with (out / "explanations" / "check.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["random_down_to"], rows[-1]["random_down_to"]) == ("head", "stem")
    assert all(abs(float(row["rank_correlation"])) <= 1 for row in rows)
    assert "explanations of 8 photos" in smoke.stdout


def test_noise_and_print_are_unlike_the_runs_photos_and_other_skin_mostly_is_not(smoke, folder):
    """Even by random weights, which know texture."""
    run = folder / "runs/predict_smoke/run"
    predictor = load_predictor(run)
    context = prepare_answers(predictor, unusual=0.05)
    other = list(write_photos(folder / "other", seeds=range(1000, 1060)).iterdir())
    rng = np.random.default_rng(1)
    noise, words = [], []
    for number in range(10):
        noise.append(folder / f"noise{number}.png")
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(noise[-1])
        words.append(folder / f"words{number}.png")
        letters = np.repeat(rng.integers(0, 2, (12, 16), np.uint8) * 255, 8, axis=0).repeat(6, axis=1)
        Image.fromarray(np.repeat(letters[:, :, None], 3, axis=2)).save(words[-1])

    def far(paths):
        return np.mean([answer.novelty > 1 for answer in predict_photos(predictor, paths, context)])

    assert far(other) <= 0.12
    assert far(words) >= 0.9
    assert far(noise) >= 0.9
    assert all(
        "too grainy" in " ".join(answer.reasons) for answer in predict_photos(predictor, noise, context)
    )


def test_files_of_one_name_get_pictures_of_their_own_and_other_files_stay(smoke, folder):
    run = folder / "runs/predict_smoke/run"
    source = next((run / "photos").glob("*.jpg"))
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "a.jpg").write_bytes(source.read_bytes())
    out = folder / "elsewhere"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    flags = (
        f"--workdir={run}",
        "--photos=one,two",
        f"--out={out}",
        "--ensemble",
        "--explain_class=pigmented",
    )
    predict(folder, *flags, "--explain_level=meta")
    assert [line["explanation"] for line in lines(out)] == ["explanations/a.png", "explanations/a~2.png"]
    assert {line["explained"]["class"] for line in lines(out)} == {"pigmented"}
    assert (out / "mine.txt").read_text() == "kept"
    assert sorted(path.name for path in out.iterdir()) == [
        "explanations", "mine.txt", "predictions.csv", "predictions.jsonl"
    ]  # fmt: skip
    predict(folder, *flags[:4], "--noexplain")  # without pictures, the earlier answer's go
    assert sorted(path.name for path in out.iterdir()) == ["mine.txt", "predictions.csv", "predictions.jsonl"]
    (folder / "theirs" / "explanations").mkdir(parents=True)
    (folder / "theirs" / "explanations" / "mine.docx").write_text("kept")
    told = predict(folder, *flags[:2], f"--out={folder / 'theirs'}", code=2).stderr
    assert "explanations is not of an earlier answer; name another --out=FOLDER" in told
    assert (folder / "theirs" / "explanations" / "mine.docx").exists()


def test_tumours_get_a_score_a_degree_and_how_soon_to_see_a_doctor(folder):
    photos = write_photos(folder / "growths", seeds=range(30))
    make_run(folder / "tumours", "efficientnet_nano", 64, photos, taxonomy_name="tumours10")
    flags = ("--workdir=tumours", f"--photos={photos / '0_0.jpg'}", "--grade_rule=cutpoints")
    shown = predict(folder, *flags).stdout
    answer, cutpoints = lines(folder / "tumours" / "answers")[0], decisions(folder / "tumours")["cutpoints"]
    taxonomy = load_taxonomy("tumours10")
    degrees = taxonomy.parents("tumour", "degree")
    fine = np.array(list(answer["probabilities"]["tumour"].values()))
    of_degree = np.array([fine[degrees == degree].sum() for degree in range(3)])
    np.testing.assert_allclose(answer["malignancy"]["probabilities"], of_degree, atol=1e-5)
    score = 100 * of_degree @ [0, 0.5, 1]
    assert answer["malignancy"]["score"] == pytest.approx(score, abs=0.01)
    assert answer["malignancy"]["degree"] == sum(score >= (np.inf if c is None else c) for c in cutpoints)
    words = " ".join(shown.split())
    assert answer["advice"] in words
    assert (f"malignancy {score:.0f} of 100, " in words) == (not answer["reasons"])


def test_from_python_the_answers_are_a_frame_that_shows_itself(smoke, folder, tmp_path):
    run = folder / "runs/predict_smoke/run"
    paths = [*sorted((run / "photos").glob("*.jpg"))[:3], folder / "runs/predict_smoke/made_up/damaged.jpg"]
    config = prediction.Config(explain=False, out=str(tmp_path / "out"))
    found = prediction.run(paths, config, run)
    assert found.answers is not None
    assert list(found.answers["photo"]) == [str(path) for path in paths]
    for row, line in zip(found.answers.itertuples(), lines(tmp_path / "out"), strict=True):
        if not line["error"]:
            assert row.sub_probability == line["top"]["sub"][0]["probability"]
    shown = str(found)
    assert "4 photos: " in shown
    assert "cannot be read" in shown
    assert shown.endswith(f"written: {tmp_path / 'out'}")
    assert "damaged.jpg" in found._repr_html_()
    assert repr(found).startswith(f"Result(prediction, {run}: networks of ")
    ready = prediction.run(None, prediction.Config(), run)
    assert (ready.out, ready.answers) == (None, None)
    assert str(ready).endswith("ready; no photos were given (give photos=FOLDER)")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "workdir must be the folder of a run whose networks answer; give --workdir=FOLDER"),
        (("--workdir=nowhere",), "nowhere is not the folder of a run: it has no config.json"),
        (("--workdir=runs/predict_smoke/run", "--photos=made", "--fold=5"), "--fold=5 must be a fold with networks"),
        (("--workdir=runs/predict_smoke/run", "--photos=cache"), "cache holds no photo"),
        (("--workdir=runs/predict_smoke/run", "--photos=a.jpg", "--explain_class=psorasis"),
         "class_name must be a class of level 'sub', got 'psorasis', did you mean 'psoriasis'?"),
        (("--workdir=runs/predict_smoke/run", "--photos=gone.jpg"),
         "no photo of 1 can be read; the first: gone.jpg does not exist"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_sentence(smoke, folder, flags, message):
    result = predict(folder, *flags, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "runs/predict_smoke/run/answers").exists()
