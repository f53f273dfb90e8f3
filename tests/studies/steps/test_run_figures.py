"""The figures on the page are those in the files beside the report."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.app.figures import RunFigures
from skinjax.report.page_summary import PageSummary
from skinjax.studies.steps.run_figures import run_figures
from tests.support import small_backbones


@pytest.fixture
def run(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "a.png")
    with small_backbones.registered():
        make_run(tmp_path / "run", "small", 32, tmp_path / "photos")
    return tmp_path / "run"


def write_report(run, tables: tuple[str, ...]) -> None:
    (run / "report" / "tables").mkdir(parents=True)
    (run / "report" / "index.html").write_text("a page")
    (run / "report" / "summary.json").write_text(PageSummary(("It names 80%.",), None, tables).to_json())


def test_a_run_without_a_report_has_no_figures(run):
    assert run_figures(run) == RunFigures()


def test_figures_are_those_of_the_table(run):
    write_report(run, ("tables/classes.csv",))
    table = pd.DataFrame(
        {
            "class": ["melanoma", "purpura"], "title": ["Melanoma", "Purpura"], "recall": [0.8, math.nan],
            "recall_low": [0.6, math.nan], "recall_high": [0.9, math.nan], "precision": [0.5, math.nan],
            "photos": [30, 0], "cases": [12, 0],
        }
    )  # fmt: skip
    table.to_csv(run / "report" / "tables" / "classes.csv", index=False)
    found = run_figures(run)
    assert found.headline == ("It names 80%.",)
    assert found.page == run / "report" / "index.html"
    one = found.classes["melanoma"]
    assert (one.recall, one.low, one.high, one.precision, one.photos, one.cases) == (
        0.8,
        0.6,
        0.9,
        0.5,
        30,
        12,
    )
    assert math.isnan(found.classes["purpura"].recall)


def test_a_report_without_such_a_table_or_summary_is_still_shown(run):
    write_report(run, ())
    assert run_figures(run).classes == {}
    (run / "report" / "summary.json").write_text("damaged")
    assert run_figures(run) == RunFigures(page=run / "report" / "index.html")
