"""Writes more than 200 photos of every kind of damage and oddity into a folder, with what should be found in each."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

Array = np.ndarray
Transpose = Image.Transpose
# What turns an upright picture into the one stored under each EXIF orientation.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


class Expected(NamedTuple):
    """What an audit should say about a file.

    Attributes:
        name: the file's name in the folder.
        kinds: `PhotoError` kinds that are right; empty for a photo that must be readable, `("any",)` for one
            that may be either (flipped bytes that no checksum covers).
        upright: uint8[H, W, 3], the photo it must decode to, or None.
        tolerance: largest mean absolute difference from `upright`, 0 for lossless files.
        findings: remarks that `inspect` must make, in its order.
    """

    name: str
    kinds: tuple[str, ...] = ()
    upright: Array | None = None
    tolerance: float = 0.0
    findings: tuple[str, ...] = ()


def scene(seed: int = 0, height: int = 48, width: int = 72) -> Array:
    """A smooth picture without symmetry: a dark spot off the middle of a slope. uint8[height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    cy, cx, size = rng.uniform(0.25, 0.45, 3)
    spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.1 * size))
    wave = np.sin(x * rng.uniform(3, 9) + y * rng.uniform(3, 9))
    red = 225 - 120 * spot - 40 * x + 12 * wave
    return np.stack([red, red - 40 - 20 * y, red - 70 + 15 * wave], axis=2).clip(0, 255).astype(np.uint8)


