"""Who is answered, and what a page may load."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from skinjax.app import guard
from skinjax.app.server import make_app

PHOTO = {"photos": ("a.jpg", b"x", "image/jpeg")}


def guarded(host: str = "127.0.0.1", token: str = "", base_url: str = "http://127.0.0.1:8000") -> TestClient:
    async def answer(request):
        return PlainTextResponse(f"{request.method} {request.url.query}")

    routes = [Route("/", answer, methods=["GET", "POST"]), Route("/batch", answer)]
    app = guard.Guard(Starlette(routes=routes), host, token)
    return TestClient(app, base_url=base_url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost:9", "LOCALHOST", "[::1]:8000", "192.168.1.7:8000"]
)
def test_addresses_and_the_own_name_are_answered(host):
    assert guarded().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "x@127.0.0.1",
        "[::1",
        "",
    ],
)
def test_a_name_that_was_pointed_here_is_refused(host):
    assert guarded().get("/", headers={"Host": host}).status_code == 421


def test_a_server_for_others_answers_to_the_machines_name_too(monkeypatch):
    monkeypatch.setattr(guard.socket, "gethostname", lambda: "Ward7.clinic.example")
    ward = guarded("0.0.0.0", "word")
    asked = {name: ward.get("/?token=word", headers={"Host": name}, follow_redirects=False).status_code
             for name in ("ward7.clinic.example:8000", "ward7.local", "other.local")}  # fmt: skip
    assert asked == {"ward7.clinic.example:8000": 303, "ward7.local": 303, "other.local": 421}
    assert guarded().get("/", headers={"Host": "ward7.local"}).status_code == 421


def test_without_the_token_nothing_is_answered():
    client = guarded("192.168.1.7", "word")
    for method, path in (
        ("GET", "/"),
        ("GET", "/batch"),
        ("POST", "/"),
        ("GET", "/?token=wor"),
        ("GET", "/?token="),
    ):
        response = client.request(method, path)
        assert response.status_code == 403
        assert "token" in response.text
        assert guard.COOKIE not in response.cookies


def test_the_token_of_the_link_becomes_a_cookie_that_scripts_cannot_read_and_leaves_the_address():
    client = guarded("192.168.1.7", "word")
    response = client.get("/batch?token=word&lang=zh", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/batch?lang=zh")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/").status_code == 200
    assert client.post("/", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    client.cookies.clear()
    assert client.get("/", headers={"Cookie": f"{guard.COOKIE}=w\xf6rd".encode("latin-1")}).status_code == 403


def test_a_token_does_not_lead_to_another_site():
    client = guarded("192.168.1.7", "word")
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
        response = client.get(f"http://127.0.0.1:8000{path}?token=word", follow_redirects=False)
        assert response.status_code == 303
        assert response.headers["location"].replace("%5C", "\\")[:2] in ("/e", "/")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_only_its_own_pages_may_send(headers, status):
    assert guarded().post("/", headers=headers).status_code == status
    assert (
        guarded().get("/", headers=headers).status_code == 200
    )  # looking is harmless, and answers are not shared


def test_every_answer_says_what_may_be_loaded(client):
    for path, status in (
        ("/", 200),
        ("/batch", 200),
        ("/run", 200),
        ("/static/app.js", 200),
        ("/nosuch", 404),
    ):
        response = client.get(path)
        assert response.status_code == status
        assert response.headers["content-security-policy"] == guard.PAGE_POLICY
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert not {name for name in response.headers if name.startswith("access-control")}
    assert client.post("/answer", files=PHOTO, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.options("/answer", headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_policies_allow_no_other_host_no_inline_script_and_no_frame():
    for policy in (guard.PAGE_POLICY, guard.REPORT_POLICY):
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert not re.search(r"https?:|\*|unsafe-eval", policy)
    assert "unsafe" not in guard.PAGE_POLICY
    assert "script-src" not in guard.REPORT_POLICY


def test_the_pages_ask_for_nothing_elsewhere(client):
    for path in ("/", "/batch", "/run", "/static/app.css", "/static/app.js", "/static/icon.svg"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]", text), path
        assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|style=", text), path


def test_tokens_differ_and_are_long():
    tokens = {guard.new_token() for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 32


def test_links_hold_the_token_and_are_for_the_address_that_is_listened_on():
    assert list(guard.addresses("192.168.1.7", 80, "word")) == ["http://192.168.1.7:80/?token=word"]
    assert list(guard.addresses("::1", 8000, "")) == ["http://[::1]:8000/"]
    assert len(list(guard.addresses("0.0.0.0", 8000, "word"))) == 2


def test_an_application_for_others_needs_its_token(engine):
    client = TestClient(make_app(engine, host="192.168.1.7", token="word"), base_url="http://192.168.1.7")
    assert client.post("/answer", files=PHOTO).status_code == 403
    assert client.get("/report/index.html").status_code == 403
    assert client.get("/static/app.css").status_code == 403
