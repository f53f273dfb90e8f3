"""One split into training, validation and test photos, whole cases in one part, as chapters 2, 3 and 5 have it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from skinjax.data import split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.studies.steps.networks import refuse_one_class, refuse_weights_of_these_photos
from skinjax.studies.steps.options import DividedConfig

_LOG = logging.getLogger(__name__)
NAMES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Parts:
    """Masks of the photos in each part; no case is in two.

    Attributes:
      train: bool[N], trained on.
      validation: bool[N], on which thresholds, temperatures and the like are fitted, and epochs chosen.
      test: bool[N], looked at once.
      notes: What a reader of results on these parts should know.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]

    @property
    def held_out(self) -> np.ndarray:
        """Returns bool[N], the photos that are not trained on."""
        return self.validation | self.test


def divide(config: DividedConfig, data: PhotoSet | PreparedPhotos) -> Parts:
    """Divides photos by case, or as the manifest's column `split` says.

    Args:
      config: The study's options.
      data: The photos, decoded or, for the check alone, not yet.

    Raises:
      ValueError: One class, too few cases, too few photos to train on or none in a part, a case in two parts of the
        column, or weights that have seen these photos.
    """
    refuse_one_class(data.labels_by_name)
    refuse_weights_of_these_photos(config, data)
    if "split" in data.frame:
        if isinstance(data, PreparedPhotos):
            _LOG.warning("the manifest's column split is used; the option parts is not")
        names = data.frame["split"].to_numpy()
        masks = [names == name for name in NAMES]
        for name, mask in zip(NAMES, masks, strict=True):
            if not mask.any():
                raise ValueError(f"the manifest's column split marks no photo as {name}")
        part = np.select(masks, range(len(NAMES)), -1)
        ratios: tuple[float, ...] = tuple(float(mask.sum()) for mask in masks)
        _refuse_shared_cases(part, data.cases)
    else:
        if (count := len(np.unique(data.cases))) < len(NAMES):
            raise ValueError(
                f"photos must be of {len(NAMES)} cases at least, one for each of parts="
                f"{','.join(f'{share:g}' for share in config.parts)}, got {count}"
            )
        part = split.split_by_case(data.labels, data.cases, config.parts, config.seed)
        masks, ratios = [part == number for number in range(len(NAMES))], config.parts
    used = part >= 0
    notes = split.split_warnings(data.labels_by_name[used], data.cases[used], part[used], ratios)
    photo_count = int(masks[0].sum())
    config.recipe(config.updates(config.epochs, photo_count))
    train, validation, test = masks
    return Parts(train, validation, test, notes)


def _refuse_shared_cases(part: np.ndarray, cases: np.ndarray) -> None:
    owner: dict[str, int] = {}
    shared = sorted(
        {
            case
            for case, number in zip(cases, part, strict=True)
            if number >= 0 and owner.setdefault(case, number) != number
        }
    )
    if shared:
        raise ValueError(
            f"the manifest's column split puts {len(shared)} cases into two parts at once: {', '.join(shared[:10])}"
        )
