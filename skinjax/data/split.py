"""Splits that never part a case and keep the class proportions as even as the cases allow.

Photos of one patient, or of one lesion, look alike: a split that parts them measures memory. So the unit that
is dealt out here is the case, with its vector of photo counts per class; the aim is that every part holds its
share of every class and of all photos.

The assignment minimises, over parts f and classes c (all photos together being one class more),

    sum_f sum_c (n_fc - r_f N_c)^2 / N_c

with n_fc the photos of class c in part f, N_c those of class c in all and r_f the part's share: a chi-square
distance, in which a rare class weighs as much a photo as it is rare. Cases with the same counts are dealt out
together, as many whole rounds as there are; what remains is assigned largest case first, each to the part
where it costs least, then improved by moving and exchanging single cases until none helps. Grouped stratified
folds are a bin-packing problem, so the result is good and not proven best.

Everything is deterministic: the result depends on the case ids, labels, shares and seed, and not on the order
of the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skinjax.files.missing import names_of

if TYPE_CHECKING:
    import pandas as pd

_ROUNDS = 30  # of the improvement, at most; a handful is usual


def split_by_case(
    labels: npt.ArrayLike | pd.Series, cases: npt.ArrayLike | pd.Series, ratios: Sequence[float], seed: int
) -> npt.NDArray[np.int64]:
    """Divides photos into parts of given shares, whole cases at a time.

    Args:
      labels: Class of each of N photos, text or integers.
      cases: Case of each photo, text or integers.
      ratios: Share of each of P parts, in any unit: `(6, 2, 1)` are the thesis's train, validation and test.
      seed: Which of the many equally good splits; the same seed always gives the same.

    Returns:
      int64[N], the part of each photo, 0..P-1. Every part has at least one case.

    Raises:
      ValueError: Lengths differ, there are no photos, fewer than two parts or fewer cases than parts, or a ratio is
        not positive.

    >>> part = split_by_case(["a", "a", "b", "b", "a", "b"], [1, 1, 2, 2, 3, 4], ratios=(2, 1), seed=0)
    >>> sorted(set(zip([1, 1, 2, 2, 3, 4], part.tolist())))
    [(1, 0), (2, 0), (3, 1), (4, 1)]
    """
    shares = np.asarray(ratios, np.float64)
    if shares.ndim != 1 or len(shares) < 2:
        raise ValueError(f"ratios must be at least two shares, got {ratios!r}")
    if not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"ratios must all be positive, got {ratios!r}")
    counts = _count(labels, cases)
    if len(counts.sizes) < len(shares):
        raise ValueError(f"{len(shares)} parts need at least as many cases, got {len(counts.sizes)}")
    return _assign(counts, shares / shares.sum(), seed)[counts.case_of_row]


def kfold_by_case(
    labels: npt.ArrayLike | pd.Series, cases: npt.ArrayLike | pd.Series, folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Deals photos into folds of equal size, whole cases at a time, for cross-validation.

    Args:
      labels: Class of each of N photos, text or integers.
      cases: Case of each photo, text or integers.
      folds: How many folds; at least 2 and no more than there are cases.
      seed: As for `split_by_case`.

    Returns:
      int64[N], the fold of each photo, 0..folds-1: in round k, fold k is the test part.

    Raises:
      ValueError: Lengths differ, there are no photos, `folds` is under 2, or there are fewer cases than
        folds.

    >>> kfold_by_case(["a", "b", "a", "b"], ["p1", "p1", "p2", "p2"], folds=2, seed=0).tolist()
    [0, 0, 1, 1]
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    counts = _count(labels, cases)
    if len(counts.sizes) < folds:
        raise ValueError(f"folds={folds} must be at most the number of cases, {len(counts.sizes)}")
    return _assign(counts, np.full(folds, 1 / folds), seed)[counts.case_of_row]


def split_warnings(
    labels: npt.ArrayLike | pd.Series,
    cases: npt.ArrayLike | pd.Series,
    parts: npt.ArrayLike,
    ratios: Sequence[float] | None = None,
) -> tuple[str, ...]:
    """Returns what a reader of results on these parts should know, in sentences; empty where there is nothing.

    Args:
      labels: Class of each of N photos.
      cases: Case of each photo.
      parts: int[N], the part of each photo, from one of the functions above or a publisher.
      ratios: Requested share of each part; equal shares if missing.

    Returns:
      Sentences about cases that stand in several parts, classes that a part lacks (as it must where there are
      fewer cases than parts), and parts whose size is more than a tenth off its share.

    Raises:
      ValueError: Lengths differ, there are no photos, or a part is not one of those with a ratio.

    >>> split_warnings(["a", "b", "a"], [1, 2, 3], [0, 1, 1])[0]
    "class 'b' has 1 case, fewer than the 2 parts; part 0 has none of it."
    """
    counts = _count(labels, cases)
    part = np.asarray(parts)
    if part.shape != counts.case_of_row.shape:
        photos = len(counts.case_of_row)
        raise ValueError(f"parts must be one per photo, got shape {part.shape} for {photos} photos")
    if ratios is None:
        ratios = [1.0] * (int(part.max()) + 1)
    number = len(ratios)
    if part.min() < 0 or part.max() >= number:
        raise ValueError(f"parts must be 0 to {number - 1}, got {part.min()} to {part.max()}")
    pairs = np.unique(np.stack([counts.case_of_row, part]), axis=1)
    torn = int((np.bincount(pairs[0]) > 1).sum())
    sentences = []
    if torn:
        who = "1 case stands" if torn == 1 else f"{torn} cases stand"
        sentences.append(f"{who} in more than one part: results on these parts measure memory.")
    in_part = np.zeros((number, len(counts.classes)), np.int64)
    np.add.at(in_part, (part, counts.class_of_row), 1)
    case_classes = np.unique(np.stack([counts.case_of_row, counts.class_of_row]), axis=1)[1]
    for i, name in enumerate(counts.classes):
        held = int((case_classes == i).sum())
        empty = np.flatnonzero(in_part[:, i] == 0)
        lacking = " and ".join(f"part {f}" for f in empty)
        if lacking:
            few = f", fewer than the {number} parts" if held < number else ""
            noun = "case" if held == 1 else "cases"
            sentences.append(
                f"class {name!r} has {held} {noun}{few}; {lacking} {'has' if len(empty) == 1 else 'have'} none of it."
            )
    ideals = np.asarray(ratios, float) / np.sum(ratios) * len(part)
    for f, (found, ideal) in enumerate(zip(np.bincount(part, minlength=number), ideals, strict=True)):
        if abs(found - ideal) > 0.1 * ideal:
            sentences.append(
                f"part {f} has {found:,} photos where its share is {ideal:,.0f}: cases are large."
            )
    return tuple(sentences)


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Photos a case and class, sparse: cases hold few classes however many there are."""

    case_of_row: npt.NDArray[np.int64]
    class_of_row: npt.NDArray[np.int64]
    classes: tuple[object, ...]
    sizes: npt.NDArray[np.int64]
    patterns: npt.NDArray[np.int64]
    pattern_of_case: npt.NDArray[np.int64]


