"""What `predict` does between its flags and the library: a run opened, photos answered, files written.

Imports nothing that is slow to import before what is wrong with flags and photos' names has been told.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from experiments.answer_table import AnswerTable
from experiments.stored_run import photo_root
from skinjax.data.folders import filling
from skinjax.predict.reading import find_photos
from skinjax.train.progress import Progress

if TYPE_CHECKING:
    from skinjax.predict.answers import Answer
    from skinjax.predict.networks import Predictor
    from skinjax.predict.photos import Asked, Explained, Explanation

FEW, EXPLAINED, CHECKED = 8, 16, 8
"""Photos up to which they are computed one by one; are explained by themselves; and are looked at by the check."""


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """A run that is ready to answer.

    Attributes:
      predictor: its networks.
      asked: what answers are made by.
      batch_size: photos at a time.
      explained: what explanations are of; None for none.
      notes: sentences about what the answers rest on.
    """

    predictor: Predictor
    asked: Asked
    batch_size: int
    explained: Explained | None
    notes: tuple[str, ...]


def check_photos() -> list[Path]:
    """The photos that --photos names; none where it is empty.

    Raises:
      ValueError: flags that do not fit together, or a folder without photos.
    """
    values = flags.FLAGS
    if values.explain_level and not values.explain_class:
        raise ValueError(
            f"--explain_level={values.explain_level} wants --explain_class, a class of that level"
        )
    if values.explain is False and (values.explain_class or values.check_explanations):
        raise ValueError("--noexplain, --explain_class and --check_explanations do not go together")
    if Path(values.out or ".").exists() and not Path(values.out or ".").is_dir():
        raise ValueError(f"--out={values.out} is a file, a folder is wanted")
    paths, passed = find_photos([Path(name).expanduser() for name in values.photos])
    if passed:
        print(f"{passed} files that are called like no photo are passed over", file=sys.stderr)
    return paths


def open_session(workdir: Path, count: int) -> Session:
    """Opens a run for so many photos: networks read, what is missing in its folder worked out, both told."""
    from skinjax.predict.decisions import Wanted
    from skinjax.predict.networks import load_predictor, run_flags
    from skinjax.predict.photos import Explained, check_explained, prepare_answers

    values = flags.FLAGS
    made_with = run_flags(workdir)
    predictor = load_predictor(workdir, values.fold, values.stages)
    degrees = _degrees(predictor, made_with)
    wanted = Wanted(values.coverage, values.answered, 3, degrees, values.grade_rule)
    asks = values.explain_class or values.explain_layer or values.check_explanations
    explains = values.explain if values.explain is not None else bool(asks) or count <= EXPLAINED
    explained = None
    if explains:
        explained = Explained(
            values.explain_class or None, values.explain_level or None, values.explain_layer or None
        )
        check_explained(explained, predictor)
    said: list[str] = []
    batch_size = 1 if count <= FEW else values.batch_size
    with _Steps() as steps:
        asked = prepare_answers(
            predictor,
            wanted,
            photo_root(workdir, made_with),
            values.unusual,
            batch_size=values.batch_size,
            threads=values.threads,
            progress=steps,
            say=said.append,
        )
    return Session(predictor, asked, batch_size, explained, (*_notes(predictor, asked, workdir), *said))


def answer(session: Session, paths: list[Path], out: Path) -> None:
    """Answers photos: a table on the terminal, and the files in `out`, whole or not at all.

    Raises:
      ValueError: no photo can be read.
    """
    from skinjax.predict.photos import predict_photos

    taxonomy = session.predictor.taxonomy
    table = AnswerTable(taxonomy, session.asked.wanted.num_degrees)
    outcomes: Counter[str] = Counter()
    checked: list[Answer] = []
    if (out / "explanations").exists() and not (out / "predictions.csv").is_file():
        raise ValueError(f"{out / 'explanations'} is not of an earlier answer; name another --out")
    with filling(out, last="predictions.jsonl") as hidden:
        (hidden / "explanations").mkdir()  # takes the place of an earlier answer's, even if it stays empty
        draw = _drawer(session, hidden / "explanations") if session.explained else None
        answers = predict_photos(
            session.predictor,
            paths,
            session.asked,
            batch_size=session.batch_size,
            threads=flags.FLAGS.threads,
            explained=session.explained,
            draw=draw,
        )
        with _writing(hidden, session) as write, _progress(len(paths)) as progress:
            for number, one in enumerate(answers, 1):
                write(one)
                progress(number)
                table.show(one)
                outcomes[_outcome(one)] += 1
                if one.error is None and len(checked) < CHECKED:
                    checked.append(one)
        if not checked:
            raise ValueError(f"no photo of {len(paths)} can be read; the first: {_first_error(hidden)}")
        if flags.FLAGS.check_explanations:
            _check(session, checked, hidden / "explanations")
    if not any((out / "explanations").iterdir()):
        (out / "explanations").rmdir()
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    named = "1 photo" if len(paths) == 1 else f"{len(paths):,} photos"
    print(f"\n{named}: {counts}. Not a medical diagnosis.\nwritten: {out}")


def smoke(folder: Path) -> None:
    """Trains the smoke run of `hierarchy` in `folder` where it is not there, and points the flags at it."""
    from PIL import Image

    values = flags.FLAGS
    run = folder / "run"
    if not (run / "report" / "index.html").exists():
        command = [sys.executable, "-m", "experiments.hierarchy", "--smoke", f"--workdir={run}"]
        print(f"--smoke without --workdir: first {' '.join(command[1:])}", flush=True)
        ended = subprocess.run([*command, f"--compilation_cache={values.compilation_cache}"], check=False)
        if ended.returncode:
            raise ValueError(
                f"--smoke: the run that it wants in {run} ended with exit code {ended.returncode}"
            )
    made = folder / "made_up"
    made.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(values.seed)
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(made / "noise.png")
    Image.new("RGB", (96, 96), (190, 140, 120)).save(made / "blank.png")
    (made / "damaged.jpg").write_bytes(b"\xff\xd8\xff no photo")
    values.workdir = str(run)
    photos = sorted((run / "photos").rglob("*.jpg"))[:6]
    values.photos = values.photos or [str(path) for path in [*photos, made]]
    values.out = values.out or str(folder / "answers")
    values.check_explanations = True


def _degrees(predictor: Predictor, made_with: dict[str, Any]) -> tuple[int, ...] | None:
    """The degree of each finest class: by --degrees, as the run was made with, by its levels, or the catalogue's."""
    from skinjax.data.degrees import read_degrees
    from skinjax.labels.degrees import degree_catalogue, load_degrees

    taxonomy = predictor.taxonomy
    if given := flags.FLAGS.degrees:
        degrees = read_degrees(given, taxonomy)
    elif taxonomy.coarsest == "degree" and len(taxonomy.levels) > 1:  # a run of `malignancy`
        return tuple(taxonomy.parents(taxonomy.finest, "degree").tolist())
    elif (stored := made_with.get("degrees")) and Path(stored).exists():
        degrees = read_degrees(stored, taxonomy)
    elif taxonomy.name in degree_catalogue():
        degrees = dict(load_degrees(taxonomy.name).degrees)
        if set(degrees) != set(taxonomy.classes()):  # some classes are no tumours, and have no degree
            return None
    else:
        return None
    return tuple(degrees[name] for name in taxonomy.classes())


