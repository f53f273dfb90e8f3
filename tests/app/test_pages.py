"""The pages by their addresses: answers beside those from Python, a sentence for each fault, and nothing stored."""

from __future__ import annotations

import base64
import builtins
import csv
import dataclasses
import io
import json
import os
import re
import struct
import zlib
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from skinjax.app import pages
from skinjax.app.engine import Engine
from skinjax.app.figures import ClassFigures, RunFigures
from skinjax.app.server import make_app
from skinjax.app.uploads import Limits
from skinjax.app.worker import Worker
from skinjax.labels.titles import title_in
from skinjax.predict.cases import case_header, predict_cases
from tests.app.conftest import ORIGIN

SCRIPT = {"Accept": "application/json"}


def files(paths) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (path.name, path.read_bytes(), "image/jpeg")) for path in paths]


def sent(*named: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (name, data, "image/jpeg")) for name, data in named]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def noise(seed: int = 0, side: int = 64) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(60, 200, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few bytes that claims billions of pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = b""
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        parts += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.fixture
def expected(engine, photos):
    """The answer for the first two photos, from Python."""
    (answer,) = predict_cases(engine.predictor, {"": photos[:2]}, engine.context, batch_size=1)
    return answer


def test_the_page_shows_the_answer_that_python_gives(client, engine, photos, expected):
    taxonomy = engine.predictor.taxonomy
    answer = client.post("/answer", files=files(photos[:2]), headers=SCRIPT).json()
    html, text = answer["html"], text_of(answer["html"])
    for level in taxonomy.levels:
        shares = expected.probabilities[level]
        widths = dict(
            re.findall(
                r'class="name">([^<]+?) *(?:<span.*?</span>)?</span>.*?class="fill" width="([\d.]+)"',
                html,
                re.DOTALL,
            )
        )
        for name, share in zip(taxonomy.classes(level), shares, strict=True):
            assert float(widths[taxonomy.title(name)]) == pytest.approx(100 * share, abs=0.01)
    assert expected.advice.words in text
    assert expected.advice.words in answer["summary"]
    diagnosis = expected.diagnosis(taxonomy)
    heading = re.search(r"<h2[^>]*>(.*?)</h2>", html).group(1)
    assert ("No diagnosis" in heading) if diagnosis is None else (taxonomy.title(diagnosis) in heading)
    for reason in expected.reasons:
        assert reason in text.replace("&#39;", "'")
    assert html.count('class="heat"') == 2
    assert "Similar photos" in text
    assert "A note" in text


def test_of_a_photo_that_is_none_of_the_runs_nothing_is_claimed(client):
    answer = client.post("/answer", files=sent(("noise.png", noise())), headers=SCRIPT).json()
    html, text = answer["html"], text_of(answer["html"])
    assert "No diagnosis" in re.search(r"<h2[^>]*>(.*?)</h2>", html).group(1)
    assert "this is not one of the run" in text
    assert "No answer is possible" in answer["summary"]
    assert "This is not known: the run was tested on photos unlike these" in text
    assert "not ruled out" not in text
    assert "nine times in ten" not in text
    assert "How good this run is at it" not in text
    assert html.index('<details class="folded">') < html.index('class="bars"')


def test_without_a_script_the_same_comes_as_a_page(client, photos):
    fragment = client.post("/answer", files=files(photos[:2]), headers=SCRIPT).json()["html"]
    page = client.post("/answer", files=files(photos[:2]))
    assert page.headers["content-type"].startswith("text/html")
    assert text_of(fragment) in text_of(page.text)
    assert 'id="photos"' in page.text


def test_every_page_says_that_it_is_no_medical_device(client, photos):
    for response in (client.get("/"), client.get("/batch"), client.get("/run"), client.get("/nosuch"),
                     client.post("/answer", files=files(photos[:1]))):  # fmt: skip
        assert "Research software, not a medical device" in response.text
        assert 'lang="en"' in response.text


def test_chinese_is_chosen_by_the_browser_or_by_a_link(client, engine, photos, expected):
    taxonomy = engine.predictor.taxonomy
    answer = client.post(
        "/answer", files=files(photos[:2]), headers=SCRIPT | {"Accept-Language": "zh-CN"}
    ).json()
    for name in taxonomy.classes():
        assert title_in(taxonomy, name, "zh") in answer["html"]
        assert taxonomy.title(name) not in re.sub(r'lang="en".*', "", answer["html"], flags=re.DOTALL)
    response = client.get("/language?to=zh&back=/batch", follow_redirects=False)
    assert response.headers["location"] == "/batch"
    page = client.get("/batch", headers={"Accept-Language": "en"})
    assert '<html lang="zh-Hans">' in page.text
    assert page.headers["content-language"] == "zh-Hans"
    for back in ("https://evil.example", "//evil.example", "/nosuch"):
        assert (
            client.get("/language", params={"to": "xx", "back": back}, follow_redirects=False).headers[
                "location"
            ]
            == "/"
        )


def test_words_of_people_and_files_are_escaped(client):
    name = "<img src=x onerror=alert(1)>.jpg"
    for path in ("/answer", "/batch"):
        page = client.post(path, files=sent((name, noise())))
        assert "<img src=x" not in page.text
        assert "onerror" not in page.text or "&lt;img" in page.text


# ------------------------------------------------------------------------------------------- what goes wrong

WRONG = {
    "no photo": ([], "Choose at least one photo."),
    "a PDF": (sent(("scan.pdf", b"%PDF-1.7\n" + bytes(500))), "PDF"),
    "text": (sent(("a.jpg", b"no photo")), "a.jpg"),
    "empty": (sent(("a.jpg", b"")), "a.jpg"),
    "cut": (sent(("a.jpg", noise()[:300])), "a.jpg"),
    "a bomb": (sent(("bomb.png", bomb())), "bomb.png"),
    "40 photos": (sent(*((f"{n}.jpg", b"x") for n in range(40))), "At most 12 photos"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_bad_upload_gets_one_sentence(client, photos, kind, language):
    parts, words = WRONG[kind]
    accepted = {"Accept-Language": language}
    boundary = {"Content-Type": "multipart/form-data; boundary=x"} if not parts else {}
    content = {"files": parts} if parts else {"content": b"--x--\r\n"}
    response = client.post("/answer", **content, headers=SCRIPT | accepted | boundary)
    assert response.status_code in (400, 413, 422)
    problem = response.json()["problem"]
    assert "html" not in response.json()
    if language == "en":
        assert words in problem
        assert len(re.findall(r"[.!?](?: |$)", problem)) == 1, problem
        assert problem[0].isupper(), problem
    else:
        assert re.search("[\u4e00-\u9fff].*。$", problem), problem
    assert "Traceback" not in problem
    page = client.post("/answer", **content, headers=accepted | boundary)
    assert problem in page.text.replace("&#39;", "'")
    assert client.post("/answer", files=files(photos[:2]), headers=SCRIPT).status_code == 200


def test_too_many_bytes_get_one_sentence(client, monkeypatch):
    monkeypatch.setattr(pages, "CASE_LIMITS", Limits(photo_bytes=1_000_000, bytes=1_500_000))
    one = client.post("/answer", files=sent(("big.jpg", bytes(3_000_000))), headers=SCRIPT)
    assert (one.status_code, one.json()["problem"]) == (
        413,
        "The file big.jpg is too large: a photo may have at most 1 MB.",
    )
    both = client.post(
        "/answer", files=sent(*((f"{n}.jpg", bytes(900_000)) for n in range(2))), headers=SCRIPT
    )
    assert both.status_code == 413
    assert "together" in both.json()["problem"]


def test_a_bad_photo_beside_a_good_one_is_named_and_the_good_one_answered(client, photos):
    parts = [*files(photos[:1]), *sent(("scan.pdf", b"%PDF-1.7\n" + bytes(500)))]
    text = text_of(client.post("/answer", files=parts, headers=SCRIPT).json()["html"])
    assert "PDF" in text
    assert "scan.pdf" in text


def test_a_fault_of_ours_is_told_without_its_details(engine, photos, monkeypatch, caplog):
    def fail(*args, **more):
        raise RuntimeError("secret path")

    monkeypatch.setattr(Engine, "answer", fail)
    with TestClient(make_app(engine), base_url=ORIGIN) as client:
        response = client.post("/answer", files=files(photos[:1]), headers=SCRIPT)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Something went wrong here" in response.json()["problem"]
    assert "secret path" in caplog.text


def test_whoever_comes_when_too_many_wait_is_told_to_come_again(engine, photos):
    with TestClient(make_app(engine, worker=Worker(waiting=0)), base_url=ORIGIN) as client:
        response = client.post("/answer", files=files(photos[:2]), headers=SCRIPT)
        page = client.post("/answer", files=files(photos[:2]))
    assert response.status_code == page.status_code == 503
    assert response.headers["retry-after"] == "60"
    assert response.json() == {
        "problem": "Many people are asking right now; please try again in a minute.", "busy": True,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- what is stored, and not


def with_place(path) -> bytes:
    """The photo with a place, a time and a camera in its EXIF data, and turned by it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0110], exif[0x0132] = 6, "SecretCamera", "2024:01:02 03:04:05"
    exif[0x8825] = {1: "N", 2: (31.0, 12.0, 30.0), 3: "E", 4: (121.0, 28.0, 12.0)}
    file = io.BytesIO()
    Image.open(path).save(file, "JPEG", exif=exif, comment=b"SecretComment")
    assert Image.open(io.BytesIO(file.getvalue())).getexif().get_ifd(0x8825)
    return file.getvalue()


def pictures(html: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)]


def test_what_is_shown_and_kept_is_pixels_without_place_time_and_camera(engine, photos, tmp_path):
    keeping = dataclasses.replace(engine, keep=tmp_path / "kept")
    with TestClient(make_app(keeping), base_url=ORIGIN) as client:
        parts = sent(("anna smith.jpg", with_place(photos[0])), ("anna smith.jpg", with_place(photos[1])))
        html = client.post("/answer", files=parts, headers=SCRIPT).json()["html"]
        assert "stored in" in client.get("/").text
    (case,) = (tmp_path / "kept").iterdir()
    assert sorted(path.name for path in case.iterdir()) == ["answer.json", "photo_1.jpg", "photo_2.jpg"]
    kept = [(case / name).read_bytes() for name in ("photo_1.jpg", "photo_2.jpg")]
    assert pictures(html)
    for data in [*pictures(html), *kept]:
        image = Image.open(io.BytesIO(data))
        assert dict(image.getexif()) == {}
        assert not image.info.get("exif")
        assert b"Secret" not in data
        assert b"GPS" not in data
    upright = Image.open(io.BytesIO(with_place(photos[0])))
    assert Image.open(io.BytesIO(kept[0])).size == upright.size[::-1]
    text = (case / "answer.json").read_text(encoding="utf-8")
    assert "anna" not in text
    document = json.loads(text)
    assert [one["photo"] for one in document["photos"]] == ["photo_1.jpg", "photo_2.jpg"]
    assert sum(document["probabilities"][engine.predictor.taxonomy.finest].values()) == pytest.approx(
        1, abs=1e-5
    )


def test_without_a_folder_to_keep_in_nothing_is_written(client, photos, run, tmp_path, monkeypatch):
    written = []
    real_open, real_os_open = builtins.open, os.open

    def watched(file, mode="r", *args, **more):
        if set(mode) & set("wax+"):
            written.append(file)
        return real_open(file, mode, *args, **more)

    def watched_os(path, flags, *args, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(path)
        return real_os_open(path, flags, *args, **more)

    before = sorted(path for path in run.parent.rglob("*"))
    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    monkeypatch.setattr(os, "open", watched_os)
    large = sent(("a.bmp", _bmp()))
    assert client.post("/answer", files=large, headers=SCRIPT).status_code == 200
    assert client.post("/batch", files=files(photos[:3])).status_code == 200
    monkeypatch.undo()
    assert written == []
    assert sorted(path for path in run.parent.rglob("*")) == before


def _bmp() -> bytes:
    """A photo above the megabyte from which Starlette's parser writes temporary files."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)).save(file, "BMP")
    assert len(file.getvalue()) > 1_500_000
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------ many cases


def test_many_cases_come_as_a_table_that_downloads(client, engine, photos):
    taxonomy = engine.predictor.taxonomy
    page = client.post("/batch", files=files(photos[:5]), data={"by": "name"})
    assert "Cases processed: 3" in page.text
    address = re.search(r'href="data:text/csv;charset=utf-8,([^"]+)"', page.text).group(1)
    text = unquote(address)
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert tuple(rows[0]) == case_header(taxonomy)
    assert [row["case"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["photos"] == "0_0.jpg|0_1.jpg"
    groups = {"0": photos[:2], "1": photos[2:4], "2": photos[4:5]}
    for row, answer in zip(
        rows, predict_cases(engine.predictor, groups, engine.context, batch_size=1), strict=True
    ):
        for name, share in zip(taxonomy.classes(), answer.probabilities[taxonomy.finest], strict=True):
            assert float(row[f"p_{name}"]) == pytest.approx(share, abs=1e-6)
        assert row["urgency"] == (answer.advice.urgency or "")


def test_the_script_is_told_the_groups_and_gets_a_row_for_each(client, photos):
    names = [f"visit/{path.stem.split('_')[0]}/{path.name}" for path in photos[:5]]
    groups = client.post("/batch/groups", json={"names": names, "by": "folder"}).json()["groups"]
    assert groups == [
        {"case": "0", "members": [0, 1]}, {"case": "1", "members": [2, 3]}, {"case": "2", "members": [4]},
    ]  # fmt: skip
    row = client.post("/batch/case", files=files(photos[:2]), data={"case": "0"}, headers=SCRIPT).json()[
        "row"
    ]
    assert row.count("<tr") == 1
    assert ">0<" in row.replace("\n", "")
    whole = client.post("/batch", files=files(photos[:2]), data={"by": "name"}).text
    assert re.search(r'data-csv="([^"]+)"', row).group(1).split(",", 3)[3] in whole.replace(
        "0_0.jpg|0_1.jpg", ""
    )


def test_a_case_of_a_batch_that_cannot_be_answered_has_a_row_that_says_why(client, photos):
    bad = client.post(
        "/batch/case", files=sent(("a.pdf", b"%PDF-1.7" + bytes(99))), data={"case": "x"}, headers=SCRIPT
    )
    assert ">The file a.pdf cannot be read: it is a PDF document," in bad.json()["row"]
    both = [("a.pdf", b"%PDF-1.7" + bytes(99)), ("b.jpg", b"")]
    pair = client.post("/batch/case", files=sent(*both), data={"case": "x"}, headers=SCRIPT)
    assert ">None of 2 photos can be read; the first, a.pdf: is a PDF document," in pair.json()["row"]
    many = client.post(
        "/batch/case",
        files=sent(*((f"{n}.jpg", b"x") for n in range(40))),
        data={"case": "x"},
        headers=SCRIPT,
    )
    assert "At most 12 photos" in many.json()["row"]
    page = client.post("/batch", files=[*files(photos[:1]), *sent(("a.pdf", b"%PDF-1.7" + bytes(99)))])
    assert "PDF" in page.text
    assert "Cases processed: 2" in page.text


@pytest.mark.parametrize(
    "document",
    ["[]", "{}", "{", '{"names": "a"}', '{"names": [1]}', '{"names": ["a"], "by": "x"}', "[" * 99999],
)
def test_a_list_of_names_that_is_none_is_refused(client, document):
    response = client.post("/batch/groups", content=document, headers=SCRIPT)
    assert response.status_code == 400
    assert "could not be understood" in response.json()["problem"]


def test_a_name_that_a_spreadsheet_would_compute_is_marked(client, photos):
    form = {"case": "=1+cmd|' /C calc'!A0"}
    row = client.post("/batch/case", files=files(photos[:1]), data=form, headers=SCRIPT).json()["row"]
    cells = next(csv.reader([re.search(r'data-csv="([^"]+)"', row).group(1).replace("&#39;", "'")]))
    assert cells[0].startswith("'=")


# -------------------------------------------------------------------------------------------------------- the run


@pytest.fixture
def with_report(engine, tmp_path):
    report = tmp_path / "report"
    (report / "tables").mkdir(parents=True)
    (report / "index.html").write_text("<title>report</title>")
    (report / "tables" / "classes.csv").write_text("class\nmelanoma\n")
    (report / "note.exe").write_text("no")
    (tmp_path / "secret.csv").write_text("secret")
    (report / "link.csv").symlink_to(tmp_path / "secret.csv")
    figures = {"melanoma": ClassFigures("melanoma", 0.8, 0.6, 0.9, 0.5, 1234, 20)}
    run = RunFigures(("It names 80%.",), figures, report / "index.html")
    with TestClient(make_app(engine, run), base_url=ORIGIN) as client:
        yield client


def test_the_run_shows_its_report_and_nothing_beside_it(with_report):
    page = with_report.get("/run").text
    assert "It names 80%." in page
    assert re.search(r'Melanoma</th><td>80%<span class="small">60% to 90%</span></td><td>50%</td>', page)
    assert with_report.get("/report/index.html").text == "<title>report</title>"
    assert "attachment" in with_report.get("/report/tables/classes.csv").headers["content-disposition"]
    for path in (
        "note.exe",
        "link.csv",
        "..%2fsecret.csv",
        "%2e%2e/secret.csv",
        "tables",
        "",
        "/etc/passwd",
        "nosuch.csv",
        "%00",
    ):
        response = with_report.get(f"{ORIGIN}/report/{path}")
        assert response.status_code == 404, path
        assert "secret" not in response.text


def test_a_run_without_a_report_says_so(client):
    assert "no report yet" in client.get("/run").text
    assert client.get("/report/index.html").status_code == 404
    assert client.get("/static/nosuch.js").status_code == 404
    assert client.get("/static/..%2fpages.py").status_code == 404


def test_the_class_that_is_called_has_its_figures_on_the_page(engine, photos, expected):
    taxonomy = engine.predictor.taxonomy
    name = expected.top(taxonomy, taxonomy.finest)[0][0]
    run = RunFigures((), {name: ClassFigures(name, 0.8, 0.6, 0.9, 0.5, 1234, 20)})
    with TestClient(make_app(engine, run), base_url=ORIGIN) as client:
        text = text_of(client.post("/answer", files=files(photos[:2]), headers=SCRIPT).json()["html"])
    named = f"Sensitivity: of 1,234 photos of {taxonomy.title(name)} that it had not seen (20 cases), it recognised 80%"
    assert f"{named} (95% interval 60% to 90%)." in text
    assert "it was right 50% of the time" in text
