"""Photos that a run has not seen: which were evaluated, and how the run's own fits hold on them.

What `predict` answers by (temperature, conformal sets, the certainty that is asked for, a threshold) was fitted on the
run's own held-out photos. On photos from elsewhere it may hold less well, and this section says by how much; all other
sections fit such values anew on the photos that the report is about.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calibration import calibration_error
from skinjax.evaluate.calls import call_figures
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.results import Interval
from skinjax.report.blocks import Block, Column, Heading, Section, Table, Text
from skinjax.report.cases import Unit, case_heading
from skinjax.report.formatting import bracketed, decimals, percent, with_range
from skinjax.report.tables.target_models import Intervals

_SHARES = ("accuracy", "macro_f1", "covered", "answered", "accuracy_answered", "sensitivity", "specificity")


@dataclasses.dataclass(frozen=True, eq=False)
class FittedAnswers:
    """Answers for N photos by what was fitted on the run's own photos.

    Attributes:
      labels: int[N], the true classes.
      cases: [N], their cases.
      before: float[N, K], probabilities as the networks give them.
      after: float[N, K], with the run's temperature, as `predict` shows them.
      covered: bool[N], whether the conformal set holds the true class.
      set_size: int[N], of that set.
      certain: bool[N], whether the photo would be diagnosed.
      target: bool[N], whether the true class is of the target; None without a target.
      called: bool[N], whether the score of the target reaches the run's threshold; None without one.
    """

    labels: NDArray[np.integer]
    cases: NDArray[Any]
    before: NDArray[np.floating]
    after: NDArray[np.floating]
    covered: NDArray[np.bool_]
    set_size: NDArray[np.integer]
    certain: NDArray[np.bool_]
    target: NDArray[np.bool_] | None = None
    called: NDArray[np.bool_] | None = None


def new_photos_section(
    flow: Sequence[tuple[str, int, int]],
    networks: Sequence[str],
    new: FittedAnswers | None,
    own: FittedAnswers | None,
    promised: Mapping[str, float],
    target: str,
    threshold: str,
    how: Intervals,
    unit: Unit = "case",
) -> tuple[Section, list[str]]:
    """Builds the section of new photos.

    Args:
      flow: What became of the photos: words, photos and cases, from those named to those evaluated.
      networks: Sentences about the networks that answered.
      new: Answers for the new photos; None where nothing was fitted on the run's own.
      own: Answers for the run's own photos that its networks have not seen, on which all was fitted; None likewise.
      promised: `covered` and `answered`, the shares that were asked for when it was fitted.
      target: Name of the target for people.
      threshold: Where the threshold comes from, as a phrase.
      how: How intervals are made.
      unit: What the cases of the new photos tell apart.

    Returns:
      The section, and a sentence for the top of the page, if there is one to say.
    """
    steps = pd.DataFrame(flow, columns=["step", "photos", "cases"])
    blocks: list[Block] = [
        Table(
            "photos_flow",
            steps,
            (
                Column("Photos", [words for words, _, _ in flow]),
                Column("Number", [f"{photos:,}" for _, photos, _ in flow], number=True),
                Column(
                    case_heading(unit), [f"{cases:,}" if cases else "–" for _, _, cases in flow], number=True
                ),
            )[: 2 if unit == "photo" else 3],
        ),
        *(Text(sentence, small=True) for sentence in networks),
    ]
    if new is None or own is None:
        words = "Nothing was fitted on the run's own photos, so that what “predict” says is not calibrated."
        return Section("new_photos", "New photos", (*blocks, Text(words))), []
    found, before = _figures(new, how), _figures(own, how)
    blocks += [
        Heading("By what was fitted on the run's own photos"),
        _table(found, before, promised, target),
        Text(_words(target, threshold), small=True),
    ]
    verdict = [
        f"The run has not seen these {len(new.labels):,} photos; of its own {len(own.labels):,} held-out photos its "
        f"answers are right for {_told(before['accuracy'])}."
    ]
    return Section("new_photos", "New photos", tuple(blocks)), verdict


def _figures(answers: FittedAnswers, how: Intervals) -> dict[str, Interval]:
    draws = (how.replicates, how.confidence, how.seed)
    cases, truth = answers.cases, answers.labels
    predicted = answers.after.argmax(axis=1)
    right = predicted == truth
    found: dict[str, Any] = {
        "accuracy": bootstrap.by_case(bootstrap.accuracy, (truth, predicted), cases, *draws),
        "macro_f1": bootstrap.by_case(bootstrap.macro_f1, (truth, predicted), cases, *draws),
    }
    for name, probs in (("ece_before", answers.before), ("ece_after", answers.after)):
        binary = ((probs.argmax(axis=1) == truth).astype(np.int64), np.minimum(probs.max(axis=1), 1.0))
        found[name] = bootstrap.by_case(calibration_error("binary"), binary, cases, *draws)
    found["covered"] = proportion_by_case(answers.covered, cases, how.confidence)
    found["set_size"] = bootstrap.by_case(
        bootstrap.mean, (answers.set_size.astype(np.float64),), cases, *draws
    )
    sure = answers.certain
    found["answered"] = proportion_by_case(sure, cases, how.confidence)
    if sure.any():
        found["accuracy_answered"] = proportion_by_case(right[sure], cases[sure], how.confidence)
    if answers.target is not None and answers.called is not None:
        calls = call_figures(answers.target, answers.called.astype(np.float64), cases, *draws)
        found |= {"sensitivity": calls.sensitivity, "specificity": calls.specificity}
    return found


def _table(
    new: Mapping[str, Interval], own: Mapping[str, Interval], promised: Mapping[str, float], target: str
) -> Table:
    titles = {
        "accuracy": "Accuracy",
        "macro_f1": "Macro F1",
        "ece_before": "Calibration error, as answered",
        "ece_after": "Calibration error, with the run's temperature",
        "covered": "Conformal sets that hold the true class",
        "set_size": "Classes in a set",
        "answered": "Photos certain enough for a diagnosis",
        "accuracy_answered": "Accuracy of these",
        "sensitivity": f"Sensitivity for {target}, at the run's threshold",
        "specificity": f"Specificity for {target}, at the run's threshold",
    }
    names = [name for name in titles if name in new or name in own]
    data = pd.DataFrame({"figure": names})
    for side, figures in (("new", new), ("own", own)):
        for part in ("estimate", "low", "high"):
            values = [getattr(figures[name], part) if name in figures else np.nan for name in names]
            data[side if part == "estimate" else f"{side}_{part}"] = values
    data["promised"] = [promised.get(name, np.nan) for name in names]
    columns = [Column("Figure", [titles[name] for name in names])]
    for heading, figures in (("These photos", new), ("The run's own", own)):
        columns.append(Column(heading, [_cell(name, figures.get(name)) for name in names]))
    columns.append(
        Column("Asked for", [percent(promised[name]) if name in promised else "–" for name in names])
    )
    return Table("new_photos", data, tuple(columns))


def _cell(name: str, found: Interval | None) -> str:
    write = percent if name in _SHARES else functools.partial(decimals, digits=2 if name == "set_size" else 3)
    return "–" if found is None else with_range(write(found.estimate), found.low, found.high, write)


def _told(found: Interval) -> str:
    limits = bracketed(found.low, found.high, percent, before=f"{100 * found.confidence:g}% interval ")
    return f"{percent(found.estimate)}{limits}"


def _words(target: str, threshold: str) -> str:
    words = (
        "The run's own photos are those that these networks were not trained on. Temperature, sets and certainty were "
        "fitted on them, so that their figures, accuracy aside, flatter; nothing was fitted on the new photos. These "
        "are the answers that “predict” gives, except for photos that it would not diagnose because of their "
        "quality. All other sections fit temperatures and thresholds anew, on other cases of the new photos."
    )
    return f"{words} The threshold for {target} is {threshold}." if target else words
