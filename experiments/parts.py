"""One split into training, validation and test photos, whole cases in one part, as chapters 2, 3 and 5 have it."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
from absl import flags

from experiments import folds, training_flags
from experiments.flags import PHOTOS
from experiments.inputs import Photos
from skinjax.data import split
from skinjax.data.loader import Subset, steps_per_epoch

NAMES = ("train", "validation", "test")


def define_parts_flag() -> None:
    """How the photos are divided."""
    flags.DEFINE_list(
        "parts",
        ["6", "2", "1"],
        "Shares of training, validation and test cases. A column split of the manifest goes before it.",
        module_name=PHOTOS,
    )


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which photos are in which part; no case is in two.

    Attributes:
      train: bool[N], trained on.
      validation: bool[N], on which thresholds, temperatures and the like are fitted, and epochs chosen.
      test: bool[N], looked at once.
      notes: what a reader of results on these parts should know.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]

    @property
    def held_out(self) -> np.ndarray:
        """bool[N], the photos that are not trained on."""
        return self.validation | self.test


def shares() -> tuple[float, float, float]:
    """Returns the shares of --parts.

    Raises:
      ValueError: these are not three numbers above 0.
    """
    given = flags.FLAGS.parts
    try:
        found = tuple(float(share) for share in given)
    except ValueError:
        found = ()
    if len(found) != len(NAMES) or not all(0 < share < float("inf") for share in found):
        raise ValueError(
            f"--parts={','.join(given)}: three shares above 0 are wanted, of training, validation and test cases"
        )
    return found[0], found[1], found[2]


def divide(data: Photos) -> Parts:
    """Divides photos by case, or as the manifest's column `split` says.

    Raises:
      ValueError: too few photos to train on or none in a part, a case in two parts of the column, or weights that
        have seen these photos.
    """
    wanted = shares()
    folds.refuse_weights_of_these_photos(data)
    if "split" in data.frame:
        print("the manifest's column split is used; --parts is not", file=sys.stderr)
        names = data.frame["split"].to_numpy()
        masks = [names == name for name in NAMES]
        for name, mask in zip(NAMES, masks, strict=True):
            if not mask.any():
                raise ValueError(f"the manifest's column split marks no photo as {name}")
        part = np.select(masks, range(len(NAMES)), -1)
        ratios: tuple[float, ...] = tuple(float(mask.sum()) for mask in masks)
        _refuse_shared_cases(part, data.cases)
    else:
        part = split.split_by_case(data.labels, data.cases, wanted, flags.FLAGS.seed)
        masks, ratios = [part == number for number in range(len(NAMES))], wanted
    used = part >= 0
    notes = split.split_warnings(data.labels_by_name[used], data.cases[used], part[used], ratios)
    photo_count = int(masks[0].sum())
    training_flags.recipe(
        flags.FLAGS.epochs * steps_per_epoch(photo_count, training_flags.batch_size(photo_count))
    )
    train, validation, test = masks
    return Parts(train, validation, test, notes)


def subset(data: Photos, chosen: np.ndarray, labels: np.ndarray | None = None) -> Subset:
    """Returns chosen photos for a network, bool[N]; of the finest level where no labels int[N] are given."""
    labels = data.labels if labels is None else labels
    return Subset(data.prepared.source, np.flatnonzero(chosen), labels[chosen].astype(np.int32))


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
