"""The command that serves the page: what it refuses, what it prints, how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the page needs the extra app")

from benchmarks.predict import make_run
from skinjax.app.server import listen
from skinjax.app.uploads import Upload
from skinjax.studies import app
from skinjax.synthetic import CLASS_NAMES, render_case
from tests.support import small_backbones
from tests.support.commands import ENVIRONMENT, REPOSITORY, run_small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    (folder / "photos").mkdir()
    for seed in range(24):
        (photo,) = render_case(np.random.default_rng(seed), CLASS_NAMES[seed % 19], photos=1, size=48)
        Image.fromarray(photo).save(folder / "photos" / f"{seed}.jpg")
    with small_backbones.registered():
        make_run(folder / "run", "small", 32, folder / "photos")
    return folder / "run"


def test_without_a_run_the_command_says_what_it_needs(tmp_path):
    assert "give --workdir=FOLDER" in run_small("app", code=2).stderr
    assert "not the folder of a run" in run_small("app", f"--workdir={tmp_path}", "--port=0", code=2).stderr
    (tmp_path / "file").touch()
    said = run_small("app", f"--workdir={tmp_path}", f"--keep={tmp_path / 'file'}", code=2).stderr
    assert "must be a folder, but is a file" in said
    assert "--port" in run_small("app", "--port=70000", code=2).stderr
    assert "--host" in run_small("app", "--host=", code=2).stderr


@pytest.mark.slow
def test_the_page_answers_by_either_runtime(run):
    pytest.importorskip("onnxruntime")
    uploads = [Upload(file.name, file.read_bytes()) for file in sorted((run.parent / "photos").iterdir())[:2]]
    answers = {}
    for runtime in ("jax", "onnx"):
        with small_backbones.registered():
            engine, _ = app.open_engine(app.Config(runtime=runtime, neighbours=True), run)
            answers[runtime] = engine.answer("case", uploads)
        assert {one.runtime for member in engine.predictor.members for one in member.values()} == {runtime}
    own, found = answers["jax"], answers["onnx"]
    for level, probs in own.answer.probabilities.items():
        np.testing.assert_allclose(found.answer.probabilities[level], probs, atol=1e-4)
    assert [near.path for near, _ in found.neighbours] == [near.path for near, _ in own.neighbours]
    assert all(photo.heat is not None for photo in found.photos)


def test_a_port_in_use_is_told_before_anything_is_read(tmp_path):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = run_small("app", f"--workdir={tmp_path}", f"--port={port}", code=2).stderr
    assert f"--port={port}" in said
    assert "--port=NUMBER" in said


def test_without_the_extra_the_command_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else name)
    said = run_small("app", f"--workdir={tmp_path}", code=2).stderr
    assert 'uvicorn: pip install "skinjax[app]"' in said


def start_app(*flags: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.support.small_command", "app", *flags]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_command_serves_the_page_until_it_is_interrupted(run, host):
    process = start_app(f"--workdir={run}", "--port=0", f"--host={host}")
    link = ""
    for line in process.stdout:
        if found := re.match(r"open (http://127\.0\.0\.1:\d+/\S*)", line):
            link = found.group(1)
            break
    try:
        assert ("?token=" in link) is (host == "0.0.0.0")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        page = opener.open(link, timeout=30).read().decode()
        assert "Research software, not a medical device" in page
        if host == "0.0.0.0":
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(link.split("?")[0], timeout=30)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "the page is closed" in out
