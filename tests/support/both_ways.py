"""A study run from Python and as a command: what both leave behind, and what its result shows."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

import skinjax
from skinjax.studies import evaluation
from skinjax.studies.result import StudyResult
from tests.support import small_backbones
from tests.support.commands import run_small

TINY = {
    "backbone": "small", "epochs": 1, "batch_size": 8, "burn_in": 1.0, "learning_rate": 0.05, "audit": False,
    "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "cutout": 0.0, "batch_norm_momentum": 0.5,
}  # fmt: skip
"""Options for photos that `tests.support.small_photos` makes: seconds of training."""


def flags_of(options: Mapping[str, Any]) -> list[str]:
    """Writes options as flags."""
    joined = {k: ",".join(map(str, v)) if isinstance(v, tuple) else v for k, v in options.items()}
    return [f"--{name}={value}" for name, value in joined.items()]


def run_both_ways(
    study: ModuleType,
    command: str,
    photos: Path,
    options: Mapping[str, Any],
    folder: Path,
    other: Path | None = None,
) -> StudyResult:
    """Runs a study on photos of one's own in `folder/python` and `folder/command`; both must leave the same.

    Args:
      study: The study.
      command: Its command.
      photos: Folder with `manifest.csv` and `taxonomy.csv`.
      options: The study's options.
      folder: Where both runs go.
      other: Folder of a second set of photos, where the study compares two.

    Returns:
      The result of the run from Python.
    """
    sets = {"": photos} | ({"other_": other} if other else {})
    given = [
        skinjax.read_photos(one / "manifest.csv", taxonomy=one / "taxonomy.csv") for one in sets.values()
    ]
    more = {"other": given[1]} if other else {}
    config = study.Config(**options)
    named = [
        f"--{prefix}{name}={one / name}.csv"
        for prefix, one in sets.items()
        for name in ("manifest", "taxonomy")
    ]
    told = run_small(
        command, *named, *flags_of(options), f"--workdir={folder / 'command'}", "--compilation_cache="
    )
    with small_backbones.registered():
        result = study.run(given[0], config, folder / "python", **more)
        assert_same_run(folder / "python", folder / "command")
        # Nothing is trained again: the second call reads what the first one left.
        records = list((folder / "python").glob("*.csv"))
        before = [path.stat().st_mtime_ns for path in records]
        assert_same_result(study.run(given[0], config, folder / "python", **more), result)
        assert before
        assert [path.stat().st_mtime_ns for path in records] == before
        commanded = study.run(given[0], config, folder / "command", **more)
    assert told.stdout == f"{commanded}\n"
    assert_shown(result)
    return result


def assert_same_run(one: Path, other: Path) -> None:
    """Two runs have the same configuration, classes, photos and predictions, to the bit."""
    for name in ("config.json", "taxonomy.json", "photos_seen.txt"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    stored = [
        {path.relative_to(run): path for path in run.rglob("predictions/**/*.parquet")}
        for run in (one, other)
    ]
    assert stored[0].keys() == stored[1].keys()
    assert stored[0]
    for name, path in stored[0].items():
        frames = pd.read_parquet(path), pd.read_parquet(stored[1][name])
        pd.testing.assert_frame_equal(*frames, check_exact=True)


def assert_same_result(found: StudyResult, wanted: StudyResult) -> None:
    """Two results say and show the same."""
    for name in ("study", "workdir", "headline", "metric", "report", "predictions_file", "main_table"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert found.tables.keys() == wanted.tables.keys()
    for name, table in found.tables.items():
        pd.testing.assert_frame_equal(table, wanted.tables[name])
    assert (found.predictions is None) == (wanted.predictions is None)
    if found.predictions is not None:
        pd.testing.assert_frame_equal(found.predictions, wanted.predictions)


def assert_shown(result: StudyResult) -> None:
    """A finished result shows its headline, its main table and its report in a terminal and in a notebook."""
    assert result.report is not None
    assert result.report.is_file()
    assert result.predictions_file is not None
    assert len(pd.read_parquet(result.predictions_file)) == len(result.predictions)
    stored = pd.read_csv(result.report.parent / "tables" / f"{result.main_table}.csv")
    pd.testing.assert_frame_equal(result.table, stored)
    lines = str(result).splitlines()
    assert lines[: len(result.headline)] == list(result.headline)
    assert lines[-1] == f"report: {result.report}"
    shown = result._repr_html_()
    for sentence in result.headline:
        assert html.escape(sentence) in shown
    assert result.report.absolute().as_uri() in shown
    for column in stored.columns[:8]:
        assert any(column in line for line in lines)
        assert f"<th>{column}</th>" in shown
    first = str(stored.iloc[0, 0])
    assert any(line.strip().startswith(first) for line in lines)
    assert html.escape(first) in shown


def assert_evaluated(workdir: Path, out: Path) -> evaluation.Evaluation:
    """`evaluate --workdir` reports on the run again; returns that, of 100 replicates."""
    found = evaluation.run(None, evaluation.Config(workdir=str(workdir), out=str(out), replicates=100))
    assert found.report == out / "index.html"
    assert found.report.is_file()
    assert found.table is not None
    return found
