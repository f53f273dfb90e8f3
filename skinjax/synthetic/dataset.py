"""Writes a folder of synthetic photos and its manifest, and finishes one that was interrupted.

Nothing drawn from these pictures is medical evidence.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from skinjax.synthetic.case import CLASS_NAMES, LARGEST_SIZE, SMALLEST_SIZE, render_case
from skinjax.synthetic.surface import SKIN_TONES

RENDERER_VERSION = 1
"""Raised whenever the same spec would give other pictures: older folders are then rendered anew."""

_COLUMNS = ("image", "label", "case_id", "skin_tone", "sex", "age", "body_site", "source")
_JPEG_QUALITY = 92
_RECORD = "synthetic.json"
_AGE_SPREAD = 16.0
_USUAL_SITE = 0.6
_SITES = (
    "face",
    "scalp",
    "neck",
    "chest",
    "abdomen",
    "back",
    "upper arm",
    "forearm",
    "hand",
    "thigh",
    "lower leg",
    "foot",
)
# Mean age in years, and the sites where most cases are; the rest may be anywhere.
_PATIENTS: Mapping[str, tuple[float, tuple[str, ...]]] = MappingProxyType(
    {
        "psoriasis": (44, ("forearm", "lower leg", "back", "scalp")),
        "eczema": (30, ("hand", "forearm", "neck", "lower leg")),
        "lichen_planus": (48, ("forearm", "hand", "lower leg")),
        "urticaria": (35, ("back", "abdomen", "thigh", "upper arm")),
        "tinea": (32, ("foot", "thigh", "back", "forearm")),
        "impetigo": (14, ("face", "hand", "forearm")),
        "viral_wart": (22, ("hand", "foot", "face")),
        "seborrheic_keratosis": (64, ("back", "chest", "face")),
        "epidermal_cyst": (42, ("back", "face", "neck", "scalp")),
        "skin_tag": (52, ("neck", "chest", "thigh")),
        "melanocytic_nevus": (34, ("back", "chest", "upper arm", "lower leg")),
        "lentigo": (61, ("face", "hand", "forearm")),
        "melanoma": (59, ("back", "lower leg", "upper arm", "face")),
        "cherry_angioma": (56, ("chest", "abdomen", "back")),
        "port_wine_stain": (24, ("face", "neck", "upper arm")),
        "purpura": (51, ("lower leg", "forearm", "foot")),
        "basal_cell_carcinoma": (68, ("face", "neck", "back")),
        "squamous_cell_carcinoma": (71, ("face", "hand", "scalp", "forearm")),
        "actinic_keratosis": (69, ("face", "scalp", "hand", "forearm")),
    }
)


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """The contents of a synthetic data set.

    Attributes:
      cases_per_class: Cases per class, at least 1; of the largest class where ``imbalance`` is above 1.
      photos_per_case: Fewest and most photos per case; each case draws its number evenly from that range.
      size: Width and height of the photos in pixels, 32 to 1024.
      seed: Seed of everything, 0 or more.
      imbalance: How many times as many cases the largest class has as the smallest, 1 or more. The
        classes between fall off geometrically, in an order that the seed draws.
      skin_tones: Fitzpatrick types of the patients, each drawn evenly.

    Raises:
      ValueError: A value is out of its range.

    Example:
      >>> SyntheticSpec(cases_per_class=2, photos_per_case=(3, 3)).size
      128
    """

    cases_per_class: int = 12
    photos_per_case: tuple[int, int] = (2, 4)
    size: int = 128
    seed: int = 0
    imbalance: float = 1.0
    skin_tones: tuple[int, ...] = SKIN_TONES

    def __post_init__(self) -> None:
        """Checks every value."""
        if self.cases_per_class < 1:
            raise ValueError(f"cases_per_class must be at least 1, got {self.cases_per_class}")
        if len(self.photos_per_case) != 2 or not 1 <= self.photos_per_case[0] <= self.photos_per_case[1]:
            raise ValueError(
                f"photos_per_case must be (fewest, most), both 1 or more, got {self.photos_per_case!r}"
            )
        if not SMALLEST_SIZE <= self.size <= LARGEST_SIZE:
            raise ValueError(f"size must be {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, got {self.size}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if not self.imbalance >= 1.0:
            raise ValueError(f"imbalance must be 1 or more, got {self.imbalance}")
        if not self.skin_tones or not set(self.skin_tones) <= set(SKIN_TONES):
            raise ValueError(f"skin_tones must be Fitzpatrick types from 1 to 6, got {self.skin_tones!r}")


@dataclasses.dataclass(frozen=True)
class _Case:
    """One row of the plan: who the patient is, and the seed of the pictures."""

    class_name: str
    case_id: str
    photos: int
    skin_tone: int
    sex: str
    age: int
    body_site: str
    seed: np.random.SeedSequence

    def images(self) -> list[str]:
        """Returns the photos' paths below the folder, which do not give the label away."""
        return [f"images/{self.case_id}_{index}.jpg" for index in range(self.photos)]


