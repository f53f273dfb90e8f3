"""The ISIC challenges' scores, under their names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate.isic_scores import IsicScores, balanced_multiclass_accuracy, isic_scores
from skinjax.report.blocks import Block, Column, Heading, Table, Text
from skinjax.report.formatting import decimals, listed
from skinjax.report.study import Study

_NAMES = tuple(field.name for field in dataclasses.fields(IsicScores))


def isic_blocks(study: Study) -> list[Block]:
    """Builds the scores of the target and of each class of the finest level against the rest, and of all classes.

    Args:
      study: The model's answers.

    Returns:
      Blocks; a sentence alone where nothing can be distinguished.
    """
    events: list[tuple[str, str, NDArray, NDArray]] = []
    if study.target is not None:
        events.append(("target", study.target.title, study.target.labels, study.target.scores))
    for k, title in enumerate(study.fine.titles):
        events.append(("class", title, study.labels == k, study.probs[:, k]))
    told = [event for event in events if event[2].any() and not event[2].all()]
    absent = [title for _, title, labels, _ in events if labels.all() or not labels.any()]
    heading = Heading("Scores of the ISIC challenges")
    if not told:
        return [heading, Text("All photos are of one class, so there is nothing to tell apart.")]
    rows = [
        {"kind": kind, "title": title} | dataclasses.asdict(isic_scores(labels, scores))
        for kind, title, labels, scores in told
    ]
    table = pd.DataFrame(rows)
    means = table.loc[table["kind"] == "class", list(_NAMES)].mean()
    table.loc[len(table)] = {"kind": "macro_average", "title": "Mean of the classes"} | means.to_dict()
    balanced = balanced_multiclass_accuracy(study.labels, study.probs)
    table["balanced_accuracy"] = [np.nan] * (len(table) - 1) + [balanced]
    shown = [
        f"Target: {title}" if kind == "target" else title
        for kind, title in zip(table["kind"], table["title"], strict=True)
    ]
    columns = [Column("Class", shown)]
    columns += [Column(name, [decimals(value) for value in table[name]], number=True) for name in _NAMES]
    words = (
        f"balanced_accuracy {decimals(balanced)}. As isic-challenge-scoring defines them: calls are of a probability "
        "above 0.5, ppv (npv) is 1 where nothing (everything) is called, auc_sens_80 is the part of the area under "
        "the ROC curve where the sensitivity is at least 80% (1 is perfect, 0.18 chance), ap average precision, and a "
        "photo whose largest probability is shared by classes counts as wrong in balanced_accuracy. pauc_above_tpr is "
        "the score of ISIC 2024, the area above a sensitivity of 80% (0.2 is perfect, 0.02 chance). The partial areas "
        "stand without intervals: they depend on the few photos of a class that score lowest, of which resampled cases "
        "tell too little."
    )
    if absent:
        words += f" Left out, as no photo or every photo is of it: {listed(absent)}."
    caption = "Each class against the rest"
    return [
        heading,
        Table("isic_scores", table, tuple(columns), caption, folded=True),
        Text(words, small=True),
    ]
