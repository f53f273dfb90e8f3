"""What a photo's file says about itself, read before any pixel is decoded.

Each of the six formats (JPEG, PNG, WebP, GIF, BMP, TIFF) gets a small walk over its own blocks. The walk
answers what the decoder should be told and what it cannot tell: the size (so that a decompression bomb is
refused before memory is taken), the orientation, the colour profile, how many frames there are, and whether
the file ends early or a checksum does not hold.

It also cuts out of the file whatever carries no pixels. The decoder never meets damaged EXIF, oversized text
or a broken animation table: those make Pillow warn or fail, and switching its warnings off is not possible
for one thread alone.

References:
    ITU-T T.81 (JPEG), W3C PNG (third edition), RFC 9649 (WebP), GIF89a, TIFF 6.0, CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import struct
import zlib

from skinjax.data.headers import Header, PhotoError
from skinjax.data.tiff import exif_orientation, read_tiff

__all__ = ["read_header"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PROFILE_BYTES = 8 << 20


def read_header(data: bytes) -> Header:
    """Reads a photo's blocks without decoding its pixels.

    Args:
        data: the whole file.

    Returns:
        The header. Its size is not judged here: that is the caller's limit to set.

    Raises:
        PhotoError: the bytes are no photo, a format that is not read here, or blocks that do not add up.

    >>> read_header(b"<html>not found</html>")
    Traceback (most recent call last):
    ...
    skinjax.data.headers.PhotoError: is a web page or other marked-up text, not a photo
    """
    if not data:
        raise PhotoError("empty", "has no bytes in it")
    name = _sniff(data)
    try:
        header = _READERS[name](data)
    except (struct.error, IndexError):
        raise PhotoError("truncated", f"ends early: the {name} blocks are not complete") from None
    if header.width < 1 or header.height < 1:
        raise PhotoError("damaged", f"gives its size as {header.width} x {header.height} pixels")
    return header


def _sniff(data: bytes) -> str:
    """Names the format by its first bytes, or says what else the file is."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == _PNG_SIGNATURE:
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    # Two letters alone are too weak a sign: the size of the next header must be one that exists.
    if data[:2] == b"BM" and data[14:18] in [struct.pack("<I", n) for n in (12, 40, 52, 56, 64, 108, 124)]:
        return "BMP"
    other = ""
    brand = data[8:12]
    if data[4:8] == b"ftyp":
        heic = brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        other = "an HEIC photo" if heic else "an AVIF photo" if brand in (b"avif", b"avis") else "a video"
    elif data[128:132] == b"DICM":
        other = "a DICOM file"
    elif data[4:8] == b"jP  " or data[:4] == b"\xff\x4f\xff\x51":
        other = "a JPEG 2000 photo"
    elif data[:2] == b"\xff\x0a" or data[4:8] == b"JXL ":
        other = "a JPEG XL photo"
    elif data[:4] in (b"II+\0", b"MM\0+"):
        other = "a BigTIFF photo"
    elif data[:4] == b"8BPS":
        other = "a Photoshop document"
    elif data[:4] == b"%PDF":
        other = "a PDF document"
    elif data[:4] == b"PK\3\4":
        other = "a ZIP archive"
    if other:
        raise PhotoError(
            "unsupported", f"is {other}, which is not read here: convert it to JPEG, PNG, WebP or TIFF"
        )
    if not data.strip(b"\0"):
        raise PhotoError("not_a_photo", "holds nothing but zero bytes")
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start[:1] == b"<" and (b">" in start or len(data) > 512):
        raise PhotoError("not_a_photo", "is a web page or other marked-up text, not a photo")
    raise PhotoError("not_a_photo", "does not begin like any photo format that is read here")


# ------------------------------------------------------------------------------------------------------- JPEG


