"""Photos as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePosixPath

from PIL import Image

from skinjax.data.images.photos import PhotoError, decode, fit

_SIDE = 128  # pixels; shown at 112, a little sharper on a dense screen


def thumbnail(root: Path | None, image: str) -> tuple[str, str]:
    """Returns a small JPEG as a data URI, or why there is none.

    Args:
      root: The photos' folder; None where it is not known.
      image: Path of the photo, relative to it.

    Returns:
      The data URI and an empty text, or an empty text and the reason.
    """
    if root is None:
        return "", "no photo folder was given"
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts:
        return "", "the path leaves the photo folder"
    try:
        pixels = fit(decode(Path(root, path), target=_SIDE), _SIDE, mode="crop")
    except PhotoError as error:
        return "", error.reason
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), ""
