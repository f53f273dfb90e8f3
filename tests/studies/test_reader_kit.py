"""The reading kit from its flags: what readers are handed, what it must not tell, and their answers in a report."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import write_predictions
from skinjax.data.readers import read_readers
from skinjax.data.reading_kit import read_key
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report.reading_kit import TIME
from skinjax.studies import reader_kit
from tests.support.commands import Ended, run_command, run_small

TREE = load_taxonomy("psoriasis9")
NUMBER = re.compile(r"photo_(\d+)")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Path:
    """Somebody's predictions with photos beside them whose names, dates and metadata all tell the label."""
    folder = tmp_path_factory.mktemp("theirs")
    (frame,) = invent_predictions(TREE, 90, skills=(1.5,))
    rng = np.random.default_rng(0)
    frame["image"] = [
        f"{label}/{i}_{label}.{'png' if i % 2 else 'jpg'}" for i, label in enumerate(frame["label"])
    ]
    for label in TREE.classes():
        (folder / label).mkdir()
    for i, (image, label) in enumerate(zip(frame["image"], frame["label"], strict=True)):
        picture = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        if i % 2:
            text = PngImagePlugin.PngInfo()
            text.add_text("Description", label)
            picture.save(folder / image, pnginfo=text)
        else:
            exif = Image.Exif()
            exif[0x010E], exif[0x0112] = label, 6
            picture.save(folder / image, exif=exif, comment=label.encode())
        os.utime(folder / image, (1e9 + TREE.classes().index(label),) * 2)
    write_predictions(frame, folder / "theirs.parquet", TREE)
    return folder


def draw(theirs: Path, out: Path, *flags: str, code: int = 0) -> Ended:
    return run_command(
        "reader_kit", f"--predictions={theirs / 'theirs.parquet'}", "--target=psoriasis", "--photos=16", f"--out={out}",
        *flags, code=code,
    )  # fmt: skip


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(theirs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study") / "reading"
    told = draw(theirs, out).stdout
    assert told.startswith("16 photos of 16 cases, 8 of psoriasis and 8 of the rest, of the 270 photos of ")
    assert f"--readers={out / 'answers'}" in told
    return out


def fill(out: Path, file: Path, reader: str, wrong: int) -> None:
    """Fills in the kit's sheet for a reader who is wrong about the first photos of the key."""
    sheet = pd.read_csv(out / "kit" / "sheet.csv", dtype=str)
    truth = read_key(out / "key" / "key.csv").photos["target"].to_numpy().copy()
    truth[:wrong] = 1 - truth[:wrong]
    sheet.assign(reader=reader, call=truth).to_csv(file, index=False)


# What is drawn.


def test_the_draw_is_balanced_and_a_case_is_seen_once(made):
    photos = read_key(made / "key" / "key.csv").photos
    assert photos["label"].value_counts().to_dict() == {
        name: 8 if name == "psoriasis" else 1 for name in TREE.classes()
    }
    assert photos["case_id"].is_unique
    assert photos["target"].tolist() == (photos["label"] == "psoriasis").astype(int).tolist()
    document = json.loads((made / "key" / "config.json").read_text())
    assert document["question"] == "Does this photo show psoriasis?"
    assert document["plan"]["readers"] == 25


def test_the_same_command_makes_the_same_kit_and_keeps_answers(theirs, made, tmp_path):
    before = content(made)
    (made / "answers" / "kept.txt").write_text("mine")
    draw(theirs, made)
    assert (made / "answers" / "kept.txt").read_text() == "mine"
    (made / "answers" / "kept.txt").unlink()
    assert content(made) == before
    draw(theirs, tmp_path / "again")
    assert content(tmp_path / "again" / "kit") == content(made / "kit")
    told = draw(theirs, made, "--seed=1", code=2).stderr
    assert re.search(
        r"--out=.* must be empty or hold this kit, kit_\w+, got kit_\w+; name another folder", told
    )


# What readers are handed.


def test_nothing_in_the_kit_tells_a_label(made):
    key = read_key(made / "key" / "key.csv").photos
    told = [*(name for name in TREE.classes() if name != "psoriasis"), *key["image"], *key["case_id"]]
    assert {path.name for path in made.iterdir()} == {"kit", "key", "answers", "README.txt"}
    for path in (made / "kit").rglob("*"):
        assert path.stat().st_mtime == TIME
        if path.is_dir():
            continue
        data = path.read_bytes().lower()
        assert not [word for word in told if word.lower().encode() in data], path
        assert b"psoriasis" not in data or path.name in ("index.html", "sheet.html", "instructions.txt")
        assert not path.name.startswith(".")
    for name, image in zip(key["photo"], key["image"], strict=True):
        with Image.open(made / "kit" / "photos" / name) as picture:
            assert picture.format == "JPEG"
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert picture.size == ((32, 24) if image.endswith("png") else (24, 32))  # turned upright
    # What readers see is the same for every photo but for its number.
    page = (made / "kit" / "index.html").read_text(encoding="utf-8")
    assert [int(number) for number in NUMBER.findall(page)] == list(range(1, 17))


def test_the_page_asks_no_other_host_for_anything(made):
    for name in ("index.html", "sheet.html"):
        page = (made / "kit" / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//\w|@import|url\(|fetch\(|XMLHttpRequest|sendBeacon|WebSocket", page)
        places = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
        assert all(re.fullmatch(r"photos/photo_\d+\.jpg", place) for place in places)


def test_large_photos_are_scaled_down(theirs, tmp_path):
    draw(theirs, tmp_path / "small", "--longest_side=16", "--photos=4")
    for path in (tmp_path / "small" / "kit" / "photos").iterdir():
        with Image.open(path) as picture:
            assert max(picture.size) == 16


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_s_answers_are_read_back(made, tmp_path):
    shutil.copytree(made / "kit", tmp_path / "kit")
    page = tmp_path / "kit" / "index.html"
    keys = "press(i % 3 ? 'n' : 'Y'); press('3'); press('ArrowRight');"
    script = f"""
        const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true }}));
        $("reader").value = 'Dr. Å, "A"'; $("begin").requestSubmit();
        for (let i = 0; i < 16; i++) {{ {keys} }}
        const ready = !$("end").hidden;
        document.body.replaceChildren(`${{ready}}|${{order.join(" ")}}|`, table());
    """
    text = page.read_text(encoding="utf-8").replace("</script>\n</body>", script + "</script>\n</body>")
    page.write_text(text, encoding="utf-8")
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'c'}",
    ]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ready, order, table = re.search(r"<body>(.*)</body>", shown, re.DOTALL)[1].split("|")
    assert ready == "true"
    assert sorted(order.split()) == [f"photo_{number:03d}.jpg" for number in range(1, 17)] != order.split()
    (tmp_path / "answers.csv").write_text(table.strip() + "\n", encoding="utf-8")
    key = read_key(made / "key" / "key.csv")
    found = read_readers(tmp_path / "answers.csv", kit=key)
    assert set(found["reader"]) == {'Dr. Å, "A"'}
    own = dict(zip(key.photos["image"], key.photos["photo"], strict=True))
    calls = {own[image]: call for image, call in zip(found["image"], found["call"], strict=True)}
    assert [calls[photo] for photo in order.split()] == [int(i % 3 == 0) for i in range(16)]


