"""Two sets of photos with the classes that they share."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skinjax.data import split
from skinjax.data.photo_set import PhotoSet, PreparedPhotos, refuse_shared_cases
from skinjax.labels.matching import Matching, default_matching, load_matching
from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import inputs

if TYPE_CHECKING:
    from skinjax.studies.cross_dataset import Config

SIDES = ("a", "b")
"""Names of the two sets in file names."""

LIGHT, DARK = (1, 2), (5, 6)  # Fitzpatrick types of the two built-in populations
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Populations:
    """Two sets of photos with one label space.

    Attributes:
      sets: A and B, labelled with the shared classes.
      names: Of the two, for people.
      left_out: For each set, photos by title of the class that has no counterpart.
      notes: How the classes were matched, in sentences.
    """

    sets: tuple[PhotoSet, PhotoSet]
    names: tuple[str, str]
    left_out: tuple[dict[str, int], dict[str, int]]
    notes: tuple[str, ...]


def read(config: Config, photos: PhotoSet | None, other: PhotoSet | None, folder: RunFolder) -> Populations:
    """Reads both sets and matches their classes, and says what is left out; with no set named, renders two populations.

    Args:
      config: The study's options.
      photos: A, or None where the options name it.
      other: B, likewise.
      folder: Of the run; each set has a folder of its own in it.

    Raises:
      ValueError: One set is named and the other is not, both are the same, or their classes cannot be matched.
    """
    given = [
        photos is not None or bool(config.manifest or config.dataset),
        other is not None or bool(config.other_manifest or config.other_dataset),
    ]
    if given[0] != given[1]:
        named, missing = ("A", "other_") if given[0] else ("B", "")
        raise ValueError(
            f"set {named} is given alone; the second set must be named too, by {missing}manifest=FILE, or by "
            f"{missing}dataset=NAME and {missing}source=FOLDER"
        )
    if given[0]:
        pair = (
            inputs.photos_of(photos, config, folder.part("a")),
            inputs.photos_of(other, config, folder.part("b"), config.other_names),
        )
    else:
        pair = (
            inputs.photos_of(None, config, folder.part("a"), skin_tones=LIGHT),
            inputs.photos_of(None, config, folder.part("b"), skin_tones=DARK, seed=config.seed + 1),
        )
    first, second = pair
    if first.root == second.root and set(first.frame["image"]) & set(second.frame["image"]):
        raise ValueError("A and B must be sets of different photos, but have photos in common")
    if first.root == second.root:  # one folder's case ids are of the same patients
        refuse_shared_cases("A and B", first, second)
    trees = first.taxonomy, second.taxonomy
    matching = (
        load_matching(config.shared_taxonomy, *trees) if config.shared_taxonomy else default_matching(*trees)
    )
    names, notes = _names(given[0], pair), list(matching.notes)
    if not given[0]:
        notes.append(
            "Light skin is of Fitzpatrick types I and II, dark skin of V and VI; the lesions are rendered alike."
        )
    stems = [{Path(image).stem for image in one.frame["image"]} for one in pair]
    if given[0] and (both := len(stems[0] & stems[1])):
        notes.append(
            f"{both:,} photos of A and B have the same file name: where these are the same photos, results flatter."
        )
    translated = [_translate(one, matching, side) for side, one in enumerate(pair)]
    for name, (_, gone) in zip(names, translated, strict=True):
        if gone:
            told = ", ".join(f"{title} ({count:,})" for title, count in gone.items())
            _LOG.info("%s: photos of classes that the other set lacks are left out: %s", name, told)
    return Populations(
        (translated[0][0], translated[1][0]), names, (translated[0][1], translated[1][1]), tuple(notes)
    )


def train_masks(
    sets: Sequence[PreparedPhotos], fold_of: Sequence[np.ndarray], fold: int, equal_size: bool, seed: int
) -> list[np.ndarray]:
    """Returns masks of the photos of each set that the networks of a fold are trained on, bool[N] each.

    Args:
      sets: A and B.
      fold_of: The fold of each photo of either, int[N].
      fold: Whose photos are held out.
      equal_size: Whether of the larger part whole cases are drawn, stratified by class, that it is about as large as
        the other.
      seed: Of that draw.
    """
    masks = [of != fold for of in fold_of]
    sizes = [int(mask.sum()) for mask in masks]
    if not equal_size or sizes[0] == sizes[1]:
        return masks
    large = int(np.argmax(sizes))
    share = min(sizes) / max(sizes)
    data, rows = sets[large], np.flatnonzero(masks[large])
    part = split.split_by_case(data.labels[rows], data.cases[rows], (share, 1 - share), seed)
    masks[large] = np.zeros_like(masks[large])
    masks[large][rows[part == 0]] = True
    return masks


def _translate(one: PhotoSet, matching: Matching, side: int) -> tuple[PhotoSet, dict[str, int]]:
    """Gives a set the shared labels; returns it and the photos that are left out by title of their class."""
    shared = matching.translate(one.frame["label"], side)
    known = pd.notna(shared)
    gone = one.frame["label"][~known].value_counts()
    left_out = {one.taxonomy.title(str(name)): int(count) for name, count in gone.items()}
    kept = one.chosen(np.flatnonzero(known))
    frame = kept.frame.assign(label=shared[known])
    tree: Taxonomy = matching.taxonomy()
    if missing := [name for name in tree.classes() if name not in set(frame["label"])]:
        raise ValueError(f"set {SIDES[side].upper()} has no photo of {', '.join(missing)}")
    return dataclasses.replace(kept, frame=frame, taxonomy=tree), left_out


def _names(given: bool, pair: tuple[PhotoSet, PhotoSet]) -> tuple[str, str]:
    """Names the sets by data set, or by the manifest's folder; A and B where that does not tell them apart."""
    if not given:
        return "light skin", "dark skin"
    names = [
        dataset if (dataset := one.origin.get("dataset", "")) not in ("", "folders") else one.root.name
        for one in pair
    ]
    return (names[0], names[1]) if names[0] != names[1] and all(names) else ("A", "B")
