r"""Answers new photos with the networks of a run: probabilities, diagnosis, advice (all chapters).

    skinjax predict --workdir=runs/demo --photos=a.jpg,b.png            # a table, and heat maps
    skinjax predict --workdir=runs/demo --photos=clinic --out=answers   # all photos of a folder
    skinjax predict --workdir=runs/pad --photos=a.jpg --degrees=pad_ufes_20 --explain_class=MEL
    skinjax predict --workdir=runs/demo --photos=a.jpg --explain --check_explanations
    skinjax predict --workdir=runs/pad --photos=today.csv               # image, and columns that the networks read
    skinjax predict --workdir=runs/pad --photos=visits.csv --by=lesion  # lesions over time: image, lesion_id, date
    skinjax predict --workdir=runs/demo --photos=clinic --by=case       # one answer per case: a folder for each
    skinjax predict --workdir=runs/demo --photos=clinic --by=case --case_pattern='(\w+)_\d+\.jpg'
    skinjax predict --workdir=runs/demo --photos=a.jpg --format=json    # on standard output; csv likewise
    skinjax predict --workdir=hf:clinic/skin --photos=a.jpg             # a run on the Hub, of `export --format=hub`
    skinjax predict --workdir=runs/demo                                 # prepares the run, answers nothing
    skinjax predict --workdir=runs/demo --photos=clinic --runtime=onnx  # networks in ONNX Runtime
    skinjax predict --smoke                                             # all of it, on a run made for it

Each photo gets the most probable classes of every level with calibrated probabilities, a set that holds the true class
as often as --coverage says, and a diagnosis, or why there is none: too blurred, too grainy, too dark, too bright,
unlike the run's photos, or not certain enough. Calibration, thresholds and limits are fitted on photos of the run that
the networks have not seen, the first time, and kept in the run's folder. A run of `psoriasis` also says whether the
photo shows its target: score, threshold, call, and the sensitivity and specificity of that threshold on the run's test
photos.

Where the classes have degrees of malignancy, each photo gets the probability of a tumour, its score and degree, and
advice (skinjax/predict/advice.py), in JSON and CSV alike:

    urgency          routine, soon or urgent; none where the network cannot tell and sees nothing alarming
    advice           what to do, in a sentence; always there
    advice_withheld  why the network cannot tell; empty where it can
    too_late         how often such advice was too late for the run's held-out patients: of the cancers, and of those
                     who got this advice

A photo whose most probable class is of the highest degree, such as melanoma, is urgent however uncertain that is.

With --by=case the photos of a case give one answer, whose probabilities, set and limits rest on the run's own cases. A
photo that is blurred, dark or unlike the run's does not count where the case has a better one; photos that disagree are
a reason for no diagnosis; a photo that is urgent makes its case urgent. A case is what a table's columns case_id and
lesion_id name together, or a folder, or what the group of --case_pattern finds in a photo's path; a photo that --photos
names by itself is a case of its own.

Writes predictions.jsonl (everything, an object per photo), predictions.csv and explanations/ (Grad-CAM) to --out, with
--by=case cases.jsonl (an object per case, with those of its photos) and cases.csv, and with --by=lesion history.csv and
history.jsonl: the change of each lesion's score since its first visit, with its interval. A photo that cannot be read
is named and the others are answered. With --format=json or csv these go to standard output too, as one list or table:
the cases by case, the histories by lesion, else the photos.

Two EfficientNet-B0 at 224 pixels on two cores: the first photo of a new process is answered and explained in 4 s, in 8
s where nothing was compiled before; then 46 per second. More: benchmarks/results/predict.md.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from skinjax.data.column_names import ColumnNames, as_entries
from skinjax.data.columns import unknown_columns
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import answering, lesions
from skinjax.studies.steps.answer_files import document_of
from skinjax.studies.steps.answer_options import DecidingOptions, RuntimeOptions
from skinjax.studies.steps.case_groups import case_groups, compiled_pattern

if TYPE_CHECKING:
    import pandas as pd

NAME = "prediction"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RuntimeOptions, DecidingOptions):
    """Options of the prediction."""

    group: ClassVar[str] = "this study"

    photos: tuple[str, ...] = option(
        (),
        "Photos and folders of photos, comma-separated, or one table (CSV, Excel or Parquet) with a column image and, "
        "where networks read them, further columns.",
    )
    map: tuple[str, ...] = option(
        (),
        "Names that columns have in that table, as ours=theirs, e.g. "
        'image=Filename,case_id="Patient ID",age="Age (years)".',
    )
    by: Literal["photo", "case", "lesion"] = option(
        "photo",
        "Unit of the answers: photo, case (one answer from all photos of a case), or lesion (changes "
        "over time, from one table with columns image, lesion_id and date).",
    )
    case_pattern: str = option(
        "",
        "Regular expression with one group that names the case in a photo's path. Default: a column case_id or "
        "lesion_id of the table, or a folder per case.",
    )
    format: Literal["table", "json", "csv"] = option(
        "table", "Output on the terminal: a table to read, or the answers as one JSON list or CSV table."
    )
    out: str = option(
        "", "Folder to write. Default: answers, in --workdir, or here where that is on the Hub.", path=True
    )
    explain: bool | None = option(
        None, "Draw where the network looked (Grad-CAM). Default: for at most 16 photos."
    )
    explain_class: str = option("", "Class to explain. Default: the most probable one.")
    explain_level: str = option("", "Level of that class. Default: the finest.")
    explain_layer: str = option("", "Feature map to explain. Default: the last, which the head reads.")
    check_explanations: bool = option(
        False, "Compare explanations with those of networks with random weights, as a check.", smoke=True
    )
    batch_size: int = option(16, "Photos per batch, where there are more than 8.", low=1)
    threads: int = option(2, "Threads that read photos.", low=1)
    seed: int = option(0, "Seed of the random weights of --check_explanations.", low=0)
    smoke: bool = option(False, "Train a tiny run and answer a few photos by it, as a trial.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", as_entries(self.map))
        super().__post_init__()
        ColumnNames.of(self.map)
        if self.explain_level and not self.explain_class:
            raise ValueError(
                f"explain_level={self.explain_level} needs explain_class=CLASS, a class of that level"
            )
        if self.explain is False and (self.explain_class or self.check_explanations):
            raise ValueError("explain=False excludes explain_class and check_explanations")
        if self.case_pattern:
            if self.by != "case":
                raise ValueError(f"case_pattern={self.case_pattern} needs by=case, got by={self.by}")
            compiled_pattern(self.case_pattern)
        if self.out and Path(self.out).exists() and not Path(self.out).is_dir():
            raise ValueError(f"out={self.out} must be a folder, but is a file")

    def shrunk(self, given: Collection[str] = ()) -> Self:
        """Returns the same options for a trial; see `skinjax.runs.options.Options.shrunk`.

        Args:
          given: Names of options that keep their values.
        """
        kept = {*given, "check_explanations"} if self.explain is False else given
        return super().shrunk(kept)


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The answers, as files in `out` and as a frame.

    Attributes:
      out: Folder of predictions.csv, predictions.jsonl, explanations/, by case cases.csv and cases.jsonl, and by lesion
        history.csv and history.jsonl; None where no photo was answered.
      lines: The table for a terminal.
      document: What is printed in its place: the answers as JSON or CSV; empty for the table.
    """

    out: Path | None = None
    lines: tuple[str, ...] = ()
    document: str = dataclasses.field(default="", repr=False)

    @functools.cached_property
    def answers(self) -> pd.DataFrame | None:
        """Returns one row per photo: probabilities, sets, degrees, diagnosis or reasons; None without photos."""
        from skinjax.predict.table import read_answers

        return None if self.out is None else read_answers(self.out / "predictions.csv")

    @functools.cached_property
    def cases(self) -> pd.DataFrame | None:
        """Returns one row per case, as `skinjax.predict.cases.case_header`; None where photos were not by case."""
        from skinjax.predict.table import read_answers

        path = None if self.out is None else self.out / "cases.csv"
        return read_answers(path) if path is not None and path.is_file() else None

    @functools.cached_property
    def history(self) -> pd.DataFrame | None:
        """Returns one row per lesion and visit: score, change, their limits; None where photos were not by lesion."""
        from skinjax.predict.table import read_answers

        path = None if self.out is None else self.out / "history.csv"
        return read_answers(path) if path is not None and path.is_file() else None

    @property
    def table(self) -> pd.DataFrame | None:
        """Returns the answers, by case where photos were."""
        return self.answers if self.cases is None else self.cases

    def __str__(self) -> str:
        """Returns what the answers rest on, the table and the path of the files, or the answers as a document."""
        if self.document:
            return self.document
        written = [] if self.out is None else [f"written: {self.out}"]
        return "\n".join([*self.headline[:-1], *self.lines, "", self.headline[-1], *written])


