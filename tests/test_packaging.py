"""What users install is what was tested: the wheel outside of the checkout, the locks, the README's commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "pyproject.toml", "README.md", "LICENSE", "skinjax"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not files:
        pytest.skip("this is no git checkout, so there is no list of files to build from")
    for name in files:
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


@pytest.mark.slow
def test_the_wheel_holds_all_it_needs_and_works_outside_of_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import skinjax, pathlib\n"
        f"assert pathlib.Path(skinjax.__file__).is_relative_to({str(site)!r}), skinjax.__file__\n"
        "from skinjax.labels.taxonomy import catalogue, load_taxonomy\n"
        "assert len(load_taxonomy('fitzpatrick17k').classes()) == 114 and len(catalogue()) == 7\n"
        "import numpy as np, pandas as pd\n"
        "from skinjax.data.predictions import from_arrays\n"
        "from skinjax.report.page import write_report\n"
        "tree = load_taxonomy('ham10000'); names = tree.classes()\n"
        "p = np.random.default_rng(0).dirichlet(np.ones(7), 40)\n"
        "frame = from_arrays([f'{i}.jpg' for i in range(40)], [f'c{i // 2}' for i in range(40)],\n"
        "                    [names[i % 7] for i in range(40)], 0, p, tree)\n"
        "print(write_report('report', title='Wheel', predictions=frame, taxonomy=tree, coarse_level=None,\n"
        "                   curves=None, config={}, photo_root=None, replicates=50))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
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
