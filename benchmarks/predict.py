"""Time to the first answer, and photos per second: `experiments.predict` beside the bare forward pass.

    python -m benchmarks.predict                      # EfficientNet-B0 at 224 px: about four minutes on two cores
    python -m benchmarks.predict --backbone efficientnet_nano --size 96 --photos 200
    python -m benchmarks.predict --backbone efficientnet_lite0 --photos 200 --runtimes jax onnx

A run of a fine and a coarse network with random weights is made; what an answer says does not matter here, and takes
as long. The photos are JPEGs of 600 × 450 pixels (those of `benchmarks.input`). Measured:

- **cold start**: `python -m experiments.predict` for one photo, explained, in a new process, from the command to its
  end: with an empty compilation cache, and with the one that this filled. Its time is split by phase.
- **the whole folder**: the same command for all photos, with compilations kept, without explanations.
- **batch mode**: the script's stream of answers over a folder in this process, without explanations, against both
  networks' compiled forward pass alone on photos that lie in memory, and against decoding alone. They take turns.

With several --runtimes, each of these is measured by all of them in turn.

Like the command, this starts itself again with glibc's huge pages.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from benchmarks.input import write_photos
from skinjax.data import predictions
from skinjax.files.host import restart_tuned
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.models import registry
from skinjax.predict.networks import Predictor, load_predictor
from skinjax.predict.photos import AnswerContext, predict_photos, prepare_answers
from skinjax.predict.reading import ahead, find_photos, read_photo
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.studies import hierarchy
from skinjax.train.checkpoints import Checkpoints

PHASES = """
import sys, time
from pathlib import Path
began = time.perf_counter()
def told(name):
    global began
    print(f"{name}: {time.perf_counter() - began:.2f}")
    began = time.perf_counter()
import jax
from skinjax.predict.networks import load_predictor
from skinjax.predict.photos import prepare_answers, predict_photos
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
told("imports")
predictor = load_predictor(sys.argv[1], runtime=sys.argv[3])
told("reading two networks")
context = prepare_answers(predictor)
told("reading what was fitted")
list(predict_photos(predictor, [sys.argv[2]], context, batch_size=1))
told("first photo, tracing and reading what was compiled")
list(predict_photos(predictor, [sys.argv[2]], context, batch_size=1))
told("second photo")
"""


def make_run(
    folder: Path, backbone: str, size: int, photos: Path, folds: int = 1, taxonomy_name: str = "synthetic19"
) -> None:
    """Makes the folder of a run of `hierarchy` with random weights and made-up predictions of a folder's photos."""
    taxonomy = load_taxonomy(taxonomy_name)
    config = hierarchy.Config(manifest=str(photos / "manifest.csv"), folds=max(folds, 2))
    run = RunFolder.open(folder, "hierarchy", config)
    run.begin(config, "made up", taxonomy, [], synthetic=True)
    run.close()
    for fold in range(folds):
        for seed, (stage, level) in enumerate((("sub", taxonomy.finest), ("meta", taxonomy.coarsest))):
            network = Network(stage, fold, backbone, level, taxonomy.classes(level), size)
            run.write_network(network)
            variables = registry.init_variables(network.model(), jax.random.key(10 * fold + seed))
            with Checkpoints(run.checkpoints(network)) as checkpoints:
                checkpoints.save_final(variables)
    names = [str(path.relative_to(photos)) for path in find_photos([photos])[0]]
    rng = np.random.default_rng(0)
    probs = {
        level: rng.dirichlet(np.ones(len(taxonomy.classes(level))), len(names)) for level in taxonomy.levels
    }
    labels = [rng.choice(taxonomy.classes(), p=row) for row in probs[taxonomy.finest]]
    fold = np.arange(len(names)) % folds
    fine, coarse = probs[taxonomy.finest], {taxonomy.coarsest: probs[taxonomy.coarsest]}
    frame = predictions.from_arrays(names, names, labels, fold, fine, taxonomy, coarse)
    predictions.write_predictions(frame, run.predictions_file("out_of_fold"), taxonomy)
    pd.DataFrame({"image": names, "label": labels, "case_id": names}).to_csv(
        photos / "manifest.csv", index=False
    )


