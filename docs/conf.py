"""Settings of the documentation: `sphinx-build -W --keep-going docs docs/_build/html`.

Nothing is fetched while it is built, and nothing while it is read: formulas become MathML, fonts are the reader's own.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import skinjax  # noqa: E402

project = "skinjax"
author = "The skinjax authors"
project_copyright = author
version = release = skinjax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/README.md"]
templates_path: list[str] = []
nitpicky = False

# Text
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Notebooks: executed at every build, each in an empty folder, as a reader would
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# API
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # its union of types would fill the page
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
default_role = "literal"  # docstrings write `name` for code

# Pages
html_theme = "furo"
html_title = f"skinjax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


# IPython's own writes what a command prints in pieces of a hundred letters, each of which would become a line.
_BASH = """
import subprocess, sys

def bash(line, cell):
    done = subprocess.run(["bash", "-c", cell], capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    sys.stdout.write(done.stdout)
    done.check_returncode()

get_ipython().register_magic_function(bash, "cell", "bash")
"""


def _environment_of_notebooks() -> None:
    """Lets the notebooks' processes find this checkout, and its command, whether or not it is installed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    folder = Path(tempfile.mkdtemp(prefix="skinjax_docs_"))
    command = folder / "skinjax"
    entry = "from skinjax.cli.main import entry; entry()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{entry}" "$@"\n', encoding="utf-8")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    os.environ.setdefault("COLUMNS", "100")
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "bash.py").write_text(_BASH, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(folder)


_environment_of_notebooks()


def _inline(translator: object, node: nodes.math) -> None:
    translator.body.append(convert(node.astext(), display="inline"))  # type: ignore[attr-defined]
    raise nodes.SkipNode


def _display(translator: object, node: nodes.math_block) -> None:
    tags = re.findall(r"\\tag\{([^}]+)\}", node.astext())
    number = f'<span class="number">({tags[0]})</span>' if tags else ""
    formula = convert(re.sub(r"\\tag\{[^}]+\}", "", node.astext()), display="block")
    translator.body.append(f'<div class="math">{formula}{number}</div>\n')  # type: ignore[attr-defined]
    raise nodes.SkipNode


_SECTIONS = re.compile(
    r"(Args|Arguments|Attributes|Returns|Yields|Raises|Example|Examples|References|Note|Notes):$"
)


_SPECIAL = re.compile(r"(?<!`)\|(?!`)|(?<=\w)_(?!\w)")  # bars, and names that end in an underscore


def _as_restructured_text(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Makes reStructuredText of what docstrings have of Markdown: indented code, and tables of bars."""
    made: list[str] = []
    described = True  # until the first of Google's sections, whose texts are indented too
    position = 0
    while position < len(lines):
        line = lines[position]
        described = described and not _SECTIONS.match(line)
        end = position
        if described and line.startswith("|"):
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            made += _table(lines[position:end])
        elif described and line.startswith("    ") and (not made or not made[-1].strip()):
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith("    ")):
                end += 1
            code = "pycon" if line.strip().startswith(">>>") else "text"
            made += [f".. code-block:: {code}", "", *lines[position:end], ""]
        else:
            made.append(line if line.lstrip().startswith((">>>", "...")) else _SPECIAL.sub(r"\\\g<0>", line))
        position = max(end, position + 1)
    lines[:] = made


def _table(rows: list[str]) -> list[str]:
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    made = [".. list-table::", "   :header-rows: 1", ""]
    for row in (row for row in cells if not all(set(cell) <= {"-", ":"} for cell in row)):
        made += [f"   {' ' if number else '*'} - {cell}" for number, cell in enumerate(row)]
    return [*made, ""]


def setup(app: object) -> None:
    """Registers formulas as MathML, which browsers show by themselves, and the reading of docstrings."""
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=100)  # type: ignore[attr-defined]
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))  # type: ignore[attr-defined]
