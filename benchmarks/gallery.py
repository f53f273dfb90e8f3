"""The gallery of the documentation: each study's page, of a run at smoke size on the built-in photos, in a browser.

    python -m benchmarks.gallery                       # every study, some ten minutes on two cores
    python -m benchmarks.gallery --only hierarchy,probe
    python -m benchmarks.gallery --workdir=runs/gallery  # finished runs there are pictured again, not made again

Writes docs/gallery/<study>.png, the head of each page. Needs Chromium. Nothing in such a picture is a result.
"""

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from benchmarks.picture import screenshot
from skinjax.cli.main import main as skinjax

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "gallery"
WIDTH, HEIGHT, SHADES = 1000, 1300, 32
PAGES: Mapping[str, str] = {
    "audit": "**/audit/index.html",
    "probe": "**/report/index.html",
    "hierarchy": "**/report/index.html",
    "psoriasis": "**/report/index.html",
    "benchmark_backbones": "**/report/index.html",
    "malignancy": "**/report/index.html",
    "evolve": "**/report/index.html",
    "cross_dataset": "**/report/index.html",
    "train": "**/report/index.html",
    "evaluate": "**/index.html",
    "reader_kit": "**/kit/index.html",
}
"""Place of the page of each command, below the run's folder."""


def make(name: str, folder: Path) -> Path:
    """Runs a command at smoke size, where it has not been run, and returns its page."""
    if not list(folder.glob(PAGES[name])):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(folder):  # a smoke run goes to runs/ of the folder that it is started in
            skinjax([name, "--smoke"])
    return min(folder.glob(PAGES[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PAGES), help="commands, parted by commas")
    parser.add_argument("--workdir", type=Path, default=Path("runs/gallery"), help="folder of the runs")
    given = parser.parse_args()
    unknown = set(given.only.split(",")) - set(PAGES)
    if unknown:
        raise SystemExit(f"--only must be among {', '.join(PAGES)}, got {', '.join(sorted(unknown))}")
    PICTURES.mkdir(exist_ok=True)
    for name in given.only.split(","):
        page = make(name, given.workdir / name)
        picture = screenshot(page, WIDTH, HEIGHT, 256).convert("RGB")
        picture.resize((WIDTH * 2 // 3, HEIGHT * 2 // 3), Image.Resampling.LANCZOS).quantize(SHADES).save(
            PICTURES / f"{name}.png", optimize=True
        )
        print(PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
