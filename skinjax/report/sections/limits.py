"""Limits of the figures' use, and items of the reporting guidelines beyond them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from skinjax.evaluate.fewest import FEWEST_CASES
from skinjax.evaluate.samples import effective_cases
from skinjax.evaluate.subgroups import MIN_CASES
from skinjax.report.blocks import Block, Column, Section, Table, Text
from skinjax.report.cases import photos_of
from skinjax.report.checklists import CLAIM, GUIDELINES, TRIPOD_AI, checklist
from skinjax.report.formatting import listed
from skinjax.report.study import Study

UNEQUAL_CASES, FEW_CASES, NEARLY_ALL = 0.6, 3, 0.95
"""Effective cases per case, cases of a class and accuracy from which on intervals are said to be approximate."""

_SLUGS = {TRIPOD_AI: "tripod_ai", CLAIM: "claim_2024"}


def limits_section(study: Study, synthetic: bool, warning: str, num_groups: int) -> Section:
    """Builds what the numbers may not be used for, as far as the predictions show it.

    Args:
      study: The model's answers, and how intervals are made.
      synthetic: Whether the photos were rendered.
      warning: What makes the figures wrong; empty for nothing.
      num_groups: How many columns of groups were looked at.
    """
    sentences = []
    if synthetic:
        sentences.append("The photos were drawn by a program: no figure says anything about people.")
    if warning:
        sentences.append(warning)
    sentences += [
        "Not for deciding on a diagnosis or a treatment: no figure here comes from a trial in which doctors or "
        "patients used the model.",
        f"The figures are of {photos_of(len(study.labels), study.num_cases, study.unit)}, and of others like them. "
        "Another clinic, camera, skin tone, or mix of diseases may give other figures, which only photos from "
        "there can tell.",
        "Intervals and p-values count the cases: they say how the figures would move with other cases of the same "
        "kind, not with another training or fit under another seed, another labeller, or another clinic.",
        "Every photo is assigned to one of the classes of this run. A disease that is none of them is misclassified, "
        "mostly with high confidence.",
        "Accuracy, precision, predictive values, Brier score and net benefit depend on how common each class is "
        "among these photos, which need not be how common it is anywhere else.",
    ]
    by_class = np.array(
        [len(np.unique(study.cases[study.labels == k])) for k in range(len(study.fine.classes))]
    )
    few = [study.fine.titles[k] for k in np.flatnonzero((by_class > 0) & (by_class < MIN_CASES))]
    none = [study.fine.titles[k] for k in np.flatnonzero(by_class == 0)]
    if few:
        sentences.append(
            f"{len(few)} class{'es rest' if len(few) > 1 else ' rests'} on fewer than {MIN_CASES} cases "
            f"({listed(few)}): do not compare their own figures."
        )
    if none:
        sentences.append(f"No photo is of {listed(none)}: nothing is known about these.")
    sentences += approximate_intervals(study, by_class)
    if num_groups == 0:
        sentences.append(
            "No subgroups were looked at: whether the model is as good for everyone is not known."
        )
    if study.by_fold:
        sentences.append(
            f"The {study.num_folds} folds were answered by as many {study.noun}s: the figures "
            f"describe the method, and no single {study.noun} of it."
        )
    elif study.calibration_parts is not None:
        sentences.append(
            "Temperatures, thresholds and sets were fitted on other cases than those they are shown on, but of the "
            "same source: on photos from elsewhere they may hold less well."
        )
    blocks: list[Block] = [Text(sentence) for sentence in sentences]
    return Section("limits", "What these numbers may not be used for", tuple(blocks))


def approximate_intervals(study: Study, cases_by_class: NDArray[np.int64]) -> list[str]:
    """Returns where intervals of samples like this one missed their level in simulations (`benchmarks.coverage`).

    Args:
      study: The model's answers, and how intervals are made.
      cases_by_class: int64[K], cases of each finest class.
    """
    if study.num_cases < FEWEST_CASES:
        return [
            f"There are few cases, {study.num_cases}: intervals are very wide or absent, and the figures say next to "
            "nothing about other cases."
        ]
    told = []
    worth = effective_cases(np.unique(study.cases, return_inverse=True)[1])
    if worth < UNEQUAL_CASES * study.num_cases:
        told.append(
            f"Cases differ much in their numbers of photos: {study.num_cases:,} of them say as much as {worth:,.0f} "
            "of equal size would. Intervals are approximate: of such samples 95% intervals of sensitivity, "
            "calibration slope, net benefit, macro AUC and the difference of two AUCs held the truth in 88 to 97% of "
            "simulations, most others in 92 to 98%."
        )
    if few := int(((cases_by_class > 0) & (cases_by_class <= FEW_CASES)).sum()):
        classes = "1 class has" if few == 1 else f"{few} classes have"
        told.append(
            f"{classes} {FEW_CASES} cases or fewer: intervals of figures over all classes are approximate, as so few "
            "cases do not tell how others of the class would be answered. With many such classes 95% intervals of "
            "balanced accuracy held the truth in 91 to 94% of simulations, of macro F1 in 73 to 93%."
        )
    if (study.probs.argmax(axis=1) == study.labels).mean() >= NEARLY_ALL:
        told.append(
            "Nearly all photos are answered correctly: intervals are approximate, as hardly an error is seen. Of "
            "30 to 100 cases 95% intervals of accuracy, macro F1 and kappa held the truth in 95 to 100% of "
            "simulations, of Brier score and log loss in 80 to 94%."
        )
    return told


def checklist_tables(present: Collection[str]) -> list[Table]:
    """Builds each guideline's items, with the section that answers them and what is left to the authors.

    Args:
      present: The ids of the sections that hold what they are for.
    """
    tables = []
    for guideline in GUIDELINES:
        items = checklist(guideline, present)
        open_items = int((items["left"] != "").sum())
        columns = [
            Column("Item", list(items["item"])),
            Column("What it asks for", list(items["topic"])),
            Column("Here", list(items["answered"]), link=True),
            Column("Left", list(items["left"])),
        ]
        caption = (
            f"{guideline}: {len(items)} items, {open_items} of them wholly or partly left to the authors"
        )
        tables.append(Table(f"checklist_{_SLUGS[guideline]}", items, tuple(columns), caption, folded=True))
    return tables