def _count(labels: npt.ArrayLike | pd.Series, cases: npt.ArrayLike | pd.Series) -> _Counts:
    """Codes, and the distinct vectors of photo counts (`patterns`, int64[P, K]) with each case's."""
    import pandas as pd

    (label, unlabelled), (case, unknown) = names_of(labels), names_of(cases)
    if label.ndim != 1 or case.ndim != 1 or len(label) != len(case):
        raise ValueError(f"labels and cases must be one per photo, got shapes {label.shape} and {case.shape}")
    if not len(label):
        raise ValueError("labels and cases must have at least one photo, got none")
    for name, missing in (("labels", unlabelled), ("cases", unknown)):
        if missing.any():
            raise ValueError(
                f"{name} has {missing.sum()} missing values, first at position {missing.argmax()}"
            )
    # Sorted codes make the result a function of the ids, not of the order of the rows.
    class_of_row, class_names = pd.factorize(label, sort=True)
    case_of_row, case_names = pd.factorize(case, sort=True)
    number = len(class_names)
    pair, photos = np.unique(case_of_row * number + class_of_row, return_counts=True)
    owner, kind = pair // number, pair % number
    patterns, pattern_of_case = _distinct(owner, kind, photos, len(case_names), number)
    return _Counts(
        case_of_row.astype(np.int64),
        class_of_row.astype(np.int64),
        tuple(class_names.tolist()),
        np.bincount(case_of_row, minlength=len(case_names)),
        patterns,
        pattern_of_case,
    )


