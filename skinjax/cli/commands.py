"""The commands of `skinjax`, one per study; nothing is imported before it is known which is run."""

from __future__ import annotations

import dataclasses
from typing import Literal

Computes = Literal["nothing", "predictions", "training"]


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
      name: As it is typed.
      study: Module of `skinjax.studies`.
      summary: One line for `skinjax --help`.
      computes: What its networks do, which decides on flags of processes and on the cache of compiled programs.
      chapter: Of the thesis.
      former: Names that it had in earlier versions, which are understood.
      used: Its most used flags, in the order of `--help`; empty where `--help` shows all of them.
    """

    name: str
    study: str
    summary: str
    computes: Computes = "training"
    chapter: str = ""
    former: tuple[str, ...] = ()
    used: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Returns the dotted name of the study's module."""
        return f"skinjax.studies.{self.study}"


_PHOTOS = ("manifest", "taxonomy", "workdir")
_TRAINING = ("preset", "plan", "seed", "smoke")

COMMANDS = (
    Command(
        "audit",
        "audit",
        "Check a manifest and its photos before training, and mend it.",
        "nothing",
        "2",
        ("audit_data",),
    ),
    Command("prepare_data", "preparation", "Decode photos once, for several runs.", "nothing", "2"),
    Command(
        "preview",
        "preview",
        "Show photos under the augmentation of a training.",
        "nothing",
        "4.1",
        used=(*_PHOTOS, "preset", "shown", "versions", "image_size", "rotation", "hsv_h", "smoke"),
    ),
    Command(
        "train",
        "training",
        "Train one network on one split or fold.",
        chapter="3, 4",
        used=(*_PHOTOS, "columns", "folds", "fold", *_TRAINING),
    ),
    Command(
        "benchmark_backbones",
        "backbones",
        "Compare networks on one split of cases.",
        chapter="2, 3.2",
        used=(*_PHOTOS, "backbones", "target", "parts", *_TRAINING),
    ),
    Command(
        "psoriasis",
        "two_stage",
        "Tell one disease from the rest, in two stages or one.",
        chapter="3",
        used=(*_PHOTOS, "target", "readers", "draws", *_TRAINING),
    ),
    Command(
        "hierarchy",
        "hierarchy",
        "Fuse a coarse and a fine network over case-grouped folds.",
        chapter="4",
        used=(*_PHOTOS, "columns", "folds", "transfer_variants", *_TRAINING),
    ),
    Command(
        "evolve",
        "evolution",
        "Search hyper-parameters by evolution.",
        chapter="4.2.2",
        used=(*_PHOTOS, "generations", "population", "epochs", *_TRAINING),
    ),
    Command(
        "malignancy",
        "malignancy",
        "Score and grade the malignancy of tumours.",
        chapter="5",
        used=(*_PHOTOS, "degrees", "readers", "folds", *_TRAINING),
    ),
    Command(
        "cross_dataset",
        "cross_dataset",
        "Train on one data set, test on another, both ways.",
        chapter="2",
        used=(
            "manifest",
            "other_manifest",
            "taxonomy",
            "shared_taxonomy",
            "equal_size",
            "workdir",
            *_TRAINING,
        ),
    ),
    Command(
        "features",
        "features",
        "Write a vector per photo, by a network as it is.",
        chapter="4.3",
        used=("manifest", "out", "backbone", "pretrained", "image_size", "workdir", "smoke"),
    ),
    Command(
        "probe",
        "probe",
        "Fit heads to features of any network, in minutes.",
        chapter="4",
        used=(*_PHOTOS, "features", "columns", "folds", "backbone", "pretrained", "seed", "smoke"),
    ),
    Command(
        "evaluate",
        "evaluation",
        "Report on predictions of any model, or of a run.",
        "predictions",
        used=(
            "predictions",
            "taxonomy",
            "target",
            "degrees",
            "readers",
            "subgroups",
            "out",
            "workdir",
            "manifest",
            "smoke",
        ),
    ),
    Command("reader_kit", "reader_kit", "Draw blinded photos for readers to call.", "nothing", "3"),
    Command(
        "predict",
        "prediction",
        "Answer photos with the networks of a run.",
        "predictions",
        used=(
            "workdir",
            "photos",
            "by",
            "out",
            "ensemble",
            "coverage",
            "degrees",
            "explain",
            "format",
            "smoke",
        ),
    ),
    Command("app", "app", "Serve a page in the browser that answers cases.", "predictions", "5"),
    Command(
        "export",
        "export",
        "Write networks of a run as ONNX, StableHLO or for a hub.",
        "predictions",
        used=("workdir", "format", "out", "licence", "degrees", "stages", "fold", "smoke"),
    ),
)


def command(name: str) -> Command:
    """Returns a command by its name or by that of its study.

    Args:
      name: With "-" or "_" between words.

    Raises:
      ValueError: There is none; the nearest name is given.
    """
    import difflib

    requested = name.replace("-", "_")
    for one in COMMANDS:
        if requested in (one.name, one.study, *one.former):
            return one
    names = [one.name for one in COMMANDS]
    near = difflib.get_close_matches(requested, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; commands are {', '.join(names)}"
    raise ValueError(f"there is no command {name!r}{hint}")
