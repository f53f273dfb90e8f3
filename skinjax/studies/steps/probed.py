"""Heads on stored features, fitted over folds of whole cases at every level of the taxonomy."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from skinjax.data import predictions
from skinjax.data.column_leaks import column_leaks
from skinjax.data.columns import ColumnCoding, fit_columns
from skinjax.data.features import Features
from skinjax.files.progress import Progress
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models import registry
from skinjax.report.blocks import Column, Section, Table, Text
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.train.checkpoints import Checkpoints, is_finished
from skinjax.train.probe import Probe, fit_probe

STAGES = ("sub", "meta")
"""Stages of the heads of the finest level and of the one that is fused with it, as in `hierarchy`."""


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of the fit of heads.

    Attributes:
      folds: Folds of whole cases.
      inner_folds: Of the choice of the penalty.
      prior_adjustment: Share of balanced accuracy in what the answers maximise.
      seed: Of folds and inner folds.
    """

    folds: int
    inner_folds: int
    prior_adjustment: float
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class FoldHeads:
    """The heads of one fold.

    Attributes:
      fold: The fold that they have not seen.
      by_level: Level -> head.
      columns: Encoding of the columns that they read behind the features; None for none.
    """

    fold: int
    by_level: dict[str, Probe]
    columns: ColumnCoding | None


def fit_heads(
    features: Features,
    taxonomy: Taxonomy,
    levels: Sequence[str],
    fold_of: np.ndarray,
    settings: ProbeSettings,
    columns: Sequence[str] = (),
    title: str = "probe",
) -> tuple[pd.DataFrame, list[FoldHeads]]:
    """Fits heads on all folds but one, for each fold, and predicts that one.

    Args:
      features: N photos.
      taxonomy: Of their labels.
      levels: Those that get a head, the finest among them.
      fold_of: int[N], the fold of each photo.
      settings: How heads are fitted.
      columns: Columns of the frame that heads read behind the features.
      title: For the progress line.

    Returns:
      The predictions of every photo by heads that have not seen its case, and the heads of each fold.
    """
    frame, finest = features.frame, taxonomy.finest
    fine = taxonomy.encode(frame["label"])
    silent: list[str] = []
    if columns:
        leaks = column_leaks(frame, columns, frame["label"], frame["case_id"])
        silent = [leak.column for leak in leaks if leak.silent]
    cases = frame["case_id"].to_numpy(str)
    probs = {level: np.zeros((len(fine), len(taxonomy.classes(level)))) for level in levels}
    found = []
    total = settings.folds * len(levels)
    with Progress(title, total, unit="heads", stream=processes.progress_stream()) as progress:
        for fold in range(settings.folds):
            train, held_out = fold_of != fold, fold_of == fold
            coding = fit_columns(frame[train], columns, silent, check=False) if columns else None
            inputs, factors = features.values, np.ones(features.values.shape[1])
            if coding is not None:
                inputs = np.concatenate([inputs, coding.encode(frame)], axis=1)
                # A few columns say as much as all features together before anything is fitted.
                factors = np.r_[factors, np.full(coding.width, np.sqrt(len(factors) / coding.width))]
            heads = {}
            for level in levels:
                labels = fine if level == finest else taxonomy.parents(finest, level)[fine]
                heads[level] = fit_probe(
                    inputs[train], labels[train], cases[train], num_classes=len(taxonomy.classes(level)),
                    prior_adjustment=settings.prior_adjustment,
                    inner_folds=settings.inner_folds, factors=factors, seed=settings.seed,
                )  # fmt: skip
                logits = heads[level].logits(inputs[held_out])
                probs[level][held_out] = np.asarray(jax.nn.softmax(logits), np.float64)
                progress.update(fold * len(levels) + len(heads))
            found.append(FoldHeads(fold, heads, coding))
    table = predictions.from_arrays(
        frame["image"],
        frame["case_id"],
        frame["label"],
        fold_of,
        probs.pop(finest),
        taxonomy,
        coarser=probs,
        extra=frame,
    )
    return table, found


def store_networks(
    folder: RunFolder,
    network: dict[str, Any],
    variables: dict[str, Any],
    taxonomy: Taxonomy,
    heads: Sequence[FoldHeads],
    coarse_level: str | None,
) -> None:
    """Stores backbone and heads as networks of the run, so that `predict` and `load_run` answer photos with them.

    Args:
      folder: Of the run.
      network: What the features were made by; see `skinjax.data.features.Features`.
      variables: The backbone's, with any head.
      taxonomy: The classes.
      heads: Of each fold.
      coarse_level: The level that is fused with the finest; None for none.
    """
    spec = registry.spec(network["backbone"])
    stages = {taxonomy.finest: STAGES[0]} | ({coarse_level: STAGES[1]} if coarse_level else {})
    for of_fold in heads:
        for level, probe in of_fold.by_level.items():
            stored = Network(
                stage=stages.get(level, level),
                fold=of_fold.fold,
                backbone=spec.name,
                level=level,
                classes=taxonomy.classes(level),
                image_size=network["image_size"],
                precision=network["precision"],
                columns=of_fold.columns,
                columns_fusion="linear" if of_fold.columns else "concat",
            )
            head: dict[str, Any] = {"kernel": probe.kernel, "bias": probe.bias}
            if of_fold.columns is not None:
                head = {"logits": head}
            whole = variables | {"params": variables["params"] | {spec.head: head}}
            place = folder.checkpoints(stored)
            if is_finished(place):
                continue
            name = f"{stored.stage} of fold {stored.fold + 1}"
            processes.first_alone(name, functools.partial(folder.write_network, stored))
            with Checkpoints(place) as checkpoints:
                checkpoints.save_final(jax.tree.map(np.asarray, whole))


def heads_section(name: str, heads: Sequence[FoldHeads], network: Mapping[str, Any]) -> Section:
    """Returns the section on the heads: their penalties and inner losses, and the network that made the features.

    Args:
      name: Of the features.
      heads: Of each fold.
      network: See `skinjax.data.features.Features`.
    """
    rows = [
        {
            "fold": one.fold,
            "level": level,
            "penalty": probe.penalty,
            "inner_loss": probe.inner_losses[probe.penalty],
        }
        for one in heads
        for level, probe in one.by_level.items()
    ]
    data = pd.DataFrame(rows)
    shown = (
        Column("Fold", [str(fold + 1) for fold in data["fold"]], number=True),
        Column("Level", data["level"].tolist()),
        Column("Penalty", [f"{value:g}" for value in data["penalty"]], number=True),
        Column("Log loss on inner folds", [f"{value:.3f}" for value in data["inner_loss"]], number=True),
    )
    words = Text(
        f"Each head is a multinomial logistic regression on the features of {name}, standardised by the photos it "
        "was fitted to. Its penalty is the one with the least log loss on inner folds of whole cases, chosen anew in "
        "every fold.",
        small=True,
    )
    return Section(
        "probes",
        "How heads were fitted",
        (
            Text(_made_by(name, network)),
            words,
            Table(
                "probes", data, shown, "Penalty of each head, and its log loss on inner folds", folded=True
            ),
        ),
    )


def _made_by(name: str, network: Mapping[str, Any]) -> str:
    """Returns a sentence on the network that made features."""
    if not network:
        return f"The network that made the features of {name} is not known: skinjax did not make them."
    weights = (
        f"the weights {network['pretrained']}"
        if network["pretrained"]
        else "random weights, which learned nothing"
    )
    return (
        f"The features of {name} are the averaged last map of {network['backbone']} with {weights}, of photos of "
        f"{network['image_size']} pixels; the network was not trained on these photos."
    )
