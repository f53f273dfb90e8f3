"""The plan of a run: its photos, its machine, the networks that it trains, their time and memory, and advice.

Every study that trains lists its networks as `Task`s once its photos are divided, prints the plan and writes it to
`plan.txt`. With `--plan` the first of them takes a few steps, so that the time is measured, and the run ends there.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from skinjax.data.photo_set import PreparedPhotos
from skinjax.files.atomic import replacing
from skinjax.files.progress import Progress, clock
from skinjax.models import registry
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import presets
from skinjax.studies.steps.course import Course
from skinjax.studies.steps.options import TrainingConfig
from skinjax.train import cost
from skinjax.train.heads import Head

FEWEST_UPDATES = 100
"""Updates below which a plan advises more epochs."""
RARE = 10
"""Photos of the commonest class per photo of the rarest from which a plan advises a balance."""
LONG_HOURS = 3.0
"""Hours from which a plan says how a run takes less time."""
HOST_MEMORY, HOST_COPIES = 0.8 * 2**30, 2.2
"""Resident memory of a process on a CPU: of libraries and photos, and per byte of a step, as training has shown."""

_LOG = logging.getLogger(__name__)


class PlanShownError(Exception):
    """The plan is printed and written, and nothing more was asked for; its text is the message."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One network of a run.

    Attributes:
      kind: What networks of different folds have in common, such as "sub".
      photos: Photos that it is trained on.
      held_out: Photos that it predicts.
      epochs: Passes over its photos; 0 for the preset's.
      classes: Classes that it tells apart.
      backbone: Name in the registry; empty for the options' own.
      image_size: Side of its photos in pixels.
    """

    kind: str
    photos: int
    held_out: int
    epochs: int
    classes: int
    image_size: int
    backbone: str = ""


def of_folds(
    config: TrainingConfig,
    fold_of: np.ndarray,
    folds: Iterable[int],
    kinds: Sequence[tuple[str, int, int]],
    image_size: int,
) -> list[Task]:
    """Returns the tasks of networks that are trained fold by fold.

    Args:
      config: The study's options.
      fold_of: int[N], the fold of each photo.
      folds: Those that are held out here, one after the other.
      kinds: Of a fold's networks: kind, epochs and classes.
      image_size: Side of the photos in pixels.
    """
    found = []
    for fold in folds:
        held_out = int((fold_of == fold).sum())
        photos = len(fold_of) - held_out
        photos -= round(config.validation_fraction * photos)
        found += [
            Task(kind, photos, held_out, epochs, classes, image_size) for kind, epochs, classes in kinds
        ]
    return found


def announce(
    config: TrainingConfig, folder: RunFolder, sets: Sequence[PreparedPhotos], tasks: Sequence[Task]
) -> Course:
    """Prints and writes the plan of a run, and warns where it promises little.

    Args:
      config: The study's options.
      folder: Of the run.
      sets: Its photos.
      tasks: The networks, in the order of training.

    Returns:
      The course of the run, from its begin.

    Raises:
      PlanShownError: Nothing but the plan was asked for.
      ValueError: A network cannot be trained on so few photos.
    """
    works = [_updates(config, task) * config.batch_size_of(task.photos) for task in tasks]
    course = Course(works)
    if config.smoke and not config.plan:
        return course
    lines = [*map(_photos, sets), _machine()]
    lines += _networks(config, tasks)
    seconds = 0.0
    needed, text = _memory(config, tasks)
    lines.append(text)
    if config.plan:
        seconds, told = _measured(config, sets[0], tasks)
        lines.append(told)
    advice = [*_advice(config, sets, tasks), *_too_large(config, needed), *_too_long(config, seconds)]
    if config.plan and not advice:
        advice = ["none"]
    text = "\n".join([*lines, *(["advice:"] if advice else []), *(f"  {line}" for line in advice)])
    if processes.is_first():
        folder.path.mkdir(parents=True, exist_ok=True)
        with replacing(folder.path / "plan.txt") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if config.plan:
        raise PlanShownError(text)
    _LOG.info("plan:\n%s", text)
    return course


def _photos(data: PreparedPhotos) -> str:
    counts = np.bincount(data.labels, minlength=len(data.taxonomy.classes()))
    names = [data.taxonomy.title(name) for name in data.taxonomy.classes()]
    there = np.flatnonzero(counts)
    most, least = there[counts[there].argmax()], there[counts[there].argmin()]
    cases = len(np.unique(data.cases))
    sizes = f"from {counts[most]:,} of {names[most]} to {counts[least]:,} of {names[least]}"
    return f"photos: {len(data):,} of {cases:,} cases, {len(there)} classes, {sizes}"


def _machine() -> str:
    devices, available = jax.devices(), cost.available_memory()
    kind = (
        f"{os.cpu_count()} cores"
        if devices[0].platform == "cpu"
        else f"{len(devices)} {devices[0].device_kind}"
    )
    free = f", {available / 2**30:.1f} GiB of memory available" if available else ""
    return f"machine: {kind}{free}"


def _networks(config: TrainingConfig, tasks: Sequence[Task]) -> list[str]:
    start = f"{config.pretrained} weights" if config.pretrained else "random weights"
    sizes = sorted({task.image_size for task in tasks})
    names = ", ".join(dict.fromkeys(task.backbone or config.backbone for task in tasks))
    lines = [
        f"networks: {len(tasks)}, {names} from {start}, {' and '.join(map(str, sizes))} pixels, "
        f"{config.batch_size_of(min(task.photos for task in tasks))} photos per update (preset {config.preset})"
    ]
    groups = Counter((task.kind, _epochs(config, task)) for task in tasks)
    for (kind, epochs), count in groups.items():
        alike = [task for task in tasks if (task.kind, _epochs(config, task)) == (kind, epochs)]
        updates = min(_updates(config, task) for task in alike)
        photos = min(task.photos for task in alike)
        burn_in = config.recipe(updates).burn_in
        lines.append(
            f"  {kind}: {count} × {photos:,} photos, {epochs} epochs, {updates:,} updates, of which {burn_in:.0f} "
            f"({burn_in / updates:.0%}) are burn-in"
        )
    return lines


def _memory(config: TrainingConfig, tasks: Sequence[Task]) -> tuple[int, str]:
    """Returns the bytes of the largest step on one device, and what the plan says of them."""
    needed = 0
    for name, size in {(task.backbone or config.backbone, task.image_size) for task in tasks}:
        spec = registry.spec(name)
        model = registry.create(name, max(task.classes for task in tasks), dtype=config.precision)
        batch = config.batch_size_of(max(task.photos for task in tasks))
        needed = max(needed, cost.step_bytes(model, spec, config.method(), batch, size))
    needed //= jax.device_count()
    host = jax.default_backend() == "cpu"
    told = HOST_MEMORY + HOST_COPIES * needed if host else needed
    of = "the process" if host else "each device"
    return needed, f"memory: about {told / 2**30:.1f} GiB in {of}, {needed / 2**30:.1f} GiB of it in a step"


def _measured(config: TrainingConfig, data: PreparedPhotos, tasks: Sequence[Task]) -> tuple[float, str]:
    """Returns the seconds of all networks, by a few steps of each backbone's, and what the plan says of them."""
    from skinjax.studies.steps import networks

    views = {"none": 1, "flips": 4, "dihedral": 8}[config.test_time_augmentation]
    total = 0.0
    firsts = {(task.backbone or config.backbone, task.image_size): task for task in reversed(tasks)}
    for (backbone, size), task in firsts.items():
        names = tuple(f"class_{number}" for number in range(task.classes))
        network = networks.describe(config, "plan", 0, "level", names, backbone)
        settings = config.settings(0, 1, task.photos)
        labels = np.arange(len(data), dtype=np.int32) % task.classes
        photos = networks.subset(data, np.ones(len(data), bool), labels)
        with Progress("a few steps", 1, unit="network", stream=processes.progress_stream()) as progress:
            found = cost.measure_step(
                network.model(), network.spec, networks.start_variables(config, network), photos,
                config.recipe(_updates(config, task)), settings,
            )  # fmt: skip
            progress.update(1)
        per_photo = found.seconds / settings.batch_size
        alike = [
            one for one in tasks if (one.backbone or config.backbone, one.image_size) == (backbone, size)
        ]
        for one in alike:
            evaluations = math.ceil(_epochs(config, one) / config.evaluate_every) + (
                views if views > 1 else 0
            )
            seen = _updates(config, one) * config.batch_size_of(one.photos)
            total += per_photo * (seen + one.held_out * evaluations / 3)  # a prediction is a third of a step
        models = (registry.create(backbone, one.classes) for one in alike)
        programs = {Head.of(model, config.method()).width for model in models}
        total += 2 * found.compilation * len(programs)
    speed = f"{1 / per_photo:.0f} photos per second in training"
    return total, f"time: about {clock(total)} for all networks, {speed} (measured on a few steps)"


