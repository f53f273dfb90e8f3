"""The report's tables: frames computed from stored predictions, each of which is also written as CSV.

Every figure is of photos, and every interval and p-value of cases (`skinjax.evaluate.bootstrap`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.predictions import columns, probabilities
from skinjax.decide.hierarchy import fuse, marginalize
from skinjax.evaluate import bootstrap
from skinjax.evaluate.confusion import confusion_matrix, summary
from skinjax.labels.taxonomy import Taxonomy

METRICS: Mapping[str, bootstrap.WeightedMetric] = {
    "macro_f1": bootstrap.macro_f1,
    "accuracy": bootstrap.accuracy,
}
"""The figures that methods are compared by, under the names of their columns."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What each method answers for each photo, at one level of the taxonomy.

    Attributes:
        level: the level's name.
        classes: the K classes of the level, in taxonomy order.
        titles: their names for people.
        labels: int[N], the true class of each photo.
        scores: float[N, K] in [0, 1] by method, the reference method first; rows sum to 1, so that the
            score of the answer can be read as its probability.
    """

    level: str
    classes: tuple[str, ...]
    titles: tuple[str, ...]
    labels: NDArray[np.int32]
    scores: Mapping[str, NDArray[np.floating]]

    def predicted(self, method: str) -> NDArray[np.int64]:
        """int64[N], a method's answers: the class with the largest score, the first of equals."""
        return self.scores[method].argmax(axis=1)


def fine_answers(predictions: pd.DataFrame, taxonomy: Taxonomy, coarse_level: str | None) -> Answers:
    """The answers at the finest level: flat, and fused where there is a network for `coarse_level`.

    Args:
        predictions: valid ones; see `skinjax.data.predictions`.
        taxonomy: the taxonomy of their labels.
        coarse_level: a coarser level, or None.

    Returns:
        The answers of `flat`, and of `soft`, `hard` and `conditional` where the coarse network's columns
        stand in the frame too.

    Raises:
        ValueError: A label the taxonomy lacks, or columns of probabilities that are missing.
    """
    fine = probabilities(predictions, taxonomy)
    scores: dict[str, NDArray[np.floating]] = {"flat": fine}
    if has_network(predictions, taxonomy, coarse_level):
        coarse = probabilities(predictions, taxonomy, str(coarse_level))
        parents = taxonomy.parents(taxonomy.finest, str(coarse_level))
        for rule in ("soft", "hard", "conditional"):
            with jax.enable_x64(True):
                scores[rule] = np.asarray(fuse(coarse, fine, parents, rule, normalize=True))
    return _answers(predictions, taxonomy, taxonomy.finest, scores)


def coarse_answers(predictions: pd.DataFrame, taxonomy: Taxonomy, coarse_level: str) -> Answers:
    """The answers at a coarser level: the fine network's, summed up, and the coarse network's, if any.

    Args:
        predictions: valid ones; see `skinjax.data.predictions`.
        taxonomy: the taxonomy of their labels.
        coarse_level: a level above the finest.

    Returns:
        The answers of `marginalized`, and of `network` where its columns stand in the frame.

    Raises:
        ValueError: As `fine_answers`.
    """
    parents = taxonomy.parents(taxonomy.finest, coarse_level)
    fine = probabilities(predictions, taxonomy)
    with jax.enable_x64(True):
        summed = np.asarray(marginalize(fine, parents, len(taxonomy.classes(coarse_level))))
    scores: dict[str, NDArray[np.floating]] = {"marginalized": summed}
    if has_network(predictions, taxonomy, coarse_level):
        scores["network"] = probabilities(predictions, taxonomy, coarse_level)
    return _answers(predictions, taxonomy, coarse_level, scores)


def has_network(predictions: pd.DataFrame, taxonomy: Taxonomy, level: str | None) -> bool:
    """Whether the frame holds the answers of a network for this level, coarser than the finest."""
    if level is None or level == taxonomy.finest:
        return False
    return any(name in predictions for kind in ("p", "logit") for name in columns(taxonomy, level, kind))


