"""Photos in, answers out: decoding, networks, decisions and explanations as one stream with bounded memory.

    from skinjax.predict.networks import load_predictor
    from skinjax.predict.photos import Asked, predict_photos, prepare_answers

    predictor = load_predictor("runs/demo")
    asked = prepare_answers(predictor)
    for answer in predict_photos(predictor, ["a.jpg", "b.png"], asked):
        print(answer.photo, answer.diagnosis(predictor.taxonomy), answer.reasons)

Threads decode while the device computes; photos are answered in the order they are given. An explanation picture costs
a second reading of its file, and no second pass of the network unless a map other than the last is asked for.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data import photos
from skinjax.data.quality import faults
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.answers import Answer, Malignancy
from skinjax.predict.decisions import Decisions, Outcome, Wanted, decide, run_decisions
from skinjax.predict.gradcam import class_activation, grad_cam
from skinjax.predict.networks import Forward, Predictor
from skinjax.predict.randomization import Similarity, randomization_check
from skinjax.predict.reading import Decoded, ahead, batches, read_photo
from skinjax.predict.reference import Usual, run_references, usual


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What answers are made by, beside the networks.

    Attributes:
      wanted: what is asked for.
      decisions: what was fitted for it.
      usual: what counts as a usual photo.
    """

    wanted: Wanted
    decisions: Decisions
    usual: Usual


@dataclasses.dataclass(frozen=True)
class Explained:
    """What explanations are of.

    Attributes:
      class_name: the class that is looked for; None for each photo's most probable finest one.
      level: the class's level; of the finest where no class is named.
      layer: feature map; None for the last.
    """

    class_name: str | None = None
    level: str | None = None
    layer: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Where a network looked in one photo.

    Attributes:
      values: float32[h, w], at least 0, over the square that the network was fed.
      class_name: what was looked for.
      level: its level.
      network_level: level of the network that was looked into.
    """

    values: NDArray[np.float32]
    class_name: str
    level: str
    network_level: str


Drawn = Callable[[str, Answer, Explanation], str]
"""Given the photo's path, its answer and its map, draws a picture and returns its file name."""


def prepare_answers(
    predictor: Predictor,
    wanted: Wanted | None = None,
    photo_root: Path | None = None,
    unusual: float = 0.02,
    **options: Any,
) -> Asked:
    """What answers are made by: read from the run's folder, or fitted and measured now and kept there.

    Args:
      predictor: networks of the run.
      wanted: what is asked for.
      photo_root: folder that the run's photos lie in, for what is measured on them; None knows absolute limits alone,
        unless it has been measured before.
      unusual: share of the run's own photos beyond each limit of quality and novelty, in (0, 0.5).
      options: of `skinjax.predict.reference.run_references`.

    Returns:
      What is asked of answers.

    Raises:
      ValueError: an argument out of range, or stored predictions that are not of this run.
    """
    if not 0 < unusual < 0.5:
        raise ValueError(f"unusual must lie in (0, 0.5), got {unusual}")
    wanted = wanted or Wanted()
    decisions = run_decisions(predictor, wanted)
    return Asked(wanted, decisions, usual(run_references(predictor, photo_root, **options), unusual))


def predict_photos(
    predictor: Predictor,
    paths: Iterable[str | Path],
    asked: Asked,
    *,
    batch_size: int = 16,
    threads: int = 2,
    explained: Explained | None = None,
    draw: Drawn | None = None,
) -> Iterator[Answer]:
    """Answers photos, in order, as they come.

    Args:
      predictor: networks of a run.
      paths: files.
      asked: of `prepare_answers`.
      batch_size: photos the device computes at a time; the last batch is padded, so nothing is compiled twice.
      threads: for reading photos.
      explained: what explanations are of; None for none.
      draw: makes a picture of each explanation; see `Drawn`.

    Yields:
      An answer a photo, those that cannot be read among them.

    Raises:
      ValueError: an argument out of range, or an explanation of an unknown class or map.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size and threads must be at least 1, got {batch_size} and {threads}")
    if explained is not None:
        check_explained(explained, predictor)
    size = predictor.image_size

    def read(path: str | Path) -> tuple[str, Decoded | photos.PhotoError]:
        return str(path), read_photo(path, size, predictor.fit)

    waiting: deque[tuple[list[tuple[str, Any]], NDArray[np.uint8], Forward | None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for some in batches(ahead(pool, read, paths, 2 * batch_size + threads), batch_size):
            images = np.zeros((batch_size, size, size, 3), np.uint8)
            readable = [photo.image for _, photo in some if isinstance(photo, Decoded)]
            images[: len(readable)] = readable or 0
            waiting.append((some, images, predictor.forward(images) if readable else None))
            while len(waiting) > 1:  # one batch is computed while the one before it is answered
                yield from _answers(predictor, asked, *waiting.popleft(), explained, draw)
        while waiting:
            yield from _answers(predictor, asked, *waiting.popleft(), explained, draw)


def check_explanations(
    key: Any, predictor: Predictor, answers: Sequence[Answer], layer: str | None = None
) -> list[Similarity]:
    """Whether the explanations of answered photos depend on what the network learned.

    Args:
      key: JAX random key of the random weights.
      predictor: networks of a run.
      answers: of photos that were explained, all at one level; their files are read again.
      layer: feature map; None for the last.

    Returns:
      As `skinjax.predict.randomization.randomization_check`, of the first fold's network.

    Raises:
      ValueError: answers without an explanation.
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
        key, network.model(), loaded.variables, network.spec, np.stack(images), np.stack(members), layer
    )


