"""A reading kit: photos for readers without their labels, a page to answer on, and the answers back (thesis, 3.2.4).

How do people do on the same photos as the network? A balanced draw of held-out photos, half of them of --target, one
per case, the rest evenly over its classes, is copied under names that say nothing. 100 photos were read by 25
dermatologists in the thesis; how they were drawn cannot be read, this way is ours.

    skinjax reader_kit --workdir=runs/mine --target=psoriasis                  # writes runs/mine/reader_kit
    skinjax evaluate --workdir=runs/mine --readers=runs/mine/reader_kit/answers  # when the answers are there
    skinjax reader_kit --predictions=theirs.csv --photo_root=photos --target=melanoma
    skinjax reader_kit --manifest=photos/manifest.csv --target=melanoma --photos=60
    skinjax reader_kit --workdir=runs/mine --target=psoriasis --plan_difference=0.1 --plan_readers=25
    skinjax reader_kit --smoke

Hand out the folder `kit`: `index.html` opens in any browser without a network and saves a CSV; `sheet.html` and
`sheet.csv` are for paper. Keep `key` to yourself: `key/key.csv` says what each photo shows. Put the readers' files
into `answers`, and `evaluate --readers` takes the folder, one file, or several parted by commas, as they are.

--plan_difference draws as many photos as it takes to tell such a difference in sensitivity between the network and the
mean of --plan_readers readers (skinjax/evaluate/planning.py); what is assumed of readers comes from --plan_pilot, the
answers to an earlier kit, or from the other --plan options. 100 photos take seconds.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from skinjax.data import reading_kit
from skinjax.data.photo_set import PhotoSet
from skinjax.data.readers import kit_of, read_by_all, read_readers
from skinjax.data.reading_kit import Kit
from skinjax.evaluate.planning import (
    ReaderPlan,
    ReaderVariation,
    estimate_variation,
    photos_needed,
    plan_readers,
)
from skinjax.files.folders import filling
from skinjax.files.progress import Progress
from skinjax.runs.options import Options, option
from skinjax.runs.provenance import provenance
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import kit_photos

NAME = "reader_kit"
PHOTOS = 100
_PACKAGES = ("numpy", "pandas", "pillow")
_LAST = "README.txt"
_README = """Reading kit {kit}

