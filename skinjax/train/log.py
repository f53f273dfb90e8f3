"""What a run records while it trains: `metrics.csv`, one row an epoch and split, and TensorBoard events."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from skinjax.data.tables import replacing

COLUMNS = (
    "stage",
    "fold",
    "epoch",
    "split",
    "loss",
    "accuracy",
    "macro_f1",
    "auc",
    "learning_rate",
    "photos",
    "seconds",
)

Row = dict[str, Any]


class MetricsLog:
    """The record of all networks of a run; use as a context manager, which closes the event files.

    `metrics.csv` is rewritten whole, atomically, from the histories of the networks, which live in their
    checkpoints: a killed and resumed run has neither a gap nor a row twice.
    """

    def __init__(self, workdir: Path):
        """Opens the record of a run in its folder."""
        self._workdir = workdir
        self._histories: dict[tuple[str, int], list[Row]] = {}
        path = workdir / "metrics.csv"
        if path.exists():  # the folds of a run may be trained one by one
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self._histories.setdefault((row.pop("stage"), int(row.pop("fold"))), []).append(row)
        self._writers: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def record(self, stage: str, fold: int, history: list[Row], new: list[Row]) -> None:
        """Replaces what is recorded of one network.

        Args:
          stage: name of the network, such as `sub`.
          fold: which fold it is of.
          history: all its rows so far.
          new: those of them that TensorBoard has not had.
        """
        self._histories[stage, fold] = list(history)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for (name, number), rows in self._histories.items():
            writer.writerows({"stage": name, "fold": number, **row} for row in rows)
        with replacing(self._workdir / "metrics.csv") as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
        if new:
            self._tensorboard(stage, fold, new)

    def _tensorboard(self, stage: str, fold: int, rows: list[Row]) -> None:
        if (stage, fold) not in self._writers:
            from tensorboardX import SummaryWriter

            # `purge_step` makes TensorBoard drop what a killed run had written of these epochs already.
            folder = self._workdir / "tensorboard" / f"fold_{fold}" / stage
            self._writers[stage, fold] = SummaryWriter(str(folder), purge_step=rows[0]["epoch"])
        writer = self._writers[stage, fold]
        for row in rows:
            for name in ("loss", "accuracy", "macro_f1", "auc", "learning_rate"):
                if row.get(name) is not None:
                    writer.add_scalar(f"{row['split']}/{name}", row[name], row["epoch"])
        writer.flush()
