"""The parts of the psoriasis experiment: what is asked, of which photos, and what the networks say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import folds, parts, processes, targets, training_flags
from experiments.inputs import Inputs, Photos, refuse_shared_cases
from skinjax.data import bootstrap_draws, predictions
from skinjax.data.loader import steps_per_epoch
from skinjax.data.manifest import read_manifest
from skinjax.decide.logistic_head import fit_head, head_log_odds
from skinjax.decide.two_stage import ScoreRule, target_score
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.sections.two_stage import Scores, Stages
from skinjax.report.target_models import Intervals, Sample
from skinjax.train.log import MetricsLog

LEFT_OUT, FOREIGN = "Classes left out of training", "Photos from elsewhere"
FILES = {"validation": "validation", "test": "test", LEFT_OUT: "left_out", FOREIGN: "foreign"}


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What the flags ask.

    Attributes:
      target: classes of the finest level that count as positive.
      title: of the target, for people.
      left_out: classes of the finest level that are not trained on.
      foreign: the manifest of photos from elsewhere, or None.
      taxonomy: of the classes that are trained on.
    """

    target: tuple[str, ...]
    title: str
    left_out: tuple[str, ...]
    foreign: Inputs | None
    taxonomy: Taxonomy

    @property
    def binary(self) -> Taxonomy:
        """Of the single-stage networks."""
        titles = (("target", self.title), ("other", f"Not {self.title}"))
        return Taxonomy("target against the rest", ("target",), (("other",), ("target",)), titles)


def ask(read: Inputs) -> Question:
    """Reads the flags of this experiment, before any photo is decoded.

    Raises:
      ValueError: a target or left-out class that there is not, or classes that leave nothing to tell apart.
    """
    values, taxonomy = flags.FLAGS, read.taxonomy
    target = targets.members("target", taxonomy)
    left_out = targets.members("leave_out", taxonomy) if values.leave_out else ()
    if both := [name for name in target if name in left_out]:
        raise ValueError(
            f"--leave_out={','.join(values.leave_out)} leaves out {both[0]}, which is of the --target"
        )
    if not set(taxonomy.classes()) - set(target) - set(left_out):
        raise ValueError("--target and --leave_out leave no other class to train on")
    known = taxonomy.without(left_out)
    targets.readers(read.frame["image"])
    return Question(
        target=target,
        title=", ".join(taxonomy.title(name) for name in values.target),
        left_out=left_out,
        foreign=_foreign(Path(values.foreign), known, read) if values.foreign else None,
        taxonomy=known,
    )


def _foreign(path: Path, taxonomy: Taxonomy, own: Inputs) -> Inputs:
    frame = read_manifest(path)
    notes: tuple[str, ...] = ()
    if "case_id" not in frame:
        frame = frame.assign(case_id=frame["image"])
        notes = (f"{path.name} has no case_id: each photo counts as a case of its own.",)
    tree = _widened(taxonomy, frame["label"])
    found = Inputs(frame, path.resolve().parent, tree, synthetic=False, notes=notes)
    if found.root == own.root:
        refuse_shared_cases(f"--foreign={path} and the photos that are trained on", found, own)
    return found


