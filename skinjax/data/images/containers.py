"""Opens a photo's file with Pillow, and makes good what Pillow does not do.

Pillow finds size, mode, colour profile and EXIF, decodes, and notices truncation. What is left to do by hand:

- **JPEG**: the end-of-image marker, for a reason that says what is missing. Pillow would read the resolution
  from EXIF, and warn where that is damaged.
- **PNG**: checksums and the end chunk, which Pillow does not look at when it decodes; and the chunks that hold
  no pixels are kept from Pillow, which refuses a photo for a damaged comment, a long text or a large colour
  profile, and warns of a broken animation.
- **WebP**: its declared length and size. Pillow takes memory for the canvas as it opens the file.
- **GIF**: the size with its first frame, which Pillow takes memory for as it opens the file; frames, and
  damage behind the first one.
- **BMP**: nothing.
- **TIFF**: see `skinjax.data.images.tiff`; HEIC and DICOM, which Pillow does not read: `skinjax.data.images.extras`.

References:
  W3C PNG (third edition), RFC 9649 (WebP), GIF89a.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from skinjax.data.images.extras import open_dicom, open_heic
from skinjax.data.images.headers import PhotoError, Stored, check_size, format_of
from skinjax.data.images.tiff import exif_orientation, open_tiff

__all__ = ["open_photo"]

_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"IEND")
_MAX_PROFILE_BYTES = 8 << 20


def open_photo(data: bytes, max_pixels: int) -> Stored:
    """Opens a photo's file; no pixels are decoded yet, and no memory is taken for them.

    Args:
      data: The whole file.
      max_pixels: Photos of more pixels are refused.

    Returns:
      The photo as it is stored.

    Raises:
      PhotoError: The bytes are no photo of a format that is read here, or the photo is too large.
      Exception: Whatever Pillow raises for a damaged file.
    """
    stored = _OPENERS[format_of(data)](data, max_pixels)
    check_size(*stored.image.size, max_pixels)
    return stored


class _JpegFile(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Does nothing: the resolution is not needed, and Pillow would warn where the EXIF is damaged."""


def _open_jpeg(data: bytes, max_pixels: int) -> Stored:
    cut = PhotoError("truncated", "ends early: the JPEG has no end-of-image marker")
    end = data.rfind(b"\xff\xd9")
    if end < 0:
        raise cut
    file = io.BytesIO(data)
    image = _JpegFile(file)
    if end < file.tell():  # the marker found is that of a thumbnail in the header
        raise cut
    exif = image.info.get("exif")
    orientation, damage = exif_orientation(exif) if exif else (1, "")
    return Stored(image, orientation=orientation, profile=image.info.get("icc_profile") or b"", damage=damage)


def _open_png(data: bytes, max_pixels: int) -> Stored:
    position, name, kept = 8, b"", [data[:8]]
    bits, frames, profile, orientation, damage = 8, 1, b"", 1, ""
    while name != b"IEND":
        if position + 12 > len(data):
            raise PhotoError("truncated", "ends early: the PNG has no end chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        shown = name.decode("ascii", "replace")
        if end > len(data):
            raise PhotoError("truncated", f"ends early: inside the PNG chunk {shown!r}")
        body = data[position + 8 : end - 4]
        sound = zlib.crc32(name + body) == struct.unpack_from(">I", data, end - 4)[0]
        if position == 8 and name != b"IHDR":
            raise PhotoError("damaged", "is a PNG that does not begin with its header chunk")
        if name in _PNG_PIXELS:
            if not sound:
                raise PhotoError("damaged", f"has a wrong checksum in the PNG chunk {shown!r}")
            bits = body[8] if name == b"IHDR" else bits
            # A transparent colour of 16 bits cannot be told to a decoder that gives 8.
            if name != b"tRNS" or bits < 16:
                kept.append(data[position:end])
        elif not sound:
            damage = f"PNG chunk {shown!r}"
        elif name == b"eXIf":
            orientation, damage = exif_orientation(body)
        elif name == b"acTL":
            frames = max(1, struct.unpack_from(">I", body)[0])
        elif name == b"iCCP":
            try:
                profile = zlib.decompressobj().decompress(body.partition(b"\0")[2][1:], _MAX_PROFILE_BYTES)
            except zlib.error:
                damage = "colour profile"
        position = end
    image = PngImagePlugin.PngImageFile(io.BytesIO(b"".join(kept)))
    return Stored(image, bits, orientation, frames, profile, damage)


def _open_webp(data: bytes, max_pixels: int) -> Stored:
    length, name = struct.unpack_from("<I4x4s", data, 4)
    if length + 8 > len(data):
        raise PhotoError("truncated", f"ends early: {len(data)} of {length + 8} bytes are there")
    if name == b"VP8X":
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
    else:
        lossless = name == b"VP8L"
        (packed,) = struct.unpack_from("<I", data, 21 if lossless else 26)
        width, height = ((packed >> shift & 0x3FFF) + lossless for shift in (0, 14 if lossless else 16))
    check_size(width, height, max_pixels)
    image = WebPImagePlugin.WebPImageFile(io.BytesIO(data))
    exif = image.info.get("exif")
    orientation, damage = exif_orientation(exif) if exif else (1, "")
    profile = image.info.get("icc_profile", b"")
    return Stored(image, 8, orientation, image.n_frames, profile, damage)


def _open_gif(data: bytes, max_pixels: int) -> Stored:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _palette_bytes(flags)
    frames, damage = 0, ""
    try:
        while data[position] != 0x3B:
            frame = data[position] == 0x2C
            if frame:
                left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, position + 1)
                if frames == 0:  # a first frame beyond the canvas enlarges it
                    check_size(max(width, left + columns), max(height, top + rows), max_pixels)
                position += 11 + _palette_bytes(flags)
            elif data[position] == 0x21:
                position += 2
            else:
                raise PhotoError("damaged", "has stray bytes between the GIF blocks")
            while data[position]:
                position += data[position] + 1
            position += 1
            frames += frame
    except (IndexError, struct.error, PhotoError):
        if frames == 0:
            raise
        damage = "GIF blocks after the first frame"
    if frames == 0:
        raise PhotoError("damaged", "is a GIF with no picture in it")
    return Stored(GifImagePlugin.GifImageFile(io.BytesIO(data)), frames=frames, damage=damage)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _open_bmp(data: bytes, max_pixels: int) -> Stored:
    return Stored(BmpImagePlugin.BmpImageFile(io.BytesIO(data)))


def _open_tiff(data: bytes, max_pixels: int) -> Stored:
    return open_tiff(data)


_OPENERS: dict[str, Callable[[bytes, int], Stored]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "WEBP": _open_webp,
    "GIF": _open_gif,
    "BMP": _open_bmp,
    "TIFF": _open_tiff,
    "HEIC": open_heic,
    "DICOM": open_dicom,
}
