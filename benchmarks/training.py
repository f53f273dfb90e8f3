"""Whole epochs of training, from photos on disk to updated weights: ours beside timm/PyTorch.

    python -m benchmarks.training                                  # ten minutes on two cores
    python -m benchmarks.training --backbones efficientnet_b0 --epochs 5

Needs the `peers` extra. Both train the same network with SGD on the same rendered photos, 600 × 450 JPEG. Ours reads
them prepared (decoded once, before the clock starts) and augments on the device with Table 4-1, flips and Cutout;
PyTorch's DataLoader decodes, resizes and mirrors in as many worker processes as there are cores. On a GPU ours
computes in bfloat16, PyTorch under autocast with channels_last and torch.compile. Each lives in a process of its own
and they take turns: in each of two turns an epoch to warm up, then those that are timed. "Waiting" is the share of
the time in which the loop waited for a batch. On a GPU, "of peak" is XLA's count of operations over the time and what
the card can do in bfloat16.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.workers import Worker, answer, peak_device, peak_resident
from skinjax.augment import DEFAULT_STRENGTHS
from skinjax.data.pipeline.loader import Subset, training_batches
from skinjax.data.pipeline.prepare import prepare
from skinjax.files.host import compute_in_calling_thread, give_back_free_memory, restart_tuned
from skinjax.models.registry import create, init_variables, spec
from skinjax.train.loop import GIVING_BACK, updates_ahead
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_train_step, make_optimizer
from tests.peers.adapters import import_timm

compute_in_calling_thread()  # as the command does
GPU = jax.default_backend() == "gpu"
CLASSES, RATE, MOMENTUM = 19, 0.01, 0.9
TURNS, WARM_UP = 2, 1
PEAKS = {
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L4": 121e12,
    "V100": 125e12,
}  # bfloat16, dense, a second


@dataclasses.dataclass(frozen=True)
class Row:
    """A backbone, its name in timm, and the photos per update and per epoch on a CPU and on a GPU."""

    timm: str
    batch: int
    photos: int
    gpu_batch: int
    gpu_photos: int


ROWS = {
    "efficientnet_b0": Row("tf_efficientnet_b0", 16, 160, 128, 6400),
    "inception_v3_torch": Row("inception_v3", 8, 48, 128, 6400),
    "efficientnet_lite0": Row("tf_efficientnet_lite0", 32, 320, 256, 12800),
    "efficientnet_b6": Row("tf_efficientnet_b6", 2, 8, 16, 800),
}

Epoch = Callable[[], float]  # runs one; the seconds that it waited for batches


def waiting(batches: Iterator[Any], spent: list[float]) -> Iterator[Any]:
    """Iterates, adding up the time that the next batch was waited for."""
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        spent[0] += time.perf_counter() - start
        if batch is None:
            return
        yield batch


def skinjax_epochs(name: str, folder: Path, batch: int) -> tuple[Epoch, float]:
    """Ours, and the operations of an update (0 where XLA does not say)."""
    import pandas as pd

    row, size, parallel = spec(name), spec(name).image_size, Parallel()
    images = sorted(path.name for path in folder.glob("*.jpg"))
    prepared = prepare(pd.DataFrame({"image": images}), folder, folder / f"prepared_{size}", image_size=size)
    labels = (np.arange(len(images)) % CLASSES).astype(np.int32)
    subset = Subset(prepared.source, np.arange(len(images)), labels)
    model = create(name, CLASSES, dtype=jnp.bfloat16 if GPU else jnp.float32)
    recipe = jax.tree.map(
        jnp.float32, Recipe(learning_rate=RATE, momentum=MOMENTUM, strengths=DEFAULT_STRENGTHS)
    )
    state = create_state(init_variables(model, jax.random.key(0)), make_optimizer(recipe), 0)
    state, recipe, weights = parallel.place((state, recipe, jnp.ones(CLASSES)))
    step = compiled_train_step(model, row, Method(), parallel)
    steps, done = len(images) // batch, [0]
    held = [state]

    def place(photos: Any) -> Any:
        return parallel.place_batch({key: photos[key] for key in ("image", "label")})

    first = place(next(iter(training_batches(subset, batch, 0, steps=1))))
    operations = 0.0
    if GPU:
        cost = step.lower(state, first, recipe, weights).compile().cost_analysis()  # type: ignore[attr-defined]
        operations = float((cost or {}).get("flops", 0))

    def epoch() -> float:
        spent, losses = [0.0], []
        batches = training_batches(
            subset, batch, 0, first=done[0], steps=done[0] + steps, threads=os.cpu_count() or 2
        )
        for number, photos in enumerate(waiting(iter(batches), spent), done[0]):
            placed = place(photos)
            while len(losses) > updates_ahead():  # as `skinjax.train.loop` does
                losses.pop(0).block_until_ready()
            if number + 1 in GIVING_BACK:  # likewise
                give_back_free_memory()
            held[0], loss = step(held[0], placed, recipe, weights)
            losses.append(loss)
        jax.block_until_ready(held[0])
        done[0] += steps
        return spent[0]

    return epoch, operations


def timm_epochs(name: str, folder: Path, batch: int) -> tuple[Epoch, float]:
    """Trains epochs with PyTorch."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    row, size = spec(name), spec(name).image_size
    paths = sorted(folder.glob("*.jpg"))
    mean, std = (np.asarray(values, np.float32) for values in (row.mean, row.std))

    class Photos(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Any:
            photo = np.asarray(
                Image.open(paths[index]).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            )
            photo = photo[:, ::-1] if torch.rand(()) < 0.5 else photo
            pixels = (photo.astype(np.float32) / 255 - mean) / std
            return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), index % CLASSES

    loader = torch.utils.data.DataLoader(
        Photos(), batch, shuffle=True, drop_last=True, num_workers=os.cpu_count() or 2, persistent_workers=True,
        pin_memory=GPU, multiprocessing_context="fork",
    )  # fmt: skip
    device = "cuda" if GPU else "cpu"
    model: Any = import_timm().create_model(ROWS[name].timm, num_classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last).train()
    program = torch.compile(model) if GPU else model
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def epoch() -> float:
        spent = [0.0]
        for photos, labels in waiting(iter(loader), spent):
            photos = photos.to(device, memory_format=torch.channels_last, non_blocking=True)
            cast = torch.autocast("cuda", torch.bfloat16) if GPU else contextlib.nullcontext()
            optimizer.zero_grad(set_to_none=True)
            with cast:
                loss = torch.nn.functional.cross_entropy(
                    program(photos), labels.to(device, non_blocking=True)
                )
            loss.backward()
            optimizer.step()
        if GPU:
            torch.cuda.synchronize()
        return spent[0]

    return epoch, 0.0


