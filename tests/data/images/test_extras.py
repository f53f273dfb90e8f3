"""HEIC and DICOM: read by packages that stand-ins take the place of here, or named with the extra to install."""

from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np
import pytest
from PIL import Image

from skinjax.data.audit import audit_manifest
from skinjax.data.images.photos import PhotoError, decode, inspect
from tests.support import damage

HEIC = b"\0\0\0\x18ftypheic" + bytes(40)
DICOM = bytes(128) + b"DICM" + bytes(40)


def without(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it then fails


def stand_in(monkeypatch, name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HEIC, "is an HEIC photo, which pillow-heif reads: pip install 'skinjax[heic]', or convert it"),
        (HEIC.replace(b"heic", b"mif1"), "is an HEIC photo, which pillow-heif reads"),
        (DICOM, "is a DICOM file, which pydicom reads: pip install 'skinjax[dicom]', or convert it"),
    ],
)
def test_without_the_package_its_extra_is_named(monkeypatch, tmp_path, data, words):
    without(monkeypatch, "pillow_heif", "pydicom")
    for read in (decode, inspect):
        with pytest.raises(PhotoError) as caught:
            read(data)
        assert caught.value.kind == "unsupported"
        assert caught.value.reason.startswith(words)
    (tmp_path / "a.heic").write_bytes(data)
    import pandas as pd

    report = audit_manifest(pd.DataFrame({"image": ["a.heic"], "label": ["x"], "case_id": [1]}), tmp_path)
    assert [found.kind for found in report.findings] == ["unsupported"]


def test_heic_by_pillow_heif(monkeypatch):
    picture = damage.scene(3)

    @dataclasses.dataclass
    class File:
        size: tuple = picture.shape[1::-1]

        def to_pillow(self):
            image = Image.fromarray(picture)
            image.info["exif"] = damage.exif(6)  # libheif has turned the pixels: not to be turned again
            return image

    stand_in(monkeypatch, "pillow_heif", open_heif=lambda file: File() if file.read() == HEIC else None)
    np.testing.assert_array_equal(decode(HEIC), picture)
    facts = inspect(HEIC, name="IMG_1.HEIC")
    assert (facts.format, facts.findings, facts.width) == ("HEIC", (), picture.shape[1])
    assert inspect(HEIC, name="a.jpg").findings == ("wrong extension",)
    with pytest.raises(PhotoError, match="at most 100 in all"):
        decode(HEIC, max_pixels=100)


@dataclasses.dataclass
class Dataset:
    pixel_array: np.ndarray
    PhotometricInterpretation: str
    BitsStored: int = 8
    NumberOfFrames: int | None = None

    @property
    def Rows(self):
        return self.pixel_array.shape[1 if (self.NumberOfFrames or 1) > 1 else 0]

    @property
    def Columns(self):
        return self.pixel_array.shape[2 if (self.NumberOfFrames or 1) > 1 else 1]


def test_dicom_by_pydicom(monkeypatch):
    picture = damage.scene(4)
    grey = picture[:, :, 0]

    def read(dataset, version="3.0.1"):
        stand_in(monkeypatch, "pydicom", dcmread=lambda file: dataset, __version__=version)
        return decode(DICOM)

    np.testing.assert_array_equal(read(Dataset(picture, "RGB")), picture)
    np.testing.assert_array_equal(read(Dataset(picture, "YBR_FULL_422")), picture)
    np.testing.assert_array_equal(read(Dataset(np.stack([picture, 255 - picture]), "RGB", 8, 2)), picture)
    np.testing.assert_array_equal(read(Dataset(grey, "MONOCHROME2"))[:, :, 1], grey)
    np.testing.assert_array_equal(read(Dataset(grey, "MONOCHROME1"))[:, :, 2], 255 - grey)
    twelve = grey.astype(np.uint16) << 4
    np.testing.assert_array_equal(read(Dataset(twelve, "MONOCHROME2", 12))[:, :, 0], grey)
    signed = (twelve.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_array_equal(read(Dataset(signed, "MONOCHROME2", 12))[:, :, 0], grey)
    read(Dataset(twelve, "MONOCHROME2", 12))
    assert inspect(DICOM, name="a.dcm").findings == ("16-bit", "greyscale")
    for version, wanted in (("2.4.4", 255 - picture), ("3.0.0", picture)):
        stand_in(
            monkeypatch,
            "pydicom.pixel_data_handlers.util",
            convert_color_space=lambda pixels, kind, to: 255 - pixels,
        )
        np.testing.assert_array_equal(read(Dataset(picture, "YBR_FULL"), version), wanted)
    for dataset, words in (
        (Dataset(grey, "PALETTE COLOR"), "colours of kind PALETTE COLOR: convert it to PNG"),
        (Dataset(grey, ""), "is a DICOM file without a picture"),
        (Dataset(grey.astype(float), "MONOCHROME2"), "floating-point pixels"),
    ):
        with pytest.raises(PhotoError, match=words):
            read(dataset)
    stand_in(monkeypatch, "pydicom", dcmread=lambda file: Dataset(picture, "RGB"), __version__="3")
    with pytest.raises(PhotoError, match="at most 100 in all"):
        decode(DICOM, max_pixels=100)
