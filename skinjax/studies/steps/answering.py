"""The steps between options and answers: a run opened, photos answered, files written.

Imports nothing that is slow to import before what is wrong with options and photos' names has been told.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinjax.data.visits import Visit
from skinjax.files.folders import filling
from skinjax.files.progress import Progress
from skinjax.predict.reading import find_photos
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps.answer_files import AnswerFiles, first_error
from skinjax.studies.steps.answer_notes import run_notes
from skinjax.studies.steps.answer_table import AnswerTable, CaseTable
from skinjax.studies.steps.case_groups import CaseGroups
from skinjax.studies.steps.lesions import history_lines, write_histories

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.predict.answers import Answer
    from skinjax.predict.cases import CaseAnswer, CaseContext
    from skinjax.predict.conclusions import Conclusion
    from skinjax.predict.networks import Predictor
    from skinjax.predict.photos import AnswerContext, Explanation, ExplanationTarget
    from skinjax.studies.prediction import Config

FEW, EXPLAINED, CHECKED = 8, 16, 8
"""Photos up to which they are computed one by one; are explained by themselves; and are looked at by the check."""

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """A run that is ready to answer.

    Attributes:
      config: The options.
      predictor: Its networks.
      context: Settings that turn network outputs into answers.
      batch_size: Photos at a time.
      explained: What explanations are of; None for none.
      notes: Sentences about what the answers rest on.
      cases: Settings that turn network outputs into answers for cases; None where answers are not by case.
    """

    config: Config
    predictor: Predictor
    context: AnswerContext
    batch_size: int
    explained: ExplanationTarget | None
    notes: tuple[str, ...]
    cases: CaseContext | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Answered:
    """Answered photos.

    Attributes:
      lines: The table for a terminal, of the first photos.
      outcomes: How many photos, or cases, were diagnosed, not diagnosed and not readable.
      photos: How many photos there were.
      cases: How many cases; None where answers are not by case.
    """

    lines: tuple[str, ...]
    outcomes: Counter[str]
    photos: int
    cases: int | None = None

    @property
    def counted(self) -> str:
        """Returns the outcomes as a sentence."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        named = "1 photo" if self.photos == 1 else f"{self.photos:,} photos"
        if self.cases is not None:
            named = f"{'1 case' if self.cases == 1 else f'{self.cases:,} cases'} of {named}"
        return f"{named}: {counts}. Not a medical diagnosis."


def check_photos(names: list[Path]) -> list[Path]:
    """Returns the photos that are named, those of folders among them; none where none is.

    Args:
      names: Photos and folders of photos.

    Raises:
      ValueError: A folder without photos.
    """
    return find_photos(names)[0]


def is_on_hub(workdir: str | os.PathLike[str]) -> bool:
    """Returns whether a run is named by its name on the Hub, such as `hf:clinic/skin`."""
    return str(workdir).startswith("hf:")


def local_run(workdir: str | os.PathLike[str]) -> Path:
    """Returns the folder of a run, fetched where it is named by its name on the Hub.

    Args:
      workdir: A folder, or such as `hf:clinic/skin` of what `skinjax export --format=hub` wrote.

    Raises:
      ValueError: The Hub has no such repository, or cannot be asked.
    """
    if not is_on_hub(workdir):
        return Path(workdir)
    from skinjax.models.weights import hub

    return hub.fetch_folder(str(workdir))


def named_alone(names: list[Path]) -> frozenset[Path]:
    """Returns the photos that are named by themselves, and not by a folder too.

    Args:
      names: Photos and folders of photos.
    """
    folders = [name for name in names if name.is_dir()]
    return frozenset(
        name
        for name in names
        if not name.is_dir() and not any(name.is_relative_to(folder) for folder in folders)
    )