def command_seconds(run: Path, photos: Path, cache: Path, runtime: str) -> float:
    """Seconds from the command to its end in a new process, for one photo or a folder of them."""
    command = [sys.executable, "-m", "experiments.predict", f"--workdir={run}", f"--photos={photos}"]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "JAX_COMPILATION_CACHE_DIR")
    }
    began = time.perf_counter()
    subprocess.run(
        [*command, f"--compilation_cache={cache}", f"--runtime={runtime}"],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def phases(run: Path, photo: Path, cache: Path, runtime: str) -> str:
    """Measures the phases of a warm cold start, one line per phase."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache / "jax")}
    command = [sys.executable, "-c", PHASES, str(run), str(photo), runtime]
    return subprocess.run(command, check=True, env=environment, text=True, stdout=subprocess.PIPE).stdout


def rates(
    predictors: Mapping[str, Predictor], context: AnswerContext, paths: list[Path], batch: int, rounds: int
) -> dict[str, list[float]]:
    """Photos a second by round: answering and the bare forward pass by each runtime, and decoding alone, in turn."""
    predictor = next(iter(predictors.values()))
    size = predictor.image_size
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)

    def answer(predictor: Predictor) -> None:
        for _ in predict_photos(predictor, paths, context, batch_size=batch):
            pass

    def forward(predictor: Predictor) -> None:
        for _ in range(len(paths) // batch):
            predictor.forward(images).probabilities()

    def decode() -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in ahead(pool, lambda path: read_photo(path, size, predictor.fit), paths, 2 * batch):
                pass

    contenders: dict[str, Callable[[], None]] = {"decoding": decode}
    for name, one in predictors.items():
        contenders[f"answers, {name}"] = functools.partial(answer, one)
        contenders[f"forward, {name}"] = functools.partial(forward, one)
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    done = {
        name: len(paths) // batch * batch if name.startswith("forward") else len(paths) for name in seconds
    }
    return {name: [done[name] / value for value in values] for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--photos", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", nargs="+", choices=("jax", "onnx"), default=["jax"])
    options = parser.parse_args()
    print(
        f"{date.today()}; {os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}, jax "
        f"{version('jax')}; {options.backbone} at {options.size} px, fine and coarse network; load "
        f"{os.getloadavg()[0]:.1f}\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "photos").mkdir()
        write_photos(folder / "photos", options.photos)
        run, cache = folder / "run", folder / "cache"
        make_run(run, options.backbone, options.size, folder / "photos")
        predictors = {runtime: load_predictor(run, runtime=runtime) for runtime in options.runtimes}
        first = predictors[options.runtimes[0]]
        context = prepare_answers(first, photo_root=folder / "photos", batch_size=options.batch)
        paths, _ = find_photos([folder / "photos"])
        turns = [runtime for _ in range(3) for runtime in options.runtimes]
        told(
            "cold start, nothing compiled",
            [(r, command_seconds(run, paths[0], cache / r, r)) for r in options.runtimes],
        )
        told(
            "cold start, compilations kept",
            [(r, command_seconds(run, paths[0], cache / r, r)) for r in turns],
        )
        for runtime in options.runtimes:
            command_seconds(run, folder / "photos", cache / runtime, runtime)  # compiles for the batches
        told("the whole folder", [(r, command_seconds(run, folder / "photos", cache / r, r)) for r in turns])
        for runtime in options.runtimes:
            print(f"\n{runtime}\n{phases(run, paths[0], cache / runtime, runtime)}")
        measured = rates(predictors, context, paths, options.batch, options.rounds)
        medians = {name: statistics.median(values) for name, values in measured.items()}
        for name, values in measured.items():
            print(f"{name}: {medians[name]:.1f} photos per second ({min(values):.1f} to {max(values):.1f})")
        for runtime in options.runtimes:
            answers, alone = (medians[f"{what}, {runtime}"] for what in ("answers", "forward"))
            both = 1 / (1 / alone + 1 / medians["decoding"])
            print(
                f"{runtime}: answers to the forward pass {answers / alone:.2f}; to forward pass and decoding one after "
                f"the other, which share the cores, {answers / both:.2f}"
            )


def told(what: str, seconds: list[tuple[str, float]]) -> None:
    """Prints times by runtime."""
    for runtime in dict.fromkeys(name for name, _ in seconds):
        values = ", ".join(f"{value:.1f}" for name, value in seconds if name == runtime)
        print(f"{what}, {runtime}: {values} s", flush=True)


if __name__ == "__main__":
    restart_tuned()
    main()
