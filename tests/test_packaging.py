"""What users install is what was tested: the wheel outside of the checkout, the locks, the README's commands."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import skinjax
from tests.support.commands import REPOSITORY

LOCKS = ["requirements.txt", "requirements-test.txt", "requirements-lowest.txt", "requirements-docs.txt"]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that a wheel is built from."""
    files = subprocess.run(
        ["git", "ls-files", "pyproject.toml", "README.md", "LICENSE", "skinjax"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not files:
        pytest.skip("this is no git checkout, so there is no list of files to build from")
    return files


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel installed as pip does it, without the packages that it needs and without a network."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--target",
        folder,
        wheel,
    ]
    subprocess.run([sys.executable, *pip], check=True, capture_output=True)
    return folder


def installed(site: Path, *command: str | Path, folder: Path) -> subprocess.CompletedProcess:
    """Runs Python, or a script of the wheel by its path, from a folder outside of the checkout."""
    outside = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment = outside | {"PYTHONPATH": str(site), "PYTHONWARNINGS": ""}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_wheel_holds_all_it_needs_and_works_outside_of_the_checkout(site, tmp_path):
    code = (
        "import skinjax, pathlib\n"
        f"assert pathlib.Path(skinjax.__file__).is_relative_to({str(site)!r}), skinjax.__file__\n"
        "from skinjax.labels.taxonomy import catalogue\n"
        "assert len(skinjax.load_taxonomy('fitzpatrick17k').classes()) == 114 and len(catalogue()) == 7\n"
        "import numpy as np\n"
        "from skinjax.data.predictions import from_arrays\n"
        "tree = skinjax.load_taxonomy('ham10000'); names = tree.classes()\n"
        "p = np.random.default_rng(0).dirichlet(np.ones(7), 40)\n"
        "frame = from_arrays([f'{i}.jpg' for i in range(40)], [f'c{i // 2}' for i in range(40)],\n"
        "                    [names[i % 7] for i in range(40)], 0, p, tree)\n"
        "skinjax.evaluate(frame, taxonomy='ham10000', out='report', replicates=100)\n"
    )
    result = installed(site, "-c", code, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


def test_the_version_is_the_same_wherever_it_stands(wheel):
    """`skinjax.__version__` is the one place; pyproject.toml reads it, and what is cited and changed says it too."""
    version = skinjax.__version__
    assert wheel.name.split("-")[1] == version
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    cited = re.search(
        r"^version: (\S+)$", (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"), flags=re.M
    )
    assert cited is not None
    assert cited[1] == version
    headings = re.findall(
        r"^## (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M
    )
    assert version in headings[:2]  # below "Unreleased", where there is such


def test_the_wheel_holds_every_file_of_the_package_and_the_command(wheel, tracked):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (entries,) = (name for name in held if name.endswith("entry_points.txt"))
        assert "skinjax = skinjax.cli.main:entry" in archive.read(entries).decode()
    package = {name for name in tracked if name.startswith("skinjax/")}
    assert {"skinjax/py.typed", "skinjax/report/templates/report.html.j2"} < package
    app = {"templates/base.html.j2", "static/app.css", "static/app.js", "static/icon.svg", "phrases/zh.json"}
    assert {f"skinjax/app/{name}" for name in app} < package
    assert {name for name in held if ".dist-info/" not in name} == package


def test_the_installed_command_lists_the_studies_in_under_a_second(site, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = installed(site, site / "bin" / "skinjax", "--help", folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    listed = re.findall(r"^  (\w+) {2,}\S", result.stdout, flags=re.M)
    scripts = {path.stem for path in (REPOSITORY / "experiments").glob("*.py")} - {"__init__"}
    assert set(listed) == scripts
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_importing_the_package_is_quick_and_loads_neither_jax_nor_tensorflow_datasets(site, tmp_path):
    """Processor time, which other work on the machine does not lengthen much; the least of three."""
    code = (
        "import sys, time; begun = time.process_time(); import skinjax; took = time.process_time() - begun\n"
        "print(took, *sorted({'jax', 'tensorflow_datasets', 'numpy'} & set(sys.modules)))"
    )
    shown = [installed(site, "-c", code, folder=tmp_path).stdout.split() for _ in range(3)]
    assert [len(words) for words in shown] == [1, 1, 1], shown
    assert min(float(words[0]) for words in shown) < 0.2


@pytest.mark.slow
def test_the_installed_command_trains_evaluates_and_answers(site, tmp_path, compilations):
    command = site / "bin" / "skinjax"
    cache = f"--compilation_cache={compilations}"
    trained = installed(site, command, "train", "--smoke", "--epochs=1", cache, folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    workdir = Path("runs") / "train_smoke"
    assert f"report: {workdir / 'report' / 'index.html'}" in trained.stdout
    assert (tmp_path / workdir / "report" / "index.html").is_file()
    photo = min((tmp_path / workdir / "photos" / "images").iterdir())
    for words in (
        ["evaluate", f"--workdir={workdir}", "--smoke"],
        ["predict", f"--workdir={workdir}", f"--photos={photo}", "--noexplain", cache],
    ):
        result = installed(site, command, *words, folder=tmp_path)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / workdir / "evaluation" / "index.html").is_file()
    assert (tmp_path / workdir / "answers" / "predictions.csv").is_file()


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_versions_with_hashes_and_hold_no_address(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert "://" not in text
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==\S+.*\\$", text, flags=re.M)
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pinned) == len(lines)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert not {"tensorflow", "torch", "chex"} & {package.lower() for package in pinned}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[><=\[]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert wanted <= {package.lower() for package in pinned}


def locked(name: str) -> list[tuple[str, Version, Marker | None]]:
    """Name, version and marker of each line of a lock."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    found = re.findall(r"^(\S+)==(\S+)(?: ; (.+?))? \\$", text, flags=re.M)
    return [
        (package, Version(version), Marker(marker) if marker else None) for package, version, marker in found
    ]


def chosen(name: str, python: str, platform: str) -> dict[str, Version]:
    """Packages that a lock installs on a Python and a system, each once."""
    system = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": platform}
    system |= {"os_name": "nt" if platform == "win32" else "posix"}
    lines = [
        (package, version)
        for package, version, marker in locked(name)
        if not marker or marker.evaluate(system)
    ]
    assert len({package for package, _ in lines}) == len(lines)
    return dict(lines)


@pytest.mark.parametrize("name", LOCKS[:2])
def test_each_python_gets_the_newest_jax_that_was_tested(name):
    stack = {python: chosen(name, python, "linux")["jax"] for python in ("3.11", "3.12", "3.13")}
    assert stack["3.11"] in SpecifierSet("~=0.10.2")  # the last for it
    assert stack["3.12"] == stack["3.13"] >= Version("0.12")


@pytest.mark.parametrize("name", LOCKS[:2])
def test_on_windows_nothing_is_asked_for_that_does_not_exist_there(name):
    for python in ("3.11", "3.13"):
        windows, linux = chosen(name, python, "win32"), chosen(name, python, "linux")
        assert {"array-record", "tensorflow-datasets", "promise", "uvloop"} <= set(linux) - set(windows)
        assert {"jax", "grain", "orbax-checkpoint", "pyarrow", "scikit-learn"} <= set(windows)


def test_the_lowest_lock_has_the_versions_that_the_project_allows():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {package.lower(): version for package, version, _ in locked("requirements-lowest.txt")}
    for line in project["dependencies"]:
        requirement = Requirement(line)
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert pinned[requirement.name.lower()] == Version(bound.version), line


def test_the_readmes_two_commands_name_what_is_there():
    commands = re.findall(r"^<!-- (demo|tests) -->\n```bash\n(.+)\n```$", README, flags=re.M)
    assert [name for name, _ in commands] == ["demo", "tests"]
    for _, command in commands:
        for name in re.findall(r"requirements[\w-]*\.txt|experiments/\S+\.flags", command):
            assert (REPOSITORY / name).is_file(), name


def test_the_readmes_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_readmes_snippets_are_python_over_names_that_exist():
    for snippet in re.findall(r"```python\n(.*?)```", README, flags=re.S):
        imports = "\n".join(line for line in snippet.splitlines() if line.startswith(("import ", "from ")))
        exec(compile(imports, "README.md", "exec"), {})
        compile(snippet, "README.md", "exec")
