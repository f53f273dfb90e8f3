"""Which cases a search for hyper-parameters sees, and which it never does."""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import flags

from experiments import folds, training_flags
from experiments.inputs import Photos
from skinjax.data import split
from skinjax.data.loader import steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Division:
    """Which photos are for what, bool[N] each; no case is in two.

    Attributes:
      search_train: candidates of the search are trained on them.
      search_held_out: their fitness is measured on them.
      train: both sets are trained again on them.
      test: and compared on them; the search never saw these two.
      notes: what a reader should know.
    """

    search_train: np.ndarray
    search_held_out: np.ndarray
    train: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]


def divide(data: Photos) -> Division:
    """Sets --search_fraction of the cases apart for the search; of either part one fold of --folds is held out.

    Where the manifest has a column `split`, only photos marked `train` are used, so that its test photos stay unseen.

    Raises:
      ValueError: too few cases or photos for the flags, or weights that have seen them.
    """
    values = flags.FLAGS
    folds.refuse_weights_of_these_photos(data)
    used, notes = np.ones(len(data.frame), bool), []
    if "split" in data.frame:
        used = data.frame["split"].to_numpy() == "train"
        if not used.any():
            raise ValueError("the manifest's column split marks no photo as train")
        notes.append("Only the photos that the manifest marks as train were used.")
    share = values.search_fraction
    part = np.full(len(used), -1)
    try:
        side = split.split_by_case(data.labels[used], data.cases[used], (share, 1 - share), values.seed)
        for number in range(2):
            rows = np.flatnonzero(used)[side == number]
            fold_of = split.kfold_by_case(data.labels[rows], data.cases[rows], values.folds, values.seed)
            part[rows] = 2 * number + (fold_of == max(values.fold, 0))
            photo_count = int((part == 2 * number).sum())
            training_flags.recipe(
                values.epochs * steps_per_epoch(photo_count, training_flags.batch_size(photo_count))
            )
    except ValueError as error:
        raise ValueError(
            f"--search_fraction={share:g} and --folds={values.folds} divide badly: {error}"
        ) from error
    held = 1 / values.folds
    ratios = [share * (1 - held), share * held, (1 - share) * (1 - held), (1 - share) * held]
    warnings = split.split_warnings(data.labels_by_name[used], data.cases[used], part[used], ratios)
    if warnings:
        notes.append(
            "Parts: 0 and 1 are the search's training and held-out cases, 2 and 3 those of training again."
        )
    search_train, search_held_out, train, test = (part == number for number in range(4))
    return Division(search_train, search_held_out, train, test, (*notes, *warnings))
