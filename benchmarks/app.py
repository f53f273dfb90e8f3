"""The page in the browser under load: time of a warm answer, twenty people at once, and memory before and after.

    python -m benchmarks.app                            # EfficientNet-B0 at 224 px: about three minutes on two cores
    python -m benchmarks.app --backbone efficientnet_nano --size 96

A run of a fine and a coarse network with random weights is made, as in `benchmarks.predict`, and served by the command,
in a process of its own. Photos are JPEGs of 600 × 450 pixels, and as a phone takes them, 4000 × 3000. Measured:

- **warm answer**: from sending a case of one and of five photos to having its whole answer, with pictures and maps, and
  the processor time of the server for it, which other work on the machine does not lengthen much;
- **crowd**: twenty people who send five photos each at the same time, several rounds: how many were answered, and when
  the first and the last were;
- **memory** of the server: after the first round, after the others, and at most.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

import httpx2
from PIL import Image

from benchmarks.input import write_photos
from benchmarks.predict import make_run
from skinjax.predict.reading import find_photos

PEOPLE, PHOTOS, REPEATS = 20, 5, 9


def start(run: Path, log: Path) -> tuple[subprocess.Popen, str, float]:
    """Starts the server and returns its process, its address and how long it took to be ready."""
    command = [sys.executable, "-m", "experiments.app", f"--workdir={run}", "--port=0"]
    began = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("open "):
            return process, line.split()[1], time.perf_counter() - began
    raise SystemExit(f"the server did not start: {log.read_text()}")


def ask(address: str, photos: list[bytes]) -> tuple[int, float]:
    """Returns the status and the seconds of an answer."""
    files = [("photos", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(photos)]
    began = time.perf_counter()
    answer = httpx2.post(f"{address}answer", files=files, headers={"Accept": "application/json"}, timeout=600)
    assert answer.status_code != 200 or "answer-title" in answer.json()["html"]
    return answer.status_code, time.perf_counter() - began


def crowd(address: str, photos: list[bytes]) -> list[tuple[int, float]]:
    """Has all people ask at once."""
    cases = [[photos[(PHOTOS * who + n) % len(photos)] for n in range(PHOTOS)] for who in range(PEOPLE)]
    with ThreadPoolExecutor(PEOPLE) as pool:
        return list(pool.map(lambda case: ask(address, case), cases))


def memory(process: subprocess.Popen, name: str = "VmRSS") -> float:
    """MB of a process, now or (`VmHWM`) at most."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc has no {name}")


def computed(process: subprocess.Popen) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def as_a_phone(photo: bytes) -> bytes:
    """The photo in the size that phones take."""
    file = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((4000, 3000), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=92
    )
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3, help="of the crowd; 0 for warm answers alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        write_photos(folder / "photos", 60)
        make_run(folder / "run", given.backbone, given.size, folder / "photos")
        small = [path.read_bytes() for path in find_photos([folder / "photos"])[0]]
        large = [as_a_phone(photo) for photo in small[:10]]
        process, address, first_start = start(folder / "run", folder / "log")
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process, address, ready = start(folder / "run", folder / "log")
        try:
            report(process, address, small, large, given, first_start, ready)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def report(
    process: subprocess.Popen,
    address: str,
    small: list[bytes],
    large: list[bytes],
    given: argparse.Namespace,
    first_start: float,
    ready: float,
) -> None:
    """Measures and prints, as Markdown."""
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, "
        f"jax {version('jax')}, starlette {version('starlette')}, uvicorn {version('uvicorn')}; two {given.backbone} "
        f"at {given.size} px\n"
    )
    print(f"Ready after {first_start:.1f} s the first time, {ready:.1f} s later.\n")
    print("| a case of | median | slowest | of the processor |")
    print("|---|---|---|---|")
    for kind, photos in (("600 × 450", small), ("4000 × 3000", large)):
        for count in (1, PHOTOS):
            ask(address, photos[:count])
            before = computed(process)
            seconds = [ask(address, photos[n % 5 : n % 5 + count])[1] for n in range(REPEATS)]
            each = (computed(process) - before) / REPEATS
            shown, median = "1 photo" if count == 1 else f"{count} photos", statistics.median(seconds)
            print(f"| {shown}, {kind} | {median:.2f} s | {max(seconds):.2f} s | {each:.2f} s |", flush=True)
    if not given.rounds:
        return
    print(f"\n| {PEOPLE} people × {PHOTOS} photos | answered | first | last | memory |")
    print("|---|---|---|---|---|")
    idle = memory(process)
    start_memory = 0.0
    for kind, photos in (("600 × 450", small), ("4000 × 3000", large)):
        for number in range(given.rounds):
            found = crowd(address, photos)
            time.sleep(2)
            now = memory(process)
            start_memory = start_memory or now
            good, seconds = sum(status == 200 for status, _ in found), [second for _, second in found]
            print(
                f"| {kind}, round {number + 1} | {good} | {min(seconds):.1f} s | {max(seconds):.1f} s | {now:.0f} MB |"
            )
    print(
        f"\nMemory: {idle:.0f} MB before the crowd, {start_memory:.0f} MB after its first round, {now:.0f} MB "
        f"at the end ({100 * now / idle - 100:+.0f}% of before), {memory(process, 'VmHWM'):.0f} MB at most."
    )


if __name__ == "__main__":
    main()
