"""Decodes any common photo to upright RGB, or gives one clear reason why not.

`decode` gives uint8[H, W, 3] in 0..255, sRGB by assumption, turned the way the camera was held. What it
decides:

- **Orientation**: EXIF orientations 2 to 8 are applied (JPEG, PNG, WebP, TIFF).
- **Alpha** (RGBA, LA, palette or colour-key transparency): laid on white, as a viewer shows it. A fully
  opaque alpha channel, as in PAD-UFES-20's PNG files, therefore changes nothing.
- **16 bits per channel**: the upper 8 bits are kept, so the full range is scaled and nothing is clipped. 32-bit
  and floating-point pixels are refused: their range cannot be known.
- **CMYK and YCCK**: converted by the plain formula, Adobe's inverted storage taken into account.
- **Animations and multi-page files**: the first frame.
- **ICC profile**: not applied; the numbers are used as stored, as the public data sets and the usual training
  pipelines do. `inspect` reports a profile that is not sRGB.
- **JPEG with `target`**: decoded straight at 1/2, 1/4 or 1/8 size as long as both sides stay at least
  `target` (twice as fast from 600 x 450 to 224, and 0.3 grey levels off on average). The whole file is still
  read, so truncation is noticed.

Everything that goes wrong is a `PhotoError`. Nothing here sets or reads global state (of Pillow or of
`warnings`), so all functions may run in many threads at once. (For a damaged TIFF the C library below Pillow
may write a line to the standard error stream; nothing short of a process of its own can stop that.)

>>> import io
>>> import numpy as np
>>> from PIL import Image, JpegImagePlugin
>>> file = io.BytesIO()
>>> Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(file, "JPEG")
>>> photo = decode(file.getvalue())
>>> photo.shape, photo.dtype.name, bool(photo[0, 0, 0] > 240 > 15 > photo[0, 0, 1])
((30, 40, 3), 'uint8', True)
>>> inspect(file.getvalue()).findings
('CMYK',)
>>> fit(photo, 24, mode="crop").shape
(24, 24, 3)
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from skinjax.data.images.containers import open_photo
from skinjax.data.images.headers import FORMATS, PhotoError, Stored
from skinjax.data.spelling import name_key

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "PhotoError",
    "PhotoFacts",
    "decode",
    "fit",
    "inspect",
    "read_bytes",
]

#: Photos of more pixels are refused before memory is taken (240 MB as RGB). Below Pillow's own warning limit.
MAX_PIXELS = 80_000_000
#: A side of fewer pixels holds nothing to diagnose.
MIN_SIDE = 8
#: Files of more bytes are refused unread: 80 megapixels of uncompressed 16-bit RGBA, and some room.
MAX_BYTES = 768 << 20

Source: TypeAlias = str | os.PathLike[str] | bytes
Photo: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class PhotoFacts:
    """The facts of a photo that are known without decoding its pixels.

    Attributes:
      width: Columns in pixels after the EXIF rotation, as `decode` gives them.
      height: Rows in pixels after the EXIF rotation.
      format: `JPEG`, `PNG`, `WEBP`, `GIF`, `BMP`, `TIFF`, `HEIC` or `DICOM`, by the bytes and not by the name.
      mode: Pillow's name for the stored pixels, such as `RGB`, `L`, `P`, `CMYK` or `I;16`.
      bits: Bits per channel, as stored.
      bytes: Length of the file.
      orientation: EXIF orientation, 1 (upright) to 8.
      frames: Animation frames or pages; the first one is the photo.
      findings: What is out of the ordinary and read right all the same, in a fixed order, out of `wrong
        extension`, `CMYK`, `16-bit`, `palette`, `alpha`, `greyscale`, `animated`, `rotated by EXIF`,
        `colour profile is not sRGB`, `damaged <part>`.
    """

    width: int
    height: int
    format: str
    mode: str
    bits: int
    bytes: int
    orientation: int
    frames: int
    findings: tuple[str, ...]


def read_bytes(source: Source) -> bytes:
    """Reads a photo's file whole.

    Args:
      source: A path; bytes are returned as they are.

    Returns:
      The file's bytes, at least one.

    Raises:
      PhotoError: The file is missing, a folder, not a regular file, unreadable, empty, or above 768 MiB.
    """
    if isinstance(source, bytes):
        if not source:
            raise PhotoError("empty", "has no bytes in it")
        return source
    try:
        found = os.stat(source)
        if stat.S_ISDIR(found.st_mode):
            raise PhotoError("directory", "is a folder, not a file", source)
        # Opening a pipe or a device could wait for ever.
        if not stat.S_ISREG(found.st_mode):
            raise PhotoError("not_a_file", "is not a regular file", source)
        if found.st_size > MAX_BYTES:
            raise PhotoError("too_large", f"has {found.st_size} bytes; at most {MAX_BYTES} are read", source)
        data = Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        link = os.path.islink(source)
        reason = "is a link to a file that does not exist" if link else f"does not exist{_near(source)}"
        raise PhotoError("missing", reason, source) from None
    except PermissionError:
        raise PhotoError("unreadable", "may not be read (no permission)", source) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PhotoError("missing", "is a link that leads back to itself", source) from None
        raise PhotoError("unreadable", f"cannot be read ({error.strerror or error})", source) from None
    except PhotoError:
        raise
    except ValueError:  # a null character in the name
        raise PhotoError("missing", "is not a possible file name", source) from None
    except MemoryError:
        raise PhotoError("too_large", "does not fit into memory", source) from None
    if not data:
        raise PhotoError("empty", "has no bytes in it", source)
    return data


def decode(source: Source, max_pixels: int = MAX_PIXELS, *, target: int | None = None) -> Photo:
    """Decodes one photo to upright RGB.

    Args:
      source: A path, or the file's bytes.
      max_pixels: Photos of more pixels are refused before decoding.
      target: The side in pixels the photo will be resized to; a JPEG may then come smaller than it is
        stored, with neither side below `target` (unless it was). None decodes at full size.

    Returns:
      uint8[H, W, 3], red, green and blue in 0..255.

    Raises:
      PhotoError: The photo cannot be used; `.kind` and `.reason` say why. No other exception comes out of a
        photo, and no warning.
      ValueError: `max_pixels` or `target` is not positive.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
    if target is not None and target < 1:
        raise ValueError(f"target must be at least 1 pixel, got {target}")
    data = read_bytes(source)
    try:
        stored = _open(data, max_pixels)
        if target is not None and isinstance(stored.image, JpegImagePlugin.JpegImageFile):
            stored.image.draft(None, (target, target))
        return _upright(_to_rgb(stored.image), stored.orientation)
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise _photo_error(error, "" if isinstance(source, bytes) else source) from None


