"""The steps of the two-stage study: its photos, its networks and what they answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skinjax.data import bootstrap_draws, predictions
from skinjax.data.columns import unknown_columns
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.data.predictions import read_predictions
from skinjax.files.atomic import replacing
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.load import load_variables
from skinjax.predict.target_call import TargetDecision
from skinjax.report.sections.relatives import Relatives
from skinjax.report.sections.two_stage import Scores, Stages
from skinjax.report.tables.target_models import Intervals, Sample
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import inputs, metadata, networks, targets
from skinjax.studies.steps.division import Parts, divide
from skinjax.studies.steps.plan import Task
from skinjax.studies.steps.question import Question, widened
from skinjax.train.loop import ClassBalance, Fitted

if TYPE_CHECKING:
    from skinjax.studies.two_stage import Config

TWO_STAGE, WEIGHTED = "two_stage", "single_weighted"
LEFT_OUT, FOREIGN = "Classes left out of training", "Photos from elsewhere"
FILES = {"validation": "validation", "test": "test", LEFT_OUT: "left_out", FOREIGN: "foreign"}


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """The photos of the experiment.

    Attributes:
      config: The study's options.
      question: What is asked of them.
      data: The photos of the classes that are trained on.
      parts: their parts.
      drawn: bool[D, N], the training photos of each single-stage network.
      samples: photos that are scored, by name: photos and bool of those chosen.
      notes: sentences for the report.
    """

    config: Config
    question: Question
    data: PreparedPhotos
    parts: Parts
    drawn: np.ndarray
    samples: Mapping[str, tuple[PreparedPhotos, np.ndarray]]
    notes: tuple[str, ...]

    @property
    def positive(self) -> np.ndarray:
        """Returns bool[N], the photos of the target."""
        return np.isin(self.data.labels_by_name, self.question.target)

    def sample(self, name: str) -> Sample:
        """Returns the photos of a sample in the form of the report."""
        photos, chosen = self.samples[name]
        frame = photos.frame[chosen]
        names = frame["label"].to_numpy(object)
        target = [*self.question.target, *self.config.target]
        return Sample(
            images=frame["image"].to_numpy(object),
            labels=np.isin(names.astype(str), target),
            cases=frame["case_id"].to_numpy(str),
            classes=np.array([photos.taxonomy.title(name) for name in names], object),
        )

    def readers(self) -> pd.DataFrame | None:
        """Returns the readers' calls of the test photos that all of them called; None where there are no readers.

        Raises:
          ReadersError: They called photos that are not test photos.
        """
        photos, chosen = self.samples["test"]
        return targets.readers(self.config.readers, photos.frame["image"][chosen])


def check(config: Config, question: Question, photos: PhotoSet) -> None:
    """Refuses photos that `gather` could not divide, before they are decoded.

    Args:
      config: The study's options.
      question: What is asked.
      photos: All photos, those of left-out classes too.

    Raises:
      ValueError: Too few cases, photos or classes for a network.
    """
    kept = np.flatnonzero(~np.isin(photos.labels_by_name, question.left_out))
    data = photos.chosen(kept, taxonomy=question.taxonomy)
    _draw(config, data, divide(config, data).train, np.isin(data.labels_by_name, question.target))


def gather(config: Config, question: Question, whole: PreparedPhotos, folder: RunFolder) -> Material:
    """Divides the photos, and checks that every network can be trained on its own.

    Args:
      config: The study's options.
      question: What is asked.
      whole: All photos, those of left-out classes too.
      folder: Of the run.

    Raises:
      ValueError: Too few photos for a network or for `strategy="head"`, or readers of other photos than the test's.
    """
    networks.refuse_weights_of_these_photos(config, whole)
    outside = np.isin(whole.labels_by_name, question.left_out)
    data = whole.where(~outside, question.taxonomy)
    divided = divide(config, data)
    positive = np.isin(data.labels_by_name, question.target)
    drawn = _draw(config, data, divided.train, positive)
    samples = {"validation": (data, divided.validation), "test": (data, divided.test)}
    notes = list(divided.notes)
    if question.left_out:
        seen = data.cases[divided.train | divided.validation]
        apart = outside & ~np.isin(whole.cases, seen)
        if dropped := int((outside & ~apart).sum()):
            notes.append(
                f"{dropped} photos of left-out classes are not looked at: their cases have other photos in training or "
                "validation."
            )
        if apart.any():
            samples[LEFT_OUT] = _all(
                whole.where(apart, widened(question.taxonomy, whole.labels_by_name[apart]))
            )
    if question.foreign is not None:
        notes += question.foreign.notes
        lacking = unknown_columns(metadata.coding(config, data, divided.train), question.foreign.frame)
        notes += [f"{FOREIGN}: {note}." for note in lacking]
        size = networks.image_size(config)
        samples[FOREIGN] = _all(inputs.prepared(question.foreign, config, folder, size, "_foreign"))
    found = Material(config, question, data, divided, drawn, samples, tuple(notes))
    found.readers()
    if config.strategy == "head" and not found.sample("validation").both():
        raise ValueError(
            "strategy=head needs validation photos of the target and of others; choose another strategy"
        )
    return found


def tasks(material: Material) -> list[Task]:
    """Returns the networks of a run in the order of training."""
    config, parts = material.config, material.parts
    size, held_out = (
        networks.image_size(config),
        sum(int(chosen.sum()) for _, chosen in material.samples.values()),
    )
    classes = len(material.data.taxonomy.classes())
    drawn = [
        Task("single-stage", int(chosen.sum()), held_out, config.epochs_per_draw, 2, size)
        for chosen in material.drawn
    ]
    photos = int(parts.train.sum())
    return [
        Task("two-stage", photos, held_out, config.epochs, classes, size),
        *drawn,
        Task("weighted single-stage", photos, held_out, config.epochs, 2, size),
    ]


def _all(photos: PreparedPhotos) -> tuple[PreparedPhotos, np.ndarray]:
    return photos, np.ones(len(photos.frame), bool)


def _draw(
    config: Config, data: PhotoSet | PreparedPhotos, train: np.ndarray, positive: np.ndarray
) -> np.ndarray:
    for name, side in (("of the target", positive), ("of other classes", ~positive)):
        if not (train & side).any():
            raise ValueError(f"target={','.join(config.target)} leaves no training photo {name}")
    rng = np.random.default_rng(networks.seed_of(config, "draws", 0))
    drawn = np.zeros((config.draws, len(train)), bool)
    drawn[:, train] = bootstrap_draws.balanced_draws(positive[train], data.labels[train], config.draws, rng)
    count = int(drawn[0].sum())
    try:
        config.recipe(config.updates(config.epochs_per_draw, count))
    except ValueError as error:
        raise ValueError(
            f"each single-stage network has {count} balanced photos to train on: {error}"
        ) from error
    return drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    """Trains the networks of a run one after the other, and stores their answers.

    Attributes:
      material: The photos.
      trainer: What the networks have in common.
    """

    material: Material
    trainer: networks.Trainer

    @property
    def drawn(self) -> list[str]:
        """Names of the single-stage networks on balanced draws."""
        return [f"single_{number}" for number in range(len(self.material.drawn))]

    def answer(self) -> None:
        """Trains what is not trained, and stores the answers that are not stored."""
        material, config = self.material, self.material.config
        data, binary = material.data, material.question.binary
        missing = processes.first_alone("answers", self._missing)
        outside = sorted({name for _, name in missing if name in (LEFT_OUT, FOREIGN)})
        if processes.is_first():
            for name in outside:  # until all networks have answered, nobody may take older answers for these
                self._note(name).unlink(missing_ok=True)
        labels = material.positive.astype(np.int32)
        tasks: dict[str, tuple[Taxonomy, np.ndarray, np.ndarray, int, ClassBalance | None]] = {
            TWO_STAGE: (data.taxonomy, data.labels, material.parts.train, config.epochs, None),
            **{
                stage: (binary, labels, chosen, config.epochs_per_draw, "none")
                for stage, chosen in zip(self.drawn, material.drawn, strict=True)
            },
            WEIGHTED: (binary, labels, material.parts.train, config.epochs, "weights"),
        }
        for stage, task in tasks.items():
            if samples := [name for of, name in missing if of == stage]:
                self._answer(stage, samples, *task)
        if processes.is_first():
            for name in outside:
                with replacing(self._note(name)) as temporary:
                    temporary.write_text(material.samples[name][0].fingerprint, encoding="utf-8")

    def frames(self, stage: str) -> dict[str, pd.DataFrame]:
        """Returns the stored predictions of a network, by sample."""
        return {name: read_predictions(self._file(stage, name)) for name in self.material.samples}

    def single_scores(self, stage: str) -> dict[str, np.ndarray]:
        """Returns the stored probabilities of the target by a network of two classes, float64[n] by sample."""
        tree = self.material.question.binary
        return {
            name: predictions.probabilities(frame, tree)[:, 1] for name, frame in self.frames(stage).items()
        }

    def _missing(self) -> list[tuple[str, str]]:
        """Returns the networks and samples whose answers are not stored."""
        found = []
        for name, (photos, chosen) in self.material.samples.items():
            images = photos.frame["image"].to_numpy(str)[chosen]
            known = name in ("validation", "test")  # as the fingerprint of the run's photos is checked
            if not known:
                note = self._note(name)
                known = note.is_file() and note.read_text(encoding="utf-8") == photos.fingerprint
            for stage in (TWO_STAGE, *self.drawn, WEIGHTED):
                if not known or _stored_images(self._file(stage, name)) != list(images):
                    found.append((stage, name))
        return found

    def _answer(
        self,
        stage: str,
        samples: Sequence[str],
        tree: Taxonomy,
        labels: np.ndarray,
        train: np.ndarray,
        epochs: int,
        class_balance: ClassBalance | None,
    ) -> None:
        """Trains a network, or reads it where that is done, and stores what it says of samples."""
        config, data, divided = self.material.config, self.material.data, self.material.parts
        coding = metadata.coding(config, data, train)
        network = networks.describe(config, stage, 0, tree.finest, tree.classes(), columns=coding)
        logits = {}
        if "test" not in samples:  # it has been trained, recorded and heard before
            variables = load_variables(self.trainer.folder.path, network)
            fitted = Fitted(variables, [], np.zeros((0, len(network.classes)), np.float32))
        else:
            fitted = self.trainer.train(
                network,
                networks.start_variables(config, network),
                data,
                labels,
                train,
                divided.test,
                stage.replace("_", " "),
                epochs,
                validation=divided.validation,
                class_balance=class_balance,
            )
            logits["test"] = fitted.logits
        for name in samples:
            photos, chosen = self.material.samples[name]
            if name not in logits:
                subset = networks.subset(photos, chosen, np.zeros(len(chosen), np.int32), network)
                logits[name] = networks.predict(config, network, fitted, subset)
            if processes.is_first():
                self._store(stage, name, tree, logits[name])

    def _store(self, stage: str, name: str, tree: Taxonomy, logits: np.ndarray) -> None:
        photos, chosen = self.material.samples[name]
        if stage == TWO_STAGE:
            unknown = len(photos.taxonomy.classes()) - logits.shape[1]
            logits = np.pad(logits, ((0, 0), (0, unknown)), constant_values=-np.inf)
            frame, tree = networks.predictions_of(photos, chosen, logits), photos.taxonomy
        else:
            truth = np.where(self.material.sample(name).labels, "target", "other")
            frame = networks.predictions_of(
                photos.where(chosen, tree, truth), np.ones(len(truth), bool), logits
            )
        predictions.write_predictions(frame, self._file(stage, name), tree)

    def _file(self, stage: str, name: str) -> Path:
        return self.trainer.folder.predictions_file(f"{stage}_{FILES[name]}")

    def _note(self, name: str) -> Path:
        """Returns the file that says which photos from outside the stored answers are about."""
        return self.trainer.folder.predictions_file(FILES[name]).with_suffix(".txt")


def _stored_images(file: Path) -> list[str]:
    """Returns the photos of stored predictions; none of a file that is missing or damaged."""
    try:
        return list(read_predictions(file)["image"])
    except (OSError, ValueError):
        return []


def strategies(
    material: Material, frames: Mapping[str, pd.DataFrame], decision: TargetDecision
) -> dict[str, Scores]:
    """Returns one score per photo and output strategy, by sample; no head where validation photos are of one class.

    Several classes of a target count as one, whose probability is their sum.
    """
    known = material.question.taxonomy
    probs = {
        name: predictions.probabilities(frame, material.samples[name][0].taxonomy)[:, : len(known.classes())]
        for name, frame in frames.items()
    }
    return {
        strategy: {name: decision.scores(values, known, strategy) for name, values in probs.items()}
        for strategy in decision.thresholds
    }


def compared(trained: Networks, decision: TargetDecision) -> Stages:
    """Returns what the report compares, from the stored answers."""
    material = trained.material
    return Stages(
        target=material.question.title,
        samples={name: material.sample(name) for name in material.samples},
        strategies=strategies(material, trained.frames(TWO_STAGE), decision),
        strategy=material.config.strategy,
        drawn=[trained.single_scores(stage) for stage in trained.drawn],
        weighted=trained.single_scores(WEIGHTED),
        readers=material.readers(),
        intervals=Intervals(seed=material.config.seed),
    )


def relatives(trained: Networks, decision: TargetDecision, scores: Mapping[str, Scores]) -> Relatives | None:
    """Returns the test photos of other classes with their group and call; None where there are no groups.

    Args:
      trained: The networks.
      decision: The second stage.
      scores: Of each strategy.
    """
    material, level = trained.material, trained.material.question.relatives
    if level is None:
        return None
    tree, (photos, chosen) = material.question.taxonomy, material.samples["test"]
    above = tree.parents(tree.finest, level)[tree.encode(photos.frame["label"][chosen])]
    return Relatives(
        target=material.question.title,
        level=level,
        groups=tuple(tree.title(name) for name in tree.classes(level)),
        sample=material.sample("test"),
        group=above,
        called=decision.called(scores[decision.strategy]["test"]),
    )