def encoded(picture: Array | Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture in a format."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand: what Pillow does not write. `rows` is unfiltered pixels, row by row."""
    stride = len(rows) // height if height and rows else 0
    raw = b"".join(b"\0" + rows[n * stride : (n + 1) * stride] for n in range(height if rows else 0))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [
        png_chunk(b"IHDR", header),
        extra,
        png_chunk(b"IDAT", zlib.compress(raw)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def write(folder: Path, seed: int = 0) -> list[Expected]:
    """Writes the files and returns what to expect of each."""
    rng = np.random.default_rng(seed)
    expected: list[Expected] = []

    def add(name: str, data: bytes | None, *kinds: str, **fields: object) -> None:
        if data is not None:
            (folder / name).write_bytes(data)
        expected.append(Expected(name, kinds, **fields))

    for part in (
        _truncated,
        _not_photos,
        _bombs,
        _unusual_pixels,
        _frames,
        _orientations,
        _metadata,
        _flipped,
    ):
        part(add, rng)
    _not_files(add, folder)
    return expected


Add = Callable[..., None]


def _truncated(add: Add, rng: np.random.Generator) -> None:
    kinds = {
        "baseline.jpg": ("JPEG", {"quality": 90}),
        "progressive.jpg": ("JPEG", {"quality": 90, "progressive": True}),
        "plain.png": ("PNG", {}),
        "lossy.webp": ("WEBP", {}),
        "lossless.webp": ("WEBP", {"lossless": True}),
        "plain.gif": ("GIF", {}),
        "plain.bmp": ("BMP", {}),
        "raw.tif": ("TIFF", {}),
        "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    }
    for name, (kind, options) in kinds.items():
        picture = scene(int(rng.integers(1 << 30)))
        data = encoded(picture, kind, **options)
        for percent in (8, 15, 30, 45, 60, 75, 85, 92, 97):
            add(f"cut_{percent:02d}_{name}", data[: len(data) * percent // 100], "truncated")
    whole = encoded(scene(3), "JPEG", quality=90)
    add("cut_last_byte.jpg", whole[:-1], "truncated")
    add("cut_last_byte.png", encoded(scene(3), "PNG")[:-1], "truncated")
    # A copy that was cut short on a disk that had reserved the whole length.
    add("tail_of_zeros.jpg", whole[: len(whole) * 3 // 4] + bytes(len(whole) // 4), "truncated")


def _not_photos(add: Add, rng: np.random.Generator) -> None:
    add("empty.jpg", b"", "empty")
    add("zeros.png", bytes(5000), "not_a_photo")
    for number in range(8):
        add(f"random_{number}.jpg", rng.bytes(3000), "not_a_photo")
    texts = {
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.png": b'\xef\xbb\xbf<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "answer.webp": b'{"error": "not found"}',
        "table.tif": b"image,label\na.jpg,nevus\n",
        "letter.bmp": b"BMW is not a bitmap, although it begins like one",
    }
    for name, data in texts.items():
        add(name, data, "not_a_photo")
    other = {
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(40),
        "new.avif": b"\0\0\0\x18ftypavif" + bytes(40),
        "film.jpg": b"\0\0\0\x18ftypmp42" + bytes(40),
        "scan.dcm": bytes(128) + b"DICM" + bytes(40),
        "old.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "newer.jxl": b"\xff\x0a" + bytes(40),
        "big.tif": b"II+\0" + bytes(40),
        "layers.psd": b"8BPS\0\1" + bytes(40),
        "article.pdf": b"%PDF-1.7\n",
        "many.zip": b"PK\3\4" + bytes(40),
    }
    for name, data in other.items():
        add(name, data, "unsupported")
    add("1x1.png", encoded(scene()[:1, :1], "PNG"), "too_small")
    add("7x100.jpg", encoded(scene(1, 100, 7), "JPEG"), "too_small")
    add("no_picture.jpg", b"\xff\xd8\xff\xd9" + bytes(20), "damaged")
    add("no_size.png", png(0, 0, 8, 2, b""), "damaged")


def _bombs(add: Add, rng: np.random.Generator) -> None:
    add("bomb.png", png(100_000, 100_000, 8, 2, b""), "too_large")
    jpeg = bytearray(encoded(scene(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    add("bomb.jpg", bytes(jpeg), "too_large")
    gif = bytearray(encoded(scene(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    add("bomb.gif", bytes(gif), "too_large")
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    add("bomb.webp", b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp, "too_large")
    bmp = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54, 0, 54, 40, 90_000, 90_000, 1, 24, 1, 0, 0, 0, 0, 0)
    add("bomb.bmp", bmp, "too_large")
    fields = [(256, 4, 1, 90_000), (257, 4, 1, 90_000), (273, 4, 1, 8), (279, 4, 1, 10)]
    tiff = b"II*\0" + struct.pack("<IH", 8, len(fields)) + b"".join(struct.pack("<HHII", *f) for f in fields)
    add("bomb.tif", tiff + bytes(4), "too_large")


def _unusual_pixels(add: Add, rng: np.random.Generator) -> None:
    picture = scene(11)
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    height, width = grey.shape
    names = [("PNG", "as.jpg"), ("WEBP", "as.png"), ("GIF", "as.bmp"), ("BMP", "as.gif"), ("TIFF", "as.webp")]
    for kind, name in names:
        options = {"lossless": True} if kind == "WEBP" else {}
        findings = ("wrong extension", "palette") if kind == "GIF" else ("wrong extension",)
        tolerance = 6.0 if kind == "GIF" else 0.0
        data = encoded(picture, kind, **options)
        add(f"{kind.lower()}_{name}", data, upright=picture, tolerance=tolerance, findings=findings)
    add(
        "jpeg_as.tif", encoded(picture, "JPEG"), upright=picture, tolerance=3.0, findings=("wrong extension",)
    )
    cmyk = Image.fromarray(picture).convert("CMYK")
    add("cmyk.jpg", encoded(cmyk, "JPEG", quality=95), upright=picture, tolerance=3.0, findings=("CMYK",))
    add("cmyk.tif", encoded(cmyk, "TIFF"), upright=picture, tolerance=1.0, findings=("CMYK",))
    wide = grey.astype(np.uint16) * 257
    grey16 = ("16-bit", "greyscale")
    add("grey16.png", encoded(Image.fromarray(wide), "PNG"), upright=as_rgb, findings=grey16)
    add("grey16.tif", encoded(Image.fromarray(wide), "TIFF"), upright=as_rgb, findings=grey16)
    rgb16 = (picture.astype(">u2") * 257).tobytes()
    add("rgb16.png", png(width, height, 16, 2, rgb16), upright=picture, findings=("16-bit",))
    clear16 = png(width, height, 16, 2, rgb16, extra=png_chunk(b"tRNS", struct.pack(">HHH", 65535, 7, 300)))
    add("rgb16_transparent_colour.png", clear16, upright=picture, findings=("16-bit",))
    add("float.tif", encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"), "unsupported")
    add("lab.tif", encoded(Image.new("LAB", (40, 30)), "TIFF"), "unsupported")
    alpha = np.full((height, width, 1), 255, np.uint8)
    opaque = np.concatenate([picture, alpha], axis=2)
    half = opaque.copy()
    half[: height // 2, :, 3] = 0
    on_white = picture.copy()
    on_white[: height // 2] = 255
    for name, kind in (("alpha.png", "PNG"), ("alpha.webp", "WEBP"), ("alpha.tif", "TIFF")):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        add(f"half_{name}", encoded(half, kind, **options), upright=on_white, findings=("alpha",))
    add("opaque_alpha.png", encoded(opaque, "PNG"), upright=picture, findings=("alpha",))
    grey_alpha = Image.fromarray(half).convert("LA")
    white_top = as_rgb.copy()
    white_top[: height // 2] = 255
    add("grey_alpha.png", encoded(grey_alpha, "PNG"), upright=white_top, findings=("alpha", "greyscale"))
    palette = Image.fromarray(picture).quantize(16)
    as_quantized = np.asarray(palette.convert("RGB"))
    add("palette.png", encoded(palette, "PNG"), upright=as_quantized, findings=("palette",))
    add("palette.gif", encoded(palette, "GIF"), upright=as_quantized, findings=("palette",))
    clear = np.where((np.asarray(palette) == 3)[:, :, None], np.uint8(255), as_quantized)
    transparent = ("palette", "alpha")
    add("clear_palette.png", encoded(palette, "PNG", transparency=3), upright=clear, findings=transparent)
    soft = bytes([0 if n == 3 else 255 for n in range(16)])
    add("soft_palette.png", encoded(palette, "PNG", transparency=soft), upright=clear, findings=transparent)
    add("grey.jpg", encoded(grey, "JPEG"), upright=as_rgb, tolerance=3.0, findings=("greyscale",))
    add("grey.png", encoded(grey, "PNG"), upright=as_rgb, findings=("greyscale",))
    black = np.repeat(((grey > 128) * np.uint8(255))[:, :, None], 3, axis=2)
    add("1bit.png", encoded(Image.fromarray(grey > 128), "PNG"), upright=black, findings=("greyscale",))


def _frames(add: Add, rng: np.random.Generator) -> None:
    picture, later = scene(21), [Image.fromarray(scene(n)) for n in (22, 23)]
    several: dict[str, object] = {"save_all": True, "append_images": later}
    add("animated.png", encoded(picture, "PNG", **several), upright=picture, findings=("animated",))
    moving = encoded(picture, "WEBP", lossless=True, **several)
    # Frames of an animated WebP are laid over each other, so it always has an alpha channel.
    add("animated.webp", moving, upright=picture, findings=("alpha", "animated"))
    moving = encoded(picture, "GIF", **several)
    found = ("palette", "animated")
    add("animated.gif", moving, upright=picture, tolerance=6.0, findings=found)
    cut = moving[: len(moving) * 9 // 10]
    found = (*found, "damaged GIF blocks after the first frame")
    add("animated_cut_late.gif", cut, upright=picture, tolerance=6.0, findings=found)
    add("pages.tif", encoded(picture, "TIFF", **several), upright=picture, findings=("animated",))


def _orientations(add: Add, rng: np.random.Generator) -> None:
    upright = scene(31)
    for orientation, change in STORED.items():
        stored = Image.fromarray(upright)
        stored = stored if change is None else stored.transpose(change)
        findings = () if orientation == 1 else ("rotated by EXIF",)
        for kind, name in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
            options: dict[str, object] = {"exif": exif(orientation)}
            options |= {"lossless": True} if kind == "WEBP" else {}
            if kind == "TIFF":
                options = {"tiffinfo": {0x0112: orientation}}
            tolerance = 3.0 if kind == "JPEG" else 0.0
            data = encoded(stored, kind, **options)
            name = f"orientation_{orientation}.{name}"
            add(name, data, upright=upright, tolerance=tolerance, findings=findings)


def _metadata(add: Add, rng: np.random.Generator) -> None:
    picture = scene(41)
    damaged = ("damaged EXIF",)
    good = exif(6)
    blocks = {
        "cut": good[:14],
        "nonsense": b"Exif\0\0" + bytes(range(60, 90)),
        "offset": b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(20),
        "endless": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30),
        "orientation_77": exif(77),
        "value_behind_end": b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\xff\xff\xff\x0f\xff\xff\xff\x0f\0\0\0\0",
    }
    for name, block in blocks.items():
        data = encoded(picture, "JPEG", exif=block)
        add(f"exif_{name}.jpg", data, upright=picture, tolerance=3.0, findings=damaged)
    webp = encoded(picture, "WEBP", lossless=True, exif=blocks["nonsense"])
    add("exif_nonsense.webp", webp, upright=picture, findings=damaged)
    profile = b"\0" * 36 + b"acsp" + rng.bytes(300_000)
    foreign = ("colour profile is not sRGB",)
    jpeg = encoded(picture, "JPEG", icc_profile=profile)
    add("huge_profile.jpg", jpeg, upright=picture, tolerance=3.0, findings=foreign)
    add(
        "huge_profile.png",
        encoded(picture, "PNG", icc_profile=profile * 8),
        upright=picture,
        findings=foreign,
    )
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    height, width = picture.shape[:2]
    add("text_bomb.png", png(width, height, 8, 2, picture.tobytes(), extra=text), upright=picture)
    wrong = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    wrong[-1] ^= 1
    data = png(width, height, 8, 2, picture.tobytes(), extra=bytes(wrong))
    add("wrong_checksum_beside.png", data, upright=picture, findings=("damaged PNG chunk 'tEXt'",))
    animation = png_chunk(b"acTL", struct.pack(">II", 0, 0)) * 2
    add("broken_animation.png", png(width, height, 8, 2, picture.tobytes(), extra=animation), upright=picture)


def _flipped(add: Add, rng: np.random.Generator) -> None:
    formats = [
        ("PNG", "png", 8),
        ("JPEG", "jpg", 10),
        ("WEBP", "webp", 4),
        ("GIF", "gif", 4),
        ("TIFF", "tif", 4),
    ]
    for kind, name, number in formats:
        for n in range(number):
            data = bytearray(encoded(scene(50 + n), kind))
            for position in rng.integers(len(data) // 3, len(data) * 2 // 3, 5):
                data[position] ^= int(rng.integers(1, 256))
            add(f"flipped_{n}.{name}", bytes(data), "damaged" if kind == "PNG" else "any")
    for name in (b"IHDR", b"IEND"):
        data = bytearray(encoded(scene(61), "PNG"))
        start = data.index(name)
        (length,) = struct.unpack_from(">I", data, start - 4)
        data[start + 4 + length] ^= 1
        add(f"wrong_checksum_{name.decode()}.png", bytes(data), "damaged")


def _not_files(add: Add, folder: Path) -> None:
    (folder / "folder.jpg").mkdir()
    add("folder.jpg", None, "directory")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    add("dangling.jpg", None, "missing")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    add("circle.jpg", None, "missing")
    add("absent.jpg", None, "missing")
    add("n" * 300 + ".jpg", None, "unreadable")
    add("null\0inside.jpg", None, "missing")
    os.mkfifo(folder / "pipe.jpg")
    add("pipe.jpg", None, "not_a_file")
