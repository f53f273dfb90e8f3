"""Photos that other packages decode, each an extra of the installation: HEIC (every iPhone) and DICOM.

Neither package is imported before a photo of its kind is met; where it is not installed, the photo is refused by a
sentence that names the extra.
"""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinjax.data.images.headers import PhotoError, Stored, check_size

__all__ = ["open_dicom", "open_heic"]


def open_heic(data: bytes, max_pixels: int) -> Stored:
    """Opens an HEIC photo by pillow-heif, which turns it upright.

    Args:
      data: The whole file.
      max_pixels: Photos of more pixels are refused.

    Raises:
      PhotoError: pillow-heif is not installed, or the photo is too large.
    """
    file = _package("pillow_heif", "pillow-heif", "heic", "an HEIC photo").open_heif(io.BytesIO(data))
    width, height = file.size
    check_size(width, height, max_pixels)
    image = file.to_pillow()
    image.format = "HEIC"
    return Stored(image, profile=image.info.get("icc_profile") or b"")


def open_dicom(data: bytes, max_pixels: int) -> Stored:
    """Opens a DICOM file by pydicom: RGB, YBR or one channel, of several frames the first.

    Args:
      data: The whole file.
      max_pixels: Files of more pixels, all frames together, are refused.

    Raises:
      PhotoError: pydicom is not installed, the file holds no picture, one of a kind that is not read, or too large a
        one.
    """
    package = _package("pydicom", "pydicom", "dicom", "a DICOM file")
    dataset = package.dcmread(io.BytesIO(data))
    kind = str(getattr(dataset, "PhotometricInterpretation", ""))
    if not kind:
        raise PhotoError("not_a_photo", "is a DICOM file without a picture")
    frames = int(getattr(dataset, "NumberOfFrames", 1) or 1)
    check_size(int(dataset.Columns), int(dataset.Rows) * frames, max_pixels)
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[0] if frames > 1 else pixels
    bits = int(getattr(dataset, "BitsStored", 8))
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        grey = _eight_bits(pixels, bits)
        pixels = 255 - grey if kind == "MONOCHROME1" else grey
    elif kind == "RGB" or kind.startswith("YBR"):
        if kind.startswith("YBR") and int(str(package.__version__).split(".")[0]) < 3:
            # From its version 3 on pydicom gives RGB itself.
            convert = importlib.import_module("pydicom.pixel_data_handlers.util").convert_color_space
            pixels = convert(pixels, kind, "RGB")
        pixels = _eight_bits(pixels, bits)
    else:
        raise PhotoError("unsupported", f"is a DICOM file with colours of kind {kind}: convert it to PNG")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.format = "DICOM"
    return Stored(image, bits=16 if bits > 8 else 8, frames=frames)


def _eight_bits(pixels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Returns the upper 8 of the stored bits; signed pixels are counted from their lowest value on."""
    if pixels.dtype.kind not in "iu":
        raise PhotoError("unsupported", "has floating-point pixels of unknown range: convert it to PNG")
    values = pixels.astype(np.int64) + (1 << bits - 1 if pixels.dtype.kind == "i" else 0)
    scaled = values >> bits - 8 if bits > 8 else values
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _package(module: str, name: str, extra: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        reason = (
            f"is {what}, which {name} reads: pip install 'skinjax[{extra}]', or convert it to JPEG or PNG"
        )
        raise PhotoError("unsupported", reason) from None
