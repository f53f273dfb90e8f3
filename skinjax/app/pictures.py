"""Pictures for the page: photos re-encoded from their pixels, so that nothing but pixels is in them, and heat maps."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinjax.data.images.photos import decode
from skinjax.predict.overlay import colours, over_photo

SIDE = 640
"""The longer side of a photo on the page, in pixels, at most."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture inside of a page.

    Attributes:
      source: As a `data:` address.
      width: In pixels.
      height: In pixels.
    """

    source: str = dataclasses.field(repr=False)
    width: int
    height: int


def photo_picture(source: bytes | str, side: int = SIDE) -> Picture:
    """Returns a photo for the page: upright, small, and without the metadata of its file.

    Args:
      source: The file's bytes or its path.
      side: The longer side in pixels at most.

    Raises:
      PhotoError: It cannot be read.
    """
    image = Image.fromarray(decode(source, target=side))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return Picture(_encoded(image, "JPEG", quality=85), *image.size)


def heat_picture(values: NDArray[np.floating], picture: Picture, fit: str) -> Picture:
    """Returns a map as a picture to lie over a photo: coloured, and clearer where there is nothing.

    Args:
      values: float[h, w], at least 0, over the square that the network was fed.
      picture: The photo, whose shape it takes.
      fit: How the photo had become square.
    """
    shares = over_photo(values, (picture.height, picture.width), fit)  # type: ignore[arg-type]
    alpha = np.round(255 * shares).astype(np.uint8)
    layers = np.concatenate([colours(shares), alpha[:, :, None]], axis=2)
    return Picture(
        _encoded(Image.fromarray(layers), "WEBP", quality=60, method=2), picture.width, picture.height
    )


def pixels_alone(data: bytes) -> bytes:
    """Returns a photo encoded anew from its pixels: no place, no time, no camera, no name is left in it.

    Args:
      data: The file's bytes.

    Returns:
      A JPEG.

    Raises:
      PhotoError: It cannot be read.
    """
    file = io.BytesIO()
    Image.fromarray(decode(data)).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
