"""Exports networks of a run for other programs and other people (all chapters).

    skinjax export --workdir=runs/mine --format=onnx --out=mine.onnx            # ONNX Runtime, in any language
    skinjax export --workdir=runs/mine --format=stablehlo --out=mine.stablehlo  # JAX, without this package
    skinjax export --workdir=runs/mine --format=safetensors --out=weights       # a file per network
    skinjax export --workdir=runs/mine --format=hub --out=mine --licence=cc-by-4.0
    skinjax export --smoke                                                      # of a run made for it

ONNX and StableHLO hold the whole decision: uint8 photos [N, H, W, 3] in, calibrated probabilities of every level, the
conformal set, certainty, score and degree of malignancy out, by all networks that answer, as of `skinjax predict`. The
JSON beside them names what they leave out: limits of quality and novelty, and reading and resizing of photos.

`hub` is a folder: model card, weights, classes, calibration, limits and licence, without a photo, a case or a
prediction. `skinjax predict`, `skinjax app`, `skinjax.load_run` and --pretrained read it, by its path or by its name on
the Hugging Face Hub, `hf:owner/name`. --pretrained reads safetensors as well. A README.md that is in the folder already
is kept, as you may have filled it in.

Exporting two EfficientNet-B0 at 224 pixels to ONNX (30 MB) takes 24 s on two busy cores. `python -m benchmarks.export`
measures how fast such files are.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import answering
from skinjax.studies.steps.answer_options import DecidingOptions

if TYPE_CHECKING:
    from skinjax.predict.export.decision import Exported
    from skinjax.predict.networks import Predictor

NAME = "export"
Format = Literal["onnx", "stablehlo", "safetensors", "hub"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DecidingOptions):
    """Options of the export."""

    format: Format = option(
        "onnx",
        "Form of the file: onnx, stablehlo (the whole decision), safetensors (weights alone) or hub "
        "(a folder for a model hub).",
    )
    out: str = option(
        "",
        "File to write; a folder for hub and for safetensors of several networks. Default: below "
        "export/ in --workdir.",
        path=True,
    )
    licence: str = option(
        "", "Licence of the networks, by its identifier on the Hub, e.g. cc-by-4.0. Default: not stated."
    )
    seed: int = option(0, "Seed of the run that --smoke trains.", low=0)
    smoke: bool = option(False, "Train a tiny run and export it, as a trial.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format == "hub" and self.ensemble:
            raise ValueError("format=hub takes the networks of one fold, and excludes ensemble")
        if self.licence and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", self.licence):
            raise ValueError(
                f"licence={self.licence!r} must be an identifier of letters, digits and .+-, such as cc-by-4.0"
            )
        if self.out and self.format in ("onnx", "stablehlo") and Path(self.out).is_dir():
            raise ValueError(f"out={self.out} must be a file of format {self.format}, but is a folder")
        if self.out and self.format == "hub" and Path(self.out).is_file():
            raise ValueError(f"out={self.out} must be a folder, but is a file")


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Files that were written.

    Attributes:
      files: Files, or the folder.
    """

    files: tuple[Path, ...] = ()


def run(photos: None, config: Config, workdir: str | os.PathLike[str] | None) -> Result:
    """Exports networks of a run.

    Args:
      photos: None; an export needs no photos.
      config: The options.
      workdir: Folder of the run; None only with `smoke`, which makes one.

    Returns:
      What was written, and where.

    Raises:
      ValueError: There is no such run, options that do not fit, or networks that cannot be written in the format.
    """
    if workdir is None and config.smoke:
        folder = Path("runs/export_smoke")
        workdir = answering.make_smoke_run(config.seed, folder)[0]
    if workdir is None:
        raise ValueError("workdir must be the folder of the run to export; give workdir=FOLDER")
    workdir = Path(workdir)
    RunFolder.read(workdir)  # refused before anything slow is imported
    from skinjax.predict.networks import load_predictor

    predictor = load_predictor(workdir, -1 if config.ensemble else config.fold, config.stages)
    if config.format == "safetensors":
        return _weights(config, predictor, workdir)
    return (
        _hub(config, predictor, workdir) if config.format == "hub" else _decision(config, predictor, workdir)
    )


def _weights(config: Config, predictor: Predictor, workdir: Path) -> Result:
    from skinjax.predict.export.safetensors_file import write_safetensors

    networks = [one for member in predictor.members for one in member.values()]
    out = Path(config.out) if config.out else workdir / "export"
    single = out.suffix == ".safetensors"
    if single and len(networks) > 1:
        names = ", ".join(predictor.stages.values())
        raise ValueError(
            f"out={out} must be a folder for the {len(networks)} networks that answer ({names}); or give "
            f"stages={networks[-1].network.stage}"
        )
    files = []
    for one in networks:
        name = one.network.stage + (f"_fold_{one.network.fold}" if config.ensemble else "")
        file = out if single else out / f"{name}.safetensors"
        files.append(write_safetensors(one.network, one.variables, file))
    return _told(workdir, files, "weights alone, neither calibrated nor with thresholds")


def _decision(config: Config, predictor: Predictor, workdir: Path) -> Result:
    from skinjax.predict.export.decision import exported_decision
    from skinjax.predict.export.onnx_file import write_onnx
    from skinjax.predict.export.stablehlo_file import write_stablehlo
    from skinjax.predict.run_decisions import run_decisions
    from skinjax.predict.table import NOT_CALIBRATED

    options = config.decision_options(predictor)
    decisions = run_decisions(predictor, options)
    exported: Exported = exported_decision(predictor, options, decisions)
    document = {**exported.document, "licence": config.licence or "not stated"}
    exported = dataclasses.replace(exported, document=document)
    out = Path(config.out) if config.out else workdir / "export" / f"decision.{config.format}"
    write = write_onnx if config.format == "onnx" else write_stablehlo
    file = write(exported, out)
    basis = (
        f"calibrated on {decisions.photos:,} photos of {decisions.cases:,} cases"
        if decisions.photos
        else NOT_CALIBRATED
    )
    return _told(
        workdir, [file], f"{', '.join(exported.inputs)} in, {', '.join(exported.outputs)} out; {basis}"
    )


def _hub(config: Config, predictor: Predictor, workdir: Path) -> Result:
    from skinjax.predict.cases import prepare_cases
    from skinjax.predict.export.hub_folder import published_licence, refuse_other_folder, write_hub

    out = Path(config.out) if config.out else workdir / "export" / "hub"
    refuse_other_folder(out)
    folder, said = RunFolder.read(workdir), list[str]()
    options = config.decision_options(predictor)
    context = prepare_cases(predictor, options, folder.photo_root, config.unusual, say=said.append)
    card = folder.path / "README.md" if folder.published else folder.report / "model_card.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    kept = (out / "README.md").is_file()
    licence = config.licence or published_licence(out) or published_licence(workdir)
    write_hub(predictor, context, out, unusual=config.unusual, card=text, licence=licence)
    if kept:
        said.append("README.md of the earlier export was kept; delete it to have a new one written")
    elif text:
        said.append("fill in what only its authors know of README.md before it is published")
    return _told(workdir, [out], *said)


def _told(workdir: Path, files: list[Path], *notes: str) -> Result:
    from skinjax.predict.export.decision import NOTICE

    written = ", ".join(str(file) for file in files)
    return Result(NAME, workdir, (*notes, NOTICE, f"written: {written}"), files=tuple(files))