def _read_jpeg(data: bytes) -> Header:
    position, frame = 2, None
    kept, profile, exif = [data[:2]], [], b""
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:  # fill bytes
            position += 1
        if data[position] != 0xFF:
            raise PhotoError("damaged", "has stray bytes where a JPEG marker belongs")
        marker = data[position + 1]
        if marker in (0x01, *range(0xD0, 0xD8)):
            position += 2
            continue
        if marker == 0xD9:
            raise PhotoError("damaged", "is a JPEG with no picture in it")
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if end > len(data):
            raise PhotoError("truncated", "ends early: inside the JPEG header")
        body = data[position + 4 : end]
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = struct.unpack_from(">BHH", body)
        if marker == 0xE1 and body[:6] == b"Exif\0\0":
            exif = exif or body
        elif marker == 0xE2 and body[:12] == b"ICC_PROFILE\0":
            profile.append((body[12:13], body[14:]))
        # Application blocks carry no pixels, but JFIF (0) and Adobe (14) say how colour is coded.
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            kept.append(data[position:end])
        position = end
    if frame is None:
        raise PhotoError("damaged", "is a JPEG with no frame header")
    if data.rfind(b"\xff\xd9", position) < 0:
        raise PhotoError("truncated", "ends early: the JPEG has no end-of-image marker")
    orientation, damage = exif_orientation(exif) if exif else (1, "")
    kept.append(data[position:])
    return Header(
        "JPEG",
        width=frame[2],
        height=frame[1],
        bits=frame[0],
        orientation=orientation,
        profile=b"".join(part for _, part in sorted(profile)),
        damage=damage,
        payload=b"".join(kept),
    )


# -------------------------------------------------------------------------------------------------------- PNG


def _read_png(data: bytes) -> Header:
    position, name = 8, b""
    kept, size, bits, frames, profile, orientation, damage = [data[:8]], (0, 0), 8, 1, b"", 1, ""
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
        if name in (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"IEND"):
            if not sound:
                raise PhotoError("damaged", f"has a wrong checksum in the PNG chunk {shown!r}")
            if name == b"IHDR":
                width, height, bits = struct.unpack_from(">IIB", body)
                size = width, height
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
    return Header("PNG", *size, bits, orientation, frames, profile, damage, b"".join(kept))


# --------------------------------------------------------------------------------------------- WebP, GIF, BMP


def _read_webp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise PhotoError("truncated", f"ends early: {len(data)} of {length + 8} bytes are there")
    position, size, frames, profile, orientation, damage = 12, (0, 0), 0, b"", 1, ""
    while position + 8 <= length + 8:
        name, chunk = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + chunk]
        if name == b"VP8X":
            width, height = (int.from_bytes(body[n : n + 3], "little") + 1 for n in (4, 7))
            size = width, height
        elif name == b"VP8 " and size == (0, 0):
            width, height = struct.unpack_from("<HH", body, 6)
            size = width & 0x3FFF, height & 0x3FFF
        elif name == b"VP8L" and size == (0, 0):
            (packed,) = struct.unpack_from("<I", body, 1)
            size = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        elif name == b"ANMF":
            frames += 1
        elif name == b"ICCP":
            profile = body
        elif name == b"EXIF":
            orientation, damage = exif_orientation(body)
        position += 8 + chunk + chunk % 2
    return Header("WEBP", *size, 8, orientation, max(1, frames), profile, damage, data)


def _read_gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    frames, damage = 0, ""
    try:
        while data[position] != 0x3B:
            if data[position] == 0x2C:
                left, top, columns, rows, local = struct.unpack_from("<HHHHB", data, position + 1)
                if frames == 0:  # a first frame beyond the canvas enlarges it
                    width, height = max(width, left + columns), max(height, top + rows)
                position += 11 + (3 << (local & 7) + 1 if local & 128 else 0)
                frame = 1
            elif data[position] == 0x21:
                position += 2
                frame = 0
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
    return Header("GIF", width, height, 8, 1, frames, b"", damage, data)


def _read_bmp(data: bytes) -> Header:
    start, header = struct.unpack_from("<II", data, 10)
    width, height, _, bits = struct.unpack_from("<HHHH" if header == 12 else "<iiHH", data, 18)
    compression = 0 if header == 12 else struct.unpack_from("<I", data, 30)[0]
    if compression == 0 and start + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise PhotoError("truncated", "ends early: part of the pixels lies behind its end")
    return Header("BMP", width, abs(height), 8, payload=data)


_READERS = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WEBP": _read_webp,
    "GIF": _read_gif,
    "BMP": _read_bmp,
    "TIFF": read_tiff,
}