def inspect(source: Source, name: str = "") -> PhotoFacts:
    """Reads a photo's facts from its header; the pixels may still turn out to be damaged.

    Args:
      source: A path, or the file's bytes.
      name: The file's name where `source` is bytes, to judge its extension by.

    Returns:
      The facts.

    Raises:
      PhotoError: As `decode`, as far as the header shows it.
    """
    name = name if isinstance(source, bytes) else os.fspath(source)
    data = read_bytes(source)
    try:
        stored = _open(data, MAX_PIXELS)
    except Exception as error:  # as in `decode`
        raise _photo_error(error, name) from None
    mode, kind = stored.image.mode, stored.image.format or ""
    extension = os.path.splitext(name)[1].lower()
    # Profiles name themselves in ASCII (version 2) or in UTF-16 (version 4).
    srgb = any(word in stored.profile for word in (b"sRGB", "sRGB".encode("utf-16-be")))
    signs = {
        "wrong extension": bool(extension) and extension not in FORMATS[kind],
        "CMYK": mode == "CMYK",
        "16-bit": stored.bits == 16,
        "palette": mode in ("P", "PA"),
        "alpha": mode != "LAB" and ("A" in mode or "a" in mode or "transparency" in stored.image.info),
        "greyscale": mode in ("1", "L", "LA") or mode.startswith("I;16"),
        "animated": stored.frames > 1,
        "rotated by EXIF": stored.orientation != 1,
        "colour profile is not sRGB": bool(stored.profile) and not srgb,
        f"damaged {stored.damage}": bool(stored.damage),
    }
    width, height = stored.image.size
    turned = stored.orientation >= 5
    return PhotoFacts(
        width=height if turned else width,
        height=width if turned else height,
        format=kind,
        mode=mode,
        bits=stored.bits,
        bytes=len(data),
        orientation=stored.orientation,
        frames=stored.frames,
        findings=tuple(sign for sign, seen in signs.items() if seen),
    )


