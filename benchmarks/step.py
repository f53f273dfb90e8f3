"""Time and page faults of one gradient on CPU: what the allocator's huge pages are worth.

python -m benchmarks.step --backbone=efficientnet_b0 --image_size=128 --batch_size=8
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python -m benchmarks.step --backbone=efficientnet_b0 ...
"""

import argparse
import os
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.train.losses import cross_entropy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="efficientnet_nano")
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()

    model, spec = registry.create(arguments.backbone, 19), registry.spec(arguments.backbone)
    variables = registry.init_variables(model, jax.random.key(0))
    shape = (arguments.batch_size, arguments.image_size, arguments.image_size, 3)
    images = normalize(jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)), spec)
    labels = jnp.arange(arguments.batch_size) % 19

    @jax.jit
    @jax.grad
    def gradient(params: dict) -> jax.Array:
        logits, _ = model.apply(
            {**variables, "params": params},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        return cross_entropy(logits, labels).mean()

    jax.block_until_ready(gradient(variables["params"]))
    before, times = resource.getrusage(resource.RUSAGE_SELF), []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        jax.block_until_ready(gradient(variables["params"]))
        times.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
    print(f"| network | photos | GLIBC_TUNABLES | median, ms | page faults per step |\n|{'---|' * 5}")
    print(
        f"| {arguments.backbone} | {arguments.batch_size} of {arguments.image_size} px "
        f"| {os.environ.get('GLIBC_TUNABLES', 'unset')} | {1e3 * statistics.median(times):.1f} "
        f"| {faults / arguments.rounds:.0f} |"
    )


if __name__ == "__main__":
    main()
