"""A tiny run behind the page: a network of random weights, drawn photos, and predictions made up for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.data.columns import Column, ColumnCoding
from skinjax.synthetic import CLASS_NAMES, render_case
from tests.support import small_backbones, small_runs

pytest.importorskip("starlette", reason="the page needs the extra app")

from starlette.testclient import TestClient

from skinjax.app.engine import Engine
from skinjax.app.server import listen, make_app, make_server
from skinjax.studies import app

ORIGIN = "http://127.0.0.1"
CODING = ColumnCoding(
    (
        Column("age", "number", 50, 10),
        Column("sex", "category", values=("female", "male"), shares=(0.5, 0.5)),
        Column('the "lump" (µm)', "category", values=("a & b", "c"), shares=(0.5, 0.5)),
        Column("keys", "number", 0, 1),
    )
)


@pytest.fixture(scope="module", autouse=True)
def backbones():
    with small_backbones.registered():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The folder of a run whose photos `photos` holds, two for each case."""
    folder = tmp_path_factory.mktemp("page")
    photos = folder / "photos"
    photos.mkdir()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        name = CLASS_NAMES[seed % len(CLASS_NAMES)]
        for number, photo in enumerate(render_case(rng, name, photos=2, size=64)):
            Image.fromarray(photo).save(photos / f"{seed}_{number}.jpg")
    with small_backbones.registered():
        make_run(folder / "run", "small", 32, photos)
    return folder / "run"


@pytest.fixture(scope="session")
def photos(run) -> list[Path]:
    """The run's own photos; the first two are of one case."""
    return sorted((run.parent / "photos").glob("*.jpg"), key=lambda path: [*map(int, path.stem.split("_"))])


@pytest.fixture(scope="session")
def engine(run) -> Engine:
    with small_backbones.registered():
        made, _ = app.open_engine(app.Config(neighbours=True), run)
        made.warm()
    return made


@pytest.fixture
def client(engine):
    with TestClient(make_app(engine, notes=["a note"]), base_url=ORIGIN) as client:
        yield client


@pytest.fixture(scope="session")
def asking(tmp_path_factory) -> Engine:
    """A run whose networks read `CODING` beside a photo; its photos lie in `photos` beside its folder."""
    place = tmp_path_factory.mktemp("asking")
    with small_backbones.registered():
        small_runs.make_photos(place / "photos", small_runs.COUNT)
        small_runs.make_pair(place / "run", place / "photos", CODING)
        made, _ = app.open_engine(app.Config(), place / "run")
        made.warm()
    return made


@pytest.fixture
def address(engine) -> Iterator[str]:
    """Where a server of its own answers."""
    with serving(engine) as address:
        yield address


@contextlib.contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """Serves a run, and gives the address."""
    with listen("127.0.0.1", 0) as listening:
        server = make_server(make_app(engine))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