def fit(image: Photo, size: int, mode: Literal["stretch", "crop", "pad"] = "stretch") -> Photo:
    """Resizes a photo to a square, by Pillow's bilinear filter with antialiasing.

    Args:
      image: uint8[H, W, 3].
      size: Side of the result in pixels.
      mode: `stretch` changes the proportions; `crop` keeps the largest square in the middle; `pad` keeps
        all of the photo and adds black bars, the odd pixel on the right or at the bottom.

    Returns:
      uint8[size, size, 3]. The same input gives the same bytes.

    Raises:
      ValueError: An argument has the wrong type, shape or value.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image must be uint8[H, W, 3], got {found}")
    if size < 1 or 0 in image.shape:
        raise ValueError(
            f"size must be at least 1 and image must not be empty, got {size} and {list(image.shape)}"
        )
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    if mode == "stretch":
        return np.array(picture.resize((size, size), Image.Resampling.BILINEAR))
    if mode == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))
    if mode == "pad":
        scale = size / max(height, width)
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        square = np.zeros((size, size, 3), np.uint8)
        left, top = (size - columns) // 2, (size - rows) // 2
        resized = picture.resize((columns, rows), Image.Resampling.BILINEAR)
        square[top : top + rows, left : left + columns] = np.asarray(resized)
        return square
    raise ValueError(f"mode must be 'stretch', 'crop' or 'pad', got {mode!r}")


def _near(path: str | os.PathLike[str]) -> str:
    """Returns a hint where a file or folder on the way is there in other letter case or Unicode form."""
    missing = Path(path)
    try:
        while not missing.parent.exists() and missing.parent != missing:
            missing = missing.parent
        folder = os.path.abspath(missing.parent)
        there = _names(folder, os.stat(folder).st_mtime_ns).get(name_key(missing.name))
    except OSError:
        return ""
    if there is None or there == missing.name:
        return ""
    form = unicodedata.normalize("NFC", there) == unicodedata.normalize("NFC", missing.name)
    how = f"the same name in another Unicode form, {there!a}" if form else f"{there!r}"
    return f", but there is {how}"


@functools.lru_cache(maxsize=4)
def _names(folder: str, changed: int) -> dict[str, str]:
    """Names in a folder by their key; listed once for all photos that are missing in it."""
    return {name_key(name): name for name in os.listdir(folder)}


def _open(data: bytes, max_pixels: int) -> Stored:
    # Pillow has a limit of its own, and warns where that is lower than the caller's.
    stored = open_photo(data, min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels))
    if min(stored.image.size) < MIN_SIDE:
        width, height = stored.image.size
        raise PhotoError("too_small", f"has {width} x {height} pixels; a side needs at least {MIN_SIDE}")
    return stored


def _photo_error(error: Exception, name: str | os.PathLike[str]) -> PhotoError:
    """Gives any exception of a decoder one of the reasons."""
    if isinstance(error, PhotoError):
        return PhotoError(error.kind, error.reason, name)
    if isinstance(error, MemoryError):
        return PhotoError("too_large", "does not fit into memory", name)
    text = " ".join(str(error).split())[:120] or type(error).__name__
    # Pillow wraps these two where it reads behind the end of a header.
    past_end = isinstance(error.__cause__ or error, IndexError | struct.error)
    if past_end or "truncated" in text.lower():
        return PhotoError("truncated", f"ends early: {text}", name)
    return PhotoError("damaged", f"cannot be decoded: {text}", name)


def _to_rgb(image: Image.Image) -> Photo:
    image.load()
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise PhotoError("unsupported", "has 32-bit pixels of unknown range: save it with 8 or 16 bits")
    if image.mode == "LAB":
        raise PhotoError("unsupported", "has Lab colours, which are not read here: save it as RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _upright(pixels: Photo, orientation: int) -> Photo:
    """Undoes the EXIF orientation: the stored first row and column are where its eight values say."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
