"""Photos a second of the input: reading prepared photos, and augmenting them, beside PyTorch, OpenCV and Pillow.

    python -m benchmarks.input                      # all: about six minutes on two cores
    python -m benchmarks.input --sizes 224 --rounds 3
    python -m benchmarks.input --sizes --augment_size 0          # our order against Grain's own transforms

Needs the `peers` extra and `opencv-python-headless`; `albumentations` has columns of its own where it is installed.

The photos are JPEGs of 600 × 450 pixels and about 240 KB, made here: smooth colours and fine grain.
Prepared, they are what every run reads; PyTorch's DataLoader decodes and resizes the same files. Everything lies in
the page cache. Each contender lives in a process of its own and they take turns: in a round each runs untimed for 0.5
seconds, so that what it has read ahead is used up, and is then timed for a second. A rate is the median of the rounds.

Every augmentation is our default one, Table 4-1's with flips and Cutout: one bilinear affine map with the flips in it,
HSV jitter, two rectangles of Cutout, float32 in [0, 1] at the end. OpenCV's mirrors at the borders as ours does; Pillow
cannot, and fills with black.
OpenCV and Pillow compute in uint8, ours in float32. Like the command, this starts itself again with glibc's huge
pages, for all.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.augmentations import (
    Augmentation,
    Photo,
    augment_with_opencv,
    augment_with_pillow,
    make_albumentations,
)
from benchmarks.workers import Worker, answer
from skinjax.augment.strengths import DEFAULT_STRENGTHS
from skinjax.files.host import restart_tuned

BATCH, CORES = 32, os.cpu_count() or 1


def write_photos(folder: Path, count: int) -> None:
    """Writes `count` JPEGs of 600 × 450 pixels."""
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(60, 230, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((600, 450), Image.Resampling.BICUBIC), np.int16)
        grain = rng.normal(0, 25, (450, 600, 1)).astype(np.int16)
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(
            folder / f"{number}.jpg", quality=97
        )


def prepared_subset(folder: Path, size: int) -> Any:
    """Returns the photos of a folder, prepared at a size (once)."""
    import pandas as pd

    from skinjax.data.pipeline.loader import Subset
    from skinjax.data.pipeline.prepare import prepare

    names = sorted(path.name for path in folder.glob("*.jpg"))
    frame = pd.DataFrame({"image": names})
    ready = prepare(frame, folder, folder / f"prepared_{size}", image_size=size, threads=CORES)
    return Subset(ready.source, np.arange(len(names)), np.arange(len(names), dtype=np.int32) % 7)


# Contenders: each yields how many photos it has just delivered, for ever.


def read_prepared(folder: Path, size: int, **how: Any) -> Iterator[int]:
    """Ours: shuffled uint8 batches."""
    from skinjax.data.pipeline.loader import training_batches

    for batch in training_batches(prepared_subset(folder, size), BATCH, 0, steps=10**9, **how):
        yield len(batch["image"])


def read_with_grain(folder: Path, size: int, way: str) -> Iterator[int]:
    """Grain's own shuffle and batches of photos or of their numbers, its mixture of classes, or its processes."""
    import grain
    from absl import flags

    from skinjax.data.pipeline.loader import training_dataset

    subset = prepared_subset(folder, size)
    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    numbers = grain.MapDataset.range(len(subset)).seed(0)
    if way == "photos":
        dataset = (
            grain.MapDataset.source(subset).seed(0).shuffle().repeat().batch(BATCH).to_iter_dataset(ahead)
        )
    elif way == "numbers":
        dataset = numbers.shuffle().repeat().batch(BATCH).map(subset.read).to_iter_dataset(ahead)
    elif way == "mix":
        rows = [np.flatnonzero(subset.labels == label) for label in np.unique(subset.labels)]
        classes = [grain.MapDataset.source(row).shuffle(seed=seed).repeat() for seed, row in enumerate(rows)]
        dataset = grain.MapDataset.mix(classes).batch(BATCH).map(subset.read).to_iter_dataset(ahead)
    else:
        flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=CORES, per_worker_buffer_size=2)
        batches = training_dataset(subset, BATCH, 0, steps=10**9)
        dataset = batches.to_iter_dataset(grain.ReadOptions(0, 0)).mp_prefetch(options)
    for batch in dataset:
        yield len(batch["image"])


