"""Documents resolve, parse and run: README, WORKSPACE, docs/ and the decisions."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from skinjax.cli.commands import COMMANDS, command
from tests.support.commands import REPOSITORY, run_command

DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "experiments").glob("*.md"),
        *(path for path in (REPOSITORY / "docs").rglob("*.md") if "_build" not in path.parts),
    ]
)
PAGES = [path for path in DOCUMENTS if path.parent != REPOSITORY / "docs" / "results"]
NAMES = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS]
NOTEBOOKS = [path for path in DOCUMENTS if "```{code-cell}" in path.read_text(encoding="utf-8")]
DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
FENCE = re.compile(r"^(`{3,})([^\n]*)\n(.*?)^\1$", flags=re.M | re.S)


def prose(path: Path) -> str:
    """The text of a page outside of its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))


def blocks(path: Path) -> list[tuple[str, str]]:
    """The code blocks of a page, each with its language and the text below its options."""
    found = []
    for _, language, text in FENCE.findall(path.read_text(encoding="utf-8")):
        lines = [line for line in text.splitlines() if not line.startswith((":tags:", ":relative"))]
        found.append((language.strip(), "\n".join(lines)))
    return found


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = path.read_text(encoding="utf-8")
    titles = re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_inside_lead_somewhere(path):
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    for included in re.findall(r"^```\{include\} (\S+)$", path.read_text(encoding="utf-8"), flags=re.M):
        if not (path.parent / included).is_file():
            lost.append(included)
    assert lost == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_are_there(path):
    text = path.read_text(encoding="utf-8")
    roots = "skinjax|tests|benchmarks|experiments|third_party|docs"
    named = set(re.findall(rf"(?<![\w/.])(?:{roots})/[\w/.-]+\.(?:py|md|flags|svg|png|txt)(?!\w)", text))
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


def commands(path: Path) -> list[list[str]]:
    """The commands `skinjax NAME ...` of a page's blocks of shell."""
    found = []
    for language, text in blocks(path):
        if language == "bash" or (language == "{code-cell} ipython" and text.startswith("%%bash")):
            for line in text.replace("\\\n", " ").splitlines():
                for words in re.findall(r"(?:^|\s)skinjax ([a-z_]+ .*)$", line):
                    found.append(shlex.split(re.split(r"\s2>|\s\|\||;", words)[0], comments=True))
    return found


COMMAND_LINES = [(str(path.relative_to(REPOSITORY)), words) for path in PAGES for words in commands(path)]


@pytest.mark.parametrize(
    ("page", "words"), COMMAND_LINES, ids=[" ".join(words) for _, words in COMMAND_LINES]
)
def test_commands_have_flags_that_exist_and_values_that_are_allowed(page, words, monkeypatch):
    """The command is read up to its study's configuration, which checks itself; the study is not run."""
    seen = []
    study = importlib.import_module(command(words[0]).module)
    monkeypatch.setattr(study, "run", lambda photos, config, workdir: seen.append(config) or "done")
    command_line = importlib.import_module("skinjax.cli.main")
    monkeypatch.setattr(command_line, "use_compilation_cache", lambda folder, least: None)
    monkeypatch.setattr(command_line, "guarded", lambda work, *rest: work())  # joins no other process
    run_command(*words)
    assert len(seen) == (0 if "--help" in words else 1), page


def test_there_are_commands_of_every_study_that_users_start_with():
    shown = {words[0] for _, words in COMMAND_LINES}
    assert {"audit", "probe", "hierarchy", "evaluate", "predict", "features", "reader_kit"} <= shown


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(REPOSITORY)) for path in PAGES])
def test_python_compiles_and_what_it_imports_exists(path):
    for language, text in blocks(path):
        if language not in ("python", "{code-cell} python"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("skinjax"):
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    if not hasattr(module, name.name):  # a module that nobody has imported yet, or nothing
                        importlib.import_module(f"{node.module}.{name.name}")
            elif isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.startswith("skinjax"):
                        importlib.import_module(name.name)


def test_pages_with_cells_are_notebooks_and_the_tutorials_are_among_them():
    for path in NOTEBOOKS:
        assert path.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb\n"), path
    assert {path.stem for path in NOTEBOOKS} >= {"own_photos", "predictions", "features", "python", "thesis"}


def test_workspace_is_a_map_of_at_most_150_lines():
    assert len((REPOSITORY / "WORKSPACE.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_decision_has_its_headings_and_a_line_of_the_index():
    index = (REPOSITORY / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [int(path.name[:3]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
        assert sorted(headings) == ["Context", "Decision", "Measured", "Options", "What would change it"], (
            path
        )
        assert f"]({path.name})" in index, path.name


def test_every_result_has_a_page():
    measured = {path.name for path in (REPOSITORY / "benchmarks" / "results").glob("*.md")}
    shown = {path.name for path in (REPOSITORY / "docs" / "results").glob("*.md")} - {"index.md"}
    assert shown == measured


def contract() -> dict[str, list[str]]:
    """The names that other people's code imports, as `tests/test_documentation.py` has them."""
    tree = ast.parse((REPOSITORY / "tests" / "test_documentation.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [getattr(name, "id", "") for name in node.targets] == ["contract"]
    )
    return ast.literal_eval(value)


def test_the_reference_has_every_module_of_the_contract_and_the_commands_every_command():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs" / "api").glob("*.md"))
    listed = set(re.findall(r"^\.\. automodule:: (\S+)$", pages, flags=re.M))
    homes = {"skinjax", "skinjax.runs"}  # names of other modules, which are listed
    assert {"skinjax.runs.folder"} | set(contract()) - homes <= listed
    for name in listed:
        importlib.import_module(name)
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r'^flags\("(\w+)"\)$', text, flags=re.M) == [one.name for one in COMMANDS]


def test_nothing_is_fetched_while_the_documentation_is_built():
    settings = (REPOSITORY / "docs" / "conf.py").read_text(encoding="utf-8")
    assert "intersphinx" not in settings
    assert "://" not in settings