def write_dataset(folder: str | os.PathLike[str], spec: SyntheticSpec) -> Path:
    """Renders a data set into a folder: ``images/*.jpg``, ``synthetic.json`` (the spec) and ``manifest.csv``.

    The manifest is written last and put in place in one step: where it stands, the photos are complete.
    Called again with the same spec it does nothing; a folder of another spec, or a half-written one, is
    rendered anew. Each case is rendered from a seed of its own, so that it is the same whatever other cases
    there are. Skin type, sex, age and body site are drawn independently of how the lesion looks; age and
    site depend on the class as they roughly do in life, skin type and sex do not.

    Args:
      folder: Where to write; made if it is not there.
      spec: What to render.

    Returns:
      The path of ``manifest.csv``, with columns image, label, case_id, skin_tone, sex, age, body_site and
      source.

    Raises:
      ValueError: The folder holds files, and they are not a synthetic data set.
    """
    root = Path(folder)
    manifest, record = root / "manifest.csv", root / _RECORD
    cases = sorted(_plan(spec), key=lambda case: case.case_id)
    manifest_text = _manifest_text(cases)
    record_text = json.dumps({"renderer": RENDERER_VERSION, **dataclasses.asdict(spec)}, indent=1) + "\n"
    same_spec = record.is_file() and record.read_text(encoding="utf-8") == record_text
    if same_spec and _is_complete(root, manifest, manifest_text, cases):
        return manifest
    # Hidden files are let pass: what a file manager leaves, or our own record that was never put in place.
    if not record.is_file() and root.is_dir() and any(not p.name.startswith(".") for p in root.iterdir()):
        raise ValueError(
            f"folder must be empty or hold a synthetic data set, got {root} with files and no {_RECORD}"
        )
    manifest.unlink(missing_ok=True)
    if not same_spec:
        shutil.rmtree(root / "images", ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    _replace(record, record_text.encode())
    (root / "images").mkdir(exist_ok=True)
    for case in cases:
        photos = render_case(
            np.random.default_rng(case.seed),
            case.class_name,
            case.photos,
            spec.size,
            skin_tone=case.skin_tone,
        )
        for name, photo in zip(case.images(), photos, strict=True):
            coded = io.BytesIO()
            Image.fromarray(photo).save(coded, format="JPEG", quality=_JPEG_QUALITY)
            _replace(root / name, coded.getvalue())
    _replace(manifest, manifest_text.encode())
    return manifest


def other_spec(folder: str | os.PathLike[str], spec: SyntheticSpec) -> str:
    """Returns how the spec of the photos in a folder differs, such as "seed=1"; empty where it does not.

    Args:
      folder: Where photos may lie.
      spec: What they are to be of.

    Returns:
      The values there that are others in `spec`; empty too where no complete data set lies.
    """
    record = Path(folder) / _RECORD
    if not record.is_file() or not record.with_name("manifest.csv").is_file():
        return ""
    stored = json.loads(record.read_text(encoding="utf-8"))
    asked = json.loads(json.dumps(dataclasses.asdict(spec)))  # as JSON has tuples
    return ", ".join(f"{name}={stored.get(name)}" for name in asked if stored.get(name) != asked[name])


def _plan(spec: SyntheticSpec) -> Iterator[_Case]:
    """Plans who is photographed how often; quick, so that a folder can be checked against it."""
    ranks = np.random.default_rng(spec.seed).permutation(len(CLASS_NAMES))
    fewest, most = spec.photos_per_case
    for class_index, class_name in enumerate(CLASS_NAMES):
        share = spec.imbalance ** (-ranks[class_index] / (len(CLASS_NAMES) - 1))
        mean_age, usual_sites = _PATIENTS[class_name]
        for case_index in range(max(1, round(spec.cases_per_class * share))):
            # What SeedSequence.spawn would give this child, without making the children before it.
            seed = np.random.SeedSequence(spec.seed, spawn_key=(class_index, case_index))
            patient_seed, picture_seed = seed.spawn(2)
            patient = np.random.default_rng(patient_seed)
            sites = usual_sites if patient.random() < _USUAL_SITE else _SITES
            yield _Case(
                class_name=class_name,
                # Drawn, not counted: a running number would give the class away.
                case_id=f"{int(patient.integers(16**12)):012x}",
                photos=int(patient.integers(fewest, most + 1)),
                skin_tone=int(patient.choice(spec.skin_tones)),
                sex=str(patient.choice(["female", "male"])),
                age=int(np.clip(patient.normal(mean_age, _AGE_SPREAD), 1, 95)),
                body_site=str(patient.choice(sites)),
                seed=picture_seed,
            )


def _manifest_text(cases: list[_Case]) -> str:
    """Writes out the manifest as CSV, one row per photo."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for case in cases:
        person = (
            case.class_name,
            case.case_id,
            case.skin_tone,
            case.sex,
            case.age,
            case.body_site,
            "synthetic",
        )
        writer.writerows((image, *person) for image in case.images())
    return text.getvalue()


def _is_complete(root: Path, manifest: Path, expected: str, cases: list[_Case]) -> bool:
    """Checks that the manifest is the expected one and every photo of it is there."""
    if not manifest.is_file() or manifest.read_text(encoding="utf-8") != expected:
        return False
    photos = (root / name for case in cases for name in case.images())
    return all(photo.is_file() and photo.stat().st_size > 0 for photo in photos)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file in one step: a reader sees the old one or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