def augment_on_device(images: Iterator[np.ndarray], size: int) -> Iterator[int]:
    """Ours: augmentation of batches on the device."""
    import jax
    import jax.numpy as jnp

    from skinjax.augment import augment
    from skinjax.augment.strengths import Strengths
    from skinjax.models.compilation import compiler_options

    strengths = Strengths(*map(jnp.float32, DEFAULT_STRENGTHS))
    compiled = jax.jit(augment, compiler_options=compiler_options())
    key = jax.random.key(0)
    for number, batch in enumerate(images):
        jax.block_until_ready(compiled(jax.random.fold_in(key, number), batch, strengths))
        yield len(batch)


def read_and_augment(folder: Path, size: int) -> Iterator[int]:
    """Ours: both."""
    from skinjax.data.pipeline.loader import training_batches

    batches = training_batches(prepared_subset(folder, size), BATCH, 0, steps=10**9)
    yield from augment_on_device((batch["image"] for batch in batches), size)


def data_loader(
    folder: Path, size: int, decode: Callable[[Path, int], Photo], augmentation: Augmentation | None = None
) -> Iterator[int]:
    """Loads with PyTorch: decodes, resizes and perhaps augments in worker processes, one per core."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    paths = sorted(folder.glob("*.jpg"))

    class Photos(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Photo:
            photo = decode(paths[index], size)
            if augmentation is None:
                return photo
            return augmentation(np.random.default_rng(torch.initial_seed() % 2**32 + index), photo)

    loader = DataLoader(
        Photos(), BATCH, shuffle=True, drop_last=True, num_workers=CORES, persistent_workers=True
    )
    while True:
        for batch in loader:
            yield len(batch)


def augment_in_threads(size: int, augmentation: Augmentation, threads: int) -> Iterator[int]:
    """Returns a library's augmentation of a batch, into one float32 array."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    result = np.empty(images.shape, np.float32)

    def one(number: int) -> None:
        result[number] = augmentation(generators[number], images[number])

    generators = rng.spawn(BATCH)
    with ThreadPoolExecutor(threads) as pool:
        while True:
            list(pool.map(one, range(BATCH)))
            yield BATCH


def repeated_batch(size: int) -> Iterator[np.ndarray]:
    """Repeats one batch for ever."""
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    while True:
        yield batch


# What other libraries do, photo by photo.


