"""Finds columns that give the diagnosis away by themselves.

If the file's size, or whether a biopsy was taken, tells the label, a network can learn that instead of the
skin, and a column used as input certainly will. Each column is scored alone: the share of the label's
information that it explains on cases it was not fitted to,

    U = 1 - CE(label | value) / CE(label),

where both cross-entropies are of held-out photos in a five-fold cross-validation by case, with the training
folds' label frequencies per value (drawn towards the overall ones by a few photos' weight) as predictions. U
is Theil's uncertainty coefficient, estimated out of sample: a column of identifiers, whose values are not met
again, gets 0 or less rather than the 1 that counting on the same photos gives it. Numbers of many values are
cut into 16 bins of equal counts; a missing value is a value of its own, for missingness often gives most
away.

References:
  H. Theil (1970). On the estimation of relationships involving qualitative variables. Am. J. Sociology 76.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnFigure", "columns_that_predict"]

_FOLDS = 5
_BINS = 16
# Weight, in photos, of the overall label frequencies in those of one value.
_PRIOR_PHOTOS = 5.0
# Fewer cases than this say nothing about held-out cases.
_MIN_CASES = 20


@dataclasses.dataclass(frozen=True)
class ColumnFigure:
    """The scores of one column that is to tell the label, on held-out cases.

    Attributes:
      column: The column's name.
      explained: U, the share of the label's information explained; 1 is all of it, 0 none, below 0
        misleading.
      standard_error: Of `explained`, by case.
      accuracy: Share of photos whose label is guessed right from the column alone.
      baseline: The same for always guessing the commonest label.
      explained_by_missing: U of nothing but whether the column is filled in; 0 if it always or never is.
    """

    column: str
    explained: float
    standard_error: float
    accuracy: float
    baseline: float
    explained_by_missing: float = 0.0


def columns_that_predict(
    columns: Mapping[str, Sequence[object]], labels: Sequence[str], cases: Sequence[str]
) -> list[ColumnFigure]:
    """Scores each column by how well it alone tells the label.

    Args:
      columns: Values by column name, N each; None, NaN and the empty string are missing.
      labels: N labels.
      cases: N cases; a case is held out as a whole.

    Returns:
      One figure per column that varies, the highest `explained` first. Empty with fewer than 20 cases or 2
      labels.

    Raises:
      ValueError: The lengths differ.

    >>> labels = ["nevus", "melanoma"] * 40
    >>> cases = [f"case {n}" for n in range(80)]
    >>> figures = columns_that_predict({"biopsed": ["no", "yes"] * 40, "name": cases}, labels, cases)
    >>> [(figure.column, figure.explained > 0.5) for figure in figures]
    [('biopsed', True), ('name', False)]
    """
    for name, values in {"cases": cases, **columns}.items():
        if len(values) != len(labels):
            raise ValueError(
                f"columns must have one value per label, got {len(values)} values of {name} for {len(labels)} labels"
            )
    classes, label = np.unique(np.asarray(labels, str), return_inverse=True)
    case_names, case = np.unique(np.asarray(cases, str), return_inverse=True)
    if len(case_names) < _MIN_CASES or len(classes) < 2:
        return []
    # Cases are dealt out in a fixed shuffled order: neighbours in the alphabet are often alike.
    fold_of_case = np.random.default_rng(0).permutation(len(case_names)) % _FOLDS
    figures = []
    for name, values in columns.items():
        codes, present = _codes(values)
        if codes.max() > 0:
            figure = _figure(name, codes, label, case, fold_of_case[case])
            if not present.all() and present.any():
                bare = _figure(name, present.astype(np.int64), label, case, fold_of_case[case])
                figure = dataclasses.replace(figure, explained_by_missing=bare.explained)
            figures.append(figure)
    return sorted(figures, key=lambda figure: (-figure.explained, figure.column))


def _figure(
    name: str,
    codes: NDArray[np.int64],
    label: NDArray[np.int64],
    case: NDArray[np.int64],
    fold: NDArray[np.int64],
) -> ColumnFigure:
    num_classes = int(label.max()) + 1
    gain, surprise = np.zeros(len(label)), np.zeros(len(label))
    right, right_by_default = 0, 0
    for held_out in range(_FOLDS):
        test = fold == held_out
        counts = np.bincount(label[~test], minlength=num_classes) + 1.0
        prior = counts / counts.sum()
        chance, best = _guesses(codes, label, test, _PRIOR_PHOTOS * prior)
        surprise[test] = -np.log(prior[label[test]])
        gain[test] = np.log(chance) + surprise[test]
        right += int((best == label[test]).sum())
        right_by_default += int((prior.argmax() == label[test]).sum())
    total = surprise.sum()
    explained = gain.sum() / total
    # A ratio of two sums over cases: its error by the usual linearisation.
    by_case = np.bincount(case, weights=gain - explained * surprise)
    return ColumnFigure(
        column=name,
        explained=float(explained),
        standard_error=float(np.sqrt((by_case**2).sum()) / total),
        accuracy=right / len(label),
        baseline=right_by_default / len(label),
    )


def _guesses(
    codes: NDArray[np.int64], label: NDArray[np.int64], test: NDArray[np.bool_], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the chance of each held-out photo's label given its value, and the likeliest label there.

    Only pairs of value and label that occur are counted: a table of all of them would take photos times labels.
    """
    num_classes = len(prior)
    pairs, counts = np.unique(codes[~test] * num_classes + label[~test], return_counts=True)
    owner, kind = pairs // num_classes, pairs % num_classes
    photos = np.bincount(owner, counts, int(codes.max()) + 1)
    commonest = int(prior.argmax())
    best = np.full(len(photos), commonest)
    most = np.full(len(photos), prior[commonest])
    weight = counts + prior[kind]
    # The first label of the largest weight, as argmax would find it; one that does not occur has the prior's.
    order = np.lexsort((-kind, weight, owner))
    last = order[np.flatnonzero(np.diff(owner[order], append=-1))]
    better = (weight[last] > most[owner[last]]) | (
        (weight[last] == most[owner[last]]) & (kind[last] < commonest)
    )
    best[owner[last[better]]] = kind[last[better]]
    own = codes[test] * num_classes + label[test]
    place = np.minimum(np.searchsorted(pairs, own), len(pairs) - 1)
    met = np.where(pairs[place] == own, counts[place], 0)
    return (met + prior[label[test]]) / (photos[codes[test]] + prior.sum()), best[codes[test]]


def _codes(values: Sequence[object]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Numbers a column's values from 0 (categories, or bins of many numbers), and says which are there."""
    import pandas as pd

    series = pd.Series(list(values), dtype=object)
    text = series.where(series.notna(), "").astype(str).str.strip()
    present = (text != "").to_numpy()
    numbers = pd.to_numeric(text[present], errors="coerce").to_numpy(float)
    if present.any() and np.isfinite(numbers).all() and len(np.unique(numbers)) > _BINS:
        edges = np.unique(np.quantile(numbers, np.arange(1, _BINS) / _BINS))
        binned = np.zeros(len(text), np.int64)
        binned[present] = 1 + np.searchsorted(edges, numbers, side="right")
        return np.unique(binned, return_inverse=True)[1].astype(np.int64), present
    return np.unique(text.to_numpy(str), return_inverse=True)[1].astype(np.int64), present
