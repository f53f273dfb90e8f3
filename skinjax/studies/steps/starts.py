"""The ways to start the coarser network of chapter 4 (section 4.3, figure 4-6): named, trained alike, reported.

A way is `random`, a number of the fine network's blocks, a share of them such as `10/45`, or `all`: all layers but the
head. The thesis's 10, 23 and 30 are of the 45 blocks of EfficientNet-B6, so as shares they fit any backbone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
import pandas as pd

from skinjax.data import predictions
from skinjax.data.photo_set import PreparedPhotos
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models import registry
from skinjax.models.transfer import transfer
from skinjax.report.blocks import Section
from skinjax.report.sections.transfer import Variant, transfer_section
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.studies.steps.networks import start_variables

if TYPE_CHECKING:
    from skinjax.studies.hierarchy import Config

STAGE = "meta"  # of the network that is fused; the others' are called meta_<name>


@dataclasses.dataclass(frozen=True)
class Start:
    """One way to start the coarser network.

    Attributes:
      blocks: of the fine network that it takes over; None starts at random, without --pretrained too.
      count: how many blocks there are.
    """

    blocks: int | Literal["all"] | None
    count: int

    @property
    def name(self) -> str:
        """Returns the name in files and stages."""
        return "random" if self.blocks is None else str(self.blocks)

    @property
    def label(self) -> str:
        """Returns the label in the figure."""
        named = {None: "random", 0: "direct", 1: "1 block", "all": "all layers"}
        return named.get(self.blocks, f"{self.blocks} blocks")

    @property
    def title(self) -> str:
        """Returns the title for people."""
        if self.blocks is None:
            return "random start"
        if self.blocks == 0:
            return "direct: --pretrained’s weights, none of the fine network"
        if self.blocks == "all":
            return f"all layers, the {self.count} blocks and the top"
        return f"the first {self.blocks} of {self.count} blocks"

    @property
    def rank(self) -> float:
        """Returns a number that orders ways by how much they take over."""
        return {None: -1.0, "all": float("inf")}.get(self.blocks, self.blocks)  # type: ignore[arg-type, return-value]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Starts of the coarser networks of a fold.

    Attributes:
      fused: the way whose network is fused.
      starts: all ways, the fused one among them, the one that takes least first.
      notes: what of the flags was taken otherwise than it may have been meant.
    """

    fused: Start
    starts: tuple[Start, ...]
    notes: tuple[str, ...] = ()

    def stage(self, start: Start) -> str:
        """Returns the stage of the networks that start so."""
        return STAGE if start == self.fused else f"{STAGE}_{start.name}"


def plan(config: Config) -> Plan:
    """Returns what the options `transfer_blocks` and `transfer_variants` ask for.

    Args:
      config: The study's options.

    Raises:
      ValueError: A start that is none, or blocks that the backbone does not have.
    """
    count = len(registry.spec(config.backbone).block_names)
    texts = [config.transfer_blocks, *config.transfer_variants]
    named = ["transfer_blocks", *["transfer_variants"] * (len(texts) - 1)]
    starts = [parse(text, count, name, config.backbone) for text, name in zip(texts, named, strict=True)]
    notes = []
    shares = {text: start.blocks for text, start in zip(texts, starts, strict=True) if "/" in text}
    if not config.pretrained:
        if {0, None} <= {start.blocks for start in starts}:
            notes.append("Without pretrained weights, 0 is a random start too and not trained by itself.")
        starts = [Start(None, count) if start.blocks == 0 else start for start in starts]
    if shares:
        told = ", ".join(f"{text} is {blocks}" for text, blocks in shares.items())
        notes.append(f"Shares of the {count} blocks of {config.backbone}: {told}.")
    ways = tuple(sorted(set(starts), key=lambda start: start.rank))
    return Plan(starts[0], ways, tuple(notes))


def parse(text: str, count: int, name: str, backbone: str) -> Start:
    """Reads one way to start.

    Args:
      text: `random`, `all`, a number of blocks or a share of them.
      count: The blocks of the backbone.
      name: Of the option that gave it, for the message.
      backbone: Name of the backbone, for the message.

    Raises:
      ValueError: It is none, or more blocks than there are.
    """
    if text in ("random", "all"):
        return Start(None if text == "random" else "all", count)
    found = re.fullmatch(r"(\d+)(?:/(\d+))?", text)
    if found is None:
        raise ValueError(
            f"{name}={text} must be random, a number of blocks, a share of them such as 10/45, or all"
        )
    part, whole = int(found[1]), int(found[2] or 0)
    if found[2] is None and part > count:
        raise ValueError(
            f"{name}={text} is more than the {count} blocks of {backbone}; the share {text}/45 of the "
            "thesis's 45 fits any backbone"
        )
    if found[2] is not None and not 0 <= part <= whole != 0:
        raise ValueError(f"{name}={text} must be a share from 0 to 1")
    return Start(part if found[2] is None else round(part / whole * count), count)


