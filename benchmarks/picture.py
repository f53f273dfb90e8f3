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
from PIL import ExifTags, Image, PngImagePlugin

from skinjax.cli.flags import define, read
from skinjax.runs.folder import RunFolder
from skinjax.studies import hierarchy

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "benchmarks" / "results" / "report.png"
APP_PICTURE = ROOT / "docs" / "app.webp"
SETTINGS = "settings"
WIDTH, HEIGHT = 1100, 1500


def demo_settings() -> str:
    """Returns a digest of the settings that the demo's flags and presets make."""
    values = flags.FlagValues()
    define(hierarchy.Config, values)
    flags.DEFINE_string("workdir", "", "Of the command.", flag_values=values)
    values(["hierarchy", f"--flagfile={ROOT / 'experiments' / 'flagfiles' / 'demo.flags'}"])
    return digest(read(hierarchy.Config, values)[0].to_dict())


def settings_of(path: Path) -> str:
    """Returns the digest that a picture holds: as PNG text, or as the EXIF description of another format."""
    with Image.open(path) as image:
        described = image.getexif().get(ExifTags.Base.ImageDescription, "")
        return str(image.info.get(SETTINGS, described))


def demo_run(workdir: Path) -> RunFolder:
    """Returns the run of a folder, which must be the demo as its flags are now."""
    run = RunFolder.read(workdir)
    if digest(hierarchy.Config.from_dict(run.options).to_dict()) != demo_settings():
        raise SystemExit(f"{workdir} must be a run of demo.flags as it is now, but other options made it")
    return run


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
    image = screenshot(demo_run(given.workdir).page, WIDTH, HEIGHT, 64)
    text = PngImagePlugin.PngInfo()
    text.add_text(SETTINGS, demo_settings())
    image.save(PICTURE, optimize=True, pnginfo=text)


if __name__ == "__main__":
    main()
