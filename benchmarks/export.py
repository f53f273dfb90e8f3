"""Our forward pass in JAX and in ONNX Runtime, beside timm eager, torch inductor and OpenVINO, on a CPU.

    python -m benchmarks.export                                    # six families, at their own sizes: half an hour
    python -m benchmarks.export --backbones efficientnet_lite0 --rounds 2 --starts 1

Peers are the packages onnxruntime, torch with timm, and openvino; those that are not installed are left out, and the
head of the table says so. All get uint8 photos [N, H, W, 3], normalise them and end in probabilities, in float32 and on
all cores. ONNX Runtime and OpenVINO run the exported file, PyTorch runs timm's network with channels_last: eager, and
compiled by inductor with frozen weights, which folds batch normalisation too. Each lives in a process of its own and
they take turns, as in `benchmarks.models`. A speed is the median over the rounds of another's time over ours (above 1:
ours is faster), and the best of the others is the one with the least median time. The largest difference is that of
ONNX Runtime's probabilities from JAX's on the same random weights.
"""

import argparse
import functools
import importlib.util
import os
import platform
import statistics
import tempfile
import time
import warnings
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import Program, repeat
from benchmarks.workers import Worker, answer
from skinjax.files.host import restart_tuned
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models.compilation import compiler_options
from skinjax.models.registry import spec, variable_shapes
from skinjax.predict.export import to_onnx
from skinjax.predict.export.decision import exported_network
from skinjax.predict.load import Run
from skinjax.runs.networks import Network
from tests.peers.adapters import import_timm

TIMM = {
    "efficientnet_b0": "tf_efficientnet_b0",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "inception_v3_torch": "inception_v3",
    "densenet121": "densenet121",
    "xception_torch": "legacy_xception",
    "inception_resnet_v2_torch": "inception_resnet_v2",
}
CLASSES = 19


def random_run(name: str, size: int) -> Run:
    """Returns a network of random numbers, whose activations neither grow nor vanish."""
    tree = Taxonomy("classes", ("class",), tuple((f"class_{number}",) for number in range(CLASSES)))
    network = Network("sub", 0, name, "class", tree.classes(), size)
    rng = np.random.default_rng(0)

    def drawn(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.8, 1.2, leaf.shape).astype(np.float32)
        deviation = 0.1 if path[-1].key in ("mean", "bias") else np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(drawn, variable_shapes(network.model()))
    return Run(Path(), network.model(), variables, network.spec, tree, lambda: None, network)


def skinjax_program(name: str, images: np.ndarray, _: str) -> Program:
    """Compiles our forward pass."""
    run = random_run(name, images.shape[1])
    variables = jax.device_put(run.variables)

    def predict(values: Any, photos: jax.Array) -> jax.Array:
        function = exported_network(Run(**(vars(run) | {"variables": values}))).function
        return function(photos)["probabilities_class"]

    photos = jnp.asarray(images)
    jitted = jax.jit(predict, compiler_options=compiler_options())
    compiled = jitted.lower(variables, photos).compile()
    return lambda: jax.block_until_ready(compiled(variables, photos))


def onnx_program(name: str, images: np.ndarray, path: str) -> Program:
    """Opens the exported file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda: session.run(["probabilities_class"], {"images": images})[0]


def openvino_program(name: str, images: np.ndarray, path: str) -> Program:
    """Opens the exported file in OpenVINO, for this many photos."""
    import openvino

    model = openvino.Core().read_model(path)
    model.reshape({"images": list(images.shape)})
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": os.cpu_count() or 1,
    }
    compiled = openvino.compile_model(model, "CPU", settings)
    output = compiled.output("probabilities_class")
    return lambda: compiled({"images": images})[output]


def timm_program(name: str, images: np.ndarray, _: str, inductor: bool = False) -> Program:
    """Builds timm's network."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    model: Any = import_timm().create_model(TIMM[name], num_classes=CLASSES)
    model = model.to(memory_format=torch.channels_last).eval()
    photos = torch.from_numpy(images)
    mean, std = (torch.tensor(values) for values in (spec(name).mean, spec(name).std))

    def predict(photos: Any) -> Any:
        pixels = (photos.float() / 255 - mean) / std
        return torch.softmax(model(pixels.permute(0, 3, 1, 2)), dim=1)

    if inductor:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        predict = torch.compile(predict)

    def run() -> Any:
        with torch.no_grad():
            return predict(photos)

    return run