def decode_with_pillow(path: Path, size: int) -> Photo:
    with Image.open(path) as photo:
        return np.array(photo.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def decode_with_opencv(path: Path, size: int) -> Photo:
    import cv2

    photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return cv2.resize(photo, (size, size), interpolation=cv2.INTER_LINEAR)


def contender(name: str, folder: Path, size: int) -> Iterator[int]:
    """Returns the contender of a name."""
    match name:
        case "read, threads":
            return read_prepared(folder, size)
        case "read, workers":
            return read_prepared(folder, size, workers=CORES, threads=1)
        case "read, even classes":
            return read_prepared(folder, size, balanced=True)
        case "grain, photos" | "grain, numbers" | "grain, mix" | "grain, workers":
            return read_with_grain(folder, size, name.removeprefix("grain, "))
        case "torch, pillow":
            return data_loader(folder, size, decode_with_pillow)
        case "torch, opencv":
            _one_opencv_thread()
            return data_loader(folder, size, decode_with_opencv)
        case "both, skinjax":
            return read_and_augment(folder, size)
        case "both, pillow":
            return data_loader(folder, size, decode_with_pillow, augment_with_pillow)
        case "both, opencv":
            _one_opencv_thread()
            return data_loader(folder, size, decode_with_opencv, augment_with_opencv)
        case "both, albumentations":
            _one_opencv_thread()
            return data_loader(folder, size, decode_with_opencv, make_albumentations())
        case "augment, skinjax":
            return augment_on_device(repeated_batch(size), size)
        case "augment, pillow":
            return augment_in_threads(size, augment_with_pillow, CORES)
        case "augment, opencv":
            _one_opencv_thread()
            return augment_in_threads(size, augment_with_opencv, CORES)
        case "augment, opencv, 1 thread":
            _one_opencv_thread()
            return augment_in_threads(size, augment_with_opencv, 1)
        case "augment, albumentations":
            _one_opencv_thread()
            return augment_in_threads(size, make_albumentations(), CORES)
    raise ValueError(f"there is no contender {name!r}")


def _one_opencv_thread() -> None:
    """Threads and processes are ours to give; OpenCV's own would only get in their way."""
    import cv2

    cv2.setNumThreads(1)


def serve(name: str, folder: str, size: str, seconds: str) -> None:
    """Runs a contender in its process, for so long at each turn."""
    photos = contender(name, Path(folder), int(size))

    def turn() -> float:
        _rate(photos, 0.5)
        return _rate(photos, float(seconds))

    answer(lambda: next(photos), turn)


def _rate(photos: Iterator[int], seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        count += next(photos)
    return count / spent


def compare(names: list[str], folder: Path, size: int, options: argparse.Namespace) -> list[float]:
    """Measures the median photos per second of each contender, taking turns."""
    workers = [Worker("benchmarks.input", name, folder, size, options.seconds) for name in names]
    rates = [[worker.run() for worker in workers] for _ in range(options.rounds)]
    for worker in workers:
        worker.stop()
    return [statistics.median(of_one) for of_one in zip(*rates, strict=True)]


def _row(*cells: object) -> None:
    print(
        "| " + " | ".join(f"{cell:,.0f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |",
        flush=True,
    )


def _versions(*packages: str) -> str:
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[224, 299, 380, 528], help="of prepared photos"
    )
    parser.add_argument(
        "--augment_size", type=int, default=224, help="of the photos that are augmented; 0 for none"
    )
    parser.add_argument(
        "--grain_sizes",
        type=int,
        nargs="*",
        default=[96, 224],
        help="of photos that Grain shuffles and mixes itself",
    )
    parser.add_argument("--photos", type=int, default=512, help="JPEGs that are made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="timed, of a contender's turn")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.serve:
        serve(*options.serve)
        return
    has_albumentations = bool(_versions("albumentations"))
    print(
        f"{date.today()}; {CORES} cores, {platform.machine()}; Python {platform.python_version()}, "
        + _versions(
            "jax", "grain", "array-record", "torch", "pillow", "opencv-python-headless", "albumentations"
        )
        + f"; batches of {BATCH}, median of {options.rounds} rounds; photos per second\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_photos(folder, options.photos)
        if options.sizes:
            print("## Reading\n")
            _row(
                "px",
                "ours, threads",
                "ours, worker processes",
                "DataLoader, Pillow",
                "DataLoader, OpenCV",
                "ours to the faster DataLoader",
            )
            print("|---|---|---|---|---|---|")
        for size in options.sizes:
            prepared_subset(folder, size)
            names = ["read, threads", "read, workers", "torch, pillow", "torch, opencv"]
            rates = compare(names, folder, size, options)
            _row(size, *rates, f"{max(rates[:2]) / max(rates[2:]):.1f}")
        pairs = {
            "shuffle and batch of photos": ("read, threads", "grain, photos"),
            "shuffle and batch of numbers": ("read, threads", "grain, numbers"),
            "classes drawn evenly": ("read, even classes", "grain, mix"),
            "worker processes": ("read, workers", "grain, workers"),
        }
        if options.grain_sizes:
            print("\n## Grain's own transforms\n")
            _row("", "px", "ours", "Grain's", "Grain's to ours")
            print("|---|---|---|---|---|")
        for size in options.grain_sizes:
            prepared_subset(folder, size)
            names = sorted({name for pair in pairs.values() for name in pair})
            found = dict(zip(names, compare(names, folder, size, options), strict=True))
            for what, (ours, theirs) in pairs.items():
                _row(what, size, found[ours], found[theirs], f"{found[theirs] / found[ours]:.2f}")
        size = options.augment_size
        if not size:
            return
        prepared_subset(folder, size)
        for title, kind, others in (
            ("Augmenting", "augment", ["opencv", "opencv, 1 thread", "pillow"]),
            ("Reading and augmenting", "both", ["opencv", "pillow"]),
        ):
            names = ["skinjax", *others, *(["albumentations"] if has_albumentations else [])]
            rates = compare([f"{kind}, {name}" for name in names], folder, size, options)
            print(f"\n## {title}, {size} px\n")
            _row("", "photos per second", "ours to it")
            print("|---|---|---|")
            for name, rate in zip(names, rates, strict=True):
                _row(name, rate, f"{rates[0] / rate:.2f}")


if __name__ == "__main__":
    restart_tuned()
    main()
