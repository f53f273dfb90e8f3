"""Reports on predictions, of a run or of anybody's model in any framework; nothing is trained (all chapters).

A table of predictions has a row per photo, with `image`, `case_id`, `label` and a column `p_<class>` per class
(docs/tutorials/predictions.md), or columns by other names (--map, --prefix). Several models are
compared pairwise on the same photos.

    skinjax evaluate --predictions=theirs.csv
    skinjax evaluate --predictions=ours=a.parquet,theirs=b.csv --taxonomy=classes.csv --target=melanoma
    skinjax evaluate --predictions=theirs.xlsx --map image=File,label=Truth,case_id="Patient ID" --prefix=prob_
    skinjax evaluate --predictions=a.csv --target=malignant --readers=readers.csv --degrees=degrees.json
    skinjax evaluate --predictions=runs/demo/answers/predictions.csv   # of `predict`, with a column label added
    skinjax evaluate --workdir=runs/demo                         # a run's own predictions again
    skinjax evaluate --workdir=runs/demo --manifest=new/manifest.csv   # its networks on new labelled photos
    skinjax evaluate --workdir=runs/demo --dataset=ham10000 --source=HAM10000 --seen=leave_out
    skinjax evaluate --smoke                                     # two made-up models

New photos are answered by the run's networks, restored from their checkpoints, as `predict` answers. Photos that the
run has trained on or held out, copies of them and other photos of its cases are refused or left out. Labels may be some
of the run's classes, those of a coarser level, or matched ones (--shared_taxonomy). The page counts the photos that
were left out, with reasons, and says how the temperature, sets and thresholds that were fitted on the run's own photos
hold on the new ones.

Writes index.html with its figures and tables, and config.json, to --out; one list names everything that is
wrong with the files. Times: benchmarks/results/evaluation.md.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skinjax.data.photo_set import PhotoSet
from skinjax.files.folders import filling
from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import training_table
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import evaluated
from skinjax.studies.steps.answer_options import RuntimeOptions
from skinjax.studies.steps.data_options import NamedPhotosOptions

if TYPE_CHECKING:
    import pandas as pd

NAME = "evaluation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewPhotosOptions(NamedPhotosOptions):
    """Options of new photos, which a run's networks answer."""

    group: ClassVar[str] = "new photos, with --workdir"

    fold: int = option(0, "Fold whose networks answer, counted from 0.", low=0)
    ensemble: bool = option(False, "Answer by the mean over the networks of all folds.")
    stages: tuple[str, ...] = option(
        (),
        "Stages whose networks answer, one per level. Default: sub and meta, or all that the run compares.",
    )
    seen: Literal["refuse", "leave_out"] = option(
        "refuse",
        "What happens to photos that the run has seen, and to others of its cases: refuse them, or "
        "leave them out.",
    )
    other_patients: bool = option(
        False, "Treat case ids that the run has too as other people's, as in another clinic's numbering."
    )
    other_classes: Literal["refuse", "leave_out"] = option(
        "refuse",
        "What happens to photos of classes that the run does not know: refuse them, or leave them out.",
    )
    shared_taxonomy: str = option(
        "",
        "Which of the run's classes (a) the labels (b) are: a CSV with columns class, a and b, or a "
        "name of the catalogue. Default: the catalogue's, or equal names.",
        path=True,
    )
    batch_size: int = option(16, "Photos per batch.", low=1)
    threads: int = option(2, "Threads that read photos.", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RuntimeOptions, NewPhotosOptions):
    """Options of the evaluation."""

    group: ClassVar[str] = "this study"

    workdir: str = option(
        "",
        "Folder of a run, in place of --predictions: report on its stored predictions, or, with "
        "--manifest, on its networks' answers to new photos.",
        path=True,
    )
    predictions: tuple[str, ...] = option(
        (),
        "Tables of predictions (CSV, Excel or Parquet), comma-separated, each as file or name=file; "
        "the report is on the first and compares the others with it.",
    )
    prefix: str = option("", "Prefix of the probability columns, e.g. prob_. Default: p_.")
    taxonomy: str = option(
        "",
        "Classes and their levels: a CSV or a name of the catalogue; with new photos, of their "
        "labels. Default: those of the file, run or data set, else one flat level.",
        path=True,
    )
    target: tuple[str, ...] = option(
        (), "Class, or classes of one level, that count as positive, e.g. melanoma."
    )
    prevalence: float = option(
        0.0,
        "Prevalence of --target where the model will be used, in [0, 1], for predictive values. 0: "
        "that of these photos.",
        low=0,
        high=0.999,
    )
    degrees: str = option(
        "",
        "Degrees of malignancy of the classes: a CSV with columns class and degree (0 is the most "
        "benign), a JSON, or a name of the catalogue.",
        path=True,
    )
    readers: str = option(
        "",
        "Answers of readers: a CSV with columns reader, image and call (1 where the reader called "
        "--target, else 0), or the answers to a reader_kit; several files, comma-separated, or a "
        "folder of them.",
        path=True,
    )
    readers_key: str = option(
        "",
        "The file key.csv of the reader_kit. Default: looked for near the answers and the predictions.",
        path=True,
    )
    subgroups: tuple[str, ...] | None = option(
        None,
        "Columns whose groups are reported. Default: those of skin_tone, sex, age, body_site and "
        "source that the table has.",
    )
    photos: str = option(
        "",
        "Folder that the paths in image are relative to, for the small pictures on the page. Default: "
        "that of the run or of the first file.",
        path=True,
    )
    coarse_level: str = option(
        "",
        "Coarser level that is fused with the finest. Default: one with a network, or the level above "
        "the finest.",
    )
    out: str = option(
        "",
        "Folder to write. Default: evaluation, in --workdir or beside the first file; for new photos "
        "with their name.",
        path=True,
    )
    replicates: int = option(2000, "Replicates of the bootstrap by case.", low=100, smoke=200)
    confidence: float = option(0.95, "Confidence level of every interval in the report.", low=0.5, high=0.999)
    seed: int = option(0, "Seed of the bootstrap and of the choice of photos that are shown.", low=0)
    smoke: bool = option(False, "Report on two made-up models, or on few cases, as a trial.")

    @property
    def computes(self) -> bool:
        """Says whether networks are to answer new photos."""
        return bool(self.manifest or self.dataset)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.predictions and self.computes:
            raise ValueError(
                f"predictions={','.join(self.predictions)} must be given without manifest and dataset, whose photos a "
                "run's networks answer"
            )
        if self.prefix and not self.predictions and (self.computes or self.workdir):
            raise ValueError(f"prefix={self.prefix} is for predictions=FILE")
        if self.map and self.workdir and not self.computes:
            raise ValueError(f"map={','.join(self.map)} is for predictions=FILE or manifest=FILE")
        if self.photos and self.computes:
            raise ValueError(
                f"photos={self.photos} must be given without manifest and dataset, which say where their photos lie"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation(StudyResult):
    """The figures of one or more models on the same photos; where nothing was written, `html` is the page."""

    html: str = dataclasses.field(default="", repr=False)


Result = Evaluation


def run(
    predictions: Mapping[str, str | os.PathLike[str]] | PhotoSet | None,
    config: Config,
    workdir: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Reports on predictions, or on what a run's networks say of new photos.

    Args:
      predictions: Name of a model -> file of its predictions, or new photos for the run `config.workdir`; None takes
        what the options name.
      config: The options.
      workdir: Folder to write; None takes that of the options, or one beside the first file or in the run's folder.

    Returns:
      The figures.

    Raises:
      ValueError: Options do not fit together, or everything that is wrong with the files, in one list.
    """
    out = Path(workdir) if workdir else None
    if isinstance(predictions, PhotoSet) or config.computes:
        if predictions is not None and not isinstance(predictions, PhotoSet):
            raise ValueError(
                "predictions must be new photos or None where the options name new photos, got files"
            )
        from skinjax.studies.steps import new_photos  # loads JAX

        with tempfile.TemporaryDirectory(prefix="skinjax_") as scratch:
            answered = new_photos.read(config, predictions, out, Path(scratch))
            return _write(answered, config, answered.out)
    _refuse_options_of_new_photos(config)
    files = None if predictions is None else {name: Path(path) for name, path in predictions.items()}
    found = evaluated.read(config, files, out)
    return _write(found, config, found.out)


def evaluate_run(
    workdir: str | os.PathLike[str],
    photos: PhotoSet,
    *,
    target: str | Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluates a run's networks, restored from their checkpoints, on new labelled photos.

        photos = skinjax.read_photos("new/manifest.csv")
        found = evaluate_run("runs/demo", photos, seen="leave_out")
        found.interval, found.predictions, found.tables["new_photos"]

    Args:
      workdir: Folder of a run of any study that keeps its networks.
      photos: Photos that the run has not seen, labelled with classes of the run, of one of its levels, or such as are
        matched with them.
      target: Class, or classes of one level, that count as positive; by default those of the run.
      out: Folder that the page and predictions.parquet are written to; None takes one in the run's folder.
      options: Others of `Config`, such as `fold`, `seen`, `other_classes`, `readers` and `replicates`.

    Returns:
      The figures, with intervals by case.

    Raises:
      ValueError: Photos that the run has seen, labels that it does not know, or networks that cannot answer.
    """
    named = (target,) if isinstance(target, str) else tuple(target)
    given: dict[str, Any] = {**photos.origin, **options}
    return run(photos, Config(workdir=os.fspath(workdir), target=named, **given), out)


def evaluate(
    predictions: pd.DataFrame | str | os.PathLike[str] | Mapping[str, pd.DataFrame | str | os.PathLike[str]],
    *,
    taxonomy: str | os.PathLike[str] | Taxonomy | None = None,
    target: str | Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    photo_root: str | os.PathLike[str] | None = None,
    synthetic: bool = False,
    **options: Any,
) -> Evaluation:
    """Evaluates anybody's predictions, of any framework.

    Args:
      predictions: A table with a row per photo (`skinjax.data.predictions`): a frame or a file, or several by the
        name of their model; the first is reported on, the others are compared with it.
      taxonomy: Catalogue name, file or `Taxonomy` of the classes; None takes the columns' own, in one level.
      target: Class, or classes of one level, that count as positive.
      out: Folder that the page is written to; None writes none.
      photo_root: Folder that the paths of photos start from, so that the page shows some; None takes the file's, where
        they lie beside it.
      synthetic: Whether the photos are rendered, which the page then says.
      options: Others of `Config`, such as `map`, `prefix`, `replicates`, `confidence`, `readers` and `subgroups`.

    Returns:
      The figures, with intervals by case; it shows itself in a terminal and a notebook.

    Raises:
      ValueError: Everything that is wrong with the predictions, in one list.
    """
    models = dict(predictions) if isinstance(predictions, Mapping) else {"": predictions}
    config = Config(target=(target,) if isinstance(target, str) else tuple(target), **options)
    with tempfile.TemporaryDirectory(prefix="skinjax_") as scratch:
        files = {}
        for number, (name, value) in enumerate(models.items()):
            path = Path(scratch) / f"{number}.parquet"
            if isinstance(value, str | os.PathLike):
                path = Path(value)
            else:
                mixed = [column for column in value if value[column].dtype.kind == "O"]
                texts = {str(column): value[column].map(str, na_action="ignore") for column in mixed}
                value.assign(**texts).to_parquet(path, index=False)
            files[name or (path.stem if path.parent != Path(scratch) else "model")] = path
        named = taxonomy.name if isinstance(taxonomy, Taxonomy) else os.fspath(taxonomy or "")
        if isinstance(taxonomy, Taxonomy):
            stored = Path(scratch) / "taxonomy.json"
            stored.write_text(taxonomy.to_json(), encoding="utf-8")
            taxonomy = stored
        config = dataclasses.replace(config, taxonomy=os.fspath(taxonomy or ""))
        subject = evaluated.read(config, files, Path(out) if out else Path(scratch) / "evaluation")
        if photo_root:
            subject = dataclasses.replace(subject, photo_root=Path(photo_root))
        subject.document["synthetic"] = synthetic
        asked = subject.document["evaluation"]
        for name, path in files.items():
            if path.parent == Path(scratch):
                asked["models"][name]["file"] = "a table in memory"
        asked["config"]["taxonomy"] = named
        found = _write(subject, config, subject.out)
        held: dict[str, Any] = {"predictions": subject.predictions}  # while the files are there
        if not out:
            assert found.report is not None
            held["tables"], page = found.tables, found.report.read_text(encoding="utf-8")
            found = dataclasses.replace(found, workdir=Path(), report=None, html=page)
        if subject.files[subject.name].parent == Path(scratch):
            found = dataclasses.replace(found, predictions_file=None)
        found.__dict__.update(held)
        return found


def _refuse_options_of_new_photos(config: Config) -> None:
    shared = ("taxonomy", "map")
    names = [field.name for field in dataclasses.fields(NewPhotosOptions) if field.name not in shared]
    for name in names:
        if (value := getattr(config, name)) != getattr(Config, name):
            shown = ",".join(value) if isinstance(value, tuple) else value
            raise ValueError(f"{name}={shown} is for new photos: give manifest=FILE or dataset=NAME too")


def _write(subject: evaluated.Subject, config: Config, out: Path) -> Evaluation:
    run, first_file = subject.run, subject.files[subject.name]
    curves = run.metrics if run else None
    with filling(evaluated.check_out(out), last="index.html") as hidden:
        # After the files were checked: these take seconds to import.
        from skinjax.data.predictions import Predictions
        from skinjax.report.page import ReportContext, write_report
        from skinjax.report.study import Study

        (name, first), *others = (
            (name, Predictions.from_frame(frame, subject.data.taxonomy))
            for name, frame in subject.data.models.items()
        )
        study = Study.from_predictions(
            first,
            name=name,
            coarse_level=subject.coarse_level,
            target=subject.data.target,
            confidence=config.confidence,
            replicates=config.replicates,
            seed=config.seed,
            noun=subject.noun,
        )
        audited = run
        if subject.audit is not None:
            audited = RunFolder(hidden, NAME)
            subject.audit.write(audited.audit)
        context = ReportContext(
            title=subject.title,
            config=subject.document,
            photo_root=subject.photo_root,
            notes=subject.data.notes,
            audit=audited.audit_table if audited else None,
            training=training_table(curves) if curves is not None else None,
            curves=curves,
            readers=subject.data.readers,
            degrees=subject.data.degrees,
            subgroups=subject.data.subgroups,
            prevalence=config.prevalence or None,
            others=dict(others),
            extra=subject.extra,
            afterword=subject.afterword,
        )
        write_report(hidden, study, context)
        for path in subject.files.values() if subject.kept else ():
            shutil.copyfile(path, hidden / path.name)
        (hidden / "config.json").write_text(json.dumps(subject.document, indent=1), encoding="utf-8")
    return Evaluation.of_page(
        NAME,
        out,
        out / "index.html",
        predictions_file=out / first_file.name if subject.kept else first_file,
        main_table="models" if others else "methods",
    )
