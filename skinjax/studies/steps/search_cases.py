"""Cases that a search for hyper-parameters sees, and those that it never does.

Two protocols. The thesis's (section 4.2.2): all cases are dealt into five folds, of which each iteration draws two, and
the mean of the results on both is the iteration's (`search_folds=2`, `search_fraction=1`). Ours, the default: a share
of the cases (`search_fraction=0.2`), and the same fold of them held out throughout (`search_folds=0`): candidates are
trained once, and cases are left on which the gain can be tested. Each option stands for itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skinjax.data import split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.studies.steps.networks import refuse_one_class, refuse_weights_of_these_photos

if TYPE_CHECKING:
    from skinjax.studies.evolution import Config


@dataclasses.dataclass(frozen=True, eq=False)
class Division:
    """Photos for each purpose. No case of the search is trained on or tested again, unless the search has all of them.

    Attributes:
      search_fold: The fold of each photo of the search, int64[N]; -1 for the others.
      train: Both sets are trained again on these, bool[N].
      test: And compared on these, bool[N].
      notes: For a reader of the results, in sentences.
    """

    search_fold: np.ndarray
    train: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]

    def search_masks(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns masks of the search's photos outside of a fold and in it, bool[N] each."""
        held_out = self.search_fold == fold
        return (self.search_fold >= 0) & ~held_out, held_out

    def fewest(self, folds: Sequence[int]) -> int:
        """Returns the least number of photos that a candidate is trained on, where it may hold out any of `folds`."""
        return min(int(self.search_masks(fold)[0].sum()) for fold in folds)


def possible_folds(config: Config) -> tuple[int, ...]:
    """Returns the folds that the search may hold out: the one of --fold, or where folds are drawn, all."""
    return tuple(range(config.folds)) if config.search_folds else (max(config.fold, 0),)


def folds_of(config: Config, stage: str, number: int) -> tuple[int, ...]:
    """Returns the folds that an iteration holds out, in ascending order: a function of the options and its number.

    They are drawn anew for each iteration, as the thesis has it, and shared by its candidates, which are so compared on
    the same photos. Sets of different iterations differ by their folds as well; the start set's repeats, which draw
    folds of their own, show by how much.

    Args:
      config: The study's options.
      stage: `search` or `repeat`, which draw independently.
      number: Of the generation or repeat, from 0.
    """
    folds = possible_folds(config)
    if not config.search_folds:
        return folds
    rng = np.random.default_rng([config.seed, number, *stage.encode()])
    return tuple(sorted(rng.choice(folds, config.search_folds, replace=False).tolist()))


def protocol(config: Config) -> str:
    """Returns on what the search measures fitness, in words that follow "measured"."""
    share = config.search_fraction
    cases = "all cases" if share == 1 else f"a share of {share:g} of the cases"
    if not config.search_folds:
        return f"on one fold of {cases}"
    if config.search_folds == config.folds:
        return f"as the mean over all {config.folds} folds of {cases}"
    many = "on one" if config.search_folds == 1 else f"as the mean over {config.search_folds}"
    return f"{many} of {config.folds} folds of {cases}, drawn at random for each generation"


def divide(config: Config, data: PhotoSet | PreparedPhotos) -> Division:
    """Deals --search_fraction of the cases into --folds for the search, and likewise the others for training again.

    With --search_fraction=1 no case is left, so both sets are trained again on the cases of the search. Where the
    manifest has a column `split`, only photos marked `train` are used, so that its test photos stay unseen.

    Raises:
      ValueError: One class, too few cases or photos for the flags, or weights that have seen them.
    """
    refuse_one_class(data.labels_by_name)
    refuse_weights_of_these_photos(config, data)
    used, notes = np.ones(len(data.frame), bool), []
    if "split" in data.frame:
        used = data.frame["split"].to_numpy() == "train"
        if not used.any():
            raise ValueError("the manifest's column split marks no photo as train")
        notes.append("Only the photos that the manifest marks as train were used.")
    share, held = config.search_fraction, max(config.fold, 0)

    def dealt(rows: np.ndarray) -> np.ndarray:
        fold_of = np.full(len(used), -1)
        fold_of[rows] = split.kfold_by_case(data.labels[rows], data.cases[rows], config.folds, config.seed)
        return fold_of

    try:
        if share == 1:
            search_fold = other_fold = dealt(np.flatnonzero(used))
        else:
            shares = share, 1 - share
            side = split.split_by_case(data.labels[used], data.cases[used], shares, config.seed)
            search_fold, other_fold = (dealt(np.flatnonzero(used)[side == number]) for number in range(2))
        test = other_fold == held
        division = Division(search_fold, (other_fold >= 0) & ~test, test, ())
        for photo_count in (division.fewest(possible_folds(config)), int(division.train.sum())):
            config.recipe(config.updates(config.epochs, photo_count))
    except ValueError as error:
        raise ValueError(
            f"search_fraction={share:g} and folds={config.folds} divide badly: {error}"
        ) from error
    return dataclasses.replace(division, notes=(*notes, *_warnings(config, data, division, used)))


def _warnings(
    config: Config, data: PhotoSet | PreparedPhotos, division: Division, used: np.ndarray
) -> tuple[str, ...]:
    """Returns what `split_warnings` says of the parts, after a sentence that names these."""
    share, held = config.search_fraction, 1 / config.folds
    if config.search_folds:
        part, ratios, name = division.search_fold.copy(), [share * held] * config.folds, "folds"
    else:
        part = np.where(division.search_fold < 0, -1, division.search_fold == max(config.fold, 0))
        ratios, name = [share * (1 - held), share * held], "training and held-out cases"
    count = len(ratios)
    told = f"Parts: 0 to {count - 1} are the search's {name}"
    if share < 1:
        part[division.train], part[division.test] = count, count + 1
        ratios += [(1 - share) * (1 - held), (1 - share) * held]
        told += f", {count} and {count + 1} those of training again"
    warnings = split.split_warnings(data.labels_by_name[used], data.cases[used], part[used], ratios)
    return (f"{told}.", *warnings) if warnings else ()