def compare_methods(
    answers: Answers, cases: NDArray, replicates: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Macro F1 and accuracy of each method with intervals, and paired differences against the first method.

    Args:
        answers: of N photos.
        cases: [N], the case of each photo.
        replicates: of the bootstrap.
        confidence: of the intervals, in (0, 1).
        seed: of the bootstrap.

    Returns:
        One row a method: `method`, and for each metric `<metric>`, `_low`, `_high`, `_difference`,
        `_difference_low`, `_difference_high`, `_p_value`; the first method's differences are missing.
    """
    reference = answers.predicted(next(iter(answers.scores)))
    rows: list[dict[str, Any]] = []
    for method in answers.scores:
        predicted = answers.predicted(method)
        row: dict[str, Any] = {"method": method}
        for name, metric in METRICS.items():
            interval = bootstrap.by_case(
                metric, (answers.labels, predicted), cases, replicates, confidence, seed
            )
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            if rows:
                paired = bootstrap.paired_by_case(
                    metric, answers.labels, predicted, reference, cases, replicates, confidence, seed
                )
                row |= {
                    f"{name}_difference": paired.difference,
                    f"{name}_difference_low": paired.low,
                    f"{name}_difference_high": paired.high,
                    f"{name}_p_value": paired.p_value,
                }
        rows.append(row)
    return pd.DataFrame(rows)


def describe_classes(answers: Answers, method: str, cases: NDArray, groups: Sequence[str]) -> pd.DataFrame:
    """Recall, precision and F1 of each class, with how much they rest on.

    Args:
        answers: of N photos in K classes.
        method: the method described.
        cases: [N], the case of each photo.
        groups: K names of coarser classes.

    Returns:
        One row a class: `class`, `title`, `group`, `recall` (missing where the class has no photos),
        `precision` (missing where it was never predicted), `f1` (missing where neither), `photos`, `cases`,
        `predicted`.
    """
    read = summary(confusion_matrix(answers.labels, answers.predicted(method), len(answers.classes)))
    by_class = pd.Series(cases).groupby(answers.labels).nunique()
    return pd.DataFrame(
        {
            "class": answers.classes,
            "title": answers.titles,
            "group": list(groups),
            "recall": np.where(read.support > 0, read.recall, np.nan),
            "precision": np.where(read.predicted > 0, read.precision, np.nan),
            "f1": read.f1,
            "photos": read.support,
            "cases": by_class.reindex(range(len(answers.classes)), fill_value=0).to_numpy(),
            "predicted": read.predicted,
        }
    )


def count_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """Photos, cases and classes of each fold's test part, and the photos and cases of the other folds.

    Args:
        predictions: stored predictions.

    Returns:
        One row a fold, in order: `fold`, `photos`, `cases`, `classes`, `other_photos`, `other_cases`.
    """
    rows = []
    for fold, part in predictions.groupby("fold", sort=True):
        rest = predictions[predictions["fold"] != fold]
        rows.append(
            {
                "fold": fold,
                "photos": len(part),
                "cases": part["case_id"].nunique(),
                "classes": part["label"].nunique(),
                "other_photos": len(rest),
                "other_cases": rest["case_id"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def count_classes(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Photos and cases of each class in each fold.

    Args:
        predictions: stored predictions.
        classes: the K classes of the finest level.

    Returns:
        K rows: `class`, then `photos_<fold>` and `cases_<fold>` for each fold, and `photos` and `cases` of
        all.
    """
    table = pd.DataFrame({"class": list(classes)})
    parts = [(f"_{fold}", part) for fold, part in predictions.groupby("fold", sort=True)]
    for suffix, part in [*parts, ("", predictions)]:
        labels = part.groupby("label")["case_id"]
        table[f"photos{suffix}"] = labels.size().reindex(table["class"], fill_value=0).to_numpy()
        table[f"cases{suffix}"] = labels.nunique().reindex(table["class"], fill_value=0).to_numpy()
    return table


def rank_confusions(answers: Answers, method: str, count: int) -> pd.DataFrame:
    """The most frequent mistakes.

    Args:
        answers: of N photos.
        method: the method described.
        count: how many rows at most.

    Returns:
        `label`, `predicted` (titles), `photos`, and `share` of the true class's photos; the most frequent
        first.
    """
    matrix = confusion_matrix(answers.labels, answers.predicted(method), len(answers.classes))
    wrong = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order[wrong.ravel()[order] > 0], matrix.shape)
    titles = np.array(answers.titles, dtype=object)
    return pd.DataFrame(
        {
            "label": titles[rows],
            "predicted": titles[columns],
            "photos": wrong[rows, columns],
            "share": wrong[rows, columns] / np.maximum(matrix.sum(axis=1)[rows], 1),
        }
    )


def flatten_config(config: Mapping[str, Any]) -> pd.DataFrame:
    """A nested configuration as rows of dotted names and texts.

    Args:
        config: the run's configuration, as read from its JSON file.

    Returns:
        `setting` and `value`, both text, in the order given.

    Example:
        >>> flatten_config({"seed": 1, "versions": {"jax": "0.10.2"}}).to_dict("list")
        {'setting': ['seed', 'versions.jax'], 'value': ['1', '0.10.2']}
    """
    rows: list[tuple[str, str]] = []

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            rows.append((prefix, str(value)))

    for key, value in config.items():
        add(str(key), value)
    return pd.DataFrame(rows, columns=["setting", "value"], dtype=object)


def _answers(
    predictions: pd.DataFrame, taxonomy: Taxonomy, level: str, scores: Mapping[str, NDArray[np.floating]]
) -> Answers:
    labels = taxonomy.encode(predictions["label"])
    classes = taxonomy.classes(level)
    return Answers(
        level=level,
        classes=classes,
        titles=tuple(taxonomy.title(name) for name in classes),
        labels=taxonomy.parents(taxonomy.finest, level)[labels],
        scores=scores,
    )
