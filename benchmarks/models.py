"""Every backbone beside its twins in timm/PyTorch and Keras on JAX: forward, one photo and eight, and a training step.

    python -m benchmarks.models                                    # all, at their own sizes: an hour on two cores
    python -m benchmarks.models --backbones efficientnet_b0 --rounds 5 --keras_rounds 0

Needs the `peers` extra. On a CPU all compute in float32, PyTorch eager with channels_last; on a GPU ours and Keras's
in bfloat16 and PyTorch under autocast, channels_last and torch.compile. Each lives in a process of its own (side by
side in one, they spoil each other's heap), and they take turns: in a round each runs for 0.5 seconds untimed and
for 0.6 timed, or once. All of it is started anew three times, since the heap of one process may serve it better than
that of the next. A speed is the median over the rounds of the peer's time over ours (above 1: ours is faster).
Building, tracing and compiling are timed once and not counted.

Memory is what the process held at its peak beyond what it held before the network was built: parameters, optimizer,
photos, activations, scratch. On a CPU that is resident memory, compilation included; on a GPU what the framework has
allocated.

Like the command, it starts itself again with glibc's huge pages, for all three.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workers import Worker, answer, peak_device, peak_resident
from skinjax.files.host import restart_tuned
from skinjax.models.compilation import compiler_options
from skinjax.models.registry import create, init_variables, spec
from tests.peers.adapters import import_keras, import_timm


@dataclasses.dataclass(frozen=True)
class Row:
    """A backbone's names in timm and Keras, and the photos of its training step."""

    timm: str
    keras: str
    step_batch: int = 8


ROWS = {
    "efficientnet_b0": Row("tf_efficientnet_b0", "EfficientNetB0"),
    "efficientnet_b3": Row("tf_efficientnet_b3", "EfficientNetB3"),
    "efficientnet_b6": Row("tf_efficientnet_b6", "EfficientNetB6", step_batch=2),
    "inception_v3_torch": Row("inception_v3", "InceptionV3"),
    "inception_resnet_v2_torch": Row("inception_resnet_v2", "InceptionResNetV2"),
    "xception_torch": Row("legacy_xception", "Xception"),
    "densenet121": Row("densenet121", "DenseNet121"),
}
CLASSES, RATE, MOMENTUM = 1000, 0.001, 0.9
GPU = jax.default_backend() == "gpu"
DTYPE = jnp.bfloat16 if GPU else jnp.float32

Program = Callable[[], Any]
Options = dict[str, str]