def check_explained(explained: Explained, predictor: Predictor) -> None:
    """Refuses an explanation of a class or feature map that there is not.

    Raises:
      ValueError: naming what there is.
    """
    taxonomy = predictor.taxonomy
    level = explained.level or taxonomy.finest
    if level not in taxonomy.levels:
        raise ValueError(f"there is no level {level!r} to explain, only {', '.join(taxonomy.levels)}")
    if explained.class_name is not None and explained.class_name not in taxonomy.classes(level):
        hint = taxonomy.hint(explained.class_name, level)
        raise ValueError(f"there is no class {explained.class_name!r} of level {level!r} to explain{hint}")
    if explained.layer is not None:
        from skinjax.models.features import map_names

        network = predictor.members[0][_network_level(level, predictor)].network
        if explained.layer not in map_names(network.spec):
            names = ", ".join(map_names(network.spec))
            raise ValueError(f"{network.backbone} has no feature map {explained.layer!r}; it has {names}")


def explained_members(
    level: str, class_name: str, network_level: str, taxonomy: Taxonomy
) -> NDArray[np.bool_]:
    """Which outputs of a network stand for a class: itself, or the sub-classes that it is made of, bool[K]."""
    wanted = taxonomy.classes(level).index(class_name)
    members: NDArray[np.bool_] = taxonomy.parents(network_level, level) == wanted
    return members


def _network_level(level: str, predictor: Predictor) -> str:
    """The level whose network explains a class of `level`: its own, or else the finest."""
    return level if level in predictor.levels else predictor.taxonomy.finest


def _answers(
    predictor: Predictor,
    asked: Asked,
    some: list[tuple[str, Any]],
    images: NDArray[np.uint8],
    forward: Forward | None,
    explained: Explained | None,
    draw: Drawn | None,
) -> Iterator[Answer]:
    outcome, novelty = None, None
    if forward is not None:
        outcome = decide(forward.probabilities(), predictor.taxonomy, asked.wanted, asked.decisions)
        novelty = asked.usual.novelty(forward.features())
    row = 0
    for path, photo in some:
        if isinstance(photo, photos.PhotoError):
            yield Answer(path, error=photo.reason)
            continue
        assert outcome is not None
        assert forward is not None
        far = None if novelty is None else float(novelty[row])
        answer = _answer(path, photo, far, row, outcome, predictor.taxonomy, asked)
        if explained is not None and draw is not None:
            explanation = _explain(predictor, explained, answer, images[row], forward, row)
            answer = dataclasses.replace(
                answer,
                explanation=draw(path, answer, explanation),
                explained=(explanation.class_name, explanation.level),
            )
        yield answer
        row += 1


def _answer(
    path: str, photo: Decoded, far: float | None, row: int, outcome: Outcome, taxonomy: Taxonomy, asked: Asked
) -> Answer:
    reasons = list(faults(photo.quality, asked.usual.limits))
    if far is not None and far > 1:
        reasons.append(f"unlike the photos of the run ({far:.2f} times as far as is usual)")
    if not outcome["certain"][row]:
        sure, least = outcome["certainty"][row], asked.decisions.certainty
        reasons.append(f"not certain enough ({100 * sure:.3g}%, at least {100 * least:.3g}% is wanted)")
    malignancy = None
    if asked.wanted.degree_of_class:
        malignancy = Malignancy(
            float(outcome["score"][row]), int(outcome["degree"][row]), outcome["degree_probs"][row]
        )
    backed_off: tuple[str, ...] = ()
    if outcome["backed_off"][row]:
        backed_off = _named(taxonomy.classes(taxonomy.levels[-2]), outcome["above"][row])
    return Answer(
        photo=path,
        reasons=tuple(reasons),
        probabilities={level: outcome["probs"][level][row] for level in taxonomy.levels},
        conformal_set=_named(taxonomy.classes(), outcome["set"][row]),
        backed_off=backed_off,
        malignancy=malignancy,
        quality=photo.quality,
        novelty=far,
    )


def _explain(
    predictor: Predictor,
    explained: Explained,
    answer: Answer,
    image: NDArray[np.uint8],
    forward: Forward,
    row: int,
) -> Explanation:
    """The map of one photo, by the first fold's network."""
    taxonomy = predictor.taxonomy
    level = explained.level or taxonomy.finest
    class_name = explained.class_name or answer.top(taxonomy, level)[0][0]
    network_level = _network_level(level, predictor)
    members = explained_members(level, class_name, network_level, taxonomy)[None]
    loaded = predictor.members[0][network_level]
    if explained.layer is None:
        last_map = forward.last_map(network_level, row)[None]
        values = class_activation(last_map, np.asarray(loaded.kernel), np.asarray(loaded.bias), members)
    else:
        network = loaded.network
        values = np.asarray(
            grad_cam(
                network.model(), loaded.variables, network.spec, image[None], members, layer=explained.layer
            )
        )
    return Explanation(values[0], class_name, level, network_level)


def _named(names: tuple[str, ...], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, inside in zip(names, chosen, strict=True) if inside)
