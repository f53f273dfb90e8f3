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

from skinjax.data.predictions import Predictions
from skinjax.decide.hierarchy import fuse, marginalize
from skinjax.evaluate import bootstrap
from skinjax.evaluate.confusion import confusion_matrix, summary

METRICS: Mapping[str, bootstrap.WeightedMetric] = {
    "macro_f1": bootstrap.macro_f1,
    "accuracy": bootstrap.accuracy,
    "balanced_accuracy": bootstrap.balanced_accuracy,
}
"""The figures of answers that methods are compared by, under the names of their columns."""

TOP = 3
"""Classes among which the true one counts for the top-3 accuracy; it is left out where there are no more than these."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Answers of each method for each photo, at one level of the taxonomy.

    Attributes:
      level: The level's name.
      classes: The K classes of the level, in taxonomy order.
      titles: Their names for people.
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
        """Returns int64[N], a method's answers: the class with the largest score, the first of equals."""
        return self.scores[method].argmax(axis=1)


def fine_answers(predictions: Predictions, coarse_level: str | None) -> Answers:
    """Returns the answers at the finest level: flat, and fused where there is a network for `coarse_level`.

    Args:
      predictions: One model's predictions.
      coarse_level: A coarser level, or None.

    Returns:
      The answers of `flat`, and of `soft`, `hard` and `conditional` where a network of the coarse level answered too.
    """
    taxonomy = predictions.taxonomy
    fine = predictions.probabilities()
    scores: dict[str, NDArray[np.floating]] = {"flat": fine}
    if predictions.has_network(coarse_level):
        coarse = predictions.probabilities(coarse_level)
        parents = taxonomy.parents(taxonomy.finest, str(coarse_level))
        for rule in ("soft", "hard", "conditional"):
            with jax.enable_x64(True):
                scores[rule] = np.asarray(fuse(coarse, fine, parents, rule, normalize=True))
    return _answers(predictions, taxonomy.finest, scores)


def coarse_answers(predictions: Predictions, coarse_level: str) -> Answers:
    """Returns the answers at a coarser level: the fine network's, summed up, and the coarse network's, if any.

    Args:
      predictions: One model's predictions.
      coarse_level: A level above the finest.

    Returns:
      The answers of `marginalized`, and of `network` where a network of that level answered.
    """
    taxonomy = predictions.taxonomy
    parents = taxonomy.parents(taxonomy.finest, coarse_level)
    with jax.enable_x64(True):
        summed = np.asarray(
            marginalize(predictions.probabilities(), parents, len(taxonomy.classes(coarse_level)))
        )
    scores: dict[str, NDArray[np.floating]] = {"marginalized": summed}
    if predictions.has_network(coarse_level):
        scores["network"] = predictions.probabilities(coarse_level)
    return _answers(predictions, coarse_level, scores)


def top_answers(
    labels: NDArray[np.integer], scores: NDArray[np.floating], count: int = TOP
) -> NDArray[np.int64]:
    """Returns answers whose accuracy is the share of photos with the true class among the most probable ones.

    Args:
      labels: int[N] in [0, K).
      scores: float[N, K]; of equal scores the first class goes before, as in `argmax`.
      count: How many classes count.

    Returns:
      int64[N]: the true class where it is among these, else the most probable one.

    >>> top_answers(np.array([2, 1]), np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]]), count=2).tolist()
    [0, 2]
    >>> top_answers(np.array([2, 0]), np.array([[0.5, 0.2, 0.3], [0.3, 0.3, 0.4]]), count=2).tolist()
    [2, 0]
    """
    true = labels.astype(np.int64)
    own = np.take_along_axis(scores, true[:, None], axis=1)
    before = np.arange(scores.shape[1])[None] < true[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & before).sum(axis=1)
    return np.where(rank < count, true, scores.argmax(axis=1))


