"""Reading `config.json` of a run, in the form of this version and of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 2
FORMER_NAMES = {
    "train": "training",
    "psoriasis": "two_stage",
    "benchmark_backbones": "backbones",
    "evolve": "evolution",
}
"""Names that studies had when `config.json` called them experiments, in schema 1."""

POOLED = {
    "hierarchy": "out_of_fold",
    "malignancy": "out_of_fold",
    "training": "held_out",
    "two_stage": "two_stage_test",
}
"""The predictions of each study that has one model, by name of the file."""


def read_document(path: Path) -> dict[str, Any] | None:
    """Reads the configuration of a run.

    Args:
      path: Folder of the run.

    Returns:
      `study`, `config` (the options), `data_fingerprint` and more; None where the run has not begun.

    Raises:
      ValueError: The file is not the configuration of a run.
    """
    file = path / "config.json"
    if not file.exists():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if "experiment" in document:  # schema 1
            former = document.pop("experiment")
            document |= {"study": FORMER_NAMES.get(former, former), "config": document.pop("flags")}
            if former == "benchmark_backbones":  # had a default that was not used
                document["config"].pop("backbone", None)
        if not {"study", "config", "data_fingerprint"} <= set(document) or not isinstance(
            document["config"], dict
        ):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{file} is not the configuration of a run; name another workdir") from None
    return document


def stored_predictions(study: str, options: Mapping[str, Any], name: str) -> dict[str, str]:
    """Returns the predictions that a run's report is about.

    Args:
      study: Name of the study.
      options: Of the run.
      name: Of the model, where the study has a single one.

    Returns:
      Name of a model -> name of its file below `predictions/`, the main model first; empty for a study that makes none.
    """
    if study == "backbones":
        return {one: f"{one}_test" for one in options.get("backbones", ())}
    if study == "cross_dataset":
        return {f"trained on {side.upper()}": f"{side}_on_a" for side in "ab"}
    if study == "probe":
        models = probe_models(options)
        return {
            one: "out_of_fold" if not number else f"out_of_fold_{number + 1}"
            for number, one in enumerate(models)
        }
    if study == "evolution":
        return {f"{one} set": f"{one}_0" for one in ("evolved", "start")}
    return {name: POOLED[study]} if study in POOLED else {}


def named_file(entry: str) -> tuple[str, str]:
    """Returns the name and the path of a features file that is given as `path` or `name=path`.

    Args:
      entry: One of an option's entries; without a name the file's own, less its ending, serves.

    >>> named_file("runs/ham/dinov3.parquet"), named_file("PanDerm=a=b.parquet")
    (('dinov3', 'runs/ham/dinov3.parquet'), ('PanDerm', 'a=b.parquet'))
    """
    name, equals, path = entry.partition("=")
    if equals and name and not {"/", "\\"} & set(name):
        return name.strip(), path.strip()
    return Path(entry).stem, entry


def probe_models(options: Mapping[str, Any]) -> dict[str, tuple[int, bool]]:
    """Returns the models of a study of probes, the main one first.

    Args:
      options: Of the run.

    Returns:
      Name of a model -> number of its features file, from 0, and whether it reads columns.

    >>> probe_models({"features": ["a.parquet", "b.parquet"], "columns": ["age"]})
    {'a with columns': (0, True), 'a': (0, False), 'b with columns': (1, True), 'b': (1, False)}
    """
    names = [named_file(entry)[0] for entry in options.get("features") or ()] or [options.get("backbone", "")]
    if not options.get("columns"):
        return {name: (number, False) for number, name in enumerate(names)}
    return {
        f"{name}{ending}": (number, not alone)
        for number, name in enumerate(names)
        for ending, alone in ((" with columns", False), ("", True))
    }
