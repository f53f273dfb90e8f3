"""Names a file's format by its first bytes, and defines the one error that every unusable photo ends in.

Pillow's own recognition is not used: it tries formats that are not read here, and says of every other file
only that it "cannot identify" it, where the audit names a JPEG XL photo, a PDF document or a web page.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from PIL import Image

__all__ = ["FORMATS", "PhotoError", "Stored", "check_size", "format_of"]

#: Format names, as Pillow has them, and the file extensions that belong to each.
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "HEIC": (".heic", ".heif", ".hif"),  # by an extra, as DICOM is
    "DICOM": (".dcm", ".dicom"),
}
# How the files begin. Two letters alone are too weak a sign of a BMP: the length of its next header must be one
# that exists.
_READ = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "TIFF": rb"II\*\0|MM\0\*",
    "HEIC": rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)",
    "DICOM": rb".{128}DICM",
}
_NOT_READ = {
    "an AVIF photo": rb"....ftypavi[fs]",
    "a video": rb"....ftyp",
    "a JPEG 2000 photo": rb"....jP  |\xff\x4f\xff\x51",
    "a JPEG XL photo": rb"....JXL |\xff\x0a",
    "a BigTIFF photo": rb"II\+\0|MM\0\+",
    "a Photoshop document": rb"8BPS",
    "a PDF document": rb"%PDF",
    "a ZIP archive": rb"PK\x03\x04",
}


class PhotoError(ValueError):
    """A photo that cannot be used.

    Attributes:
      kind: A stable code for programs: `missing`, `directory`, `not_a_file`, `unreadable`, `empty`,
        `not_a_photo`, `unsupported`, `truncated`, `damaged`, `too_large` or `too_small`.
      reason: One short sentence for people, without the file's name.
      source: The file's name, or an empty string where the photo came as bytes.
    """

    def __init__(self, kind: str, reason: str, source: str | os.PathLike[str] = "") -> None:
        self.kind = kind
        self.reason = reason
        self.source = os.fspath(source)
        super().__init__(f"{self.source}: {reason}" if self.source else reason)

    def __reduce__(self) -> tuple[type[PhotoError], tuple[str, str, str]]:
        """Pickles by the constructor's own arguments, so that the error crosses process borders."""
        return type(self), (self.kind, self.reason, self.source)


@dataclass(frozen=True)
class Stored:
    """A photo as its file stores it, opened by Pillow and not yet decoded.

    Attributes:
      image: The first picture of the file, as stored: not turned.
      bits: Bits per channel.
      orientation: EXIF orientation, 1 (upright) to 8.
      frames: Animation frames or pages in the file.
      profile: The embedded ICC colour profile, empty where there is none.
      damage: What is damaged beside the pixels, in words; empty where nothing is.
    """

    image: Image.Image
    bits: int = 8
    orientation: int = 1
    frames: int = 1
    profile: bytes = b""
    damage: str = ""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuses a photo that claims more pixels than are decoded.

    Raises:
      PhotoError: It does.
    """
    if width * height > max_pixels:
        shown = f"{width} x {height} pixels"
        raise PhotoError("too_large", f"claims {shown}; at most {max_pixels} in all are decoded")


def format_of(data: bytes) -> str:
    """Names the format of a photo's file by its first bytes.

    Args:
      data: The whole file.

    Returns:
      A key of `FORMATS`.

    Raises:
      PhotoError: The file is something else; the reason names it where it is known.

    >>> format_of(b"<html>not found</html>")
    Traceback (most recent call last):
    ...
    skinjax.data.images.headers.PhotoError: is a web page or other marked-up text, not a photo
    """
    for name, beginning in _READ.items():
        if re.match(beginning, data, re.DOTALL):
            return name
    for name, beginning in _NOT_READ.items():
        if re.match(beginning, data, re.DOTALL):
            advice = "convert it to JPEG, PNG, WebP or TIFF"
            raise PhotoError("unsupported", f"is {name}, which is not read here: {advice}")
    if not data.strip(b"\0"):
        raise PhotoError("not_a_photo", "holds nothing but zero bytes")
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<") and (b">" in start or len(data) > 512):
        raise PhotoError("not_a_photo", "is a web page or other marked-up text, not a photo")
    raise PhotoError("not_a_photo", "does not begin like any photo format that is read here")