def open_session(config: Config, workdir: Path, count: int) -> Session:
    """Opens a run for photos: reads its networks, and works out what is missing in its folder.

    Args:
      config: The options.
      workdir: Folder of the run.
      count: How many photos will be answered.
    """
    from skinjax.predict.cases import CaseContext, prepare_cases
    from skinjax.predict.networks import load_predictor
    from skinjax.predict.photos import ExplanationTarget, check_explanation_target, prepare_answers

    folder = RunFolder.read(workdir)
    predictor = load_predictor(
        workdir, -1 if config.ensemble else config.fold, config.stages, runtime=config.runtime
    )
    options = config.decision_options(predictor)
    if options.degree_of_class is None and config.by == "lesion":
        raise ValueError(
            "by=lesion needs degrees of malignancy, and none are known for the run's classes; give degrees=FILE"
        )
    asks = config.explain_class or config.explain_layer or config.check_explanations
    explains = config.explain if config.explain is not None else bool(asks) or count <= EXPLAINED
    explained = None
    if explains:
        explained = ExplanationTarget(
            config.explain_class or None, config.explain_level or None, config.explain_layer or None
        )
        check_explanation_target(explained, predictor)
    said: list[str] = []
    batch_size = 1 if count <= FEW else config.batch_size
    with Steps() as steps:
        prepare = prepare_cases if config.by == "case" else prepare_answers
        found = prepare(
            predictor,
            options,
            folder.photo_root,
            config.unusual,
            batch_size=config.batch_size,
            threads=config.threads,
            progress=steps,
            say=said.append,
        )
    context = found.photo if isinstance(found, CaseContext) else found
    cases = found if isinstance(found, CaseContext) else None
    notes = (*run_notes(predictor, context, folder, cases), *said)
    return Session(config, predictor, context, batch_size, explained, notes, cases)


def answer(
    session: Session,
    paths: list[Path],
    out: Path,
    visits: Sequence[Visit] = (),
    columns: pd.DataFrame | None = None,
    groups: CaseGroups | None = None,
) -> Answered:
    """Answers photos, and writes the files in `out`, whole or not at all.

    Args:
      session: The run.
      paths: The photos.
      out: Folder to write.
      visits: Whose and of which day each photo is, in the same order; none for no history.
      columns: What networks may read beside the photos, a row per photo; None for nothing.
      groups: Which photos are of one case, where the session answers cases; they are answered in its order.

    Raises:
      ValueError: No photo can be read.
    """
    from skinjax.predict.cases import predict_cases
    from skinjax.predict.history import PhotoScore, lesion_histories
    from skinjax.predict.photos import predict_photos

    config, taxonomy = session.config, session.predictor.taxonomy
    table: AnswerTable | CaseTable = AnswerTable(taxonomy)
    if session.cases is not None and groups is not None:
        decisions = session.cases.decisions.decisions
        table = CaseTable(taxonomy, config.coverage if decisions.photos else None)
        columns = None if columns is None else columns.iloc[groups.order]
    scores = list[PhotoScore]()
    outcomes: Counter[str] = Counter()
    checked: list[Answer] = []
    places: list[int] = []
    if (out / "explanations").exists() and not (out / "predictions.csv").is_file():
        raise ValueError(f"{out / 'explanations'} is not of an earlier answer; name another out=FOLDER")
    with filling(out, last="predictions.jsonl") as hidden:
        (hidden / "explanations").mkdir()  # takes the place of an earlier answer's, even if it stays empty
        draw = _drawer(session, hidden / "explanations") if session.explained else None
        how: dict[str, Any] = {
            "batch_size": session.batch_size,
            "threads": config.threads,
            "explain": session.explained,
            "draw": draw,
            "columns": columns,
        }
        with (
            AnswerFiles(hidden, taxonomy, session.cases is not None) as files,
            _progress(len(paths)) as progress,
        ):
            if isinstance(table, CaseTable):
                assert groups is not None
                assert session.cases is not None
                cases = predict_cases(session.predictor, groups.pairs, session.cases, **how)
                answers = _photos_of(cases, table, files, outcomes)
            else:
                answers = predict_photos(session.predictor, paths, session.context, **how)
            for number, one in enumerate(answers, 1):
                files.write(one)
                progress(number)
                if isinstance(table, AnswerTable):
                    table.add(one)
                    outcomes[_outcome(one)] += 1
                if visits:
                    scores.append(PhotoScore.of(one))
                if one.error is None and len(checked) < CHECKED:
                    checked.append(one)
                    places.append(number - 1)
        if not checked:
            raise ValueError(f"no photo of {len(paths)} can be read; the first: {first_error(hidden)}")
        lines = [*table.lines]
        if visits:
            histories = lesion_histories(visits, scores, session.context.record.repeats)
            write_histories(histories, hidden)
            lines += history_lines(histories, session.context.record.repeats)
        if config.check_explanations:
            of_checked = None if columns is None else columns.iloc[places]
            lines += _check(session, checked, hidden / "explanations", of_checked)
    for made, stem in ((bool(visits), "history"), (groups is not None, "cases")):
        for ending in ("csv", "jsonl") if not made else ():  # an earlier answer's
            (out / f"{stem}.{ending}").unlink(missing_ok=True)
    if not any((out / "explanations").iterdir()):
        (out / "explanations").rmdir()
    return Answered(tuple(lines), outcomes, len(paths), None if groups is None else len(groups.pairs))


