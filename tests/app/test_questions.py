"""Columns beside the photos on the page: asked for, read as Python reads them, refused in a sentence, told, kept."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient

from skinjax.app.engine import Engine
from skinjax.app.language import languages
from skinjax.app.questions import Question, entries, questions
from skinjax.app.server import make_app
from skinjax.app.uploads import UploadError
from skinjax.data.columns import ColumnCoding
from skinjax.predict.cases import predict_cases
from skinjax.studies import app
from tests.app.conftest import CODING, ORIGIN
from tests.support import small_backbones, small_runs

SCRIPT = {"Accept": "application/json"}
_, SEX, LUMP = CODING.columns


@pytest.fixture
def engine(asking) -> Engine:
    return asking


@pytest.fixture
def place(asking) -> Path:
    return asking.predictor.workdir.parent


@pytest.fixture
def photo(place) -> bytes:
    return (place / "photos" / "0.png").read_bytes()


@pytest.fixture
def client(engine):
    with TestClient(make_app(engine), base_url=ORIGIN) as client:
        yield client


def ask(client: TestClient, photo: bytes, headers=SCRIPT, **about: str):
    fields = {f"about:{name.removeprefix('about')}": value for name, value in about.items()}
    return client.post("/answer", files=[("photos", ("0.png", photo))], data=fields, headers=headers)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_every_column_is_asked_for_by_its_label(client):
    page = client.get("/").text
    for place, label in enumerate(("Age", "Sex", "The &#34;lump&#34; (µm)")):
        assert f'<label for="about-{place}">{label}</label>' in page
        assert page.count(f'name="about:{place}"') == 1
    assert re.findall(r'<option value="([^"]*)">([^<]*)', page) == [
        ("", "not known"), ("female", "female"), ("male", "male"),
        ("", "not known"), ("a &amp; b", "a &amp; b"), ("c", "c"),
    ]  # fmt: skip
    assert "性别" in client.get("/", headers={"Accept-Language": "zh"}).text


def test_a_run_of_photos_alone_asks_for_nothing(place, photo):
    with small_backbones.registered():
        small_runs.make_pair(place / "alone", place / "photos")
        alone, _ = app.open_engine(app.Config(), place / "alone")
        assert alone.questions == ()
        with TestClient(make_app(alone), base_url=ORIGIN) as client:
            assert "about:" not in client.get("/").text
            assert "not known" not in ask(client, photo, about0="80").json()["html"]


@pytest.mark.parametrize(
    ("about", "columns"),
    [
        ({}, {}),
        (
            {"about0": "80,5", "about1": " Female ", "about2": "c"},
            {"age": "80.5", "sex": "female", LUMP.name: "c"},
        ),
        ({"about0": "20", "about1": ""}, {"age": "20"}),
    ],
)
def test_the_answer_is_the_one_that_python_gives_with_these_columns(
    engine, client, photo, about, columns, place
):
    path = place / "photos" / "0.png"
    frame = pd.DataFrame([columns]) if columns else None
    (expected,) = predict_cases(engine.predictor, {"": [path]}, engine.context, batch_size=1, columns=frame)
    html = ask(client, photo, **about).json()["html"]
    widths = sorted(float(width) for width in re.findall(r'class="fill" width="([\d.]+)"', html))
    levels = [share for shares in expected.probabilities.values() for share in shares]
    shown = levels + list(expected.malignancy.probabilities if expected.malignancy else ())
    assert widths == pytest.approx(sorted(100 * float(share) for share in shown), abs=0.006)


def test_columns_change_the_answer(engine, place):
    (path,) = [place / "photos" / "0.png"]
    found = [
        next(predict_cases(engine.predictor, {"": [path]}, engine.context, batch_size=1, columns=frame))
        for frame in (None, pd.DataFrame([{"age": "90", "sex": "male"}]))
    ]
    first, second = (one.probabilities["disease"] for one in found)
    assert abs(first - second).max() > 1e-3


def test_the_answer_says_what_it_was_given_with_and_what_without(client, photo):
    text = text_of(ask(client, photo, about0="80", about1="male").json()["html"])
    assert "Beside the photos the networks read: Age (80), Sex (male)." in text
    assert "Taken as not known: The &#34;lump&#34; (µm)." in text
    assert "Taken as not known: Age, Sex, The" in text_of(ask(client, photo).json()["html"])
    page = ask(client, photo, headers={}, about0="80", about1="male").text  # the form keeps what was entered
    assert 'value="80"' in page
    assert '<option value="male" selected>' in page


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"about0": "old"}, "Age must be a number, got “old”."),
        ({"about0": "1e999"}, "Age must be a number, got “1e999”."),
        ({"about1": "<b>\n" + "x" * 99}, "Sex must be one of female, male, got “<b>" + "x" * 36 + "…”."),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(client, photo, about, sentence):
    response = ask(client, photo, **about)
    assert (response.status_code, response.json()["problem"]) == (422, sentence)
    page = ask(client, photo, headers={}, **about)
    assert page.status_code == 422
    assert "<b>" not in page.text


def test_the_batch_says_that_columns_are_not_known_there(client, photo):
    assert "taken as not known" in client.get("/batch").text
    row = client.post(
        "/batch/case", files=[("photos", ("0.png", photo))], data={"about:0": "80"}, headers=SCRIPT
    )
    assert row.status_code == 200


def test_they_are_kept_where_answers_are(engine, photo, tmp_path):
    keeping = dataclasses.replace(engine, keep=tmp_path)
    with TestClient(make_app(keeping), base_url=ORIGIN) as client:
        ask(client, photo, about0="80")
    (file,) = tmp_path.rglob("answer.json")
    assert json.loads(file.read_text())["columns"] == {"age": "80"}


def test_networks_of_several_folds_ask_for_the_categories_of_all(engine):
    (member,) = engine.predictor.members
    other = ColumnCoding((dataclasses.replace(SEX, values=("female", "other"), shares=(0.5, 0.5)),))
    networks = {
        level: dataclasses.replace(one, network=dataclasses.replace(one.network, columns=other))
        for level, one in member.items()
    }
    both = dataclasses.replace(engine.predictor, members=(member, networks))
    assert [one for one in questions(both) if one.name == "sex"] == [
        Question("sex", ("female", "male", "other"))
    ]


def test_a_word_for_unknown_is_none(engine):
    say = languages()["en"]
    assert entries(engine.questions, {"about:0": "NA", "about:1": "Unknown", "about:7": "x"}, say) == {}
    with pytest.raises(UploadError, match="error_number"):
        entries(engine.questions, {"about:0": "1e400"}, say)