def run(
    photos: Sequence[str | os.PathLike[str]] | None,
    config: Config,
    workdir: str | os.PathLike[str] | None,
) -> Result:
    """Answers photos with the networks of a run.

    Args:
      photos: Photos and folders of photos, or one table of photos; None takes those that the options name.
      config: The options.
      workdir: Folder of the run whose networks answer, or its name on the Hub, such as `hf:clinic/skin`; None only with
        `smoke`, which makes one.

    Returns:
      The answers. Without photos the run is made ready to answer, as a note says.

    Raises:
      ValueError: There is no such run or photo, or options that do not fit.
    """
    names = [Path(name).expanduser() for name in (config.photos if photos is None else photos)]
    out = Path(config.out) if config.out else None
    if workdir is None and config.smoke:
        folder = Path("runs/predict_smoke")
        workdir, made = answering.make_smoke_run(config.seed, folder)
        names, out = names or made, out or folder / "answers"
    if workdir is None:
        raise ValueError("workdir must be the folder of a run whose networks answer; give workdir=FOLDER")
    out = out or (Path("answers") if answering.is_on_hub(workdir) else Path(workdir) / "answers")
    visits = lesions.visits_of(names, config.by, config.map)
    table = lesions.table_of(names, config.by, config.map)
    paths = list(table.paths) if table else answering.check_photos(names)
    alone = answering.named_alone(names)
    groups = case_groups(paths, table, config.case_pattern, alone) if config.by == "case" else None
    workdir = answering.local_run(workdir)
    session = answering.open_session(config, workdir, len(paths))
    if not paths:
        return Result(
            NAME, Path(workdir), (*session.notes, "ready; no photos were given (give photos=FOLDER)")
        )
    columns = table.frame if table else None
    found = answering.answer(session, paths, out, visits, columns, groups)
    notes = (*session.notes, *unknown_columns(session.predictor.coding, columns), found.counted)
    document = document_of(out, config.by, config.format)
    if document:  # what it rests on has no place in it
        for note in notes:
            _LOG.info("%s", note)
    return Result(NAME, Path(workdir), notes, out=out, lines=found.lines, document=document)
