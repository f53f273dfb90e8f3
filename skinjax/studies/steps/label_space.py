"""Labels of new photos in the classes of a run: the same, those of a coarser level, or matched ones."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skinjax.data.photo_set import PhotoSet
from skinjax.data.spelling import as_classes
from skinjax.labels.matching import Matching, load_matching, matching_catalogue
from skinjax.labels.taxonomy import Taxonomy, catalogue, load_taxonomy
from skinjax.predict.decisions import fuse_levels_of

SHOWN = 8
"""Labels that a message names."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSpace:
    """The classes that new photos are evaluated in.

    Attributes:
      run: Taxonomy of the run.
      taxonomy: Taxonomy of the evaluation; the run's own, unless labels are coarser or match several of its classes.
      labels: object[N], the label of each photo as a finest class of `taxonomy`; None where it has no counterpart.
      class_of: int64[S], the finest class of `taxonomy` that each finest class of the run belongs to.
      notes: How the labels were read, in sentences.
    """

    run: Taxonomy
    taxonomy: Taxonomy
    labels: NDArray[np.object_]
    class_of: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> NDArray[np.bool_]:
        """Returns bool[N], the photos whose label has a counterpart."""
        return np.array([label is not None for label in self.labels], bool)

    def probabilities(
        self, probs: Mapping[str, NDArray[np.floating]]
    ) -> tuple[NDArray[np.floating], dict[str, NDArray[np.floating]]]:
        """Returns probabilities of the run's networks as such of this space's classes.

        Args:
          probs: Level of the run -> float[n, K], the finest at least.

        Returns:
          float[n, C] of this space's finest level, and those of its coarser levels that have networks, by level.
        """
        finest = self.taxonomy.finest
        coarser = {level: probs[level] for level in self.taxonomy.levels[:-1] if level in probs}
        if finest in probs and self.run.classes(finest) == self.taxonomy.classes():
            return probs[finest], coarser
        return self.summed(np.asarray(fuse_levels_of(probs, self.run))), coarser

    def summed(self, finest: NDArray[np.floating]) -> NDArray[np.floating]:
        """Sums probabilities of the run's finest classes, float[n, S], to those of this space, float[n, C]."""
        members = np.equal(np.arange(len(self.taxonomy.classes()))[:, None], self.class_of)
        return finest @ members.T.astype(finest.dtype)


def label_space(
    photos: PhotoSet, run: Taxonomy, shared: str = "", others: Literal["refuse", "leave_out"] = "refuse"
) -> LabelSpace:
    """Finds the classes of a run that the labels of new photos stand for.

    The labels may be finest classes of the run (some of them, case and blanks aside), classes of one coarser level, or
    classes of another taxonomy that `shared`, or else the catalogue, matches with the run's.

    Args:
      photos: The new photos.
      run: Taxonomy of the run.
      shared: File or catalogue name of a matching of the run's classes (a) with the photos' (b); empty for none.
      others: Whether labels without a counterpart are refused.

    Returns:
      The space; with `others="leave_out"` some labels may be None.

    Raises:
      ValueError: Labels that the run does not know, or a faulty matching.
    """
    labels = [str(label) for label in photos.frame["label"]]
    if shared:
        return _checked(_shared(labels, shared, run, photos.taxonomy), labels, others)
    for level in reversed(run.levels):
        if (names := _by_name(labels, run.classes(level))) is not None:
            return _of_level(names, run, level)
    matched = _catalogued(labels, run, photos.taxonomy)
    if matched is not None:
        return _checked(matched, labels, others)
    names = _by_name(labels, run.classes(), complete=False)
    assert names is not None
    return _checked(_of_level(names, run, run.finest), labels, others)


def _shared(labels: Sequence[str], shared: str, run: Taxonomy, other: Taxonomy) -> LabelSpace:
    """Returns labels matched by a file, which may match more than occur where their taxonomy is made of them."""
    part = len(other.levels) == 1 and set(other.classes()) == set(labels)
    matching = load_matching(shared, run, other, part=part)
    space = _matched(labels, matching, run)
    if absent := sorted({name for name, _ in matching.second} - set(other.classes())):
        note = f"“{matching.name}” matches labels that no photo carries: {', '.join(absent)}."
        return dataclasses.replace(space, notes=(*space.notes, note))
    return space


