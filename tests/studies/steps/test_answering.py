"""Files of an answer: an earlier answer's stay until the new one is complete."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from skinjax.data.images.quality import Quality
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict import photos
from skinjax.predict.answers import Answer
from skinjax.studies.prediction import Config
from skinjax.studies.steps import answering

TREE = Taxonomy("two", ("class",), (("x",), ("y",)))


@pytest.fixture
def session():
    return SimpleNamespace(
        config=Config(), predictor=SimpleNamespace(taxonomy=TREE), explained=None, context=None, cases=None,
        batch_size=1,
    )  # fmt: skip


@pytest.fixture
def earlier(tmp_path):
    for name in ("predictions.csv", "predictions.jsonl", "history.csv", "history.jsonl"):
        (tmp_path / name).write_text("earlier")
    return tmp_path


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def answers(monkeypatch, *found):
    monkeypatch.setattr(photos, "predict_photos", lambda *args, **options: iter(found))


def readable(name):
    return Answer(
        name, probabilities={"class": np.array([0.5, 0.5], np.float32)}, quality=Quality(9, 100, 0, 0)
    )


def test_a_history_stays_where_the_new_answer_fails(monkeypatch, session, earlier):
    before = contents(earlier)
    session.config = Config(check_explanations=True)
    answers(monkeypatch, readable("a.jpg"))
    monkeypatch.setattr(answering, "_check", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answering.answer(session, ["a.jpg"], earlier)
    assert contents(earlier) == before


def test_a_history_goes_with_the_answer_that_it_belongs_to(monkeypatch, session, earlier):
    answers(monkeypatch, readable("a.jpg"))
    answering.answer(session, ["a.jpg"], earlier)
    assert set(contents(earlier)) == {"predictions.csv", "predictions.jsonl"}
