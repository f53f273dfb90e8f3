"""Device memory of a training step by XLA's own estimate, with no step being run.

    python -m benchmarks.memory --backbone=efficientnet_b6 --batch_size=32 --accumulate=1,2,16

The step is the command's, compiled for the device that is here and for photos of the backbone's own size; the estimate
(`memory_analysis()` of the compiled program) counts what the step is given, gives back and needs meanwhile. A batch in
`--accumulate` parts is computed one part after the other; 0 parts stand for the prediction of a whole batch.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp

from skinjax.models import registry
from skinjax.train.method import Method
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_predict, compiled_train_step, make_optimizer

GIB = 1 << 30
# Buffers are assigned before LLVM makes code of them, which takes most of the time and is not run here.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="efficientnet_b6")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--accumulate", default="1", help="Numbers of parts, separated by commas.")
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--classes", type=int, default=19)
    given = parser.parse_args()
    print("| backbone | px | precision | batch | parts | scratch, GiB | in all, GiB | compiled in, s |")
    print("|---|---|---|---|---|---|---|---|")
    for parts in map(int, given.accumulate.split(",")):
        began = time.monotonic()
        scratch, whole, size = estimate(given, parts)
        print(
            f"| {given.backbone} | {size} | {given.precision} | {given.batch_size} | {parts} | {scratch / GIB:.1f} "
            f"| {whole / GIB:.1f} | {time.monotonic() - began:.0f} |",
            flush=True,
        )


def estimate(given: argparse.Namespace, parts: int) -> tuple[int, int, int]:
    """Bytes of scratch, bytes in all, and the side of the photos."""
    spec = registry.spec(given.backbone)
    model = registry.create(given.backbone, given.classes, dtype=jnp.dtype(given.precision))
    method = Method(optimizer=given.optimizer, accumulate=max(parts, 1))
    variables = registry.variable_shapes(model, spec)
    begin = functools.partial(create_state, optimizer=make_optimizer(Recipe(), method), seed=0)
    state = jax.eval_shape(begin, variables)
    batch = {
        "image": jax.ShapeDtypeStruct((given.batch_size, spec.image_size, spec.image_size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((given.batch_size,), jnp.int32),
    }
    recipe = jax.tree.map(jnp.float32, Recipe())
    step = compiled_train_step(model, spec, method) if parts else compiled_predict(model, spec)
    arguments = (state, batch, recipe, jnp.ones(given.classes)) if parts else (variables, batch["image"])
    lowered = step.lower(*arguments)  # type: ignore[attr-defined]
    compiled = lowered.compile(QUICKLY if jax.default_backend() == "cpu" else None)
    found = compiled.memory_analysis()
    kept = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return found.temp_size_in_bytes, found.temp_size_in_bytes + kept, spec.image_size


if __name__ == "__main__":
    main()
