"""Photos: every oddity read right, every damage named, nothing else let through."""

import io
import pickle
import random
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageFile, ImageOps, WebPImagePlugin

from skinjax.data.images.photos import MAX_PIXELS, PhotoError, decode, fit, inspect
from tests.support import damage


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


def test_a_doubled_exif_mark_turns_the_photo_as_in_pillow():
    picture = damage.scene(6)
    doubled = b"Exif\0\0" + damage.exif(6)
    for kind in ("JPEG", "WEBP"):
        data = damage.encoded(picture, kind, exif=doubled)
        with Image.open(io.BytesIO(data)) as image:
            wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert wanted.shape[:2] == picture.shape[1::-1]
        np.testing.assert_array_equal(decode(data), wanted)
        assert inspect(data).findings == ("rotated by EXIF",)


@pytest.mark.parametrize(
    "entries", [[(3, 1, 6)], [(3, 2, 6)], [(4, 1, 8)], [(1, 1, 6)], [(8, 1, 3)], [(9, 1, 5)]]
)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("marks", [0, 1, 2])
def test_unusual_exif_turns_the_photo_as_in_pillow(entries, times, marks):
    """Orientation of other types, as a list, standing twice with other values, behind no, one or two marks."""
    listed = entries + [(3, 1, 1)] * (times - 1)
    forms = {1: "Bxxx", 3: "Hxx", 4: "I", 8: "hxx", 9: "i"}
    block = b"II*\0" + struct.pack("<IH", 8, len(listed))
    for kind, number, value in listed:
        block += struct.pack("<HHI" + forms[kind], 0x0112, kind, number, value)
    block = b"Exif\0\0" * marks + block + bytes(4)
    for kind in ("JPEG", "PNG", "WEBP"):
        if kind == "JPEG" and marks == 0:
            continue
        data = damage.encoded(damage.scene(6), kind, exif=block)
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")  # Pillow's, of a list
            wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(decode(data), wanted)


def test_a_jpeg_cut_behind_its_thumbnail_is_truncated():
    """The end-of-image marker of the thumbnail in the header is not that of the photo."""
    thumbnail = b"Exif\0\0" + damage.encoded(damage.scene(1, 16, 16), "JPEG")
    whole = damage.encoded(damage.scene(2), "JPEG", exif=thumbnail)
    assert inspect(whole).findings == ("damaged EXIF",)
    for end in (len(whole) - 1, len(whole) - 50):
        for read in (decode, inspect):
            with pytest.raises(PhotoError, match="no end-of-image marker") as caught:
                read(whole[:end])
            assert caught.value.kind == "truncated"


def test_bombs_are_refused_before_pillow_takes_memory_for_them(monkeypatch):
    """Pillow takes memory for a canvas or a first frame as it opens these files; here it is not even asked."""

    def fail(*_):
        raise AssertionError("opened")

    for plugin in (WebPImagePlugin.WebPImageFile, GifImagePlugin.GifImageFile):
        monkeypatch.setattr(plugin, "_open", fail)
    side = 16383
    lossy = b"VP8 " + struct.pack("<I", 10) + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side)
    lossless = b"VP8L" + struct.pack("<IBI", 6, 0x2F, side - 1 | side - 1 << 14) + bytes(1)
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (side - 1).to_bytes(3, "little") * 2
    for body in (lossy, lossless, extended):
        data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
        with pytest.raises(PhotoError, match="claims 16383 x 16383 pixels") as caught:
            decode(data)
        assert caught.value.kind == "too_large"
    gif = bytearray(damage.encoded(damage.scene(), "GIF"))
    frame = gif.index(b",", 13 + 768)
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 40_000, 30_000)
    with pytest.raises(PhotoError, match="claims 40000 x 30000 pixels"):
        decode(bytes(gif))


def test_tiff_pages_are_counted_without_being_read():
    pages = [Image.fromarray(damage.scene(n, 20, 30)) for n in range(3)]
    data = bytearray(damage.encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert inspect(bytes(data)).frames == 3
    # The last page's directory is followed by the offset of the next one, 0 so far.
    offset = struct.unpack_from("<I", data, 4)[0]
    while offset:
        last = offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0]
        offset = struct.unpack_from("<I", data, last)[0]
    for following in (8, len(data) - 1):  # back to the first page; behind the end
        data[last : last + 4] = struct.pack("<I", following)
        facts = inspect(bytes(data))
        assert (facts.frames, facts.findings) == (3, ("animated", "damaged later TIFF pages"))
        np.testing.assert_array_equal(decode(bytes(data)), np.asarray(pages[0]))


def test_a_tiff_directory_that_pillow_would_warn_about_is_refused():
    whole = damage.encoded(damage.scene(3, 20, 30), "TIFF")
    (count,) = struct.unpack_from("<H", whole, 8)
    entries = {struct.unpack_from("<H", whole, place)[0]: place for place in range(10, 10 + 12 * count, 12)}
    large = len(whole) * 2 // 3
    for kind, reason, changes in (
        ("damaged", "has a list in its TIFF directory", {262: (3, 2, 0)}),
        ("truncated", "value of TIFF tag 258 lies behind the end", {258: (1, large, len(whole) // 2)}),
        ("damaged", "claims more in its TIFF directory", {258: (1, large, 0), 273: (1, large, 0)}),
    ):
        data = bytearray(whole)
        for tag, (type_, number, value) in changes.items():
            struct.pack_into("<HII", data, entries[tag] + 2, type_, number, value)
        with pytest.raises(PhotoError, match=reason) as caught:
            decode(bytes(data))
        assert caught.value.kind == kind


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