def _advice(config: TrainingConfig, sets: Sequence[PreparedPhotos], tasks: Sequence[Task]) -> list[str]:
    found = []
    shortest = min(tasks, key=lambda task: _updates(config, task))
    updates = _updates(config, shortest)
    burn_in = config.recipe(updates).burn_in
    if burn_in > 1.01 * presets.BURN_IN_SHARE * updates:
        found.append(
            f"--burn_in={max(updates // 10, 1)}: {burn_in:.0f} of {updates:,} updates of burn-in leave few for learning"
        )
    if updates < FEWEST_UPDATES:
        more = math.ceil(_epochs(config, shortest) * FEWEST_UPDATES / updates)
        given = (
            f"--epochs={more}" if shortest.epochs == config.epochs else f"{more} epochs for {shortest.kind}"
        )
        found.append(
            f"{given}: {updates:,} updates of a network are few; at least {FEWEST_UPDATES} are advised"
        )
    if not config.pretrained and not all(data.photos.synthetic for data in sets):
        found.append(
            "--preset=laptop: networks learn more from the same photos when they start from ImageNet weights"
        )
    evened = (
        config.class_balance != "none" or config.prior_adjustment or "prior_adjustment" in config.unfilled
    )
    for data in () if evened else sets:
        counts = np.bincount(data.labels)
        counts = counts[counts > 0]
        if counts.max() >= RARE * counts.min():
            ratio = counts.max() / counts.min()
            found.append(
                f"--prior_adjustment=0.5: the commonest class has {ratio:.0f} times the photos of the rarest, which is "
                "hardly ever named otherwise"
            )
            break
    return found


def _too_large(config: TrainingConfig, needed: int) -> list[str]:
    available = cost.available_memory()
    if not available or needed <= 0.9 * available:
        return []
    parts = config.accumulate
    while needed * config.accumulate / parts > 0.8 * available and parts < config.batch_size:
        parts *= 2
    text = (
        f"--accumulate={parts}, or a smaller --image_size: a step takes about {needed / 2**30:.1f} GiB, and "
        f"{available / 2**30:.1f} GiB are available, so that training is likely to end for lack of memory"
    )
    _LOG.warning("%s", text)
    return [text]


def _too_long(config: TrainingConfig, seconds: float) -> list[str]:
    if seconds < LONG_HOURS * 3600 or config.preset == "quick":
        return []
    fold = ", or --fold=0 for one fold" if getattr(config, "fold", 0) < 0 else ""
    return [
        f"--preset=quick: smaller photos and fewer epochs take about a sixth of the {clock(seconds)}{fold}"
    ]


def _epochs(config: TrainingConfig, task: Task) -> int:
    return config.epochs_for(task.epochs, task.photos)


def _updates(config: TrainingConfig, task: Task) -> int:
    return config.updates(task.epochs, task.photos)