PROGRAMS = {
    "jax": skinjax_program,
    "onnxruntime": onnx_program,
    "timm": timm_program,
    "inductor": functools.partial(timm_program, inductor=True),
    "openvino": openvino_program,
}
NEEDED = {
    "onnxruntime": ("onnxruntime",),
    "timm": ("torch", "timm"),
    "inductor": ("torch", "timm"),
    "openvino": ("openvino",),
}
OURS = ("jax", "onnxruntime")


def contenders() -> tuple[list[str], list[str]]:
    """Returns the programs that are installed, and those that are not."""
    there = [name for name in PROGRAMS if all(importlib.util.find_spec(one) for one in NEEDED.get(name, ()))]
    return there, [name for name in PROGRAMS if name not in there]


def serve(library: str, name: str, batch: str, size: str, path: str) -> None:
    """Builds a program in a worker, then runs it a while at each turn."""
    images = np.random.default_rng(0).integers(0, 256, (int(batch), int(size), int(size), 3), np.uint8)
    programs: list[Program] = []

    def begin() -> list[float]:
        start = time.perf_counter()
        programs.append(PROGRAMS[library](name, images, path))
        first = programs[0]()
        return [time.perf_counter() - start, *np.asarray(first, np.float64).ravel().tolist()]

    def turn() -> float:
        repeat(programs[0], seconds=0.5)
        return 1000 * repeat(programs[0], seconds=0.6)

    answer(begin, turn)


def compare(name: str, batch: int, size: int, path: Path, options: argparse.Namespace) -> None:
    """Prints a row of the table."""
    libraries, _ = contenders()
    times: dict[str, list[float]] = {library: [] for library in libraries}
    for _ in range(options.starts):
        workers = {
            library: Worker("benchmarks.export", library, name, batch, size, path) for library in libraries
        }
        for _ in range(options.rounds):
            for library, worker in workers.items():
                times[library].append(worker.run())
        ready = {library: worker.ready for library, worker in workers.items()}
        for worker in workers.values():
            worker.stop()
    medians = {library: statistics.median(values) for library, values in times.items()}
    cells = [
        name.removesuffix("_torch"),
        f"{batch} × {size}²",
        " / ".join(f"{median:.1f}" for median in medians.values()),
        *(_speed(library, times, medians) for library in OURS if library in times),
        " / ".join(f"{ready[library][0]:.1f}" for library in libraries),
    ]
    if "onnxruntime" in times:
        ours, theirs = (np.array(ready[library][1:]) for library in OURS)
        cells.append(f"{np.abs(ours - theirs).max():.0e}")
    cells.append(f"{path.stat().st_size / 2**20:.0f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def _speed(library: str, times: dict[str, list[float]], medians: dict[str, float]) -> str:
    """Returns a program's speed to the best of the others, with its range and the other's name."""
    others = {other: median for other, median in medians.items() if other != library}
    if not others:
        return "alone"
    best = min(others, key=lambda other: others[other])
    ratios = [b / a for a, b in zip(times[library], times[best], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {best}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=TIMM, default=list(TIMM))
    parser.add_argument("--rounds", type=int, default=5, help="of a start")
    parser.add_argument("--starts", type=int, default=3, help="processes one after the other")
    parser.add_argument(
        "--size", type=int, help="rows and columns of the photos; default: the backbone's own"
    )
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8], help="photos of the forward passes")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.serve:
        serve(*options.serve)
        return
    there, absent = contenders()
    packages = ["jax", "onnx", *(package for name in there for package in NEEDED.get(name, ()))]
    versions = ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(packages))
    print(
        f"{date.today()}; {os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}, ",
        end="",
    )
    print(f"{versions}; float32; {options.starts} × {options.rounds} rounds")
    if absent:
        print(f"\nnot installed and left out: {', '.join(absent)}")
    ours = [f"speed of {library} to the best other (range)" for library in OURS if library in there]
    more = ["largest difference"] if "onnxruntime" in there else []
    heads = ["backbone", "photos", f"ms, {' / '.join(there)}", *ours, "until run once, s", *more, "file, MiB"]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in options.backbones:
        size = options.size or spec(name).image_size
        with tempfile.TemporaryDirectory() as folder:
            path = to_onnx(random_run(name, size), Path(folder) / f"{name}.onnx")
            for batch in options.batches:
                compare(name, batch, size, path, options)


if __name__ == "__main__":
    restart_tuned()
    main()
