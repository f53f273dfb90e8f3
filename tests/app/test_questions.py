"""Columns beside the photos on the page: asked for, read as Python reads them, refused in a sentence, told, kept."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient

from skinjax.app import pages
from skinjax.app.engine import Engine
from skinjax.app.questions import Question, digest, questions
from skinjax.app.server import make_app
from skinjax.app.uploads import FIELD_BYTES, FIELDS, Limits, read_form
from skinjax.data.columns import Column, ColumnCoding
from skinjax.predict.cases import predict_cases
from skinjax.studies import app
from tests.app.conftest import CODING, ORIGIN
from tests.support import small_backbones, small_runs

SCRIPT = {"Accept": "application/json"}
AGE, SEX, LUMP, _ = CODING.columns


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
    for place, label in enumerate(("Age", "Sex", "The &#34;lump&#34; (µm)", "Keys")):
        assert f'<label for="about-{place}">{label}</label>' in page
        assert page.count(f'name="about:{place}"') == 1
    assert re.findall(r'<option value="([^"]*)">([^<]*)', page) == [
        ("", "not known"), ("female", "female"), ("male", "male"),
        ("", "not known"), ("a &amp; b", "a &amp; b"), ("c", "c"),
    ]  # fmt: skip
    assert "built-in" not in page  # of which a mapping has keys
    assert "性别" in client.get("/", headers={"Accept-Language": "zh"}).text


def test_a_run_of_photos_alone_asks_for_nothing(place, photo):
    with small_backbones.registered():
        small_runs.make_pair(place / "alone", place / "photos")
        alone, _ = app.open_engine(app.Config(), place / "alone")
        assert alone.questions == ()
        with TestClient(make_app(alone), base_url=ORIGIN) as client:
            assert "about:" not in client.get("/").text
            assert "Not given" not in ask(client, photo, about0="80").json()["html"]


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
    assert "In addition to the photos, the networks used: Age (80), Sex (male)." in text
    assert "Not given: The &#34;lump&#34; (µm), Keys." in text
    assert "Not given: Age, Sex, The" in text_of(ask(client, photo).json()["html"])
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
    assert response.json()["faults"] == {next(iter(about)).removeprefix("about"): sentence}
    page = ask(client, photo, headers={}, **about)
    assert page.status_code == 422
    assert "<b>" not in page.text


@pytest.mark.parametrize(
    ("language", "age", "lump"),
    [
        (
            "en",
            "Age must be a number, got “old”.",
            "The &#34;lump&#34; (µm) must be one of a &amp; b, c, got “d”.",
        ),
        (
            "zh",
            "年龄必须是数字，但收到“old”。",
            "The &#34;lump&#34; (µm)必须是以下之一：a &amp; b、c，但收到“d”。",
        ),
    ],
)
def test_every_entry_that_is_refused_is_marked_and_the_first_has_the_focus(
    client, photo, language, age, lump
):
    about = {"about0": "old", "about1": "male", "about2": "d"}
    page = ask(client, photo, headers={"Accept-Language": language}, **about).text
    marked = re.findall(r'<(?:input|select) id="about-(\d)"[^>]* aria-invalid="true"([^>]*)>', page)
    assert marked == [
        ("0", ' aria-describedby="fault-0" autofocus'),
        ("2", ' aria-describedby="fault-2"'),
    ]
    assert re.findall(r'<span class="fault" id="fault-(\d)">([^<]*)<', page) == [("0", age), ("2", lump)]
    assert re.search(r'id="problem"[^>]* hidden></p>', page)
    assert "aria-invalid" not in client.get("/").text


def test_an_entry_is_refused_before_photos_are_kept(client, monkeypatch):
    monkeypatch.setattr(pages, "CASE_LIMITS", Limits(photo_bytes=1000))
    large = ("photos", ("0.png", bytes(2_000_000)))
    statuses = [
        client.post("/answer", files=[large], data={"about:0": age}, headers=SCRIPT).status_code
        for age in ("61", "old")
    ]
    assert statuses == [413, 422]


def test_the_batch_says_that_columns_are_not_known_there(client, photo):
    assert "can be entered only on the page for one case" in client.get("/batch").text
    rows = [
        client.post("/batch/case", files=[("photos", ("0.png", photo))], data=data, headers=SCRIPT).json()[
            "row"
        ]
        for data in ({"about:0": "80"}, {})
    ]
    assert rows[0] == rows[1]


def test_they_are_kept_where_answers_are(engine, photo, tmp_path):
    keeping = dataclasses.replace(engine, keep=tmp_path)
    with TestClient(make_app(keeping), base_url=ORIGIN) as client:
        ask(client, photo, about0="80")
    (file,) = tmp_path.rglob("answer.json")
    assert json.loads(file.read_text())["columns"] == {"age": "80"}


def test_networks_of_several_folds_ask_for_what_any_of_them_knows(engine):
    def of(*columns: Column):
        return {
            level: dataclasses.replace(
                one, network=dataclasses.replace(one.network, columns=ColumnCoding(columns))
            )
            for level, one in engine.predictor.members[0].items()
        }

    count = Column("count", "category", values=("1", "2", "3+"), shares=(0.5, 0.3, 0.2))
    other = dataclasses.replace(SEX, values=("female", "other"))
    members = (of(AGE, SEX, count), of(other, Column("count", "number"), Column("empty", "category")))
    asked = questions(dataclasses.replace(engine.predictor, members=members))
    assert [one.name for one in asked] == ["age", "sex", "count"]  # no entry of the fourth could be known
    assert asked[1].values == ("female", "male", "other")
    assert [asked[2].read(entry) for entry in ("3+", "4", "many", "", "unk")] == ["3+", "4", None, "", ""]
    assert digest(asked) != digest(engine.questions)


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ("61,5", "61.5"), (" 007 ", "7"),
        ("４５", "45"), ("\ufeff61\u200b", "61"), ("1,000", "1"), ("-5", "-5"), ("12345678", "12345678"),
        ("9" * 300, "1e+300"), ("NA", ""), ("nan", ""), ("inf", None), ("0x10", None), ("1_000", None),
        ("61 years", None),
    ],
)  # fmt: skip
def test_a_number_is_shown_as_the_networks_read_it(entry, read):
    assert Question("age", (AGE,)).read(entry) == read


@pytest.mark.parametrize("entry", ["left arm", "LEFT  ARM", "left\r\narm", "left\u00a0arm"])
def test_a_category_is_found_however_it_is_spaced(entry):
    column = Column("site", "category", values=("left\narm", "leg"), shares=(0.5, 0.5))
    assert Question("site", (column,)).read(entry) == "left\narm"


def test_a_form_of_another_run_is_refused(engine, client, photo):
    fields = {"about:0": "61", "asked": "0123456789abcdef"}
    response = client.post("/answer", files=[("photos", ("0.png", photo))], data=fields, headers=SCRIPT)
    assert (response.status_code, "reload" in response.json()["problem"]) == (409, True)
    page = client.get("/").text
    assert f'name="asked" value="{digest(engine.questions)}"' in page


def test_without_a_script_a_refusal_keeps_what_was_entered(client, photo):
    page = ask(client, photo, headers={}, about0="61", about1="male", about3="old").text
    assert 'value="61"' in page
    assert '<option value="male" selected>' in page
    assert 'value="old"' in page
    unread = client.post("/answer", files=[("photos", ("0.png", b"no photo"))], data={"about:0": "61"})
    assert 'value="61"' in unread.text


def test_fields_without_end_are_not_kept():
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n{"x" * 9000}\r\n' for n in range(3000)
    )

    async def chunks():
        yield (body + "--b--\r\n").encode()

    form = asyncio.run(read_form("multipart/form-data; boundary=b", chunks(), Limits()))
    assert len(form.fields) == FIELDS
    assert {len(text) for text in form.fields.values()} == {FIELD_BYTES}
