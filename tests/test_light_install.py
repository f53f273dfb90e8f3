"""Without ArrayRecord, TFDS, Grain and Orbax statistics and reports are made, and the rest says what it needs.

Windows has no packages of the first two; statistics alone need none of the four.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import skinjax
from skinjax.data.predictions import from_arrays
from skinjax.files import installed
from skinjax.labels.taxonomy import load_taxonomy
from tests.support.commands import REPOSITORY

HIDDEN = ("array_record", "tensorflow_datasets", "grain", "orbax")
HIDE = f"""
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
"""
OPTIONS = {"taxonomy": "ham10000", "target": "mel", "replicates": 100}


def without(code: str, folder) -> subprocess.CompletedProcess:
    """Runs Python with these packages hidden."""
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    taxonomy = load_taxonomy("ham10000")
    names = taxonomy.classes()
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 60)
    images, cases = [f"{i}.jpg" for i in range(60)], [f"case {i // 2}" for i in range(60)]
    frame = from_arrays(images, cases, [names[i % 7] for i in range(60)], 0, probabilities, taxonomy)
    path = tmp_path_factory.mktemp("predictions") / "theirs.parquet"
    frame.to_parquet(path)
    return path


@pytest.mark.slow
def test_a_frame_becomes_the_same_report(predictions, tmp_path):
    code = f"""
import pandas as pd
import skinjax
frame = pd.read_parquet({str(predictions)!r})
result = skinjax.evaluate(frame, out="light", **{OPTIONS})
print(result.headline[0])
from skinjax.cli.main import main
main(["evaluate", "--predictions={predictions}", "--taxonomy=ham10000", "--replicates=100", "--out=command"])
assert not {{*{HIDDEN}}} & set(sys.modules)
"""
    run = without(code, tmp_path)
    assert run.returncode == 0, run.stderr
    whole = skinjax.evaluate(pd.read_parquet(predictions), out=tmp_path / "whole", **OPTIONS)
    assert whole.headline[0] in run.stdout
    tables = sorted(path.name for path in (tmp_path / "whole" / "tables").iterdir())
    assert len(tables) > 5
    for name in tables:
        light, same = (pd.read_csv(tmp_path / folder / "tables" / name) for folder in ("light", "whole"))
        pd.testing.assert_frame_equal(light, same, rtol=1e-9)
    assert (tmp_path / "light" / "index.html").stat().st_size > 10_000
    assert (tmp_path / "command" / "index.html").stat().st_size > 10_000


@pytest.mark.slow
def test_all_of_statistics_and_reports_is_imported_and_commands_say_what_they_need(tmp_path):
    code = """
import contextlib, importlib, io, json, pkgutil
import skinjax

failed = []
for module in pkgutil.walk_packages(skinjax.__path__, "skinjax."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError:
            failed.append(module.name)

from skinjax.cli.main import main
told = {}
for words in (
    ["hierarchy", "--smoke"],
    ["prepare_data", "--smoke", "--workdir=prepared"],
    ["predict", "--workdir=none", "--photos=none.jpg"],
    ["features", "--smoke"],
    ["audit", "--smoke", "--synthetic_cases=2", "--workdir=audited"],
):
    out, problems = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(problems):
        try:
            main(words)
            end = 0
        except SystemExit as ended:
            end = ended.code
    told[words[0]] = [end, problems.getvalue().splitlines()[-1:]]
print(json.dumps([failed, told]))
"""
    run = without(code, tmp_path)
    assert run.returncode == 0, run.stderr
    failed, told = json.loads(run.stdout.splitlines()[-1])
    light = (
        "evaluate",
        "decide",
        "report",
        "labels",
        "files",
        "models",
        "augment",
        "synthetic",
        "evolve",
        "cli",
    )
    assert failed  # what is hidden is missed somewhere
    assert [name for name in failed if name.split(".")[1] in light] == []
    assert told["audit"][0] == 0
    sentence = "the package {} must be installed for this, and is not; pip install {}"
    for command, package in (
        ("hierarchy", "grain"),
        ("features", "grain"),
        ("predict", "orbax-checkpoint"),
        ("prepare_data", "array-record"),
    ):
        assert told[command] == [2, [f"{command}: {sentence.format(package, package)}"]]
    assert not (tmp_path / "prepared" / "photos").exists()  # refused before photos were rendered


@pytest.mark.slow
def test_modules_that_windows_lacks_are_imported_where_they_are_asked_for():
    """Only the locks ask for one on import, and have another way where it is absent (`tests/files/test_locks.py`)."""
    lacking = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "posix", "syslog"}
    found = {}
    for path in sorted((REPOSITORY / "skinjax").rglob("*.py")):
        nodes = [ast.parse(path.read_text(encoding="utf-8"))]
        while nodes:
            node = nodes.pop()
            if not isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef
            ):  # which imports when it is called
                nodes += ast.iter_child_nodes(node)
            named = {name.name for name in node.names} if isinstance(node, ast.Import) else set()
            named |= {node.module} if isinstance(node, ast.ImportFrom) else set()
            if named & lacking:
                found[path.name] = named
    assert found == {"locks.py": {"fcntl"}}


def test_on_windows_the_sentence_says_where_to_run(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "array_record", None)
    with pytest.raises(
        ModuleNotFoundError, match="does not exist for Windows; run it on Linux or macOS, or in WSL"
    ):
        installed.require("array_record")


def test_a_package_that_is_always_there_is_no_matter_of_the_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match="import of numpy halted"):
        installed.require("numpy")
