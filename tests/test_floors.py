"""The floors of the house: what may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FLOORS = {
    "labels": 0, "files": 0,
    "data": 1, "synthetic": 1, "augment": 1, "models": 1, "decide": 1, "evaluate": 1,
    "runs": 2,
    "train": 3, "evolve": 3,
    "predict": 4,
    "report": 5, "app": 5,
    "studies": 6,
    "cli": 7,
    "experiments": 8, "benchmarks": 8,
}  # fmt: skip
PACKAGE_FILES = sorted((REPOSITORY / "skinjax").rglob("*.py"))
SCRIPTS = [
    path for folder in ("experiments", "benchmarks") for path in sorted((REPOSITORY / folder).rglob("*.py"))
]
ALL_FILES = PACKAGE_FILES + SCRIPTS


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def package_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] in ("experiments", "benchmarks"):
        return parts[0]
    return parts[1] if parts[0] == "skinjax" and len(parts) > 1 and parts[1] in FLOORS else None


def violations(files: list[Path], root: Path) -> list[str]:
    found = []
    for path in files:
        own = package_of(".".join(path.relative_to(root).with_suffix("").parts))
        if own is None:
            continue
        for name in imported(path):
            other = package_of(name)
            if other is not None and other != own and FLOORS[other] >= FLOORS[own]:
                found.append(
                    f"{path.relative_to(root)} (floor {FLOORS[own]}) imports {name} (floor {FLOORS[other]})"
                )
    return found


def test_every_package_has_a_floor():
    packages = {path.name for path in (REPOSITORY / "skinjax").iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(FLOORS)


def test_modules_import_only_from_floors_below():
    assert violations(ALL_FILES, REPOSITORY) == []


def test_a_violation_would_be_seen(tmp_path):
    bad = tmp_path / "skinjax" / "evaluate" / "roc.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from skinjax.data import loader\n")
    assert violations([bad], tmp_path)


@pytest.mark.parametrize("package", ["decide", "evaluate"])
def test_decisions_and_statistics_know_no_network_loader_or_checkpoint(package):
    forbidden = {"flax", "grain", "orbax", "tensorflow_datasets", "optax"}
    for path in (REPOSITORY / "skinjax" / package).rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & forbidden, path


def test_only_the_command_reads_flags_and_nothing_needs_tensorflow_or_torch():
    for path in PACKAGE_FILES:
        roots = {name.split(".")[0] for name in imported(path)}
        assert "absl" not in roots or path.is_relative_to(REPOSITORY / "skinjax" / "cli"), path
        assert not roots & {"tensorflow", "torch", "keras", "timm"}, path


def test_no_text_of_the_package_outside_of_the_command_speaks_of_flag_libraries():
    command = REPOSITORY / "skinjax" / "cli"
    files = [path for path in PACKAGE_FILES if not path.is_relative_to(command)]
    assert [path for path in files if "absl" in path.read_text(encoding="utf-8")] == []


def test_scripts_of_experiments_fit_on_one_screen():
    """What is more than reading flags and one call belongs to a study."""
    scripts = sorted((REPOSITORY / "experiments").rglob("*.py"))
    assert len(scripts) > 10
    assert [path.name for path in scripts if len(path.read_text(encoding="utf-8").splitlines()) > 80] == []


def test_no_file_has_a_name_that_says_nothing():
    assert not {path.stem for path in ALL_FILES} & {"util", "utils", "helper", "helpers", "misc", "common"}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["skinjax.report.page", "skinjax.studies.evaluation"])
def test_importing_what_reports_on_predictions_loads_no_network_and_no_loader(module):
    heavy = ("flax", "grain", "orbax", "optax", "tensorflow", "tensorflow_datasets")
    code = f"import sys, {module}; print(sorted(name for name in {heavy} if name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert result.stdout.strip() == "[]"
