"""Cases in, answers out: the photos of a case answered one by one, and pooled into the answer for the case.

    from skinjax.predict.cases import predict_cases, prepare_cases
    from skinjax.predict.networks import load_predictor

    predictor = load_predictor("runs/demo")
    context = prepare_cases(predictor)
    for answer in predict_cases(predictor, {"left arm": ["a.jpg", "b.jpg"]}, context):
        print(answer.case, answer.diagnosis(predictor.taxonomy), answer.reasons)

A photo is left out of the pool where it cannot be read, or where it is blurred, dark or unlike the run's photos and the
case has another that is none of these. Photos that disagree further than those of the run's own cases are a reason to
give no diagnosis. A case of one photo gets the answer that the photo gets from a run with one photo per case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinjax.decide.pooling import pool_by_case
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.advice import AdviceRecord, raise_for_target
from skinjax.predict.answers import Answer
from skinjax.predict.case_decisions import (
    CaseDecisions,
    adjust_for_photos,
    photo_alarms,
    run_case_advice,
    run_case_decisions,
)
from skinjax.predict.conclusions import (
    COLUMNS,
    Conclusion,
    class_columns,
    conclude,
    diagnosis_columns,
    rounded,
)
from skinjax.predict.decisions import DecisionOptions, decide, fuse_levels_of
from skinjax.predict.networks import Predictor
from skinjax.predict.photos import (
    NOT_RENDERED,
    AnswerContext,
    DrawExplanation,
    ExplanationTarget,
    PhotoOutput,
    predict_outputs,
    prepare_answers,
)
from skinjax.predict.pooled import RULE
from skinjax.predict.reading import PhotoSource
from skinjax.predict.run_target import predictor_target
from skinjax.predict.target_call import TargetDecision, target_calls

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("case", "error", "photos", "left_out")


@dataclasses.dataclass(frozen=True, eq=False)
class CaseContext:
    """Settings that turn network outputs into answers for cases and for their photos.

    Attributes:
      photo: Of the photos.
      decisions: What was fitted on the run's own cases.
      target: The second stage of a two-stage run, by case; None of other runs.
      record: How the advice by case fared on the run's held-out cases, which it calls photos.
    """

    photo: AnswerContext
    decisions: CaseDecisions
    target: TargetDecision | None = None
    record: AdviceRecord = dataclasses.field(default_factory=AdviceRecord)


@dataclasses.dataclass(frozen=True, eq=False)
class CaseAnswer(Conclusion):
    """Answer for one case. Where none of its photos could be read, `error` says so and nothing else is known.

    Attributes:
      case: Its name, as it was given.
      photos: The answers for its photos, in the order in which they were given, unreadable ones among them.
      counted: Whether each photo counts towards the answer for the case; False for one that is left out.
      disagreement: How far the photos that count disagree, in [0, 1]; None where fewer than two count.
    """

    case: str
    photos: tuple[Answer, ...] = ()
    counted: tuple[bool, ...] = ()
    disagreement: float | None = None

    @property
    def left_out(self) -> tuple[Answer, ...]:
        """Returns the photos that do not count, each with its error or reasons."""
        return tuple(one for one, inside in zip(self.photos, self.counted, strict=True) if not inside)

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Returns everything, as JSON takes it; `photos` as `Answer.to_dict` has them, with `counted` first."""
        photos = [
            {"counted": inside, **one.to_dict(taxonomy)}
            for one, inside in zip(self.photos, self.counted, strict=True)
        ]
        if self.error is not None:
            return {"case": self.case, "error": self.error, "photos": photos}
        return {
            "case": self.case,
            "error": None,
            **self.conclusion_fields(taxonomy),
            "disagreement": None if self.disagreement is None else rounded(self.disagreement),
            "photos": photos,
        }

    def to_row(self, taxonomy: Taxonomy) -> list[str]:
        """Returns one row of the CSV file, cells as `case_header` names them; several names are parted by a bar."""
        names, left_out = ("|".join(one.photo for one in them) for them in (self.photos, self.left_out))
        first = [self.case, self.error or "", names, left_out]
        if self.error is not None:
            return [*first, *[""] * (len(case_header(taxonomy)) - len(first))]
        cells = [*first, *self.diagnosis_cells(taxonomy), *self.advice_cells()]
        cells.append("" if self.disagreement is None else rounded(self.disagreement))
        return [str(cell) for cell in [*cells, *self.class_cells(taxonomy)]]


