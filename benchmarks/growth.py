"""Cost against work: seconds and peak memory of every stage at growing sizes, with the exponents fitted.

    python -m benchmarks.growth --out=growth.json                     # everything, about an hour on two cores
    python -m benchmarks.growth --out=growth.json --series split devices   # some of it; what is measured stays
    python -m benchmarks.growth --out=growth.json --series evaluate --sizes 1000000
    python -m benchmarks.growth --out=growth.json --series            # the tables of what was measured

Every cell is two processes of its own: one makes the input and writes it to a folder, the other reads it and does the
work, so that the peak of resident memory is the work's. Seconds are of the work alone, without imports and reading the
input. A series ends at the first cell that takes more than 10 minutes or 12 GiB.

Photos on disk are JPEGs of 64 × 48 pixels, three of a case, of 20 classes, all in the page cache. A million files were
not made: "audit, from digests" has what reading the files would have given (size, digest and hash of every photo, one
in fifty a near-duplicate of another) and does all that the audit does with it, reports included.

An exponent b is that of cost ≈ a × size^b by least squares on logarithms over the three largest sizes of a row, as
smaller ones are mostly constant cost; memory is that above what the process held before the work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth_series import SERIES

MOST_SECONDS, MOST_GIB = 600, 12
FITTED = 3
"""Sizes that an exponent is fitted to, the largest ones."""


def resident(name: str) -> float:
    """Returns MiB of this process, now (`VmRSS`) or at most (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def work_of(name: str, size: int, folder: Path) -> None:
    """Does the work of a cell and prints what it cost; the second of its two processes."""
    warnings.simplefilter("ignore")
    work = SERIES[name].load(size, folder)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    started = time.perf_counter()
    more = work()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "before": before, "peak": resident("VmHWM"), **(more or {})}))


def measure(name: str, size: int) -> dict[str, Any]:
    """Measures a cell, or says why that was given up."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0"}
    if SERIES[name].unit == "devices":
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={size}"
    with tempfile.TemporaryDirectory(prefix="growth_") as folder:
        command = [sys.executable, "-m", "benchmarks.growth", "--cell", name, str(size), folder]
        subprocess.run([*command, "make"], check=True, env=environment, stdout=subprocess.DEVNULL)
        with (Path(folder) / "printed").open("w+") as printed:
            process = subprocess.Popen([*command, "work"], env=environment, stdout=printed)
            until, held = time.monotonic() + MOST_SECONDS, 0.0
            while process.poll() is None:
                try:
                    held = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 2**30
                except (OSError, IndexError):
                    continue
                if time.monotonic() > until or held > MOST_GIB:
                    process.kill()
                    process.wait()
                    return {"over": f"over {MOST_GIB} GiB" if held > MOST_GIB else f"over {MOST_SECONDS} s"}
                time.sleep(0.05)
            if process.returncode:
                raise SystemExit(f"{name} of {size:,} ended with {process.returncode}")
            printed.seek(0)
            found: dict[str, Any] = json.loads(printed.read().splitlines()[-1])
            return found


def exponent(sizes: Iterable[float], costs: Iterable[float]) -> float:
    """Returns b of cost ≈ a × size^b by least squares on logarithms.

    >>> round(exponent([1, 10, 100], [5, 500, 50_000]), 6)
    2.0
    """
    return float(np.polyfit(np.log(list(sizes)), np.log(list(costs)), 1)[0])


def table(unit: str, kept: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the Markdown of what grows with one unit, from the cells by series and size."""
    rows = [name for name, one in SERIES.items() if one.unit == unit and name in kept]
    sizes = sorted({int(size) for name in rows for size in kept[name]})
    cost = "first step, s; step, ms" if unit == "devices" else "s; peak, MiB"
    lines = [
        f"| {unit}: {cost} | {' | '.join(f'{size:,}' for size in sizes)} | b of time | b of memory |",
        "|---" * (len(sizes) + 3) + "|",
    ]
    for name in rows:
        cells = {int(size): cell for size, cell in kept[name].items()}
        shown = [_shown(cells[size], unit) if size in cells else "" for size in sizes]
        measured = sorted(size for size, cell in cells.items() if "over" not in cell)[-FITTED:]
        fits = []
        for kind in ("step" if unit == "devices" else "seconds", "memory"):
            costs = [_cost(cells[size], kind) for size in measured]
            fits.append(f"{exponent(measured, costs):.2f}" if len(measured) > 1 and min(costs) > 0 else "")
        lines.append(f"| {SERIES[name].title} | {' | '.join(shown)} | {' | '.join(fits)} |")
    return lines


def _cost(cell: dict[str, float], name: str) -> float:
    return cell["peak"] - cell["before"] if name == "memory" else cell[name]


def _shown(cell: dict[str, Any], unit: str) -> str:
    if "over" in cell:
        return str(cell["over"])
    if unit == "devices":
        return f"{cell['first']:.1f}; {cell['step']:.0f}"
    seconds = cell["seconds"]
    page = f"; page {cell['page']:.1f}" if "page" in cell else ""
    return f"{seconds:.{2 if seconds < 10 else 1 if seconds < 100 else 0}f}; {cell['peak']:,.0f}{page}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("growth.json"), help="where cells are kept")
    parser.add_argument("--series", nargs="*", default=list(SERIES), choices=[*SERIES], metavar="NAME")
    parser.add_argument("--sizes", nargs="*", type=int, help="of all that a series has; default: all")
    parser.add_argument("--cell", nargs=4, metavar=("NAME", "SIZE", "FOLDER", "PART"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cell:
        name, size, folder, part = given.cell
        if part == "make":
            SERIES[name].make(int(size), Path(folder))
        else:
            work_of(name, int(size), Path(folder))
        return
    kept = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.series:
        cells = kept.setdefault(name, {})
        for size in SERIES[name].sizes:
            if (given.sizes and size not in given.sizes) or str(size) in cells:
                continue
            if any("over" in cell for smaller, cell in cells.items() if int(smaller) < size):
                break
            cells[str(size)] = measure(name, size)
            print(name, f"{size:,}", cells[str(size)], file=sys.stderr, flush=True)
            given.out.write_text(json.dumps(kept, indent=1))
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "scipy", "jax", "pillow"))
    print(f"{date.today()}; {platform.system()}, Python {platform.python_version()}, {packages}\n")
    for unit in dict.fromkeys(SERIES[name].unit for name in kept):
        print("\n".join(table(unit, kept)), end="\n\n")


if __name__ == "__main__":
    main()
