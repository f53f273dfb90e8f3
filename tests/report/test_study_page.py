"""Pages of an experiment's own sections: what stands on them, what lies beside them, and that they are whole."""

from __future__ import annotations

import re

import jinja2
import pandas as pd
import pytest

from skinjax.report import rendering
from skinjax.report.blocks import Column, Figure, Heading, Section, Table, Text
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.page_summary import PageSummary, read_summary
from skinjax.report.rendering import render, write_folder
from skinjax.report.study_page import write_study

HOSTILE = "<script>alert('1')</script> & 黑色素瘤"


def picture(name="shift"):
    data = pd.DataFrame({"x": [0, 1], "y": [0.25, 0.75]})
    drawn = panel(f"{name}_lines", (200, 120), (30, 30, 8, 20), lambda axes: axes.plot([0, 1]), "Two points.")
    return Picture(name, (drawn,), "A line.", data)


def table(name="loss", **more):
    data = pd.DataFrame({"class": ["nevus", HOSTILE], "loss": [0.125, 0.5]})
    columns = (Column("Class", list(data["class"])), Column("Loss", ["12.5%\n10% to 15%", "50.0%"]))
    return Table(name, data, columns, **more)


def sections():
    return [
        Section("shift", "Another clinic", (Text(HOSTILE), Figure(picture()), Heading("By class"), table())),
        Section(
            "tones", "Skin tones", (Text("Too few.", small=True), table("tones", caption="All", folded=True))
        ),
    ]


def written(folder, **changed):
    arguments = {
        "title": "Shift of clinics",
        "answer": ["It falls.", "By a third."],
        "sections": sections(),
        "config": {"seed": 1, "versions": {"jax": "0.10.2"}},
        "notes": ["One photo was left out."],
    }
    return write_study(folder, **(arguments | changed))


def test_the_page_shows_everything_in_its_order(tmp_path):
    page = written(tmp_path / "new" / "report").read_text(encoding="utf-8")
    wanted = [
        "<h1>Shift of clinics</h1>", '<p class="answer">It falls.</p>', "<p>By a third.</p>", "One photo was left out.",
        'href="#shift"', 'href="#tones"', 'href="#configuration"', '<section id="shift">', "<h3>By class</h3>",
        '<section id="tones">', "<details>", '<section id="configuration">', "versions.jax",
    ]  # fmt: skip
    places = [page.index(text) for text in wanted]
    assert places == sorted(places)
    assert 'aria-label="Two points."' in page
    assert '<span class="range">10% to 15%</span>' in page
    assert "Rendered photos" not in page


def test_nothing_of_the_page_is_fetched_or_run_and_text_is_escaped(tmp_path):
    page = written(
        tmp_path, title=HOSTILE, answer=[HOSTILE], notes=[HOSTILE], config={HOSTILE: HOSTILE}
    ).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "黑色素瘤" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page)


@pytest.mark.parametrize(("value", "told"), [(True, True), (False, False), ("yes", False)])
def test_rendered_photos_are_told(tmp_path, value, told):
    page = written(tmp_path, config={"synthetic": value}).read_text(encoding="utf-8")
    assert ("nothing here is medical evidence" in page) == told


def test_tables_and_figures_lie_beside_the_page(tmp_path):
    written(tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "index.html", "summary.json", "figures/shift_lines.svg", "figures/shift.csv", "tables/loss.csv",
        "tables/tones.csv", "tables/configuration.csv",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables" / "loss.csv"), table().data)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures" / "shift.csv"), picture().data)
    assert (tmp_path / "figures" / "shift_lines.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_the_summary_holds_the_answer_and_no_figure(tmp_path):
    written(tmp_path)
    tables = ("tables/configuration.csv", "tables/loss.csv", "tables/tones.csv")
    assert read_summary(tmp_path) == PageSummary(("It falls.", "By a third."), None, tables)


def test_the_same_study_gives_the_same_bytes(tmp_path):
    one, two = (written(tmp_path / name) for name in "ab")
    for path in one.parent.rglob("*.*"):
        assert path.read_bytes() == (two.parent / path.relative_to(one.parent)).read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": []}, "answer must have a sentence at least, got none"),
        ({"sections": [*sections(), sections()[0]]}, r"ids that differ.*'shift', 'tones', 'shift'"),
        ({"sections": [Section("configuration", "Mine", ())]}, "none called configuration"),
    ],
)
def test_what_makes_no_page_is_refused_and_nothing_is_written(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "report", **changed)
    assert not (tmp_path / "report").exists()


def test_an_older_page_stands_until_all_is_there(tmp_path, monkeypatch):
    path = written(tmp_path)
    before = path.read_bytes()
    broken = table("broken")
    monkeypatch.setattr(broken.data, "to_csv", lambda *a, **k: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        written(tmp_path, title="New", sections=[Section("shift", "Another clinic", (broken,))])
    assert path.read_bytes() == before
    written(tmp_path, title="New")
    assert b"New" in path.read_bytes()
    expected = {"index.html", "summary.json", "figures", "tables"}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_pages_are_written_last_and_the_last_is_returned(tmp_path, monkeypatch):
    order = []
    replacing = rendering.replacing

    def noting(path):
        order.append((path.name, sorted(file.name for file in tmp_path.rglob("*.csv"))))
        return replacing(path)

    monkeypatch.setattr(rendering, "replacing", noting)
    path = write_folder(
        tmp_path,
        {"card.md": "a", "index.html": "b"},
        {"own": table().data},
        [picture()],
        [table()],
        ["It falls."],
    )
    assert path == tmp_path / "index.html"
    assert order[-2:] == [(name, ["loss.csv", "own.csv", "shift.csv"]) for name in ("card.md", "index.html")]
    assert {name for name, _ in order[:-2]} >= {"loss.csv", "own.csv", "shift.csv"}
    assert not any(name.endswith((".md", ".html")) for name, _ in order[:-2])
    assert (tmp_path / "card.md").read_text() == "a"


def test_a_template_that_lacks_something_fails_instead_of_showing_nothing():
    with pytest.raises(jinja2.UndefinedError, match="answer"):
        render("study.html.j2", title="t", origin="", sections=[], notes=[], synthetic=False)