LIBRARIES = {"skinjax": skinjax_epochs, "timm": timm_epochs}


def serve(library: str, name: str, folder: str, batch: str, count: str) -> None:
    """Runs a worker: at each turn some epochs to warm up, and `count` that are timed."""
    epochs: list[Epoch] = []

    def begin() -> list[float]:
        start = time.perf_counter()
        epoch, operations = LIBRARIES[library](name, Path(folder), int(batch))
        epochs.append(epoch)
        epoch()
        return [time.perf_counter() - start, operations]

    def turn() -> list[list[float]]:
        for _ in range(WARM_UP):
            epochs[0]()
        timed = []
        for _ in range(int(count)):
            start = time.perf_counter()
            waited = epochs[0]()
            seconds = time.perf_counter() - start
            timed.append([seconds, waited / seconds, peak_resident(), peak_device(library) if GPU else 0.0])
        return timed

    answer(begin, turn)


def write_photos(folder: Path, count: int) -> None:
    """Writes photos with the detail of real ones: smooth colours and some grain."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(60, 220, (9, 12, 3), dtype=np.uint8)).resize(
            (600, 450), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 6, (450, 600, 1))
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(
            folder / f"{number:06d}.jpg", quality=90
        )


def compare(name: str, epochs: int) -> None:
    """Prints the rows of a backbone."""
    row = ROWS[name]
    batch, photos = (row.gpu_batch, row.gpu_photos) if GPU else (row.batch, row.photos)
    with tempfile.TemporaryDirectory() as place:
        write_photos(Path(place), photos)
        workers = {
            library: Worker(
                "benchmarks.training",
                library,
                name,
                place,
                batch,
                epochs,
                XLA_PYTHON_CLIENT_PREALLOCATE="false",
            )
            for library in LIBRARIES
        }
        begun = {library: worker.ready for library, worker in workers.items()}
        results: dict[str, list[list[float]]] = {library: [] for library in workers}
        for turn in range(TURNS):
            for library in list(workers)[:: 1 if turn % 2 == 0 else -1]:
                results[library].extend(workers[library].run())
        for worker in workers.values():
            worker.stop()
    seen = photos // batch * batch
    medians = {
        library: [statistics.median(values) for values in zip(*replies, strict=True)]
        for library, replies in results.items()
    }
    speed = medians["timm"][0] / medians["skinjax"][0]
    for library, (seconds, waited, resident, device) in medians.items():
        peak = next((value for card, value in PEAKS.items() if card in jax.devices()[0].device_kind), None)
        operations = begun[library][1] * (photos // batch)
        share = f"{100 * operations / seconds / peak:.0f} %" if GPU and peak and operations else "-"
        print(
            f"| {name.removesuffix('_torch')} | {library} | {batch} | {seconds:.1f} | {seen / seconds:.1f} | "
            f"{f'{speed:.2f}' if library == 'skinjax' else ''} | {100 * waited:.0f} % | {resident:.0f} | "
            f"{f'{device:.0f}' if GPU else '-'} | {share} | {begun[library][0]:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=3, help="timed in a turn")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.serve:
        serve(*options.serve)
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "timm"))
    machine = jax.devices()[0].device_kind if GPU else f"{os.cpu_count()} cores"
    print(f"{machine}; {versions}; medians of {TURNS} x {options.epochs} epochs\n")
    print(
        "| backbone | library | batch | an epoch, s | photos/s | speed to timm | waiting | host, MiB | device, MiB | "
        "of peak | until the first epoch, s |\n" + "|---" * 11 + "|"
    )
    for name in options.backbones:
        compare(name, options.epochs)


if __name__ == "__main__":
    restart_tuned()
    main()