def _widened(taxonomy: Taxonomy, labels: Iterable[str]) -> Taxonomy:
    """A flat taxonomy of the classes that a network knows, and of labels that it does not."""
    names = dict.fromkeys([*taxonomy.classes(), *labels])
    titles = tuple((name, title) for name, title in taxonomy.titles if name in names)
    return Taxonomy(f"{taxonomy.name} and others", ("class",), tuple((name,) for name in names), titles)


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """The photos of the experiment.

    Attributes:
      question: what is asked of them.
      data: the photos of the classes that are trained on.
      parts: their parts.
      drawn: bool[D, N], the training photos of each single-stage network.
      samples: photos that are scored, by name: photos and bool of those chosen.
      notes: sentences for the report.
    """

    question: Question
    data: Photos
    parts: parts.Parts
    drawn: np.ndarray
    samples: Mapping[str, tuple[Photos, np.ndarray]]
    notes: tuple[str, ...]

    @property
    def positive(self) -> np.ndarray:
        """bool[N], the photos of the target."""
        return np.isin(self.data.labels_by_name, self.question.target)

    def sample(self, name: str) -> Sample:
        """The photos of a sample as the report wants them."""
        photos, chosen = self.samples[name]
        frame = photos.frame[chosen]
        names = frame["label"].to_numpy(object)
        target = [*self.question.target, *flags.FLAGS.target]
        return Sample(
            images=frame["image"].to_numpy(object),
            labels=np.isin(names.astype(str), target),
            cases=frame["case_id"].to_numpy(str),
            classes=np.array([photos.taxonomy.title(name) for name in names], object),
        )

    def readers(self) -> pd.DataFrame | None:
        """What readers called test photos, of those that all called; None where there are no readers.

        Raises:
          ReadersError: they called photos that are not test photos.
        """
        photos, chosen = self.samples["test"]
        return targets.readers(photos.frame["image"][chosen])


def gather(question: Question, whole: Photos, folder: Path) -> Material:
    """Divides the photos, and checks that every network can be trained on its own.

    Args:
      question: what is asked.
      whole: all photos, those of left-out classes too.
      folder: of the run.

    Raises:
      ValueError: too few photos for a network or for --strategy=head, or readers of other photos than the test's.
    """
    folds.refuse_weights_of_these_photos(whole)
    outside = np.isin(whole.labels_by_name, question.left_out)
    data = whole.where(~outside, question.taxonomy)
    divided = parts.divide(data)
    positive = np.isin(data.labels_by_name, question.target)
    drawn = _draw(data, divided.train, positive)
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
                whole.where(apart, _widened(question.taxonomy, whole.labels_by_name[apart]))
            )
    if question.foreign is not None:
        notes += question.foreign.notes
        samples[FOREIGN] = _all(question.foreign.prepare(folder, folds.image_size(), "_foreign"))
    found = Material(question, data, divided, drawn, samples, tuple(notes))
    found.readers()
    if flags.FLAGS.strategy == "head" and not found.sample("validation").both():
        raise ValueError(
            "--strategy=head wants validation photos of the target and of others; choose another strategy"
        )
    return found


def _all(photos: Photos) -> tuple[Photos, np.ndarray]:
    return photos, np.ones(len(photos.frame), bool)


