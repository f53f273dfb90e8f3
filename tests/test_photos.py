"""Photos: every oddity read right, every damage named, nothing else let through."""

import importlib.util
import io
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from skinjax.data.photos import MAX_PIXELS, PhotoError, decode, fit, inspect

_spec = importlib.util.spec_from_file_location("damage", Path(__file__).with_name("damage.py"))
damage = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(damage)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged")
    return path, damage.write(path)


def test_two_hundred_files_of_every_damage(folder):
    path, cases = folder
    assert len(cases) == len({case.name for case in cases}) >= 200
    wrong = []
    for case in cases:
        try:
            photo = decode(path / case.name)
        except PhotoError as error:
            right = "any" in case.kinds or error.kind in case.kinds
            named = error.reason and case.name in str(error) and "\n" not in error.reason
            if not (right and named):
                wrong.append((case.name, case.kinds, error.kind, str(error)))
            continue
        if case.kinds and "any" not in case.kinds:
            wrong.append((case.name, case.kinds, "decoded"))
        if case.upright is not None:
            assert photo.shape == case.upright.shape, case.name
            off = np.abs(photo.astype(int) - case.upright).mean()
            if off > case.tolerance:
                wrong.append((case.name, f"mean difference {off:.2f}"))
            facts = inspect(path / case.name)
            if facts.findings != case.findings:
                wrong.append((case.name, case.findings, facts.findings))
            assert (facts.height, facts.width) == photo.shape[:2], case.name
    assert wrong == []


def test_orientations_agree_with_pillow():
    picture = damage.scene(5)
    for orientation in range(1, 9):
        for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
            data = damage.encoded(picture, kind, exif=damage.exif(orientation))
            with Image.open(io.BytesIO(data)) as image:
                wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            np.testing.assert_array_equal(decode(data), wanted)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
    ],
)
def test_any_bytes_give_a_photo_or_a_photo_error(kind, options):
    """Cut anywhere, and flipped anywhere, the header most of all; warnings are errors here."""
    whole = damage.encoded(damage.scene(7, 24, 20), kind, **options)
    rng = random.Random(kind)
    for attempt in range(500):
        data = bytearray(whole)
        if attempt % 3 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(attempt % 3 * 2):
            data[rng.randrange(len(data) if attempt % 2 else min(150, len(data)))] = rng.randrange(256)
        try:
            photo = decode(bytes(data))
        except PhotoError:
            continue
        assert photo.dtype == np.uint8
        assert photo.shape[2] == 3


def test_every_cut_of_a_jpeg_is_noticed():
    picture = damage.scene(8, 24, 20)
    for options in ({}, {"progressive": True}):
        whole = damage.encoded(picture, "JPEG", **options)
        for end in range(len(whole)):
            with pytest.raises(PhotoError):
                decode(whole[:end])


def test_limits():
    data = damage.encoded(damage.scene(0, 40, 50), "PNG")
    assert decode(data, max_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(PhotoError, match="50 x 40 pixels; at most 1999") as caught:
        decode(data, max_pixels=1999)
    assert caught.value.kind == "too_large"
    with pytest.raises(ValueError, match="max_pixels must be at least 1"):
        decode(data, max_pixels=0)
    with pytest.raises(ValueError, match="target must be at least 1"):
        decode(data, target=0)
    assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS  # else Pillow would warn first


def test_target_keeps_both_sides_and_the_look():
    picture = np.asarray(Image.fromarray(damage.scene(9)).resize((600, 450), Image.Resampling.BICUBIC))
    data = damage.encoded(picture, "JPEG", quality=95)
    whole = decode(data)
    for target, shape in (
        (56, (57, 75)),
        (57, (113, 150)),
        (112, (113, 150)),
        (224, (225, 300)),
        (226, (450, 600)),
    ):
        small = decode(data, target=target)
        assert small.shape[:2] == shape
        difference = fit(small, target).astype(int) - fit(whole, target)
        assert np.abs(difference).mean() < 1.0
    with pytest.raises(PhotoError):
        decode(data[:-500], target=56)  # the end is read although little of it is needed


def test_missing_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(damage.encoded(damage.scene(), "JPEG"))

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PhotoError, match="no permission") as caught:
        decode(path)
    assert caught.value.kind == "unreadable"


def test_out_of_memory_is_a_photo_error(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(PhotoError, match="does not fit into memory"):
        decode(damage.encoded(damage.scene(), "BMP"))


def test_threads_share_nothing():
    photos = [damage.scene(n) for n in range(8)]
    files = [damage.encoded(photo, "PNG", exif=damage.exif(1)) for photo in photos]
    files += [b"junk", damage.encoded(photos[0], "JPEG", exif=b"Exif\0\0" + b"?" * 30)]
    before = warnings.filters[:]

    def attempt(n):
        try:
            return decode(files[n % len(files)])
        except PhotoError as error:
            return error.kind

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(400)))
    for n, result in enumerate(results):
        if n % len(files) < 8:
            np.testing.assert_array_equal(result, photos[n % len(files)])
        elif n % len(files) == 8:
            assert result == "not_a_photo"
    assert warnings.filters == before
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_the_error_travels():
    error = pickle.loads(pickle.dumps(PhotoError("missing", "does not exist", "a/b.jpg")))
    assert (error.kind, error.reason, error.source, str(error)) == (
        "missing",
        "does not exist",
        "a/b.jpg",
        "a/b.jpg: does not exist",
    )


def test_fit():
    picture = damage.scene(1, 30, 60)
    np.testing.assert_array_equal(fit(picture[:, :30], 30), picture[:, :30])
    np.testing.assert_array_equal(fit(picture, 30, mode="crop"), picture[:, 15:45])
    padded = fit(picture, 60, mode="pad")
    np.testing.assert_array_equal(padded[15:45], picture)
    assert not padded[:15].any()
    assert not padded[45:].any()
    # Antialiased: a fine checkerboard becomes even grey instead of black or white.
    board = np.indices((64, 64)).sum(0) % 2 * 255
    grey = fit(np.repeat(board[:, :, None], 3, 2).astype(np.uint8), 8)
    assert grey[1:-1, 1:-1].min() >= 125
    assert grey[1:-1, 1:-1].max() <= 130
    for size in (7, 8, 33):
        for mode in ("stretch", "crop", "pad"):
            assert fit(picture, size, mode=mode).shape == (size, size, 3)
    with pytest.raises(ValueError, match="mode must be"):
        fit(picture, 8, mode="zoom")
    with pytest.raises(ValueError, match="image must be uint8"):
        fit(picture.astype(float), 8)
    with pytest.raises(ValueError, match="size must be"):
        fit(picture, 0)


def test_real_photos(shared_data):
    """PAD-UFES-20's opaque RGBA files decode to their colour channels, HAM10000's to what Pillow reads."""
    pad = shared_data / "pad_ufes_20"
    files = sorted((pad / "images").glob("*.png"))[::60] + sorted((pad / "images_native").glob("*.png"))[::6]
    assert len(files) >= 12
    for file in files:
        with Image.open(file) as image:
            np.testing.assert_array_equal(decode(file), np.asarray(image.convert("RGBA"))[:, :, :3])
    for file in sorted((shared_data / "ham10000" / "images").glob("*.jpg"))[::400]:
        with Image.open(file) as image:
            np.testing.assert_array_equal(decode(file), np.asarray(image.convert("RGB")))
        assert inspect(file).findings == ()