kit/      hand this out, whole: readers open index.html, or print sheet.html
key/      keep this to yourself: it says what each photo shows
answers/  put the readers' CSV files here, then: skinjax evaluate ... --readers=this folder
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Options of the kit."""

    group: ClassVar[str] = "this study"

    workdir: str = option("", "Folder of a run; the kit is drawn from its held-out photos.", path=True)
    predictions: str = option(
        "",
        "In place of --workdir: a table (CSV or Parquet) with columns image, case_id and label, such "
        "as predictions.",
        path=True,
    )
    manifest: str = option(
        "",
        "In place of --workdir: a manifest; the kit is drawn from its photos with test in the column split.",
        path=True,
    )
    map: tuple[str, ...] = option(
        (),
        "Names that these columns have in the table, as ours=theirs, e.g. "
        'image=Filename,label=Diagnosis,case_id="Patient ID".',
    )
    prefix: str = option("", "Prefix of the probability columns of --predictions. Default: p_.")
    dataset: str = option(
        "", "In place of --workdir: a public data set as its publisher ships it, with --source."
    )
    source: str = option("", "Folder of --dataset.", path=True)
    taxonomy: str = option(
        "",
        "Classes and their levels: a CSV or a name of the catalogue. Default: those of the run or file.",
        path=True,
    )
    photo_root: str = option(
        "", "Folder that the paths in image are relative to. Default: that of the run or file.", path=True
    )
    target: tuple[str, ...] = option(
        (), "Class, or classes of one level, that readers are asked about. Default: the target of the run."
    )
    question: str = option("", "Question as readers see it. Default: a sentence made from --target.")
    photos: int | None = option(
        None,
        "Number of photos to draw. Default: as many as --plan_difference needs, or 100.",
        low=4,
        smoke=12,
    )
    per_case: int = option(1, "Largest number of photos per case. 0: no limit.", low=0)
    longest_side: int = option(
        1600, "Longest side of the copied photos, in pixels. 0: their own size.", low=0
    )
    plan_difference: float = option(
        0.0,
        "Difference in sensitivity, network minus readers, that the study must be able to detect, "
        "e.g. 0.1. 0: no plan.",
        low=-0.99,
        high=0.99,
    )
    plan_power: float = option(0.8, "Power: probability of detecting that difference.", low=0.05, high=0.999)
    plan_readers: int = option(25, "Number of readers; each reads all photos.", low=2)
    plan_sensitivity: float = option(0.8, "Assumed mean sensitivity of the readers.", low=0.01, high=0.99)
    plan_reader_sd: float = option(
        0.1, "Assumed standard deviation between the readers' true sensitivities.", low=0, high=0.49
    )
    plan_correlation: float = option(
        0.3,
        "Assumed correlation between two readers' calls of the same photo of the target.",
        low=0,
        high=0.99,
    )
    plan_pilot: str = option(
        "", "Answers to an earlier kit, from which the three assumptions are estimated.", path=True
    )
    out: str = option(
        "", "Folder to write. Default: reader_kit, in --workdir or beside the table of the photos.", path=True
    )
    seed: int = option(0, "Seed of the draw and of the order of the photos.", low=0)
    smoke: bool = option(False, "Make a small kit of built-in photos, as a trial.")


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The kit, as files.

    Attributes:
      kit: Folder to hand out.
      key: The file that says what each photo shows; for whoever analyses the answers.
      answers: Folder in which the readers' files belong.
    """

    kit: Path = Path()
    key: Path = Path()
    answers: Path = Path()


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str] | None = None) -> Result:
    """Draws photos and writes the kit.

    Args:
      photos: Labelled photos; None takes those that the options name.
      config: The options.
      workdir: Folder to write; None takes that of the options, or one beside the photos.

    Returns:
      Where the kit and its key are.

    Raises:
      ValueError: Photos or options do not fit, there are too few photos of the target or of the rest, photos cannot be
        read, or the folder holds another kit.
    """
    found = kit_photos.read(photos, config)
    assumed = _assumed(config)
    planned = _planned(config, assumed)
    count = config.photos or (2 * planned.photos if planned else PHOTOS)
    positive = found.positive
    rows = reading_kit.draw_photos(
        found.frame["label"],
        positive,
        found.frame["case_id"],
        count,
        per_case=config.per_case,
        seed=config.seed,
    )
    kit = reading_kit.make_kit(found.frame, rows, positive, found.target)
    question = config.question or _question([found.taxonomy.title(name) for name in found.target])
    out = Path(workdir or config.out or found.beside / NAME)
    expected = planned or plan_readers(0.0, config.plan_readers, count // 2, assumed)
    _check_out(out, kit)
    with filling(out, last=_LAST) as hidden:
        with Progress("copying", count) as progress:
            from skinjax.report.reading_kit import write_kit

            write_kit(
                hidden / "kit", kit, found.root, question,
                synthetic=found.synthetic, longest_side=config.longest_side, progress=progress.update,
            )  # fmt: skip
        reading_kit.write_key(kit, hidden / reading_kit.FOLDER / reading_kit.FILE)
        document = {
            "study": NAME, "kit": kit.id, "question": question, "config": config.to_dict(),
            "plan": dataclasses.asdict(expected), **provenance(_PACKAGES),
        }  # fmt: skip
        (hidden / reading_kit.FOLDER / "config.json").write_text(
            json.dumps(document, indent=1), encoding="utf-8"
        )
        (hidden / _LAST).write_text(_README.format(kit=kit.id), encoding="utf-8")
    (out / "answers").mkdir(exist_ok=True)  # outside of what is replaced when the kit is written again
    shown = int(kit.photos["target"].sum())
    headline = (
        f"{count} photos of {kit.photos['case_id'].nunique()} cases, {shown} of {kit.asked} and {count - shown} of the "
        f"rest, of {found.words}.",
        *found.notes,
        _told(expected, planned is not None),
        f"hand out: {out / 'kit'} (readers open index.html, or print sheet.html)",
        f"keep to yourself: {out / reading_kit.FOLDER}",
        f"then: skinjax evaluate {found.back} --readers={out / 'answers'}",
    )
    return Result(
        NAME,
        out,
        headline,
        kit=out / "kit",
        key=out / reading_kit.FOLDER / reading_kit.FILE,
        answers=out / "answers",
    )


def _question(titles: Sequence[str]) -> str:
    """Returns the question for classes of these titles, which begin with a capital."""
    # An abbreviation keeps its capitals.
    names = [title[:1].lower() + title[1:] if title[1:2].islower() else title for title in titles]
    return f"Does this photo show {' or '.join(names)}?"


def _assumed(config: Config) -> ReaderVariation:
    """Returns what the plan assumes of readers, from the pilot or the options."""
    if not config.plan_pilot:
        return ReaderVariation(config.plan_sensitivity, config.plan_reader_sd, config.plan_correlation)
    kit = kit_of(config.plan_pilot)
    if kit is None:
        raise ValueError(f"plan_pilot={config.plan_pilot} must be answers to a reading kit, got others")
    calls = read_by_all(read_readers(config.plan_pilot, kit=kit))[0]
    shown = kit.photos["image"][kit.photos["target"] == 1]
    right = calls[calls["image"].isin(shown)].pivot(index="reader", columns="image", values="call")
    try:
        return estimate_variation(right.to_numpy(np.float64))
    except ValueError as error:
        raise ValueError(f"plan_pilot={config.plan_pilot} cannot be used: {error}") from error


def _planned(config: Config, assumed: ReaderVariation) -> ReaderPlan | None:
    if not config.plan_difference:
        return None
    try:
        if config.photos:
            return plan_readers(config.plan_difference, config.plan_readers, config.photos // 2, assumed)
        return photos_needed(config.plan_difference, config.plan_readers, config.plan_power, assumed)
    except ValueError as error:
        raise ValueError(
            f"plan_difference={config.plan_difference:g} cannot be planned for: {error}"
        ) from error


def _told(plan: ReaderPlan, asked: bool) -> str:
    width = (
        f"the difference in sensitivity is expected to be known to within {100 * plan.half_width:.0f} points either "
        "way (95%), under the assumptions of the --plan options."
    )
    if not asked:
        return f"With {plan.readers} readers {width}"
    return (
        f"With {plan.readers} readers a difference of {100 * plan.difference:.0f} points in sensitivity is found with "
        f"a power of {100 * plan.power:.0f}%; {width}"
    )


def _check_out(out: Path, kit: Kit) -> None:
    """Refuses a folder that holds another kit, whose answers would lose their key, or anything else."""
    file = out / reading_kit.FOLDER / reading_kit.FILE
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out} must be a folder, but is a file")
    if file.is_file():
        there = reading_kit.read_key(file)
        if there.id != kit.id:
            raise ValueError(
                f"out={out} must be empty or hold this kit, {kit.id}, got {there.id}; name another folder"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"out={out} must be empty or hold this kit, got other files; name another folder")
