"""Photos in, answers out: decoding, networks, decisions and explanations as one stream with bounded memory.

    from skinjax.predict.networks import load_predictor
    from skinjax.predict.photos import AnswerContext, predict_photos, prepare_answers

    predictor = load_predictor("runs/demo")
    context = prepare_answers(predictor)
    for answer in predict_photos(predictor, ["a.jpg", "b.png"], context):
        print(answer.photo, answer.diagnosis(predictor.taxonomy), answer.reasons)

Threads decode while the device computes; photos are answered in the order they are given. An explanation picture costs
a second reading of its file, and no second pass of the network unless a map other than the last is asked for.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images import photos
from skinjax.data.images.quality import faults
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.advice import AdviceRecord, raise_for_target, run_advice
from skinjax.predict.answers import Answer
from skinjax.predict.conclusions import conclude
from skinjax.predict.decisions import DecisionOptions, Decisions, decide
from skinjax.predict.gradcam import check_layer, class_activation, grad_cam
from skinjax.predict.networks import Forward, Predictor
from skinjax.predict.randomization import Similarity, randomization_check
from skinjax.predict.reading import (
    Decoded,
    PhotoSource,
    ahead,
    batches,
    lies_within,
    photo_name,
    read_photo,
)
from skinjax.predict.reference import ReferenceLimits, run_limits
from skinjax.predict.run_decisions import run_decisions
from skinjax.predict.run_target import predictor_target
from skinjax.predict.target_call import TargetCall, TargetDecision, target_calls
from skinjax.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class AnswerContext:
    """Settings that turn network outputs into answers.

    Attributes:
      options: What the answers must be like.
      decisions: What was fitted for it.
      limits: Limits beyond which a photo gets no diagnosis.
      target: The second stage of a two-stage run; None of other runs.
      record: How the advice fared on the run's held-out photos.
      rendered: Folder of the rendered photos that the networks learned from, beside which no photo gets a diagnosis;
        None for networks of real photos.
    """

    options: DecisionOptions
    decisions: Decisions
    limits: ReferenceLimits
    target: TargetDecision | None = None
    record: AdviceRecord = dataclasses.field(default_factory=AdviceRecord)
    rendered: Path | None = None


@dataclasses.dataclass(frozen=True)
class ExplanationTarget:
    """Class and level that explanations are of.

    Attributes:
      class_name: The class that is looked for; None for each photo's most probable finest one.
      level: The class's level; of the finest where no class is named.
      layer: Feature map; None for the last.
    """

    class_name: str | None = None
    level: str | None = None
    layer: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Explanation of a network's answer for one photo.

    Attributes:
      values: float32[h, w], at least 0, over the square that the network was fed.
      class_name: What was looked for.
      level: Its level.
      network_level: Level of the network that was looked into.
    """

    values: NDArray[np.float32]
    class_name: str
    level: str
    network_level: str


NOT_RENDERED = "the networks learned from rendered photos, and this is not one of the run's"
"""Why a photo gets no diagnosis from networks of rendered photos."""

DrawExplanation = Callable[[str, Answer, Explanation], str]
"""Given the photo's path or name, its answer and its map, draws a picture and returns its file name."""


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoOutput:
    """Answer for one photo, and what it was made of.

    Attributes:
      answer: The answer.
      probs: Level -> float32[K], what each level's network says, not calibrated; empty where the photo could not be
        read.
      faults: Why the photo cannot be relied on, in words; empty where it can.
    """

    answer: Answer
    probs: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    faults: tuple[str, ...] = ()


def prepare_answers(
    predictor: Predictor,
    options: DecisionOptions | None = None,
    photo_root: Path | None = None,
    unusual: float = 0.02,
    **reference_options: Any,
) -> AnswerContext:
    """Returns what answers are made by: read from the run's folder, or fitted and measured now and kept there.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      photo_root: Folder that the run's photos lie in, for what is measured on them; None knows absolute limits alone,
        unless it has been measured before.
      unusual: Share of the run's own photos beyond each limit of quality and novelty, in (0, 0.5).
      reference_options: Arguments of `skinjax.predict.reference.run_references`.

    Returns:
      The context of the answers.

    Raises:
      ValueError: An argument out of range, or stored predictions that are not of this run.
    """
    if not 0 < unusual < 0.5:
        raise ValueError(f"unusual must lie in (0, 0.5), got {unusual}")
    options = options or DecisionOptions()
    decisions = run_decisions(predictor, options)
    target = predictor_target(predictor)
    record = run_advice(predictor, options, decisions, target)
    limits = run_limits(predictor, photo_root, unusual, **reference_options)
    folder = RunFolder.read(predictor.workdir)
    rendered = (folder.photo_root or folder.photos).resolve() if folder.synthetic else None
    return AnswerContext(options, decisions, limits, target, record, rendered)


