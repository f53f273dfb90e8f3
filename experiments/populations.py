"""From the flags of `cross_dataset` to two sets of photos with the classes that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from experiments import inputs
from experiments.flags import PHOTOS, SCRIPT
from experiments.inputs import Inputs, Photos
from skinjax.data import split
from skinjax.labels.matching import Matching, default_matching, load_matching
from skinjax.labels.taxonomy import Taxonomy

SIDES = ("a", "b")
"""What the two sets are called in file names."""

LIGHT, DARK = (1, 2), (5, 6)  # Fitzpatrick types of the two built-in populations


@dataclasses.dataclass(frozen=True, eq=False)
class Populations:
    """Two sets of photos with one label space.

    Attributes:
      inputs: A and B, labelled with the shared classes.
      names: Of the two, for people.
      left_out: For each set, photos by title of the class that has no counterpart.
      notes: How the classes were matched, in sentences.
    """

    inputs: tuple[Inputs, Inputs]
    names: tuple[str, str]
    left_out: tuple[dict[str, int], dict[str, int]]
    notes: tuple[str, ...]


def define_other_flags() -> None:
    """The second set, B, and how its classes are those of the first."""
    flags.DEFINE_string("other_manifest", "", "As --manifest, of B.", module_name=PHOTOS)
    flags.DEFINE_enum(
        "other_dataset",
        "",
        ["", "pad_ufes_20", "ham10000", "fitzpatrick17k", "isic2019", "folders"],
        "As --dataset, of B.",
        module_name=PHOTOS,
    )
    flags.DEFINE_string("other_source", "", "As --source, of B.", module_name=PHOTOS)
    flags.DEFINE_string("other_taxonomy", "", "As --taxonomy, of B.", module_name=PHOTOS)
    flags.DEFINE_string(
        "shared_taxonomy",
        "",
        "CSV (class, a, b) or catalogue name: which classes are one. Default: the catalogue's, or equal names.",
        module_name=SCRIPT,
    )
    flags.DEFINE_bool(
        "equal_size",
        False,
        "Train on equally many photos of both sets: of the larger, whole cases are drawn.",
        module_name=SCRIPT,
    )


def read(folder: Path) -> Populations:
    """Reads both sets and matches their classes, and says what is left out; with no data flag, renders two populations.

    Args:
      folder: Of the run; each set has a folder of its own in it.

    Raises:
      ValueError: One set is named and the other is not, both are the same, or their classes cannot be matched.
    """
    values = flags.FLAGS
    given = [bool(values[f"{p}manifest"].value or values[f"{p}dataset"].value) for p in ("", "other_")]
    if given[0] != given[1]:
        named, wanted = ("A", "other_") if given[0] else ("B", "")
        raise ValueError(
            f"set {named} is given alone: --{wanted}manifest, or --{wanted}dataset with --{wanted}source, is wanted too"
        )
    if given[0]:
        pair = (inputs.read(folder / "a"), inputs.read(folder / "b", "other_"))
    else:
        pair = (
            inputs.read(folder / "a", skin_tones=LIGHT),
            inputs.read(folder / "b", skin_tones=DARK, seed=values.seed + 1),
        )
    first, second = pair
    if first.root == second.root and set(first.frame["image"]) & set(second.frame["image"]):
        raise ValueError("A and B have photos in common; two sets of different photos are wanted")
    if first.root == second.root:  # one folder's case ids are of the same patients
        inputs.refuse_shared_cases("A and B", first, second)
    trees = first.taxonomy, second.taxonomy
    matching = (
        load_matching(values.shared_taxonomy, *trees) if values.shared_taxonomy else default_matching(*trees)
    )
    names, notes = _names(given[0]), list(matching.notes)
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
            print(f"{name}: photos of classes that the other set lacks are left out: {told}")
    return Populations(
        (translated[0][0], translated[1][0]), names, (translated[0][1], translated[1][1]), tuple(notes)
    )


def train_masks(
    sets: Sequence[Photos], fold_of: Sequence[np.ndarray], fold: int, equal_size: bool, seed: int
) -> list[np.ndarray]:
    """Which photos of each set the networks of a fold are trained on, bool[N] each.

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


def _translate(one: Inputs, matching: Matching, side: int) -> tuple[Inputs, dict[str, int]]:
    """A set with the shared labels; and the photos that are left out by title of their class."""
    shared = matching.translate(one.frame["label"], side)
    known = pd.notna(shared)
    gone = one.frame["label"][~known].value_counts()
    left_out = {one.taxonomy.title(str(name)): int(count) for name, count in gone.items()}
    frame = one.frame.assign(label=shared)[known].reset_index(drop=True)
    tree: Taxonomy = matching.taxonomy()
    if missing := [name for name in tree.classes() if name not in set(frame["label"])]:
        raise ValueError(f"set {SIDES[side].upper()} has no photo of {', '.join(missing)}")
    return dataclasses.replace(one, frame=frame, taxonomy=tree), left_out


def _names(given: bool) -> tuple[str, str]:
    """What the sets are called: the data set, or the manifest's folder; A and B where that does not tell them apart."""
    if not given:
        return "light skin", "dark skin"
    values, names = flags.FLAGS, []
    for prefix in ("", "other_"):
        path = Path(values[f"{prefix}manifest"].value or values[f"{prefix}source"].value).resolve()
        dataset = values[f"{prefix}dataset"].value
        names.append(
            dataset if dataset not in ("", "folders") else path.parent.name if path.suffix else path.name
        )
    return (names[0], names[1]) if names[0] != names[1] and all(names) else ("A", "B")
