"""The command that puts one column of several runs' tables side by side."""

import math
import sys

import pandas as pd
import pytest
from scipy.stats import t as student

from benchmarks import run_tables
from tests.evaluate.test_training_runs_command import write_run

VALUES = {"direct": (0.70, 0.74, 0.72), "all": (0.80, 0.79, 0.84)}


@pytest.fixture
def runs(tmp_path):
    """Runs of three seeds; the second lacks a row of the others, and has the rest in another order."""
    folders = []
    for place, seed in enumerate((4, 0, 2)):
        folder, *_ = write_run(tmp_path / f"run{seed}", seed, 0.5)
        rows = {name: values[place] for name, values in VALUES.items()} | {"half": 0.5}
        frame = pd.DataFrame({"variant": list(rows), "auc": list(rows.values())})
        if place == 1:
            frame = frame[::-1][1:]
        (folder / "report" / "tables").mkdir(parents=True)
        frame.to_csv(folder / "report" / "tables" / "transfer.csv", index=False)
        folders.append(str(folder))
    return folders


def printed(monkeypatch, capsys, folders, *arguments):
    flags = [f"--runs={','.join(folders)}", "--table=transfer", "--rows=variant", "--column=auc", *arguments]
    monkeypatch.setattr(sys, "argv", ["run_tables", *flags])
    run_tables.main()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()
    ]


def test_rows_are_matched_and_the_interval_is_the_corrected_one(runs, monkeypatch, capsys):
    head, _, direct, every = printed(monkeypatch, capsys, runs, "--reference=direct", "--train=5", "--test=3")
    assert head == ["", "auc", "seed 4", "seed 0", "seed 2", "SD", "less direct", "corrected 95% CI"]
    assert direct == [
        "direct",
        "0.720",
        "0.700",
        "0.740",
        "0.720",
        "0.020",
        "+0.000 (+0.000, +0.000, +0.000)",
        "",
    ]
    # differences 0.10, 0.05, 0.12: mean 0.09, variance 0.0013; t of two degrees of freedom
    reach = student.ppf(0.975, 2) * math.sqrt((1 / 3 + 3 / 5) * 0.0013)
    p_value = 2 * student.sf(0.09 / math.sqrt((1 / 3 + 3 / 5) * 0.0013), 2)
    assert every[6:] == [
        "+0.090 (+0.100, +0.050, +0.120)",
        f"{0.09 - reach:+.3f} to {0.09 + reach:+.3f}, p = {p_value:.2f}",
    ]


@pytest.mark.parametrize(
    ("take", "arguments", "message"),
    [
        (1, [], "runs must name at least two folders, got 1"),
        (3, ["--table=roc"], "table must be one of the report of"),
        (3, ["--column=kappa"], "columns are variant, auc, got 'kappa'"),
        (3, ["--reference=none"], "reference must be one of direct, all, got 'none'"),
    ],
)
def test_bad_arguments_are_named(runs, take, arguments, message, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        printed(monkeypatch, capsys, runs[:take], *arguments)
    assert message in capsys.readouterr().err