def _draw(data: Photos, train: np.ndarray, positive: np.ndarray) -> np.ndarray:
    values = flags.FLAGS
    for name, side in (("of the target", positive), ("of other classes", ~positive)):
        if not (train & side).any():
            raise ValueError(f"there is no training photo {name}; --target={','.join(values.target)}")
    rng = np.random.default_rng(folds.seed_of("draws", 0))
    drawn = np.zeros((values.draws, len(train)), bool)
    drawn[:, train] = bootstrap_draws.balanced_draws(positive[train], data.labels[train], values.draws, rng)
    count = int(drawn[0].sum())
    try:
        steps = (values.draw_epochs or values.epochs) * steps_per_epoch(
            count, training_flags.batch_size(count)
        )
        training_flags.recipe(steps)
    except ValueError as error:
        raise ValueError(
            f"each single-stage network has {count} balanced photos to train on: {error}"
        ) from error
    return drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
    """Trains the networks of a run one after the other, and stores what they say.

    Attributes:
      material: the photos.
      folder: of the run.
      log: of the run.
    """

    material: Material
    folder: Path
    log: MetricsLog

    def two_stage(self) -> dict[str, pd.DataFrame]:
        """Predictions of the network on all classes, by sample."""
        data = self.material.data
        level = data.taxonomy.finest
        logits = self._train(
            "two_stage",
            level,
            data.taxonomy.classes(),
            data.labels,
            self.material.parts.train,
            flags.FLAGS.epochs,
        )
        frames = {}
        for name, (photos, chosen) in self.material.samples.items():
            unknown = len(photos.taxonomy.classes()) - logits[name].shape[1]
            known = np.pad(logits[name], ((0, 0), (0, unknown)), constant_values=-np.inf)
            frames[name] = folds.predictions_of(photos, chosen, known)
            self._store("two_stage", name, frames[name], photos.taxonomy)
        return frames

    def single_stage(
        self, stage: str, train: np.ndarray, epochs: int, class_balance: folds.ClassBalance
    ) -> dict[str, np.ndarray]:
        """The probability of the target by a network of two classes, float64[n] by sample."""
        tree, positive = self.material.question.binary, self.material.positive
        logits = self._train(
            stage, "target", tree.classes(), positive.astype(np.int32), train, epochs, class_balance
        )
        scores = {}
        for name, (photos, chosen) in self.material.samples.items():
            truth = np.where(self.material.sample(name).labels, "target", "other")
            photos = photos.where(chosen, tree, truth)
            everything = np.ones(len(truth), bool)
            frame = folds.predictions_of(photos, everything, logits[name])
            self._store(stage, name, frame, tree)
            scores[name] = predictions.probabilities(frame, tree)[:, 1]
        return scores

    def _train(
        self,
        stage: str,
        level: str,
        classes: tuple[str, ...],
        labels: np.ndarray,
        train: np.ndarray,
        epochs: int,
        class_balance: folds.ClassBalance | None = None,
    ) -> dict[str, np.ndarray]:
        """Trains a network, or reads it where that is done; its logits float32[n, K] by sample."""
        data, divided = self.material.data, self.material.parts
        network = folds.network(stage, 0, level, classes)
        fitted = folds.train_network(
            network,
            folds.start_variables(network),
            data,
            labels,
            train,
            divided.test,
            self.folder,
            self.log,
            stage.replace("_", " "),
            epochs,
            validation=divided.validation,
            class_balance=class_balance,
        )
        logits = {"test": fitted.logits}
        for name, (photos, chosen) in self.material.samples.items():
            if name != "test":
                subset = parts.subset(photos, chosen, np.zeros(len(chosen), np.int32))
                logits[name] = folds.predict(network, fitted, subset)
        return logits

    def _store(self, stage: str, name: str, frame: pd.DataFrame, taxonomy: Taxonomy) -> None:
        if processes.is_first():
            path = self.folder / "predictions" / f"{stage}_{FILES[name]}.parquet"
            predictions.write_predictions(frame, path, taxonomy)


def strategies(material: Material, frames: Mapping[str, pd.DataFrame]) -> dict[str, Scores]:
    """One score a photo by every output strategy, by sample; no head where validation photos are of one class.

    Several classes of a target count as one, whose probability is their sum.
    """
    known = material.question.taxonomy.classes()
    member = np.isin(known, material.question.target)
    merged = {}
    for name, frame in frames.items():
        probs = predictions.probabilities(frame, material.samples[name][0].taxonomy)[:, : len(known)]
        merged[name] = np.column_stack([np.minimum(probs[:, member].sum(axis=1), 1), probs[:, ~member]])
    found: dict[str, Scores] = {}
    with jax.enable_x64(True):
        for rule in get_args(ScoreRule):
            found[rule] = {name: np.asarray(target_score(probs, 0, rule)) for name, probs in merged.items()}
        validation = material.sample("validation")
        if validation.both():
            head = fit_head(validation.labels.astype(int), merged["validation"], 0)
            found["head"] = {name: np.asarray(head_log_odds(head, probs)) for name, probs in merged.items()}
    return found


def stages(
    material: Material,
    frames: Mapping[str, pd.DataFrame],
    drawn: Sequence[Scores],
    weighted: Scores,
    seed: int,
) -> Stages:
    """What the report compares."""
    return Stages(
        target=material.question.title,
        samples={name: material.sample(name) for name in material.samples},
        strategies=strategies(material, frames),
        strategy=flags.FLAGS.strategy,
        drawn=drawn,
        weighted=weighted,
        readers=material.readers(),
        intervals=Intervals(seed=seed),
    )
