"""Serves a page in the browser that answers cases: diagnosis, degree of malignancy, advice (thesis, chapter 5).

    skinjax app --workdir=runs/mine                          # prints a link; http://127.0.0.1:8000/
    skinjax app --workdir=runs/mine --neighbours             # shows similar photos of the run to its visitors
    skinjax app --workdir=runs/mine --keep=answered          # stores photos, as pixels alone, and answers
    skinjax app --workdir=runs/mine --host=0.0.0.0           # for other machines, by a link with a token
    skinjax app --workdir=hf:clinic/skin                     # a run on the Hub, of `export --format=hub`
    skinjax app --smoke                                      # a run that is made for it

Three pages: one case of one or several photos, with the answer of the run's networks at every level, what cannot be
ruled out, score, degree and advice, how often that advice was too late, and where the networks looked; many cases, as a
table; and the run's own figures. Answers are those of `skinjax predict`, by case, in English and in Chinese.

Photos stay in this machine's memory: nothing is written without --keep, nothing is asked of another host, and the page
answers to this machine alone unless --host says otherwise (SECURITY.md). One case is computed at a time, and others
wait for their turn: two EfficientNet-B0 at 224 pixels take 0.1 s of a processor for a photo, 0.4 s for five, with
pictures and heat maps (benchmarks/results/app.md). Needs the extra `app`: pip install ".[app]".
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import answering
from skinjax.studies.steps.answer_options import RuntimeOptions

if TYPE_CHECKING:
    from skinjax.app.engine import Engine

NAME = "app"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RuntimeOptions):
    """Options of the page."""

    group: ClassVar[str] = "this study"

    host: str = option(
        "127.0.0.1",
        "Address to listen on. With any but this machine's own, requests need the token in the printed link.",
    )
    port: int = option(8000, "Port to listen on. 0: any free port.", low=0, high=65535)
    keep: str = option(
        "",
        "Folder in which photos (pixels alone), entries and answers are stored. Default: nothing is stored.",
        path=True,
    )
    neighbours: bool = option(
        False, "Show similar training photos of the run to everybody who opens the page."
    )
    fold: int = option(0, "Fold whose networks answer, counted from 0.", low=0)
    ensemble: bool = option(False, "Answer by the mean over the networks of all folds.")
    degrees: str = option(
        "",
        "Degrees of malignancy of the classes: a file, or a name of the catalogue. Default: those of "
        "the run.",
        path=True,
    )
    smoke: bool = option(False, "Train a tiny run and serve it, as a trial.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.host.strip():
            raise ValueError("host must be an address or name of this machine, got an empty one")
        if self.keep and Path(self.keep).exists() and not Path(self.keep).is_dir():
            raise ValueError(f"keep={self.keep} must be a folder, but is a file")


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """The page, after it was closed."""


def run(photos: None, config: Config, workdir: str | os.PathLike[str] | None) -> Result:
    """Serves the page until the process is interrupted.

    Args:
      photos: None; photos come by the page.
      config: The options.
      workdir: Folder of the run whose networks answer, or its name on the Hub, such as `hf:clinic/skin`; None only with
        `smoke`, which makes one.

    Returns:
      What is left to say when the page is closed.

    Raises:
      ValueError: There is no such run, its networks cannot answer, the port is in use, or the extra is not installed.
    """
    missing = [
        name for name in ("starlette", "uvicorn", "python_multipart") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise ValueError(f'the page needs {", ".join(missing)}: pip install "skinjax[app]"')
    if photos is not None:
        raise ValueError("photos must be None: they are uploaded on the page")
    if workdir is None and config.smoke:
        workdir, _ = answering.make_smoke_run(0, Path("runs/predict_smoke"))
    if workdir is None:
        raise ValueError("workdir must be the folder of a run whose networks answer; give workdir=FOLDER")

    workdir = answering.local_run(workdir)
    from skinjax.app.guard import is_loopback, new_token
    from skinjax.app.server import links, listen, make_app, serve
    from skinjax.studies.steps.run_figures import run_figures

    if config.keep:
        Path(config.keep).mkdir(mode=0o700, parents=True, exist_ok=True)  # for nobody else's eyes
    token = "" if is_loopback(config.host) else new_token()
    listening = listen(config.host, config.port)  # before the minutes that a first start may take
    with listening:
        engine, notes = open_engine(config, Path(workdir))
        engine.warm()
        app = make_app(engine, run_figures(Path(workdir)), notes, config.host, token)
        for link in links(listening, config.host, token):
            print(f"open {link}", flush=True)
        _LOG.info("research software, not a medical device; end with Ctrl-C")
        if token:
            _LOG.info(
                "whoever has the link may ask; photos cross the network unencrypted, so use one that you trust"
            )
        serve(app, listening)
    return Result(NAME, Path(workdir), ("the page is closed",))


def open_engine(config: Config, workdir: Path) -> tuple[Engine, tuple[str, ...]]:
    """Opens a run for the page: reads its networks, and works out what is missing in its folder.

    Args:
      config: The options.
      workdir: Folder of the run.

    Returns:
      The run that answers, and sentences about what its answers rest on.

    Raises:
      ValueError: There is no such run, or its networks cannot answer.
    """
    from skinjax.app.engine import Engine
    from skinjax.predict.neighbours import run_neighbours
    from skinjax.studies import prediction

    options = prediction.Config(
        by="case",
        explain=False,
        fold=config.fold,
        ensemble=config.ensemble,
        degrees=config.degrees,
        runtime=config.runtime,
    )
    session = answering.open_session(options, workdir, count=1)
    assert session.cases is not None
    said: list[str] = []
    neighbours = None
    if config.neighbours:
        with answering.Steps() as steps:
            root = RunFolder.read(workdir).photo_root
            neighbours = run_neighbours(session.predictor, root, progress=steps, say=said.append)
    keep = Path(config.keep) if config.keep else None
    engine = Engine(session.predictor, session.cases, config.neighbours, neighbours, keep)
    # The page names the run, and not the folders of whoever serves it.
    return engine, tuple(note.replace(str(workdir), workdir.name) for note in (*session.notes, *said))
