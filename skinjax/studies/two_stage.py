"""Two-stage against single-stage diagnosis of one disease (thesis, chapter 3).

Is a disease told better by a network of all diseases, or by one that only knows it from the rest?

On one split of cases, 6:2:1: a network of all classes, whose output an output strategy turns into target or not
(two-stage); the thesis's single-stage baseline, eight networks of two classes on eight balanced draws, and their mean
ROC curve; and a single-stage network on all training photos with weighted loss. Any class of any manifest, or several
of one level, may be the target. Thresholds are Youden's on the validation photos; the report compares on the test
photos.

    skinjax psoriasis                                                        # built-in photos
    skinjax psoriasis --manifest=photos/manifest.csv --taxonomy=psoriasis9 --workdir=runs/mine
    skinjax psoriasis --dataset=pad_ufes_20 --source=PAD-UFES-20 --target=MEL --workdir=runs/pad
    skinjax psoriasis --target=psoriasis --leave_out=melanoma,melanocytic_nevus --foreign=...
    skinjax psoriasis --flagfile=experiments/flagfiles/psoriasis.flags --manifest=...   # chapter 3's settings
    skinjax psoriasis --smoke                                                # all of it, tiny

The folder's target.json holds target, strategies and thresholds: `skinjax predict --workdir=...` then says of any photo
whether it shows the target, and how often that threshold was right. --foreign, --readers, --strategy and --relatives
change no training: a finished run given others writes its report again.

--leave_out keeps classes out of training and validation and asks how many of their photos are called the target;
--foreign asks the same, and the accuracy, of photos from elsewhere, whatever their labels. Everything that the networks
say is in `predictions/`. The same command again resumes, network by network.

HAM10000's melanoma, 2,523 test photos, ten small networks from scratch at 64 pixels, 17 minutes on two cores: AUC 0.847
two-stage, 0.817 the mean of eight single-stage networks, 0.834 their mean probability. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import ClassVar, Literal

from skinjax.data.photo_set import PhotoSet
from skinjax.predict.run_target import run_target
from skinjax.report.sections.relatives import relatives_section
from skinjax.report.sections.two_stage import two_stage_section
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, networks, plan, question, reporting, running, stages, targets
from skinjax.studies.steps.options import DividedConfig

NAME = "two_stage"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DividedConfig):
    """Options of the study; the thesis's are marked in `experiments/flagfiles/psoriasis.flags`."""

    group: ClassVar[str] = "this study"

    target: tuple[str, ...] = option(("psoriasis",), targets.TARGET_HELP)
    readers: str = option("", targets.READERS_HELP, path=True, free=True)
    strategy: Literal["probability", "merged", "rival", "log_odds", "argmax", "head"] = option(
        "probability",
        "How the probabilities of all classes become one score of the target. The report compares all "
        "strategies; predict answers by this one.",
        free=True,
    )
    draws: int = option(
        8, "Number of single-stage networks, each trained on its own balanced draw of photos.", low=2, smoke=3
    )
    draw_epochs: int = option(
        0, "Epochs of each single-stage network. 0: as many as --epochs.", low=0, smoke=0
    )
    leave_out: tuple[str, ...] = option(
        (),
        "Classes of one level that are kept out of training and validation, to test networks on "
        "diseases that they have not seen.",
    )
    foreign: str = option(
        "",
        "Manifest of photos from another source, with any labels, to test the networks on.",
        path=True,
        free=True,
    )
    foreign_map: tuple[str, ...] = option((), "Same as --map, for --foreign.", free=True)
    relatives: str = option(
        "",
        "Level that groups the other classes by how closely they are related to the target. Default: "
        "relation, or else the level above the finest.",
        free=True,
    )

    @property
    def epochs_per_draw(self) -> int:
        """Epochs of each single-stage network on a balanced draw."""
        return self.draw_epochs or self.epochs


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Two-stage and single-stage networks compared; `predictions` are the two-stage network's of the test photos."""

    main_table: str = "two_stage"


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Trains the networks one after the other, compares them on the test photos, or resumes where that was begun.

    The report of a finished run is written again where it is to show other readers, photos from elsewhere, relatives or
    another strategy.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result, read from the folder where the run has finished.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    networks.check(config)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _compare(photos, config, folder), photos, again=True
    )


def _compare(photos: PhotoSet | None, config: Config, folder: RunFolder) -> list[str]:
    if question.is_shown(folder, config):
        _LOG.info("finished already: %s", folder.page)
        return []
    read = inputs.photos_of(photos, config, folder)
    asked = question.ask(config, read)
    audited = inputs.audited(read, config, folder, lambda photos: stages.check(config, asked, photos))
    whole = inputs.prepared(audited, config, folder, networks.image_size(config))
    material = stages.gather(config, asked, whole, folder)
    course = plan.announce(config, folder, [material.data], stages.tasks(material))
    document = inputs.begin(folder, config, material.data)
    with MetricsLog(folder.path) as log:
        trained = stages.Networks(material, networks.Trainer(config, folder, log, course))
        trained.answer()
    if not processes.is_first():
        return []
    decision = run_target(folder, config.strategy)
    assert decision is not None
    compared = stages.compared(trained, decision)
    section, verdict = two_stage_section(compared)
    sections, sentences = [section], [verdict]
    if (relatives := stages.relatives(trained, decision, compared.strategies)) is not None:
        section, finding = relatives_section(relatives)
        sections, sentences = [*sections, section], [*sentences, *([finding] if finding else [])]
    reporting.report(
        folder,
        f"{asked.title}: two-stage against single-stage",
        trained.frames(stages.TWO_STAGE)["test"],
        None,
        material.data,
        {**document, "config": config.to_dict()},
        material.notes,
        target=config.target,
        readers=compared.readers,
        extra=sections,
        verdict=sentences,
        name="two-stage network",
    )
    question.note_shown(folder, config)
    return []
