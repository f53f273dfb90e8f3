"""What is known of a photo's file before its pixels: formats, header, and the one error of all that fail."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["FORMATS", "Header", "PhotoError"]

#: Format names and the file extensions that belong to each.
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}


class PhotoError(ValueError):
    """A photo that cannot be used.

    Attributes:
        kind: a stable code for programs: `missing`, `directory`, `not_a_file`, `unreadable`, `empty`,
            `not_a_photo`, `unsupported`, `truncated`, `damaged`, `too_large` or `too_small`.
        reason: one short sentence for people, without the file's name.
        source: the file's name, or an empty string where the photo came as bytes.
    """

    def __init__(self, kind: str, reason: str, source: str | os.PathLike[str] = "") -> None:
        self.kind = kind
        self.reason = reason
        self.source = os.fspath(source)
        super().__init__(f"{self.source}: {reason}" if self.source else reason)

    def __reduce__(self) -> tuple[type[PhotoError], tuple[str, str, str]]:
        """Pickle by the constructor's own arguments, so that the error crosses process borders."""
        return type(self), (self.kind, self.reason, self.source)


@dataclass(frozen=True)
class Header:
    """A photo's file as its blocks describe it.

    Attributes:
        format: a key of `FORMATS`.
        width: stored columns in pixels, before the EXIF rotation.
        height: stored rows in pixels, before the EXIF rotation.
        bits: bits a channel (JPEG 8 or 12; PNG 1 to 16; TIFF's largest).
        orientation: EXIF orientation, 1 (upright) to 8.
        frames: pictures in the file (animation frames or TIFF pages); the first one is the photo.
        profile: the embedded ICC colour profile, empty when there is none.
        damage: what is wrong beside the pixels, in words; empty when nothing is.
        payload: the file without the blocks that carry no pixels; what the decoder is given.
    """

    format: str
    width: int
    height: int
    bits: int = 8
    orientation: int = 1
    frames: int = 1
    profile: bytes = b""
    damage: str = ""
    payload: bytes = field(default=b"", repr=False)
