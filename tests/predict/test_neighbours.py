"""The photos of a run that are most like a new one, beside scikit-learn's search and by photos that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from benchmarks.predict import make_run
from skinjax.predict.neighbours import Neighbours, photo_features, run_neighbours
from skinjax.predict.networks import load_predictor
from skinjax.predict.novelty import unit
from skinjax.predict.reading import read_photo
from tests.support import small_backbones

RNG = np.random.default_rng(0)


def known(features, cases) -> Neighbours:
    names = tuple(map(str, range(len(features))))
    return Neighbours(unit(features).astype(np.float32), names, names, tuple(cases), Path())


def test_the_nearest_are_those_that_scikit_learn_finds_by_cosine():
    features, asked = RNG.normal(size=(200, 16)), RNG.normal(size=(1, 16))
    found = known(features, map(str, range(200))).nearest(asked, 10)
    search = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(features)
    distances, places = search.kneighbors(asked)
    assert [int(one.path.name) for one in found] == places[0].tolist()
    assert [1 - one.similarity for one in found] == pytest.approx(distances[0], abs=1e-6)


def test_a_case_is_shown_once_by_its_most_similar_photo():
    features, asked = RNG.normal(size=(60, 8)), RNG.normal(size=(3, 8))
    cases = [str(place // 3) for place in range(60)]
    found = known(features, cases).nearest(asked, 20)
    assert sorted(int(one.case) for one in found) == list(range(20))
    similarity = unit(features) @ unit(unit(asked).mean(axis=0)[None])[0]
    for one in found:
        own = similarity[3 * int(one.case) : 3 * int(one.case) + 3]
        assert one.similarity == pytest.approx(own.max(), abs=1e-6)
        assert int(one.path.name) == 3 * int(one.case) + int(own.argmax())
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds over twelve photos, each a case."""
    folder = tmp_path_factory.mktemp("neighbours")
    (folder / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).normal(60 + 12 * number, 20, (40, 40, 3)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"{number:02}.png")
    with small_backbones.registered():
        make_run(folder / "run", "small", 32, folder / "photos", folds=2)
        yield folder / "run"


def test_a_photo_that_was_trained_on_is_its_own_nearest_and_none_held_out_is_shown(run):
    predictor, photos = load_predictor(run, 0), run.parent / "photos"
    said: list[str] = []
    found = run_neighbours(predictor, photos, say=said.append)
    assert found is not None
    assert said == []
    assert len(found.images) == 6
    path = photos / found.images[2]
    photo = read_photo(path, predictor.image_size, predictor.fit)
    first = found.nearest(photo_features(predictor, photo.image[None]), 3)[0]
    assert (first.path, first.similarity) == (path, pytest.approx(1, abs=1e-5))
    shown = {one.path.name for one in found.nearest(photo_features(predictor, photo.image[None]), 12)}
    assert shown == set(found.images)
    other = run_neighbours(load_predictor(run, 1), photos)
    assert other is not None
    assert not set(other.images) & set(found.images)


def test_features_are_kept_and_made_anew_where_they_are_damaged(run, monkeypatch):
    predictor, photos = load_predictor(run, 0), run.parent / "photos"
    first = run_neighbours(predictor, photos)
    (stored,) = run.glob("neighbours_*_fold_0.npz")
    with monkeypatch.context() as patch:
        patch.setattr("skinjax.predict.neighbours._make", None)
        again = run_neighbours(predictor, photos)
    stored.write_bytes(b"damaged")
    anew = run_neighbours(predictor, photos)
    for other in (again, anew):
        np.testing.assert_array_equal(first.features, other.features)


def test_photos_that_are_not_there_are_not_shown_and_that_is_said(run, tmp_path):
    predictor = load_predictor(run, 1)
    for root in (None, tmp_path):
        said: list[str] = []
        for stored in run.glob("neighbours_*_fold_1.npz"):
            stored.unlink()
        assert run_neighbours(predictor, root, say=said.append) is None
        assert len(said) == 1
        assert said[0].startswith("no similar photos are shown")
