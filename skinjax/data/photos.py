"""Photos in: any common file to upright RGB, or one clear reason why not.

`decode` gives uint8[H, W, 3] in 0..255, sRGB by assumption, turned the way the camera was held. What it
decides:

- **Orientation**: EXIF orientations 2 to 8 are applied (JPEG, PNG, WebP, TIFF).
- **Alpha** (RGBA, LA, palette or colour-key transparency): laid on white, as a viewer shows it. A fully
  opaque alpha channel, as in PAD-UFES-20's PNG files, therefore changes nothing.
- **16 bits a channel**: the upper 8 bits are kept, so the full range is scaled and nothing is clipped. 32-bit
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
>>> from PIL import Image
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
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from skinjax.data.containers import read_header
from skinjax.data.headers import FORMATS, Header, PhotoError

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

# The decoders are called by name. `PIL.Image.open` would try formats that are not read here, and would warn.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


@dataclass(frozen=True)
class PhotoFacts:
    """What is known of a photo without decoding its pixels.

    Attributes:
        width: columns in pixels after the EXIF rotation, as `decode` gives them.
        height: rows in pixels after the EXIF rotation.
        format: `JPEG`, `PNG`, `WEBP`, `GIF`, `BMP` or `TIFF`, by the bytes and not by the name.
        mode: Pillow's name for the stored pixels, such as `RGB`, `L`, `P`, `CMYK` or `I;16`.
        bits: bits a channel as stored.
        bytes: length of the file.
        orientation: EXIF orientation, 1 (upright) to 8.
        frames: animation frames or pages; the first one is the photo.
        findings: what is out of the ordinary and read right all the same, in a fixed order, out of `wrong
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
        source: a path; bytes are returned as they are.

    Returns:
        The file's bytes, at least one.

    Raises:
        PhotoError: the file is missing, a folder, not a regular file, unreadable, empty, or above 768 MiB.
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
        reason = "is a link to a file that does not exist" if link else "does not exist"
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
        source: a path, or the file's bytes.
        max_pixels: photos of more pixels are refused before decoding.
        target: the side in pixels the photo will be resized to; a JPEG may then come smaller than it is
            stored, with neither side below `target` (unless it was). None decodes at full size.

    Returns:
        uint8[H, W, 3], red, green and blue in 0..255.

    Raises:
        PhotoError: the photo cannot be used; `.kind` and `.reason` say why. No other exception comes out of a
            photo, and no warning.
        ValueError: `max_pixels` or `target` is not positive.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
    if target is not None and target < 1:
        raise ValueError(f"target must be at least 1 pixel, got {target}")
    name = "" if isinstance(source, bytes) else source
    header = _checked_header(read_bytes(source), name, max_pixels)
    image = _open(header, name)
    try:
        if target is not None and header.format == "JPEG":
            image.draft(None, (target, target))
        pixels = _to_rgb(image)
    except PhotoError as error:
        raise PhotoError(error.kind, error.reason, name) from None
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise _decoder_error(error, header.format, name) from None
    return _upright(pixels, header.orientation)


def inspect(source: Source, name: str = "") -> PhotoFacts:
    """Reads a photo's facts from its header; the pixels may still turn out to be damaged.

    Args:
        source: a path, or the file's bytes.
        name: the file's name where `source` is bytes, to judge its extension by.

    Returns:
        The facts.

    Raises:
        PhotoError: as `decode`, as far as the header shows it.
    """
    name = name if isinstance(source, bytes) else os.fspath(source)
    data = read_bytes(source)
    header = _checked_header(data, name, MAX_PIXELS)
    mode = _open(header, name)
    extension = os.path.splitext(name)[1].lower()
    # Profiles name themselves in ASCII (version 2) or in UTF-16 (version 4).
    srgb = any(word in header.profile for word in (b"sRGB", "sRGB".encode("utf-16-be")))
    has_alpha = "A" in mode.mode or "a" in mode.mode or "transparency" in mode.info
    signs = {
        "wrong extension": bool(extension) and extension not in FORMATS[header.format],
        "CMYK": mode.mode == "CMYK",
        "16-bit": header.bits == 16,
        "palette": mode.mode in ("P", "PA"),
        "alpha": has_alpha and mode.mode != "LAB",
        "greyscale": mode.mode in ("1", "L", "LA") or mode.mode.startswith("I;16"),
        "animated": header.frames > 1,
        "rotated by EXIF": header.orientation != 1,
        "colour profile is not sRGB": bool(header.profile) and not srgb,
        f"damaged {header.damage}": bool(header.damage),
    }
    turned = header.orientation >= 5
    return PhotoFacts(
        width=header.height if turned else header.width,
        height=header.width if turned else header.height,
        format=header.format,
        mode=mode.mode,
        bits=header.bits,
        bytes=len(data),
        orientation=header.orientation,
        frames=header.frames,
        findings=tuple(sign for sign, seen in signs.items() if seen),
    )


def fit(image: Photo, size: int, mode: Literal["stretch", "crop", "pad"] = "stretch") -> Photo:
    """Resizes a photo to a square, by Pillow's bilinear filter with antialiasing.

    Args:
        image: uint8[H, W, 3].
        size: side of the result in pixels.
        mode: `stretch` changes the proportions; `crop` keeps the largest square in the middle; `pad` keeps
            all of the photo and adds black bars, the odd pixel on the right or at the bottom.

    Returns:
        uint8[size, size, 3]. The same input gives the same bytes.

    Raises:
        ValueError: an argument of the wrong type, shape or value.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image must be uint8[H, W, 3], got {found}")
    if size < 1 or 0 in image.shape:
        raise ValueError(f"size must be at least 1 and the image not empty, got {size} and {image.shape}")
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


def _checked_header(data: bytes, name: str | os.PathLike[str], max_pixels: int) -> Header:
    try:
        header = read_header(data)
    except PhotoError as error:
        raise PhotoError(error.kind, error.reason, name) from None
    # Pillow holds GIF and TIFF to a limit of its own, which can be lower than the caller's.
    if header.format in ("GIF", "TIFF") and Image.MAX_IMAGE_PIXELS is not None:
        max_pixels = min(max_pixels, Image.MAX_IMAGE_PIXELS)
    shown = f"{header.width} x {header.height} pixels"
    if header.width * header.height > max_pixels:
        raise PhotoError("too_large", f"claims {shown}; at most {max_pixels} in all are decoded", name)
    if min(header.width, header.height) < MIN_SIDE:
        raise PhotoError("too_small", f"has {shown}; a side needs at least {MIN_SIDE}", name)
    return header


def _open(header: Header, name: str | os.PathLike[str]) -> ImageFile.ImageFile:
    """Starts Pillow's decoder; no pixels yet."""
    try:
        image = _DECODERS[header.format](io.BytesIO(header.payload))
        size = image.size
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise _decoder_error(error, header.format, name) from None
    turned = header.format == "TIFF" and size == (header.height, header.width)
    if size != (header.width, header.height) and not turned:
        raise PhotoError("damaged", f"gives two sizes: {header.width} x {header.height} and {size}", name)
    return image


def _decoder_error(error: Exception, kind: str, name: str | os.PathLike[str]) -> PhotoError:
    text = " ".join(str(error).split())[:120] or type(error).__name__
    if isinstance(error, MemoryError):
        return PhotoError("too_large", "does not fit into memory", name)
    if "truncated" in text.lower():
        return PhotoError("truncated", f"ends early: {text}", name)
    return PhotoError("damaged", f"cannot be decoded as {kind}: {text}", name)


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
