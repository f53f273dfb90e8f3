"""Records of a run while it trains: `metrics.csv`, one row per epoch and split, and TensorBoard events."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax.files.atomic import replacing
from skinjax.files.locks import Lock

if TYPE_CHECKING:
    import pandas as pd

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

    `metrics.csv` is rewritten whole, atomically, from what it holds and the histories of the networks, which live in
    their checkpoints: a killed and resumed run has neither a gap nor a row twice, and processes that train different
    folds of one run lose no row of each other's.
    """

    def __init__(self, workdir: Path):
        """Opens the record of a run in its folder."""
        self._workdir = workdir
        self._writers: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def record(self, stage: str, fold: int, history: list[Row], new: list[Row]) -> None:
        """Replaces what is recorded of one network.

        Args:
          stage: Name of the network, such as `sub`.
          fold: Which fold it is of.
          history: All its rows so far.
          new: Those of them that TensorBoard has not had.
        """
        with Lock(self._workdir / ".lock_metrics", wait=True):
            histories = self._read()
            histories[stage, fold] = list(history)
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for (name, number), rows in histories.items():
                writer.writerows({"stage": name, "fold": number, **row} for row in rows)
            with replacing(self._workdir / "metrics.csv") as temporary:
                temporary.write_text(text.getvalue(), encoding="utf-8")
        if new:
            self._tensorboard(stage, fold, new)

    def _read(self) -> dict[tuple[str, int], list[Row]]:
        """Reads what the file holds now, by network; other processes may have written since this one did."""
        histories: dict[tuple[str, int], list[Row]] = {}
        path = self._workdir / "metrics.csv"
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    histories.setdefault((row.pop("stage"), int(row.pop("fold"))), []).append(row)
        return histories

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


def training_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Returns how many epochs each network was trained, and on how many photos.

    Args:
      curves: The rows of `metrics.csv`.
    """
    groups = curves[curves["split"] == "train"].groupby(["stage", "fold"], as_index=False, sort=False)
    table = groups.agg(epochs=("epoch", "max"), **{"photos per epoch": ("photos", "max")})
    return table.rename(columns={"stage": "network"})