def make_smoke_run(seed: int, folder: Path) -> tuple[Path, list[Path]]:
    """Trains the smoke run of `hierarchy` where it is not there, and makes photos to answer.

    Args:
      seed: Of the run.
      folder: Where both are kept.

    Returns:
      The folder of the run, and photos: some of the run's, noise, a blank one and a damaged one.
    """
    from PIL import Image

    from skinjax.studies import hierarchy

    run = folder / "run"
    if not (run / "report" / "index.html").exists():
        _LOG.info("--smoke without --workdir: first a smoke run of hierarchy in %s", run)
        hierarchy.run(None, hierarchy.Config(smoke=True, seed=seed).shrunk({"seed"}), run)
    made = folder / "made_up"
    made.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(made / "noise.png")
    Image.new("RGB", (96, 96), (190, 140, 120)).save(made / "blank.png")
    (made / "damaged.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return run, [*sorted((run / "photos").rglob("*.jpg"))[:6], made]


def _drawer(session: Session, folder: Path) -> Callable[[str, Answer, Explanation], str]:
    from skinjax.data.images.photos import decode
    from skinjax.predict.overlay import SIDE, draw_overlay

    taxonomy = session.predictor.taxonomy
    layer = session.explained.layer if session.explained else None
    taken: Counter[str] = Counter()
    folder.mkdir(exist_ok=True)

    def draw(path: str, one: Answer, explanation: Explanation) -> str:
        stem = Path(path).stem
        taken[stem.casefold()] += 1  # some file systems take both cases for one
        name = f"{stem}.png" if taken[stem.casefold()] == 1 else f"{stem}~{taken[stem.casefold()]}.png"
        index = taxonomy.classes(explanation.level).index(explanation.class_name)
        probability = one.probabilities[explanation.level][index]
        lines = (
            Path(path).name,
            f"What speaks for {taxonomy.title(explanation.class_name)} ({100 * probability:.0f}%) in the network of "
            f"level {explanation.network_level}{f', at {layer}' if layer else ''}; relative to its own largest value.",
            "No diagnosis: " + "; ".join(one.reasons) if one.reasons else "",
        )
        draw_overlay(decode(path, target=SIDE), explanation.values, session.predictor.fit, lines).save(
            folder / name
        )
        return f"explanations/{name}"

    return draw


def _photos_of(
    cases: Iterator[CaseAnswer], table: CaseTable, files: AnswerFiles, outcomes: Counter[str]
) -> Iterator[Answer]:
    """Returns the photos' answers of cases, which are written, shown and counted as they come."""
    for case in cases:
        files.write_case(case)
        table.add(case)
        outcomes[_outcome(case)] += 1
        yield from case.photos


class Steps(AbstractContextManager):
    """Progress over several titles, each begun with its first photo; see `run_references`."""

    def __init__(self) -> None:
        self._title = ""
        self._progress: Progress | None = None

    def __call__(self, title: str, done: int, total: int) -> None:
        """Shows how far it is, under a new title from its first photo on."""
        if title != self._title:
            self.__exit__()
            self._title, self._progress = title, Progress(title, total)
        assert self._progress is not None
        self._progress.update(done)

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)


def _progress(count: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None) if count <= EXPLAINED else _Bar(count)


class _Bar(AbstractContextManager):
    def __init__(self, count: int) -> None:
        self._progress = Progress("answering", count)

    def __enter__(self) -> Callable[[int], None]:
        return self._progress.update

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__(*exception)


def _outcome(one: Conclusion) -> str:
    return "not readable" if one.error else "without a diagnosis" if one.reasons else "diagnosed"


def _check(
    session: Session, answers: list[Answer], folder: Path, columns: pd.DataFrame | None
) -> Iterator[str]:
    """Writes how explanations change as weights are made random, and returns it as lines."""
    import jax

    from skinjax.predict.photos import check_explanations

    layer = session.explained.layer if session.explained else None
    found = check_explanations(
        jax.random.key(session.config.seed), session.predictor, answers, layer, columns
    )
    with (folder / "check.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["random_down_to", "rank_correlation", "ssim"])
        rows.writerows([row.down_to, f"{row.rank_correlation:.6f}", f"{row.ssim:.6f}"] for row in found)
    yield f"\nexplanations of {len(answers)} photos against those of ever more random weights"
    yield f"  {'random down to':<20}{'rank correlation':>18}{'SSIM':>8}"
    for row in found:
        yield f"  {row.down_to:<20}{row.rank_correlation:>18.2f}{row.ssim:>8.2f}"