# The answers.


@pytest.mark.slow
def test_answers_go_straight_into_the_report(theirs, made, tmp_path):
    fill(made, made / "answers" / "one.csv", "one", wrong=3)
    fill(made, made / "answers" / "two.csv", "two", wrong=5)
    try:
        told = run_command(
            "evaluate", f"--predictions={theirs / 'theirs.parquet'}", f"--readers={made / 'answers'}",
            "--replicates=200", f"--out={tmp_path / 'out'}",
        ).stdout  # fmt: skip
        assert "The model tells Psoriasis from the rest" in told  # the kit's question is the target
        table = pd.read_csv(tmp_path / "out" / "tables" / "readers.csv").set_index("reader")
        truth = read_key(made / "key" / "key.csv").photos["target"].to_numpy(bool)
        for reader, wrong in (("one", 3), ("two", 5)):
            right = np.arange(16) >= wrong
            assert table["sensitivity"][reader] == pytest.approx(right[truth].mean())
            assert table["specificity"][reader] == pytest.approx(right[~truth].mean())
        page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
        assert "The readers’ 16 photos, of 16 cases, are a balanced draw" in page
        told = run_command(
            "evaluate", f"--predictions={theirs / 'theirs.parquet'}", f"--readers={made / 'answers'}",
            "--target=eczema", f"--out={tmp_path / 'out'}", code=2,
        ).stderr  # fmt: skip
        assert "--target=eczema must be what the readers of kit_" in told
    finally:
        for path in (made / "answers").iterdir():
            path.unlink()


@pytest.mark.slow
def test_a_run_s_held_out_photos_are_read_and_evaluated(tmp_path):
    workdir = tmp_path / "run"
    run_small("train", "--smoke", "--backbone=small", f"--workdir={workdir}", "--noaudit")
    told = run_command("reader_kit", f"--workdir={workdir}", "--target=inflammatory", "--photos=8").stdout
    assert "8 photos of 8 cases, 4 of inflammatory and 4 of the rest" in told
    kit = workdir / "reader_kit"
    assert "Rendered photos." in (kit / "kit" / "index.html").read_text(encoding="utf-8")
    held_out = set(pd.read_parquet(workdir / "predictions" / "held_out.parquet")["image"])
    assert set(read_key(kit / "key" / "key.csv").photos["image"]) <= held_out
    for number in range(2):  # wherever a reader's file lies
        (tmp_path / str(number)).mkdir()
        fill(kit, tmp_path / str(number) / "answers.csv", f"reader {number}", wrong=number)
    files = ",".join(str(tmp_path / str(number) / "answers.csv") for number in range(2))
    run_command("evaluate", f"--workdir={workdir}", f"--readers={files}", "--replicates=200")
    table = pd.read_csv(workdir / "evaluation" / "tables" / "readers.csv")
    assert table["reader"].tolist() == ["reader 0", "reader 1", "(mean)"]


