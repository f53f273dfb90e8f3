"""The record of a run: rows of networks that several processes write to one folder at once, and of resumed ones."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from skinjax.runs.metrics import COLUMNS, MetricsLog
from tests.support.commands import ENVIRONMENT, REPOSITORY

HAMMER = """
import sys
from pathlib import Path
from skinjax.runs.metrics import MetricsLog
folder, fold, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rows = [{"epoch": epoch, "split": "train", "loss": epoch / 8} for epoch in range(1, count + 1)]
with MetricsLog(folder) as log:
    (folder / f"ready_{fold}").touch()
    while not (folder / "go").exists():
        pass
    for done in range(1, count + 1):
        log.record("sub", fold, rows[:done], [])
"""


def row(epoch, split="train", **more):
    return {"epoch": epoch, "split": split, "loss": 0.5, "photos": 8, **more}


def recorded(folder):
    """What the file holds, as (stage, fold, epoch, split) of each row."""
    frame = pd.read_csv(folder / "metrics.csv")
    assert list(frame.columns) == list(COLUMNS)
    return list(frame[["stage", "fold", "epoch", "split"]].itertuples(index=False, name=None))


def test_two_logs_that_are_open_together_lose_no_row_of_each_other(tmp_path):
    """As two processes of different `fold`, in turn."""
    with MetricsLog(tmp_path) as one, MetricsLog(tmp_path) as other:
        for epoch in (1, 2, 3):
            history = [row(done) for done in range(1, epoch + 1)]
            one.record("sub", 0, history, [])
            other.record("sub", 1, history, [])
    assert sorted(recorded(tmp_path)) == [
        ("sub", fold, epoch, "train") for fold in (0, 1) for epoch in (1, 2, 3)
    ]


@pytest.mark.slow
def test_processes_that_record_as_fast_as_they_can_lose_no_row(tmp_path):
    count = 60
    commands = ([sys.executable, "-c", HAMMER, tmp_path, str(fold), str(count)] for fold in (0, 1))
    writers = [subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT) for command in commands]
    while not all((tmp_path / f"ready_{fold}").exists() for fold in (0, 1)):
        assert all(writer.poll() is None for writer in writers)
    (tmp_path / "go").touch()
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    expected = [("sub", fold, epoch, "train") for fold in (0, 1) for epoch in range(1, count + 1)]
    assert sorted(recorded(tmp_path)) == expected


def test_a_network_that_is_resumed_earlier_replaces_its_own_rows_alone(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.record("sub", 0, [row(1), row(2), row(3)], [])
        log.record("meta", 0, [row(1)], [])
    with MetricsLog(tmp_path) as log:  # killed, and resumed from the checkpoint of epoch 1
        log.record("sub", 0, [row(1), row(2, "test")], [])
    assert recorded(tmp_path) == [("sub", 0, 1, "train"), ("sub", 0, 2, "test"), ("meta", 0, 1, "train")]


def test_what_others_wrote_is_kept_to_the_last_digit(tmp_path):
    loss = 0.1234567890123456789
    with MetricsLog(tmp_path) as log:
        log.record("sub", 0, [row(1, loss=loss, auc=None, seconds=1e-7)], [])
        log.record("sub", 1, [row(1)], [])
    text = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert text[1] == f"sub,0,1,train,{loss},,,,,8,1e-07"
    assert len(text) == 3


def test_only_new_rows_become_events_and_what_no_column_has_is_passed_over(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.record("sub", 2, [row(1), row(2, other=3)], [row(2, other=3)])
        log.record("meta", 2, [row(1)], [])
    assert recorded(tmp_path) == [("sub", 2, 1, "train"), ("sub", 2, 2, "train"), ("meta", 2, 1, "train")]
    (events,) = (tmp_path / "tensorboard").rglob("events*")
    assert events.parent == tmp_path / "tensorboard" / "fold_2" / "sub"
    assert b"train/loss" in events.read_bytes()
