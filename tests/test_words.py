"""Plain words: help texts, messages and heads of docstrings are free of idioms that readers stumble on."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from skinjax.cli import launch
from skinjax.cli.commands import COMMANDS
from skinjax.runs.options import details, option_types

PACKAGE = Path(__file__).parent.parent / "skinjax"
IDIOMS = (
    r"\b[Ww]ant(s|ed|ing)?\b",  # must be
    r"\bthat there (is|are) not\b",
    r"\bwhatever (they are|it is) called\b",
    r"\b(is|are) told\b",
    r"\b(photos|cases|rows|columns|epochs|seconds|minutes|networks|folds|files|objects?|numbers) an? "
    r"(photo|case|class|update|epoch|row|fold|lesion|patient|reader|second|minute|step|device)\b",  # per
)
IDIOM = re.compile("|".join(IDIOMS))


def words_of(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def messages(tree: ast.AST) -> Iterator[str]:
    """Texts of errors that are raised and of notes that are logged."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from words_of(node.exc)
        elif isinstance(node, ast.Call) and getattr(getattr(node.func, "value", None), "id", "") == "_LOG":
            yield from words_of(node)


def docstrings(tree: ast.AST) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def test_the_idioms_are_found():
    for text in (
        "x wants 3 axes",
        "a fold that there is not",
        "one file is told",
        "2 photos a case",
        "wanted",
    ):
        assert IDIOM.search(text), text
    for text in ("photos per case", "must be 3", "which photos a network has seen", "to distinguish"):
        assert not IDIOM.search(text), text


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_help_texts_are_plain(one):
    for config in (importlib.import_module(one.module).Config, launch.ProcessOptions):
        for name in option_types(config):
            text = details(config, name).help
            assert not IDIOM.search(text), f"--{name}: {text}"
            assert not re.match(r"What (?!happens)", text), f"--{name}: {text}"
            assert text.endswith((".", "?")), f"--{name}: {text}"


def test_messages_are_plain():
    found = [
        f"{path.name}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in messages(ast.parse(path.read_text(encoding="utf-8")))
        if IDIOM.search(text)
    ]
    assert found == []


def test_docstrings_begin_with_a_noun_or_a_verb_and_not_with_what():
    found = [
        f"{path.name}: {text.splitlines()[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if re.match(r"What\b", text)
    ]
    assert found == []