# Plans.


def test_a_plan_draws_as_many_photos_as_it_takes(theirs, tmp_path):
    assumed = ("--plan_sensitivity=0.5", "--plan_reader_sd=0", "--plan_correlation=0")
    told = run_command(
        "reader_kit", f"--predictions={theirs / 'theirs.parquet'}", "--target=psoriasis", "--plan_difference=0.4",
        "--plan_readers=8", *assumed, f"--out={tmp_path / 'out'}",
    ).stdout  # fmt: skip
    plan = json.loads((tmp_path / "out" / "key" / "config.json").read_text())["plan"]
    assert told.startswith(f"{2 * plan['photos']} photos of ")
    assert "With 8 readers a difference of 40 points in sensitivity is found with a power of 8" in told
    told = run_command(
        "reader_kit", f"--predictions={theirs / 'theirs.parquet'}", "--target=psoriasis", "--plan_difference=0.1",
        "--plan_readers=3", f"--out={tmp_path / 'no'}", code=2,
    ).stderr  # fmt: skip
    assert "--plan_difference=0.1 cannot be planned for: readers=3 cannot find a difference of 0.1" in told
    assert not (tmp_path / "no").exists()


def test_a_pilot_s_answers_serve_a_plan(theirs, made, tmp_path):
    for number in range(3):
        fill(made, tmp_path / f"{number}.csv", f"reader {number}", wrong=4 * number)
    files = ",".join(str(tmp_path / f"{number}.csv") for number in range(3))
    told = draw(theirs, tmp_path / "out", f"--plan_pilot={files}", code=2).stderr
    assert "whose key.csv was not found" in told
    shutil.copy(made / "key" / "key.csv", tmp_path)
    draw(theirs, tmp_path / "out", f"--plan_pilot={files}")
    plan = json.loads((tmp_path / "out" / "key" / "config.json").read_text())["plan"]
    assert plan["half_width"] > 0


# What is refused.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--photos=60",),
            "--photos=60 needs 30 photos of the target and 30 of the rest, at most 1 per case, got 10 and",
        ),
        (("--target=psorias",), "--target=psorias must name a class, or classes of one level, of psoriasis9"),
        (("--target=",), "--target= must name a class"),
        (
            ("--photo_root=nowhere",),
            "all 16 photos of the kit must be readable, got 16 that are not, the first: ",
        ),
        (("--manifest=a.csv",), "got --predictions="),
        (("--plan_difference=0.3",), "--plan_difference=0.3 cannot be planned for: difference must leave"),
        (("--plan_pilot={theirs}/theirs.csv",), "no such file"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(theirs, tmp_path, flags, message):
    told = draw(theirs, tmp_path / "out", *(flag.format(theirs=theirs) for flag in flags), code=2).stderr
    last = told.splitlines()[-1]
    assert last.startswith("reader_kit: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_written_over(theirs, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    assert "must be empty or hold this kit, got other files" in draw(theirs, tmp_path, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_manifest_gives_its_test_photos(theirs, tmp_path):
    frame = pd.read_parquet(theirs / "theirs.parquet")[["image", "case_id", "label"]]
    frame["split"] = np.where(frame["case_id"].str.endswith(("1", "2", "3", "4")), "train", "test")
    frame.to_csv(theirs / "manifest.csv", index=False)
    told = run_command(
        "reader_kit", f"--manifest={theirs / 'manifest.csv'}", "--taxonomy=psoriasis9", "--target=near_relative",
        "--photos=8", f"--out={tmp_path / 'out'}",
    ).stdout  # fmt: skip
    assert f"of the {(frame['split'] == 'test').sum()} test photos of the manifest" in told
    photos = read_key(tmp_path / "out" / "key" / "key.csv").photos
    assert set(photos["image"]) <= set(frame["image"][frame["split"] == "test"])
    assert photos["label"][photos["target"] == 1].nunique() == 4


def test_from_python_a_photo_set_is_drawn_from(theirs, tmp_path):
    import skinjax

    frame = pd.read_parquet(theirs / "theirs.parquet")[["image", "label"]]
    frame.to_csv(theirs / "plain.csv", index=False)
    photos = skinjax.read_photos(theirs / "plain.csv", taxonomy="psoriasis9")
    config = reader_kit.Config(target=("eczema", "psoriasis"), photos=6, question="Which?")
    found = reader_kit.run(photos, config, tmp_path / "out")
    assert (found.kit / "index.html").read_text(encoding="utf-8").count("Which?") == 2
    assert "no case_id" in str(found)
    assert found.key.is_file()
    assert found.answers.is_dir()
