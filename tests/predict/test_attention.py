"""Pictures of where networks looked: by the fold that has not seen the photo, and as Grad-CAM has it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.predict import attention
from skinjax.predict.gradcam import grad_cam
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.reading import read_photo

pytestmark = pytest.mark.slow
SIZE, COUNT = 32, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("attention")
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    for number in range(COUNT):
        coarse = Image.fromarray(rng.integers(60, 230, (6, 8, 3), dtype=np.uint8))
        coarse.resize((60, 45), Image.Resampling.BICUBIC).save(root / "photos" / f"{number}.png")
    make_run(root / "run", "efficientnet_nano", SIZE, root / "photos", folds=2)
    return root / "run"


@pytest.fixture(scope="module")
def paths(run):
    return sorted((run.parent / "photos").glob("*.png"))


def test_maps_are_those_of_grad_cam_by_the_fold_of_each_photo(run, paths):
    classes, rows = np.array([3, 0, 18, 7, 7, 2]), np.array([1, 3, 4])
    members = np.eye(19, dtype=bool)[classes[rows]]
    images = np.stack([read_photo(paths[row], SIZE, "stretch").image for row in rows])
    for fold in (0, 1):
        found = attention._maps(load_predictor(run, fold), paths, rows, classes, None)
        one = load_run(run, stage="sub", fold=fold)
        network = one.network
        expected = np.asarray(grad_cam(network.model(), one.variables, network.spec, images, members))
        np.testing.assert_allclose(np.stack(found), expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_pictures_have_the_shape_of_the_photos_and_differ_by_fold(run, paths):
    classes = np.full(COUNT, 3)
    first, second = (
        attention.attention_pictures(run, paths, np.full(COUNT, fold), classes, side=40) for fold in (0, 1)
    )
    assert {picture.size for picture in first} == {(40, 30)}
    assert any(np.asarray(a).tolist() != np.asarray(b).tolist() for a, b in zip(first, second, strict=True))
    mixed = attention.attention_pictures(run, paths, np.arange(COUNT) % 2, classes, side=40)
    for row, picture in enumerate(mixed):
        same = (first, second)[row % 2][row]
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(same))


def test_what_cannot_be_read_or_has_no_network_has_no_picture(run, paths, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no photo")
    chosen = [tmp_path / "broken.png", paths[0], paths[1]]
    found = attention.attention_pictures(run, chosen, np.array([0, 0, 7]), np.zeros(3, int))
    assert [picture is not None for picture in found] == [False, True, False]
    predictor = load_predictor(run, 0)
    loaded = predictor.members[0]["sub"]
    strange = dataclasses.replace(loaded)
    strange.__dict__["pools"] = False  # as a network of others, whose head is not known
    other = dataclasses.replace(predictor, members=({"sub": strange},))
    assert attention._maps(other, chosen, np.array([1]), np.zeros(3, int), None) == [None]
