"""Advice that a patient would be given by degree of malignancy, and how often it came too late."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from skinjax.decide.abstain import fit_certainty_threshold
from skinjax.decide.advice import WITHHELD, top_degree, urgencies
from skinjax.decide.malignancy import call_degree, degree_probabilities, tumour_probability
from skinjax.evaluate.lateness import Lateness, lateness
from skinjax.evaluate.proportions import Proportion
from skinjax.labels.degrees import NO_TUMOUR, URGENCIES, advice, urgency_of, withheld_advice
from skinjax.report import crossfit
from skinjax.report.blocks import Block, Column, Heading, Table, Text
from skinjax.report.cases import counted
from skinjax.report.formatting import bracketed, cell, percent, ranged
from skinjax.report.study import Study

ANSWERED = 0.9
"""Share of photos that are certain enough of a diagnosis, as in `predict` where nothing else is asked for."""

_CAUTION = (
    "This is not a diagnosis: only an examination, often with a biopsy, can tell. The wording and the times are "
    "ours and were not tested on patients; a lesion that worries somebody should be seen whatever the degree."
)


def advice_blocks(
    study: Study, degree_of_class: NDArray[np.int64], tempered: crossfit.Tempered | None
) -> list[Block]:
    """Builds the table of advice, with how many were told each and how many of them needed to be seen sooner.

    The rule is that of `predict` with its defaults (`skinjax.decide.advice`): the degree of least expected cost, at a
    degree too low counting as four too high, and 90 % of the photos certain enough. What is fitted for a photo is
    fitted on other cases.

    Args:
      study: The model's answers, and how intervals are made.
      degree_of_class: int64[K], of `skinjax.report.sections.malignancy.check_degrees`.
      tempered: The model's probabilities after temperature scaling; None where all photos are of one case, of which
        nothing can be counted.
    """
    count = int(degree_of_class.max()) + 1
    by_degree = {urgency_of(degree, count): advice(degree, count) for degree in reversed(range(count))}
    texts = [by_degree.get(place, "") for place in range(len(URGENCIES))]
    table = pd.DataFrame({"urgency": [*URGENCIES, "withheld"], "advice": [*texts, withheld_advice(None)]})
    table = table[table["advice"] != ""].reset_index(drop=True)
    columns = [Column("Urgency", list(table["urgency"])), Column("Advice", list(table["advice"]))]
    words = _CAUTION
    if tempered is not None and study.calibration_parts is not None:
        needed, given = needed_and_given(study, degree_of_class, tempered)
        found = lateness(needed, given, study.cases, len(URGENCIES), study.confidence)
        places = [WITHHELD if name == "withheld" else URGENCIES.index(name) for name in table["urgency"]]
        table["photos"] = [int((given == place).sum()) for place in places]
        shares = [None if place == WITHHELD else found.by_urgency[place] for place in places]
        for field in ("estimate", "low", "high"):
            name = "too_late" if field == "estimate" else f"too_late_{field}"
            table[name] = [np.nan if share is None else getattr(share, field) for share in shares]
        columns += [
            Column("Photos told so", [cell(n) for n in table["photos"]], number=True),
            Column("Needed it sooner", ranged(table, "too_late", percent)),
        ]
        words = f"{_sentence(study, found)} {words}"
    return [
        Heading("Advice to the patient"),
        Table("advice", table, tuple(columns)),
        Text(words, small=True),
    ]


def needed_and_given(
    study: Study, degree_of_class: NDArray[np.int64], tempered: crossfit.Tempered
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the urgency that each photo's true degree asks for, and the one that its patient would be given.

    Args:
      study: The model's answers.
      degree_of_class: int64[K].
      tempered: The model's probabilities after temperature scaling.

    Returns:
      int64[N] in 0..2, and int64[N] with -1 where advice is withheld.
    """
    parts, count = study.calibration_parts, int(degree_of_class.max()) + 1
    assert parts is not None
    logits, least = crossfit.log_scores(study.probs), np.empty(len(parts))
    for part in range(int(parts.max()) + 1):
        rest = parts != part
        probs = softmax(logits[rest] / tempered.temperatures[part], axis=1)
        wrong = probs.argmax(axis=1) != study.labels[rest]
        least[parts == part] = fit_certainty_threshold(wrong, probs.max(axis=1), coverage=ANSWERED)
    with jax.enable_x64(True):
        of_degree = degree_probabilities(tempered.probs, degree_of_class, count)
        degree = call_degree(tumour_probability(tempered.probs, degree_of_class), of_degree)
        certain = tempered.probs.max(axis=1) >= least
        given = urgencies(degree, top_degree(tempered.probs, degree_of_class), certain, True, count)
    needed = np.array([urgency_of(int(max(degree, NO_TUMOUR)), count) for degree in degree_of_class])
    return needed[study.labels], np.asarray(given, np.int64)


def _sentence(study: Study, found: Lateness) -> str:
    if found.cancers is None or found.withheld is None:
        return "No photo is of a cancer, so nothing can be said of how often advice comes too late."

    def shown(share: Proportion) -> str:
        return f"{percent(share.estimate)}{bracketed(share.low, share.high, percent)}"

    return (
        f"Of {found.cancers.num_photos:,} photos of cancers of {counted(found.cancers.num_cases, study.unit)}, "
        f"{shown(found.cancers)} would be advised too late, and {shown(found.withheld)} would get no advice, since the "
        f"network is not certain enough; the {study.confidence_percent} intervals are by case. Photos that would be "
        "refused for their quality are not known here."
    )