def skinjax_program(name: str, images: np.ndarray, train: bool, *, plain: bool = False) -> Program:
    """Compiles our forward pass or training step, with our compiler options unless it is to be plain `jax.jit`."""
    options = {} if plain else compiler_options(gradients=train)
    model = create(name, CLASSES, dtype=DTYPE)
    variables = init_variables(model, jax.random.key(0))
    if not train:
        return _forward(lambda v, x: model.apply(v, x), variables, images, options)

    def apply(params: Any, stats: Any, photos: jax.Array, key: jax.Array) -> Any:
        logits, changed = model.apply(
            {"params": params, "batch_stats": stats},
            photos,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return logits, changed["batch_stats"]

    return _step(apply, variables["params"], variables["batch_stats"], images, options)


def keras_program(name: str, images: np.ndarray, train: bool) -> Program:
    """Builds the same of Keras on JAX: its network as a function, in the same loop."""
    keras = import_keras()
    keras.config.set_dtype_policy("mixed_bfloat16" if GPU else "float32")
    make = getattr(keras.applications, ROWS[name].keras)
    model = make(weights=None, classes=CLASSES, classifier_activation=None, input_shape=images.shape[1:])
    kinds = model.trainable_variables, model.non_trainable_variables
    params, others = ([jnp.copy(variable.value) for variable in kind] for kind in kinds)
    if not train:
        predict = lambda v, x: model.stateless_call(*v, x, training=False)[0]  # noqa: E731
        return _forward(predict, (params, others), images, {})

    def apply(params: Any, others: Any, photos: jax.Array, key: jax.Array) -> Any:
        return model.stateless_call(params, others, photos, training=True)

    return _step(apply, params, others, images, {})


def _forward(
    apply: Callable[..., jax.Array], variables: Any, images: np.ndarray, options: Options
) -> Program:
    photos = jnp.asarray(images)
    compiled = jax.jit(apply, compiler_options=options).lower(variables, photos).compile()
    return lambda: jax.block_until_ready(compiled(variables, photos))


def _step(
    apply: Callable[..., Any], params: Any, others: Any, images: np.ndarray, options: Options
) -> Program:
    photos, labels = jnp.asarray(images), jnp.arange(len(images)) % CLASSES

    def loss(params: Any, others: Any, key: jax.Array) -> Any:
        logits, others = apply(params, others, photos, key)
        return -jax.nn.log_softmax(logits.astype(jnp.float32))[jnp.arange(len(images)), labels].mean(), others

    def step(params: Any, others: Any, trace: Any, key: jax.Array) -> Any:
        gradients, others = jax.grad(loss, has_aux=True)(params, others, key)
        trace = jax.tree.map(lambda v, g: MOMENTUM * v + g, trace, gradients)
        return jax.tree.map(lambda p, v: p - RATE * v, params, trace), others, trace

    state = [params, others, jax.tree.map(jnp.zeros_like, params)]
    key = jax.random.key(0)
    jitted = jax.jit(step, donate_argnums=(0, 1, 2), compiler_options=options)
    compiled = jitted.lower(*state, key).compile()

    def run() -> None:
        state[:] = compiled(*state, key)
        jax.block_until_ready(state)

    return run


def timm_program(name: str, images: np.ndarray, train: bool) -> Program:
    """Builds the same in PyTorch."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    device = "cuda" if GPU else "cpu"
    model: Any = import_timm().create_model(ROWS[name].timm, num_classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last).train(train)
    program = torch.compile(model) if GPU else model
    photos = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    labels = (torch.arange(len(images)) % CLASSES).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def run() -> None:
        cast = torch.autocast("cuda", torch.bfloat16) if GPU else contextlib.nullcontext()
        if not train:
            with torch.no_grad(), cast:
                program(photos)
        else:
            optimizer.zero_grad(set_to_none=True)
            with cast:
                loss = torch.nn.functional.cross_entropy(program(photos), labels)
            loss.backward()
            optimizer.step()
        if GPU:
            torch.cuda.synchronize()

    return run


PROGRAMS = {
    "skinjax": skinjax_program,
    "plain": functools.partial(skinjax_program, plain=True),
    "timm": timm_program,
    "keras": keras_program,
}


def serve(library: str, name: str, batch: str, size: str, train: str) -> None:
    """Builds a program in a worker, then runs it a while at each turn."""
    if library in _IMPORTS:
        _IMPORTS[library]()
    peak = functools.partial(peak_device, library) if GPU else peak_resident
    before = peak()
    images = (
        np.random.default_rng(0).standard_normal((int(batch), int(size), int(size), 3)).astype(np.float32)
    )
    programs = []

    def begin() -> float:
        start = time.perf_counter()
        programs.append(PROGRAMS[library](name, images, bool(int(train))))
        programs[0]()
        return time.perf_counter() - start

    def turn() -> list[float]:
        repeat(programs[0], seconds=0.5)
        return [1000 * repeat(programs[0], seconds=0.6), peak() - before]

    answer(begin, turn)


def repeat(program: Program, seconds: float) -> float:
    """Runs a program for so long, once at least; the mean time of a run, in seconds."""
    runs, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not runs:
        program()
        runs += 1
    return spent / runs


_IMPORTS = {"timm": import_timm, "keras": import_keras}


def compare(name: str, batch: int, size: int, train: bool, options: argparse.Namespace) -> None:
    """Prints a row of the table."""
    libraries = ["skinjax", "timm", *(["keras"] if options.keras_rounds else [])]
    times: dict[str, list[float]] = {library: [] for library in libraries}
    building: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as cache:
        for start in range(options.starts):
            used = libraries if not start else libraries[:2]
            environment = {
                "KERAS_BACKEND": "jax",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            arguments = (name, batch, size, int(train))
            workers = [Worker("benchmarks.models", library, *arguments, **environment) for library in used]
            held = [0.0] * len(used)
            for index in range(options.rounds):
                for number, (library, worker) in enumerate(zip(used, workers, strict=True)):
                    if library != "keras" or index < options.keras_rounds:
                        milliseconds, held[number] = worker.run()
                        times[library].append(milliseconds)
            for worker in workers:
                worker.stop()
            building = building or [worker.ready for worker in workers]
            memory = memory or held
    ours = times["skinjax"]
    speeds = [[b / a for a, b in zip(ours, times[peer], strict=False)] for peer in libraries[1:]]
    cells = [
        name.removesuffix("_torch"),
        "step" if train else "forward",
        f"{batch} × {size}²",
        " / ".join(f"{statistics.median(times[library]):.0f}" for library in libraries),
        *(f"{statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f})" for s in speeds),
        " / ".join(f"{seconds:.0f}" for seconds in building),
        " / ".join(f"{held:.0f}" for held in memory),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5, help="of a start")
    parser.add_argument("--starts", type=int, default=3, help="processes one after the other")
    parser.add_argument("--keras_rounds", type=int, default=2, help="of the first start; 0 leaves Keras out")
    parser.add_argument(
        "--size", type=int, help="rows and columns of the photos; default: the backbone's own"
    )
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8], help="photos of the forward passes")
    parser.add_argument("--step_batch", type=int, help="photos of the training step; 0 for none")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.serve:
        serve(*options.serve)
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "timm", "keras"))
    device = jax.devices()[0].device_kind if GPU else f"{os.cpu_count()} cores, {platform.machine()}"
    print(
        f"{date.today()}; {device}; Python {platform.python_version()}, {versions}; {DTYPE.__name__}; ",
        end="",
    )
    print(f"{options.starts} × {options.rounds} rounds, {options.keras_rounds} with Keras\n")
    both = "skinjax / timm / keras" if options.keras_rounds else "skinjax / timm"
    speeds = (
        "speed to timm (range) | speed to Keras (range)" if options.keras_rounds else "speed to timm (range)"
    )
    print(f"| backbone | what | photos | ms, {both} | {speeds} | until run once, s | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|" + ("---|" if options.keras_rounds else ""))
    for name in options.backbones:
        size = options.size or spec(name).image_size
        for batch in options.batches:
            compare(name, batch, size, False, options)
        step_batch = ROWS[name].step_batch if options.step_batch is None else options.step_batch
        if step_batch:
            compare(name, step_batch, size, True, options)


if __name__ == "__main__":
    restart_tuned()
    main()