def predict_photos(
    predictor: Predictor,
    paths: Iterable[PhotoSource],
    context: AnswerContext,
    *,
    batch_size: int = 16,
    threads: int = 2,
    explain: ExplanationTarget | None = None,
    draw: DrawExplanation | None = None,
    columns: pd.DataFrame | None = None,
) -> Iterator[Answer]:
    """Answers photos, in order, as they come.

    Args:
      predictor: Networks of a run.
      paths: Files, or photos in memory: binary files open for reading, such as `io.BytesIO`, with a `name`.
      context: The context that `prepare_answers` returned.
      batch_size: Photos the device computes at a time; the last batch is padded, so nothing is compiled twice.
      threads: For reading photos.
      explain: What explanations are of; None for none.
      draw: Makes a picture of each explanation; see `DrawExplanation`.
      columns: What networks may read beside the photos, a row per file; None, and columns that it lacks, are unknown.

    Yields:
      One answer per photo, those that cannot be read among them.

    Raises:
      ValueError: An argument out of range, or an explanation of an unknown class or map.
    """
    outputs = predict_outputs(
        predictor, paths, context,
        batch_size=batch_size, threads=threads, explain=explain, draw=draw, columns=columns,
    )  # fmt: skip
    return (output.answer for output in outputs)


def predict_outputs(
    predictor: Predictor,
    paths: Iterable[PhotoSource],
    context: AnswerContext,
    *,
    batch_size: int = 16,
    threads: int = 2,
    explain: ExplanationTarget | None = None,
    draw: DrawExplanation | None = None,
    columns: pd.DataFrame | None = None,
) -> Iterator[PhotoOutput]:
    """Answers photos as `predict_photos` does, with what their networks say, which cases are pooled from.

    Args:
      predictor: As for `predict_photos`.
      paths: Likewise.
      context: Likewise.
      batch_size: Likewise.
      threads: Likewise.
      explain: Likewise.
      draw: Likewise.
      columns: Likewise.

    Yields:
      One output per photo.

    Raises:
      ValueError: As `predict_photos`.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size and threads must be at least 1, got {batch_size} and {threads}")
    if explain is not None:
        check_explanation_target(explain, predictor)
    size = predictor.image_size

    def read(source: PhotoSource) -> tuple[PhotoSource, Decoded | photos.PhotoError]:
        return source, read_photo(source, size, predictor.fit)

    waiting: deque[_Batch] = deque()
    first = 0
    with ThreadPoolExecutor(threads) as pool:
        for some in batches(ahead(pool, read, paths, 2 * batch_size + threads), batch_size):
            images = np.zeros((batch_size, size, size, 3), np.uint8)
            readable = {row: photo.image for row, (_, photo) in enumerate(some) if isinstance(photo, Decoded)}
            images[: len(readable)] = list(readable.values()) or 0
            table = None if columns is None else columns.iloc[[first + row for row in readable]]
            first += len(some)
            waiting.append((some, images, table, predictor.forward(images, table) if readable else None))
            while len(waiting) > 1:  # one batch is computed while the one before it is answered
                yield from _answers(predictor, context, *waiting.popleft(), explain, draw)
        while waiting:
            yield from _answers(predictor, context, *waiting.popleft(), explain, draw)


_Batch = tuple[list[tuple["PhotoSource", Any]], NDArray[np.uint8], "pd.DataFrame | None", Forward | None]
"""Files with what was read of them; the readable photos, their columns, and what networks say of them."""


def check_explanations(
    key: Any,
    predictor: Predictor,
    answers: Sequence[Answer],
    layer: str | None = None,
    columns: pd.DataFrame | None = None,
) -> list[Similarity]:
    """Returns whether the explanations of answered photos depend on what the network learned.

    Args:
      key: JAX random key of the random weights.
      predictor: Networks of a run.
      answers: Answers of photos that were explained, all at one level; their files are read again.
      layer: Feature map; None for the last.
      columns: As for `predict_photos`, a row per answer.

    Returns:
      As `skinjax.predict.randomization.randomization_check`, of the first fold's network.

    Raises:
      ValueError: Answers without an explanation.
    """
    explained = [answer.explained for answer in answers if answer.explained]
    if not answers or len(explained) < len(answers) or len({level for _, level in explained}) > 1:
        raise ValueError("answers must all be explained, at one level")
    network_level = _network_level(explained[0][1], predictor)
    loaded = predictor.members[0][network_level]
    members = [explained_members(level, name, network_level, predictor.taxonomy) for name, level in explained]
    images = []
    for answer in answers:
        photo = read_photo(answer.photo, predictor.image_size, predictor.fit)
        if isinstance(photo, photos.PhotoError):
            raise photo
        images.append(photo.image)
    network = loaded.network
    return randomization_check(
        key, network.model(), loaded.variables, network.spec, np.stack(images), np.stack(members), layer,
        *network.table(columns, len(images)),
    )  # fmt: skip


def check_explanation_target(explain: ExplanationTarget, predictor: Predictor) -> None:
    """Refuses an explanation of an unknown class or feature map.

    Raises:
      ValueError: Naming what there is.
    """
    taxonomy = predictor.taxonomy
    level = explain.level or taxonomy.finest
    if level not in taxonomy.levels:
        raise ValueError(f"level must be one of {', '.join(taxonomy.levels)}, got {level!r}")
    if explain.class_name is not None and explain.class_name not in taxonomy.classes(level):
        hint = taxonomy.hint(explain.class_name, level)
        raise ValueError(f"class_name must be a class of level {level!r}, got {explain.class_name!r}{hint}")
    network = predictor.members[0][_network_level(level, predictor)].network
    check_layer(network.model(), network.spec, explain.layer)


def explained_members(
    level: str, class_name: str, network_level: str, taxonomy: Taxonomy
) -> NDArray[np.bool_]:
    """Returns which outputs of a network stand for a class: itself, or the sub-classes that it is made of, bool[K]."""
    number = taxonomy.classes(level).index(class_name)
    members: NDArray[np.bool_] = taxonomy.parents(network_level, level) == number
    return members


def _network_level(level: str, predictor: Predictor) -> str:
    """Returns the level whose network explains a class of `level`: its own, or else the finest."""
    return level if level in predictor.levels else predictor.taxonomy.finest


def _answers(
    predictor: Predictor,
    context: AnswerContext,
    some: list[tuple[PhotoSource, Any]],
    images: NDArray[np.uint8],
    table: pd.DataFrame | None,
    forward: Forward | None,
    explain: ExplanationTarget | None,
    draw: DrawExplanation | None,
) -> Iterator[PhotoOutput]:
    outcome, novelty = None, None
    calls: list[TargetCall | None] = []
    probs: dict[str, NDArray[np.float32]] = {}
    if forward is not None:
        probs = forward.probabilities()
        outcome = decide(probs, predictor.taxonomy, context.options, context.decisions)
        calls = target_calls(context.target, probs[predictor.taxonomy.finest], predictor.taxonomy)
        outcome = raise_for_target(outcome, calls, predictor.taxonomy, context.options)
        novelty = context.limits.novelty(forward.features())
    row = 0
    for source, photo in some:
        path = photo_name(source)
        if isinstance(photo, photos.PhotoError):
            yield PhotoOutput(Answer(path, error=photo.reason))
            continue
        assert outcome is not None
        assert forward is not None
        far = None if novelty is None else float(novelty[row])
        found = _faults(source, photo, far, context)
        fitted = (context.options, context.decisions, context.record)
        fields = conclude(outcome, row, found, predictor.taxonomy, *fitted)
        answer = Answer(
            path, target=calls[row], usable=not found, quality=photo.quality, novelty=far, **fields
        )
        if explain is not None and draw is not None:
            these = None if table is None else table.iloc[[row]]
            explanation = _explain(predictor, explain, answer, images[row], these, forward, row)
            answer = dataclasses.replace(
                answer,
                explanation=draw(path, answer, explanation),
                explained=(explanation.class_name, explanation.level),
            )
        yield PhotoOutput(answer, {level: values[row] for level, values in probs.items()}, tuple(found))
        row += 1


def _faults(source: PhotoSource, photo: Decoded, far: float | None, context: AnswerContext) -> list[str]:
    """Returns why a photo cannot be relied on."""
    reasons = list(faults(photo.quality, context.limits.quality))
    if context.rendered is not None and not lies_within(source, context.rendered):
        reasons.append(NOT_RENDERED)
    if far is not None and far > 1:
        reasons.append(f"unlike the photos of the run ({far:.2f} times as far as is usual)")
    return reasons


def _explain(
    predictor: Predictor,
    explain: ExplanationTarget,
    answer: Answer,
    image: NDArray[np.uint8],
    table: pd.DataFrame | None,
    forward: Forward,
    row: int,
) -> Explanation:
    """Returns the map of one photo, by the first fold's network."""
    taxonomy = predictor.taxonomy
    level = explain.level or taxonomy.finest
    class_name = explain.class_name or answer.top(taxonomy, level)[0][0]
    network_level = _network_level(level, predictor)
    members = explained_members(level, class_name, network_level, taxonomy)[None]
    loaded = predictor.members[0][network_level]
    if explain.layer is None and loaded.pools:
        last_map = forward.last_map(network_level, row)[None]
        values = class_activation(last_map, np.asarray(loaded.kernel), np.asarray(loaded.bias), members)
    else:
        network = loaded.network
        values = np.asarray(
            grad_cam(
                network.model(), loaded.variables, network.spec, image[None], members, explain.layer,
                *network.table(table, 1),
            )
        )  # fmt: skip
    return Explanation(values[0], class_name, level, network_level)