def compare_methods(
    answers: Answers, cases: NDArray, replicates: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Returns the `METRICS` of each method with intervals, and paired differences against the first method.

    Of more than `TOP` classes the share of photos whose true class is among the `TOP` most probable ones too, `top_3`.

    Args:
      answers: Answers of N photos.
      cases: [N], the case of each photo.
      replicates: Number of bootstrap replicates.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the bootstrap.

    Returns:
      One row per method: `method`, and for each metric `<metric>`, `_low`, `_high`, `_reason` (for which there is no
      interval), `_difference`, `_difference_low`, `_difference_high`, `_difference_reason`, `_p_value`; the
      first method's differences are missing.
    """
    first = next(iter(answers.scores))
    rows: list[dict[str, Any]] = []
    for method in answers.scores:
        row: dict[str, Any] = {"method": method}
        for name, (metric, given) in answer_figures(answers.labels, answers.scores[method]).items():
            interval = bootstrap.by_case(metric, (answers.labels, given), cases, replicates, confidence, seed)
            row |= interval_columns(name, interval)
            if method != first:
                reference = answer_figures(answers.labels, answers.scores[first])[name][1]
                paired = bootstrap.paired_by_case(
                    metric, answers.labels, given, reference, cases, replicates, confidence, seed
                )
                row |= {
                    f"{name}_difference": paired.difference,
                    f"{name}_difference_low": paired.low,
                    f"{name}_difference_high": paired.high,
                    f"{name}_difference_reason": paired.reason,
                    f"{name}_p_value": paired.p_value,
                }
        rows.append(row)
    return pd.DataFrame(rows)


def answer_figures(
    labels: NDArray[np.integer], scores: NDArray[np.floating]
) -> dict[str, tuple[bootstrap.WeightedMetric, NDArray[np.integer]]]:
    """Returns the figures of answers: the metric of each, and the answers that it is of beside the labels.

    Args:
      labels: int[N] in [0, K).
      scores: float[N, K].

    Returns:
      By name, `METRICS` and, of more than `TOP` classes, `top_3`.

    >>> scores = np.eye(4)[[0, 1, 2, 2]]
    >>> {name: metric([0, 1, 2, 3], answers) for name, (metric, answers) in answer_figures(
    ...     np.arange(4), scores).items() if name != "macro_f1"}
    {'accuracy': 0.75, 'balanced_accuracy': 0.75, 'top_3': 0.75}
    """
    predicted = scores.argmax(axis=1)
    found: dict[str, tuple[bootstrap.WeightedMetric, NDArray[np.integer]]] = {
        name: (metric, predicted) for name, metric in METRICS.items()
    }
    if scores.shape[1] > TOP:
        found["top_3"] = (bootstrap.accuracy, top_answers(labels, scores))
    return found


def interval_columns(name: str, found: bootstrap.BootstrapInterval) -> dict[str, Any]:
    """Returns a figure for a table: `<name>`, `<name>_low`, `<name>_high` and `<name>_reason`.

    Args:
      name: Name of the figure's column.
      found: The figure and its interval, or the reason for which there is none.

    Example:
      >>> found = bootstrap.by_case(bootstrap.accuracy, ([0, 1], [0, 0]), cases=[0, 0])
      >>> interval_columns("accuracy", found)["accuracy_reason"]
      'there is a single case, or the figure is undefined in every replicate'
    """
    return {
        name: found.estimate,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_reason": found.reason,
    }


def describe_classes(answers: Answers, method: str, cases: NDArray, groups: Sequence[str]) -> pd.DataFrame:
    """Returns recall, precision and F1 of each class, with how much they rest on.

    Args:
      answers: Answers of N photos in K classes.
      method: The method described.
      cases: [N], the case of each photo.
      groups: K names of coarser classes.

    Returns:
      One row per class: `class`, `title`, `group`, `recall` (missing where the class has no photos),
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


def count_folds(predictions: Predictions) -> pd.DataFrame:
    """Returns photos, cases and classes of each fold's test part, and the photos and cases of the other folds.

    Args:
      predictions: One model's predictions.

    Returns:
      One row per fold, in order: `fold`, `photos`, `cases`, `classes`, `other_photos`, `other_cases`.
    """
    rows = []
    frame = predictions.frame
    for fold, part in frame.groupby("fold", sort=True):
        rest = frame[frame["fold"] != fold]
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


def count_classes(predictions: Predictions, classes: Sequence[str]) -> pd.DataFrame:
    """Returns photos and cases of each class in each fold.

    Args:
      predictions: One model's predictions.
      classes: The K classes of the finest level.

    Returns:
      K rows: `class`, then `photos_<fold>` and `cases_<fold>` for each fold, and `photos` and `cases` of
      all.
    """
    table = pd.DataFrame({"class": list(classes)})
    folds = [(f"_{fold}", part) for fold, part in predictions.frame.groupby("fold", sort=True)]
    for suffix, part in [*folds, ("", predictions.frame)]:
        labels = part.groupby("label")["case_id"]
        table[f"photos{suffix}"] = labels.size().reindex(table["class"], fill_value=0).to_numpy()
        table[f"cases{suffix}"] = labels.nunique().reindex(table["class"], fill_value=0).to_numpy()
    return table


def rank_confusions(answers: Answers, method: str, count: int) -> pd.DataFrame:
    """Returns the most frequent mistakes.

    Args:
      answers: Answers of N photos.
      method: The method described.
      count: How many rows at most.

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
    """Returns a nested configuration as rows of dotted names and texts.

    Args:
      config: The run's configuration, as read from its JSON file.

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


def _answers(predictions: Predictions, level: str, scores: Mapping[str, NDArray[np.floating]]) -> Answers:
    taxonomy = predictions.taxonomy
    classes = taxonomy.classes(level)
    return Answers(
        level=level,
        classes=classes,
        titles=tuple(taxonomy.title(name) for name in classes),
        labels=taxonomy.parents(taxonomy.finest, level)[predictions.label],
        scores=scores,
    )