def case_header(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns names of the columns of the CSV file of cases."""
    return (
        *(*_FIRST, *diagnosis_columns(taxonomy, _FIRST), *COLUMNS, "disagreement"),
        *class_columns(taxonomy),
    )


def prepare_cases(
    predictor: Predictor,
    options: DecisionOptions | None = None,
    photo_root: Path | None = None,
    unusual: float = 0.02,
    **reference_options: Any,
) -> CaseContext:
    """Returns what answers for cases are made by, as `skinjax.predict.photos.prepare_answers` does for photos.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      photo_root: Folder that the run's photos lie in, or None; see there.
      unusual: Share of the run's own photos, and of its cases, beyond each limit, in (0, 0.5).
      reference_options: Arguments of `skinjax.predict.reference.run_references`.

    Returns:
      The context of the answers.

    Raises:
      ValueError: An argument out of range, or stored predictions that are not of this run.
    """
    options = options or DecisionOptions()
    photo = prepare_answers(predictor, options, photo_root, unusual, **reference_options)
    decisions = run_case_decisions(predictor, options, unusual)
    target = predictor_target(predictor, by_case=True)
    record = run_case_advice(predictor, options, decisions, target, unusual)
    return CaseContext(photo, decisions, target or photo.target, record)


def predict_cases(
    predictor: Predictor,
    groups: Mapping[str, Sequence[PhotoSource]] | Iterable[tuple[str, Sequence[PhotoSource]]],
    context: CaseContext,
    *,
    batch_size: int = 16,
    threads: int = 2,
    explain: ExplanationTarget | None = None,
    draw: DrawExplanation | None = None,
    columns: pd.DataFrame | None = None,
) -> Iterator[CaseAnswer]:
    """Answers cases, in order, each as soon as its last photo is answered.

    Args:
      predictor: Networks of a run.
      groups: Case -> its photos, or such pairs: files, or photos in memory; see `skinjax.predict.reading.PhotoSource`.
      context: The context that `prepare_cases` returned.
      batch_size: Photos the device computes at a time, of several cases where they are small.
      threads: For reading photos.
      explain: What explanations of the photos are of; None for none.
      draw: Makes a picture of each explanation; see `skinjax.predict.photos.DrawExplanation`.
      columns: What networks may read beside the photos, a row per photo of all cases in order; None for nothing.

    Yields:
      One answer per case, those without a photo that can be read among them.

    Raises:
      ValueError: A case without photos, an argument out of range, or an explanation of an unknown class or map.
    """
    pairs = [(str(case), list(photos)) for case, photos in _pairs(groups)]
    for case, photos in pairs:
        if not photos:
            raise ValueError(f"groups must have a photo for each case, got none for {case!r}")
    outputs = predict_outputs(
        predictor, [photo for _, photos in pairs for photo in photos], context.photo,
        batch_size=batch_size, threads=threads, explain=explain, draw=draw, columns=columns,
    )  # fmt: skip
    for case, photos in pairs:
        yield case_answer(case, [next(outputs) for _ in photos], predictor.taxonomy, context)


def case_answer(
    case: str, outputs: Sequence[PhotoOutput], taxonomy: Taxonomy, context: CaseContext
) -> CaseAnswer:
    """Returns the answer for one case.

    Args:
      case: Its name.
      outputs: Of its photos, at least one.
      taxonomy: The taxonomy whose classes these are.
      context: The context that `prepare_cases` returned.
    """
    photos = tuple(output.answer for output in outputs)
    readable = [output for output in outputs if output.answer.error is None]
    if not readable:
        return CaseAnswer(case, photos, (False,) * len(photos), error=_unreadable(photos))
    chosen = (
        [output for output in readable if output.answer.usable]
        or [output for output in readable if set(output.faults) <= {NOT_RENDERED}]
        or readable
    )
    counted = tuple(any(output is one for one in chosen) for output in outputs)
    usable = chosen[0].answer.usable
    levels = list(chosen[0].probs)
    probs = {level: np.stack([output.probs[level] for output in chosen]) for level in levels}
    together = np.zeros(len(chosen), np.int64)
    pooled = {level: pool_by_case(values, together, RULE).probs for level, values in probs.items()}
    fused = np.asarray(fuse_levels_of(probs, taxonomy))
    apart = float(pool_by_case(fused, together, RULE).disagreement[0])
    limit = context.decisions.disagreement
    options, decisions = context.photo.options, context.decisions.decisions
    outcome = decide(pooled, taxonomy, options, decisions)
    calls = target_calls(context.target, pooled[taxonomy.finest], taxonomy)
    outcome = raise_for_target(outcome, calls, taxonomy, options)
    alarm = np.array([photo_alarms(fused, options).any()])
    outcome = adjust_for_photos(outcome, alarm, np.array([apart > limit]))
    doubts = [f"the photos disagree ({apart:.2f}, must be at most {limit:.2f})"] if apart > limit else []
    fields = conclude(outcome, 0, _faults(chosen), taxonomy, options, decisions, context.record, doubts)
    disagreement = apart if len(chosen) > 1 else None
    return CaseAnswer(case, photos, counted, disagreement, target=calls[0], usable=usable, **fields)


def _pairs(
    groups: Mapping[str, Sequence[PhotoSource]] | Iterable[tuple[str, Sequence[PhotoSource]]],
) -> Iterable[tuple[str, Sequence[PhotoSource]]]:
    return groups.items() if isinstance(groups, Mapping) else groups


def _faults(outputs: Sequence[PhotoOutput]) -> list[str]:
    """Returns why photos cannot be relied on; by name what is not the same of all."""
    shared = [fault for fault in outputs[0].faults if all(fault in output.faults for output in outputs)]
    return shared + [
        f"{Path(output.answer.photo).name}: {fault}"
        for output in outputs
        for fault in output.faults
        if fault not in shared
    ]


def _unreadable(photos: Sequence[Answer]) -> str:
    first = photos[0].error or ""
    if len(photos) == 1:
        return first
    return f"none of {len(photos)} photos can be read; the first, {Path(photos[0].photo).name}: {first}"