def _notes(predictor: Predictor, asked: Asked, workdir: Path) -> Iterator[str]:
    made_of = ", ".join(f"{level} ({stage})" for level, stage in predictor.stages.items())
    which = f"fold {predictor.fold}" if predictor.fold >= 0 else f"the mean of {len(predictor.members)} folds"
    yield f"networks of {workdir}, {which}: {made_of}"
    if json.loads((workdir / "config.json").read_text(encoding="utf-8")).get("synthetic"):
        yield "they learned from made-up photos: nothing they say is medical evidence"
    decisions, wanted = asked.decisions, asked.wanted
    if decisions.photos:
        share = f"{100 * wanted.coverage:g}%"
        calibrated = f"calibrated on {decisions.photos:,} of the run's photos of {decisions.cases:,} cases"
        if predictor.fold >= 0:
            yield f"{calibrated} that they have not seen; sets hold the true class of {share} of new photos like those"
        else:
            yield (
                f"{calibrated}, each answered by the one fold that has not seen it; the mean of folds is less certain "
                f"than one, so expect sets that hold the true class oftener than {share}, and fewer answers than asked"
            )
        if np.isinf(decisions.set_threshold):
            yield f"{decisions.cases} cases are too few for that: sets hold every class"
    else:
        yield (
            "the run has no stored predictions of these networks: probabilities are not calibrated, and sets hold "
            "every class"
        )
    if asked.usual.photos:
        yield f"what is usual was measured on {asked.usual.photos:,} of the run's photos"


def _drawer(session: Session, folder: Path) -> Callable[[str, Answer, Explanation], str]:
    from skinjax.data.photos import decode
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


class _writing(AbstractContextManager):  # noqa: N801  (used as a function)
    """Writes answers as JSON lines and as CSV, as they come."""

    def __init__(self, folder: Path, session: Session) -> None:
        from skinjax.predict.answers import csv_header

        self._taxonomy = session.predictor.taxonomy
        self._lines = (folder / "predictions.jsonl").open("w", encoding="utf-8")
        self._table = (folder / "predictions.csv").open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._table, lineterminator="\n")
        self._rows.writerow(csv_header(self._taxonomy))

    def __enter__(self) -> Callable[[Answer], None]:
        return self._write

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        self._table.close()

    def _write(self, one: Answer) -> None:
        json.dump(one.to_dict(self._taxonomy), self._lines, ensure_ascii=False, allow_nan=False)
        self._lines.write("\n")
        self._rows.writerow(one.to_row(self._taxonomy))
        if one.error:
            print(f"left out {one.photo}: {one.error}", file=sys.stderr)


class _Steps(AbstractContextManager):
    """Progress over several titles, each begun with its first photo; see `run_references`."""

    def __init__(self) -> None:
        self._title = ""
        self._progress: Progress | None = None

    def __call__(self, title: str, done: int, total: int) -> None:
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


def _outcome(one: Answer) -> str:
    return "not readable" if one.error else "without a diagnosis" if one.reasons else "diagnosed"


def _first_error(folder: Path) -> str:
    with (folder / "predictions.jsonl").open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    return f"{first['photo']} {first['error']}"


def _check(session: Session, answers: list[Answer], folder: Path) -> None:
    """Prints and writes how explanations change as weights are made random."""
    import jax

    from skinjax.predict.photos import check_explanations

    layer = session.explained.layer if session.explained else None
    found = check_explanations(jax.random.key(flags.FLAGS.seed), session.predictor, answers, layer)
    print(f"\nexplanations of {len(answers)} photos against those of ever more random weights")
    print(f"  {'random down to':<20}{'rank correlation':>18}{'SSIM':>8}")
    for row in found:
        print(f"  {row.down_to:<20}{row.rank_correlation:>18.2f}{row.ssim:>8.2f}")
    with (folder / "check.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["random_down_to", "rank_correlation", "ssim"])
        rows.writerows([row.down_to, f"{row.rank_correlation:.6f}", f"{row.ssim:.6f}"] for row in found)