def _distinct(
    owner: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int64],
    photos: npt.NDArray[np.int64],
    cases: int,
    classes: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the distinct rows of the cases × classes matrix of counts, without making it for a million cases."""
    first = np.searchsorted(owner, np.arange(cases))
    held = np.diff(np.append(first, len(owner)))
    code = np.zeros(cases, np.int64)
    for step in range(int(held.max())):
        # A case's pattern, cut after step + 1 classes, is its shorter pattern and one (class, photos) more.
        with_more = np.flatnonzero(held > step)
        at = first[with_more] + step
        keys = np.stack([code[with_more], kind[at], photos[at]], axis=1)
        _, extended = np.unique(keys, axis=0, return_inverse=True)
        code[with_more] = extended.ravel() + code.max() + 1
    _, representative, pattern_of_case = np.unique(code, return_index=True, return_inverse=True)
    patterns = np.zeros((len(representative), classes), np.int64)
    rank = np.full(cases, -1)
    rank[representative] = np.arange(len(representative))
    known = rank[owner] >= 0
    patterns[rank[owner[known]], kind[known]] = photos[known]
    return patterns, pattern_of_case.ravel()


def _assign(counts: _Counts, shares: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """Returns int64[C], the part of each case."""
    rng = np.random.default_rng(seed)
    parts = len(shares)
    held = np.bincount(counts.pattern_of_case, minlength=len(counts.patterns))
    vectors = np.hstack([counts.patterns, counts.patterns.sum(1, keepdims=True)]).astype(np.float64)
    totals = held @ vectors
    # Scaled so, the squared length of a deviation is the chi-square distance of the module's docstring.
    vectors /= np.sqrt(totals)
    excess = -np.outer(shares, held @ vectors)

    # Whole rounds: each part gets its share of every pattern, rounded down, at no cost in evenness.
    dealt = np.floor(held[:, None] * shares + 1e-9).astype(np.int64)
    excess += dealt.T @ vectors
    rest = np.repeat(np.arange(len(held)), held - dealt.sum(1))
    order = rng.permutation(len(rest))
    size = vectors[rest[order], -1]
    order = order[np.argsort(-size, kind="stable")]
    chosen = _greedy(vectors, rest[order], excess)
    np.add.at(dealt, (rest[order], chosen), 1)
    _improve(vectors, dealt, excess)
    _fill_empty_parts(vectors, dealt, excess)

    # Which of the equal cases goes where is the seed's choice.
    shuffled = rng.permutation(len(counts.sizes))
    by_pattern = shuffled[np.argsort(counts.pattern_of_case[shuffled], kind="stable")]
    assignment = np.empty(len(counts.sizes), np.int64)
    assignment[by_pattern] = np.repeat(np.tile(np.arange(parts), len(held)), dealt.ravel())
    return assignment


def _greedy(
    vectors: npt.NDArray[np.float64], order: npt.NDArray[np.int64], excess: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Gives each case in turn to the part where it costs least; `excess` is brought up to date in place."""
    chosen = np.empty(len(order), np.int64)
    for i, pattern in enumerate(order):
        vector = vectors[pattern]
        used = vector.nonzero()[0]
        cost = (excess[:, used] * vector[used]).sum(1)
        # Rounded, so that a tie is a tie whatever order a processor adds in.
        part = int(cost.round(9).argmin())
        excess[part, used] += vector[used]
        chosen[i] = part
    return chosen


def _improve(
    vectors: npt.NDArray[np.float64], dealt: npt.NDArray[np.int64], excess: npt.NDArray[np.float64]
) -> None:
    """Moves single cases while that makes the split more even; changes its arguments in place."""
    parts = dealt.shape[1]
    lengths = np.einsum("pk,pk->p", vectors, vectors)
    for _ in range(_ROUNDS):
        before = float((excess**2).sum())
        for source in range(parts):
            for target in range(parts):
                if source != target:
                    _exchange(vectors, lengths, dealt, excess, source, target)
        if before - float((excess**2).sum()) <= 1e-9 * max(before, 1.0):
            return


def _exchange(
    vectors: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    dealt: npt.NDArray[np.int64],
    excess: npt.NDArray[np.float64],
    source: int,
    target: int,
) -> None:
    """Returns the best single move from `source` to `target`, or an exchange of two cases that is better."""
    difference = excess[target] - excess[source]
    # Half of what moving v changes the cost by: v·(e_t - e_s) + |v|².
    gain = vectors @ difference + lengths
    there = np.flatnonzero(dealt[:, source] > 0)
    back = np.flatnonzero(dealt[:, target] > 0)
    if not there.size:
        return
    best, pair = gain[there].round(9).min(), None
    out = there[gain[there].round(9).argmin()]
    if back.size:
        # For an exchange v against w the change is that of moving v - w: a few likely v against every w.
        likely = there[np.argsort(gain[there].round(9), kind="stable")[:8]]
        value = (
            gain[likely][:, None]
            - (vectors[back] @ difference)[None, :]
            + lengths[back][None, :]
            - 2 * vectors[likely] @ vectors[back].T
        ).round(9)
        if value.min() < best:
            best = value.min()
            i, j = np.unravel_index(value.argmin(), value.shape)
            out, pair = likely[i], back[j]
    if best >= -1e-9:
        return
    step = vectors[out] - (vectors[pair] if pair is not None else 0)
    dealt[out, source] -= 1
    dealt[out, target] += 1
    if pair is not None:
        dealt[pair, target] -= 1
        dealt[pair, source] += 1
    excess[source] -= step
    excess[target] += step


def _fill_empty_parts(
    vectors: npt.NDArray[np.float64], dealt: npt.NDArray[np.int64], excess: npt.NDArray[np.float64]
) -> None:
    """Gives each part without a case the one whose move costs least, from a part that has another."""
    lengths = np.einsum("pk,pk->p", vectors, vectors)
    for empty in np.flatnonzero(dealt.sum(0) == 0):
        movable = (dealt > 0) & (dealt.sum(0) > 1)
        cost = (vectors @ excess[empty])[:, None] - vectors @ excess.T + lengths[:, None]
        pattern, source = np.unravel_index(np.where(movable, cost, np.inf).argmin(), dealt.shape)
        dealt[pattern, source] -= 1
        dealt[pattern, empty] += 1
        excess[source] -= vectors[pattern]
        excess[empty] += vectors[pattern]
