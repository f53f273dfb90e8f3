"""Photos under the augmentation of a training: versions as training draws them, a page of them, untidy photos."""

import jax
import numpy as np
import pytest
from PIL import Image

from skinjax.augment import NO_AUGMENTATION, Strengths, augment
from skinjax.studies import preview
from tests.support.commands import run_command


def make_photos(folder, count=6):
    """Photos of three classes, the last of which has a single one, and a damaged file."""
    (folder / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["image,label,case_id"]
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "photos" / f"{number}.png")
        rows.append(f"photos/{number}.png,{'ab'[number % 2]},{number}")
    Image.new("RGB", (40, 40), (200, 150, 120)).save(folder / "photos" / "rare.png")
    (folder / "photos" / "damaged.png").write_bytes(b"\x89PNG no photo")
    rows += ["photos/rare.png,c,rare", "photos/damaged.png,a,damaged"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.csv").write_text("disease\na\nb\nc\n")
    return [f"--manifest={folder / 'manifest.csv'}", f"--taxonomy={folder / 'classes.csv'}"]


@pytest.mark.slow
def test_versions_are_those_of_the_augmentation():
    photos = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    key, strengths = jax.random.key(1), Strengths(*NO_AUGMENTATION)._replace(rotation=30.0, hsv_v=0.3)
    drawn = preview.augmented_versions(key, photos, strengths, 4)
    assert drawn.shape == (3, 4, 16, 16, 3)
    for number, one in enumerate(jax.random.split(key, 4)):
        expected = 255 * np.asarray(augment(one, photos, strengths))
        np.testing.assert_allclose(drawn[:, number], expected, atol=0.51)
    assert len({version.tobytes() for version in drawn[0]}) == 4


@pytest.mark.slow
def test_without_augmentation_a_version_is_the_photo():
    photos = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    drawn = preview.augmented_versions(jax.random.key(0), photos, NO_AUGMENTATION, 1)
    np.testing.assert_array_equal(drawn[:, 0], photos)


def test_the_spread_takes_every_class_before_a_second_photo_of_one():
    labels = np.array([0] * 50 + [1] * 5 + [2])
    order = preview.spread(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(56))
    assert sorted(labels[order[:3]]) == [0, 1, 2]
    assert sorted(labels[order[3:5]]) == [0, 1]


@pytest.mark.slow
def test_the_page_shows_each_photo_beside_its_versions(tmp_path):
    flags = make_photos(tmp_path)
    options = ("--shown=5", "--versions=3", "--image_size=32", f"--workdir={tmp_path / 'run'}")
    told = run_command("preview", *flags, *options)
    assert "5 of 8 photos at 32 pixels, each with 3 augmented versions" in told.stdout
    page = (tmp_path / "run" / "preview" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 5 * 4
    assert "photos/rare.png" in page
    assert "--rotation" in page
    assert "damaged.png" not in page


def test_photos_that_cannot_be_read_are_named(tmp_path):
    flags = make_photos(tmp_path, count=0)
    (tmp_path / "photos" / "rare.png").write_bytes(b"nothing")
    told = run_command("preview", *flags, f"--workdir={tmp_path / 'run'}", code=2).stderr
    assert "photos of" in told
    assert "none of 2 is" in told
    assert not (tmp_path / "run" / "preview").exists()


@pytest.mark.parametrize("flag", ["--shown=0", "--versions=100", "--rotation=-1"])
def test_values_out_of_range_are_refused(tmp_path, flag):
    told = run_command("preview", "--smoke", flag, f"--workdir={tmp_path}", code=2).stderr
    assert flag.split("=")[0] in told