def _by_name(labels: Sequence[str], classes: Sequence[str], complete: bool = True) -> list[str | None] | None:
    """Returns labels as classes, case and blanks aside; None where all must be classes and one is none."""
    there = {name.casefold(): name for name in reversed(classes)} | {name: name for name in classes}
    there |= as_classes(set(labels) - set(there), classes)
    found = [there.get(label, there.get(label.casefold())) for label in labels]
    return None if complete and None in found else found


def _of_level(names: Sequence[str | None], run: Taxonomy, level: str) -> LabelSpace:
    labels = np.array(names, object)
    if level == run.finest:
        return LabelSpace(run, run, labels, np.arange(len(run.classes())))
    depth = run.depth(level) + 1
    paths = tuple(dict.fromkeys(path[:depth] for path in run.paths))
    left = {name for path in paths for name in path}
    titles = tuple((name, title) for name, title in run.titles if name in left)
    tree = Taxonomy(run.name, run.levels[:depth], paths, titles, run.source, run.licence)
    note = (
        f"The labels are classes of the level “{level}”, which is coarser than the run's finest, “{run.finest}”: the "
        "answers are evaluated at that level."
    )
    return LabelSpace(run, tree, labels, run.parents(run.finest, level).astype(np.int64), (note,))


def _catalogued(labels: Sequence[str], run: Taxonomy, other: Taxonomy) -> LabelSpace | None:
    """Returns labels of another taxonomy in the run's classes, where the catalogue matches the two."""
    for name in matching_catalogue():
        if name in (f"{run.name}_{other.name}", f"{other.name}_{run.name}"):
            return _matched(labels, load_matching(name, run, other), run)
        for pair in itertools.product(catalogue(), repeat=2):
            if name == run.name == "_".join(pair) and other.name in pair:  # a run across the two sets
                matching = load_matching(name, *map(load_taxonomy, pair))
                names = matching.translate(labels, pair.index(other.name)).tolist()
                return dataclasses.replace(_of_level(names, run, run.finest), notes=_notes(matching))
    return None


def _notes(matching: Matching) -> tuple[str, ...]:
    return (f"The labels were matched with the run's classes by “{matching.name}”.", *matching.notes)


def _matched(labels: Sequence[str], matching: Matching, run: Taxonomy) -> LabelSpace:
    """Returns labels in the run's classes, or in shared classes where one stands for several of the run's."""
    shared = matching.translate(labels, 1)
    of_run: dict[str, list[str]] = {name: [] for name in matching.classes}
    for own, name in matching.first:
        of_run[name].append(own)
    notes = _notes(matching)
    if all(len(own) == 1 for own in of_run.values()):
        names = [None if name is None else of_run[name][0] for name in shared]
        return dataclasses.replace(_of_level(names, run, run.finest), notes=notes)
    group = {own: name for name, members in of_run.items() for own in members}
    group |= {own: own for own in run.classes() if own not in group}
    if clash := sorted(set(group.values()) & set(run.classes()) - {o for o, n in group.items() if o == n}):
        raise ValueError(
            f"shared classes must not be called as other classes of the run are, got {clash[0]!r}"
        )
    classes = list(dict.fromkeys(group[own] for own in run.classes()))
    titles = tuple((name, run.title(name)) for name in classes if name in run.classes())
    tree = Taxonomy(matching.name, ("diagnosis",), tuple((name,) for name in classes), titles)
    class_of = np.array([classes.index(group[own]) for own in run.classes()], np.int64)
    return LabelSpace(run, tree, shared, class_of, notes)


def _checked(space: LabelSpace, labels: Sequence[str], others: str) -> LabelSpace:
    """Refuses labels without a counterpart, or says that their photos are left out."""
    unknown = Counter(label for label, known in zip(labels, space.known, strict=True) if not known)
    if not unknown:
        return space
    count, total = sum(unknown.values()), len(labels)
    shown = ", ".join(
        f"{label} ({n:,})" + space.run.hint(label) for label, n in unknown.most_common(SHOWN)
    ) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
    if others == "refuse" or count == total:
        left = "" if count == total else ", leave their photos out by other_classes=leave_out,"
        raise ValueError(
            f"labels must be classes of the run, {', '.join(space.run.classes())}, got {count:,} of {total:,} photos "
            f"of others: {shown}; correct them{left} or match them by shared_taxonomy=FILE, a CSV (class, a, b) with "
            "the run's classes in a"
        )
    note = f"Photos of classes that the run does not know are left out: {shown}."
    return dataclasses.replace(space, notes=(*space.notes, note))
