"""`skinjax evaluate` on a file as a spreadsheet in Germany saves it: UTF-16, semicolons, decimal commas, rounded."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import skinjax
from skinjax.data.invented import invent_predictions
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report.page_summary import read_summary
from tests.support.commands import run_command

CLASSES = ("Melanoma, NOS", "nevus", "wart")


def save(folder, name="theirs, new.csv"):
    rng = np.random.default_rng(0)
    lines = [";".join(["sep=;"])]
    lines.append(";".join(["image", "case_id", "label", "sex", *[f"p_{name}" for name in CLASSES]]))
    for n in range(90):
        label = n // 2 % 3
        values = rng.dirichlet(np.ones(3) + 4 * np.eye(3)[label]).round(2)
        cells = [f"{n}.png", f"patient_{n // 2:03d}{' ' * (n % 2)}", CLASSES[label], ("NA", "m", "f")[n % 3]]
        lines.append(";".join([*cells, *[f"{value:.2f}".replace(".", ",") for value in values]]))
    path = folder / name
    path.write_bytes("\r\n".join([*lines, ""]).encode("utf-16"))
    return path


def test_names_with_commas_are_hinted(tmp_path):
    path = save(tmp_path)
    told = run_command("evaluate", f"--predictions={path}", code=2).stderr
    assert f"--predictions={path} holds a comma" in told
    assert f"in double quotes: '\"{path}\"'" in told
    quoted = f'--predictions="{path}"'
    told = run_command(
        "evaluate", quoted, "--target=Melanoma, NOS", f"--out={tmp_path / 'out'}", code=2
    ).stderr
    assert "in double quotes: '\"Melanoma, NOS\"'" in told
    shown = run_command("evaluate", "--help").stdout
    assert "Put a name with a comma in double quotes" in " ".join(shown.split())


@pytest.mark.slow
def test_a_spreadsheets_file_from_flags_to_the_page(tmp_path):
    out = tmp_path / "out"
    flags = (
        f'--predictions="{save(tmp_path)}"',
        '--target="Melanoma, NOS"',
        "--replicates=100",
        f"--out={out}",
    )
    told = run_command("evaluate", *flags)
    page = next(out.rglob("index.html")).read_text(encoding="utf-8")
    assert "only to rounding" in told.stderr + told.stdout
    assert "only to rounding" in page
    assert "45 cases" in page


@pytest.mark.slow
def test_a_spreadsheet_without_case_ids_is_of_photos_and_says_why_intervals_are_narrow(tmp_path):
    """The page counts photos, tells what is not known, and its intervals are those of photos resampled one by one."""
    rng = np.random.default_rng(1)
    labels = np.array(CLASSES, object)[np.arange(205) % 3]
    probs = rng.dirichlet(np.ones(3), 205) * 0.4
    probs[np.arange(205), np.arange(205) % 3] += 0.6 * (rng.random(205) < 0.7)
    probs /= probs.sum(1, keepdims=True)
    frame = pd.DataFrame({"File name": [f"ward\\{n}.png" for n in range(205)], "Truth": labels})
    frame[[f"prob_{name}" for name in CLASSES]] = probs
    frame.to_excel(tmp_path / "theirs.xlsx")
    out = tmp_path / "out"
    told = run_command(
        "evaluate", f"--predictions={tmp_path / 'theirs.xlsx'}", "--map", 'image=File name,label="Truth"',
        "--prefix=prob_", "--replicates=200", f"--out={out}",
    )  # fmt: skip
    page = (out / "index.html").read_text(encoding="utf-8")
    for text in (page, told.stdout, (out / "model_card.md").read_text(encoding="utf-8")):
        assert not re.search(r"\b205 cases|<b>205</b> <span>cases", text)
    assert "interval over 205 photos" in page
    assert "205 photos without case ids" in page
    assert "intervals are too narrow where several photos are of one person" in page
    assert "Cases tested" not in page
    assert "that resample photos one by one" in page
    plain = frame.rename(columns={"File name": "image", "Truth": "label"}).rename(
        columns=lambda name: name.replace("prob_", "p_")
    )
    found = skinjax.evaluate(plain.assign(case_id=plain["image"]), replicates=200)
    hit = (probs.argmax(1) == np.arange(205) % 3).mean()
    assert f"{100 * hit:.1f}%" in told.stdout
    shown = read_summary(out).metric
    assert (shown.low, shown.high) == pytest.approx((found.interval.low, found.interval.high))


def test_map_and_prefix_need_files(tmp_path):
    assert (
        "--prefix=prob_ is for --predictions=FILE"
        in run_command("evaluate", "--workdir=runs/x", "--prefix=prob_", code=2).stderr
    )
    assert (
        "--map=image=File is for --predictions=FILE or --manifest=FILE"
        in run_command("evaluate", "--workdir=runs/x", "--map=image=File", code=2).stderr
    )
    assert "--map=Filename must be NAME=COLUMN" in run_command("audit", "--map=Filename", code=2).stderr


@pytest.mark.slow
def test_photos_that_lie_elsewhere_are_shown(tmp_path):
    (frame,) = invent_predictions(load_taxonomy("psoriasis9"), 30)
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    photos = tmp_path / "elsewhere"
    for image in frame["image"]:
        (photos / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (190, 140, 120)).save(photos / image)
    flags = (f"--predictions={tmp_path / 'theirs.csv'}", "--replicates=100", f"--out={tmp_path / 'out'}")
    (tmp_path / "empty").mkdir()
    for folder, words in (
        ("nowhere", "must be a folder, got none of that name"),
        (
            "empty",
            "must be the folder that the photos' paths start from, got one without invented/0000000.jpg",
        ),
    ):
        told = run_command("evaluate", *flags, f"--photos={tmp_path / folder}", code=2).stderr
        assert f"--photos={tmp_path / folder} {words}" in told
    run_command("evaluate", *flags, f"--photos={photos}")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') > 20
    told = run_command(
        "evaluate", "--workdir=a", "--manifest=b.csv", f"--photos={photos}", code=2, folder=tmp_path
    ).stderr
    assert "must be given without manifest and dataset" in told
