"""The picture of the page in the browser in README.md: an answered case of the demo.

    skinjax hierarchy --flagfile=experiments/flagfiles/demo.flags
    python -m benchmarks.app_picture --workdir=runs/demo

Needs playwright and Chromium. Like README's other picture, it holds a digest of the demo's settings, by which a test
finds it stale when they change; runs with other settings are refused.
"""

import argparse
import io
import shutil
import threading
from pathlib import Path

import pandas as pd
from PIL import ExifTags, Image
from playwright.sync_api import sync_playwright

from benchmarks.picture import APP_PICTURE, demo_run, demo_settings
from skinjax.app.server import listen, make_app, make_server
from skinjax.runs.folder import RunFolder
from skinjax.studies import app
from skinjax.studies.steps.run_figures import run_figures

WIDTH, HEIGHT = 1180, 1240


def photos_of_a_case(run: RunFolder, label: str) -> list[Path]:
    """Returns the photos of the first case of a class that the network of the first fold has not seen."""
    predictions = pd.read_parquet(run.predictions_file("fold_0"))
    own = predictions[predictions["label"] == label]
    case = own["case_id"].iloc[0]
    root = run.photo_root or run.photos
    return [root / name for name in own.loc[own["case_id"] == case, "image"]][:2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="the demo's run")
    parser.add_argument("--label", default="melanoma", help="class of the case")
    given = parser.parse_args()
    run = demo_run(given.workdir)
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium was found")
    engine, notes = app.open_engine(app.Config(neighbours=True), given.workdir)
    engine.warm()
    with listen("127.0.0.1", 0) as listening, sync_playwright() as playwright:
        server = make_server(make_app(engine, run_figures(given.workdir), notes))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
        page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        page.set_input_files("#choose", photos_of_a_case(run, given.label))
        page.click("form [type=submit]")
        page.wait_for_selector("#answer-title")
        page.evaluate(
            "document.activeElement.blur(); window.scrollTo(0, document.querySelector('.actions').offsetTop - 70)"
        )
        shot = page.screenshot()
        chromium.close()
        server.should_exit = True
        thread.join()
    description = Image.Exif()
    description[ExifTags.Base.ImageDescription] = demo_settings()
    Image.open(io.BytesIO(shot)).convert("RGB").save(APP_PICTURE, quality=82, method=6, exif=description)


if __name__ == "__main__":
    main()