def variables(config: Config, start: Start, described: Network, fine: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the coarser network of a fold starts from.

    Heads, and layers that start at random, are alike in all ways, since they are drawn for `described`.

    Args:
      config: The study's options.
      start: The way.
      described: The network, of stage `meta` whatever the way.
      fine: Variables of the fold's fine network.
    """
    fresh = start_variables(config, described, pretrained=start.blocks is not None)
    return fresh if start.blocks is None else transfer(fine, fresh, start.blocks, described.spec)[0]


def fold_path(folder: RunFolder, start: Start, fold: int) -> Path:
    """Returns the file of a way's predictions of one fold."""
    return folder.predictions_file(f"{STAGE}_{start.name}", f"fold_{fold}")


def write_fold(
    folder: RunFolder,
    start: Start,
    fold: int,
    data: PreparedPhotos,
    held_out: np.ndarray,
    logits: np.ndarray,
    level: str,
) -> None:
    """Writes what one way's network says of the photos held out, as predictions of the coarser classes.

    Args:
      folder: of the run.
      start: the way.
      fold: which photos are held out.
      data: all photos.
      held_out: bool[N].
      logits: float32[n, M].
      level: the coarser level.
    """
    taxonomy = flat(data.taxonomy, level)
    frame = data.frame[held_out]
    table = predictions.from_arrays(
        frame["image"],
        frame["case_id"],
        _coarse_names(data, level)[held_out],
        fold,
        jax.nn.softmax(logits),
        taxonomy,
    )
    predictions.write_predictions(table, fold_path(folder, start, fold), taxonomy)


def flat(taxonomy: Taxonomy, level: str) -> Taxonomy:
    """Returns the classes of one level as a taxonomy of their own."""
    classes = taxonomy.classes(level)
    titles = tuple((name, title) for name, title in taxonomy.titles if name in classes)
    return Taxonomy(f"{taxonomy.name}, {level}", (level,), tuple((name,) for name in classes), titles)


def pool(
    folder: RunFolder, ways: Plan, count: int, data: PreparedPhotos, level: str
) -> dict[Start, pd.DataFrame]:
    """Pools the predictions of every way into `predictions/meta_<name>.parquet`, once all folds are there."""
    taxonomy = flat(data.taxonomy, level)
    pooled = {}
    for start in ways.starts:
        parts = [predictions.read_predictions(fold_path(folder, start, fold)) for fold in range(count)]
        pooled[start] = pd.concat(parts, ignore_index=True)
        path = folder.predictions_file(f"{STAGE}_{start.name}")
        predictions.write_predictions(pooled[start], path, taxonomy)
    return pooled


def section(
    folder: RunFolder,
    ways: Plan,
    pooled: Mapping[Start, pd.DataFrame],
    data: PreparedPhotos,
    level: str,
    seed: int,
) -> Section:
    """Returns the report's section on the ways to start: figure 4-6, a table, paired differences, an answer."""
    taxonomy = flat(data.taxonomy, level)
    first = pooled[ways.starts[0]]
    variants = [
        Variant(
            name=start.name,
            label=start.label,
            title=start.title,
            stage=ways.stage(start),
            probs=predictions.probabilities(pooled[start], taxonomy),
        )
        for start in ways.starts
    ]
    plain = [start.name for start in ways.starts if start.blocks in (None, 0)]
    return transfer_section(
        variants,
        labels=taxonomy.encode(first["label"]),
        cases=first["case_id"].to_numpy(),
        curves=_curves(folder),
        level=level,
        references=plain,
        chosen=ways.fused.name,
        notes=ways.notes,
        seed=seed,
    )


def own_curves(folder: RunFolder) -> pd.DataFrame:
    """Returns the learning curves of the two networks that are fused."""
    curves = _curves(folder)
    return curves[curves["stage"].isin(("sub", STAGE))]


def _curves(folder: RunFolder) -> pd.DataFrame:
    curves = folder.metrics
    assert curves is not None
    return curves


def _coarse_names(data: PreparedPhotos, level: str) -> np.ndarray:
    parents = data.taxonomy.parents(data.taxonomy.finest, level)
    return np.array(data.taxonomy.classes(level), object)[parents[data.labels]]
