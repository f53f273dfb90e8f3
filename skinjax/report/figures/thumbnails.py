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
    if not lies_inside(image):
        return "", "the path leaves the photo folder"
    try:
        pixels = fit(decode(Path(root, image), target=_SIDE), _SIDE, mode="crop")
    except PhotoError as error:
        return "", error.reason
    return data_uri(Image.fromarray(pixels)), ""


def lies_inside(image: str) -> bool:
    """Says whether a path stays in the folder that it starts from."""
    path = PurePosixPath(image)
    return not path.is_absolute() and ".." not in path.parts


def data_uri(picture: Image.Image) -> str:
    """Returns a picture as a JPEG inside a page."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
