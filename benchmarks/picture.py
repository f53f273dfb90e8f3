"""The picture of README.md: the head of the demo's report in a browser, with the settings that it was made with.

    skinjax hierarchy --flagfile=experiments/flagfiles/demo.flags
    python -m benchmarks.picture --workdir=runs/demo

Needs Chromium. The picture holds a digest of the demo's settings, by which a test finds it stale when they change.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from absl import flags
from PIL import Image, PngImagePlugin

from skinjax.cli.flags import define, read
from skinjax.runs.folder import RunFolder
from skinjax.studies import hierarchy

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "benchmarks" / "results" / "report.png"
SETTINGS = "settings"
WIDTH, HEIGHT = 1100, 1500


def demo_settings() -> str:
    """Returns a digest of the settings that the demo's flags and presets make."""
    values = flags.FlagValues()
    define(hierarchy.Config, values)
    flags.DEFINE_string("workdir", "", "Of the command.", flag_values=values)
    values(["hierarchy", f"--flagfile={ROOT / 'experiments' / 'flagfiles' / 'demo.flags'}"])
    return digest(read(hierarchy.Config, values)[0].to_dict())


def digest(options: dict[str, object]) -> str:
    """Returns a digest of options by name."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def screenshot(page: Path, width: int, height: int, shades: int) -> Image.Image:
    """Returns the head of a page as Chromium shows it, in so many colours."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium was found")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        size = f"--window-size={width},{height}"
        command = [browser, "--headless", "--no-sandbox", "--hide-scrollbars", size, f"--screenshot={shot}"]
        subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True)
        return Image.open(shot).convert("RGB").quantize(shades, dither=Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="the demo's run")
    given = parser.parse_args()
    run = RunFolder.read(given.workdir)
    made = digest(hierarchy.Config.from_dict(run.options).to_dict())
    if made != demo_settings():
        raise SystemExit(
            f"{given.workdir} must be a run of demo.flags as it is now, but other options made it"
        )
    image = screenshot(run.page, WIDTH, HEIGHT, 64)
    text = PngImagePlugin.PngInfo()
    text.add_text(SETTINGS, made)
    image.save(PICTURE, optimize=True, pnginfo=text)


if __name__ == "__main__":
    main()
