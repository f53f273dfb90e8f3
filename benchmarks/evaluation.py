"""Seconds and memory from a table of predictions to its report: 1,000 to a million photos by 20 classes.

    python -m benchmarks.evaluation                  # about five minutes on two cores
    python -m benchmarks.evaluation --photos 1000

Each row is a process of its own: the file is made before, then read, checked and reported on as
`experiments.evaluate` does it, in the parts that the columns name. "Whole" is the experiment itself, from the shell
until it ends, with --target and subgroups by skin tone, sex and age.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from skinjax.data.invented import invent_predictions
from skinjax.labels.taxonomy import Taxonomy

CLASSES = 20
TREE = Taxonomy("twenty", ("class",), tuple((f"class_{number:02d}",) for number in range(CLASSES)))
PARTS = """
import sys, time
start = time.perf_counter()
from skinjax.data.predictions import read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
imported = time.perf_counter()
frame = read_predictions(sys.argv[1])
read = time.perf_counter()
validate(frame, load_taxonomy(sys.argv[2]))
print(read - imported, time.perf_counter() - read)
"""


def run(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in GiB and what it printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as shown:
        process = subprocess.Popen(command, stdout=shown, env=os.environ | {"JAX_PLATFORMS": "cpu"})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
        shown.seek(0)
        return seconds, usage.ru_maxrss / 2**20, shown.read()


def measure(photos: int, folder: Path) -> list[str]:
    (frame,) = invent_predictions(TREE, -(-photos // 3))
    frame = frame[:photos]
    (folder / "classes.json").write_text(TREE.to_json(), encoding="utf-8")
    rows = []
    for name in ("csv", "parquet"):
        path = folder / f"{photos}.{name}"
        if name == "csv":
            frame.to_csv(path, index=False, float_format="%.6f")
        else:
            frame.to_parquet(path)
        _, _, printed = run([sys.executable, "-c", PARTS, str(path), str(folder / "classes.json")])
        read, check = (float(word) for word in printed.split())
        flags = [
            f"--taxonomy={folder / 'classes.json'}",
            "--target=class_00",
            f"--out={folder / name / str(photos)}",
        ]
        whole, peak, _ = run([sys.executable, "-m", "experiments.evaluate", f"--predictions={path}", *flags])
        page = (folder / name / str(photos) / "index.html").stat().st_size
        size = path.stat().st_size
        rows.append(
            f"| {photos:,} | {name} | {size / 2**20:,.1f} | {read:.2f} | {check:.2f} | {whole:.1f} | {peak:.2f} "
            f"| {page / 2**20:.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "scikit-learn"))
    print(f"{date.today()}; {platform.system()}, Python {platform.python_version()}, {packages}\n")
    print(
        "| photos | file | MiB | read, s | check, s | whole, s | peak, GiB | page, MiB |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for photos in arguments.photos:
            measure(photos, Path(folder))


if __name__ == "__main__":
    main()
