"""Every backbone in one table: parameters, size, ImageNet, where weights come from, and photos per second.

    python -m benchmarks.zoo                        # all, some ten minutes on two cores
    python -m benchmarks.zoo --backbones efficientnet_lite0 efficientnet_b0

Speed is that of the forward pass of a 1,000-class network with random weights at the backbone's own image size, float32
on a CPU and bfloat16 on a GPU, compiled as skinjax compiles it and with its allocator's settings: the median of several
passes. Rows that differ in padding or epsilon alone (`_torch`, `_torchvision`) are as fast as the row without and are
left out. ImageNet's top-1 accuracies are as published; `third_party/models.md` names the sources.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.files.host import restart_tuned
from skinjax.models.compilation import compiler_options
from skinjax.models.pixels import normalize
from skinjax.models.registry import create, init_variables, list_models, spec, variable_shapes

TOP_1 = {
    "efficientnet_b0": 77.1,
    "efficientnet_b1": 79.1,
    "efficientnet_b2": 80.1,
    "efficientnet_b3": 81.6,
    "efficientnet_b4": 82.9,
    "efficientnet_b5": 83.6,
    "efficientnet_b6": 84.0,
    "efficientnet_b7": 84.3,
    "efficientnet_lite0": 75.1,
    "efficientnet_lite1": 76.7,
    "efficientnet_lite2": 77.6,
    "efficientnet_lite3": 79.8,
    "efficientnet_lite4": 81.5,
    "inception_v3": 77.9,
    "inception_resnet_v2": 80.3,
    "xception": 79.0,
    "densenet121": 75.0,
    "densenet169": 76.2,
    "densenet201": 77.3,
}
"""Accuracy on ImageNet-1k's validation photos, in percent, as published with the weights named in the table."""


def parameters(name: str) -> int:
    """Returns how many numbers are trained in a network of 1,000 classes."""
    shapes = variable_shapes(create(name, 1000))["params"]
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def forward(name: str, photos: int) -> Callable[[], object]:
    """Returns a compiled forward pass over rendered noise, which has run once."""
    model = create(name, 1000, dtype=jnp.bfloat16 if jax.default_backend() == "gpu" else jnp.float32)
    variables, facts = init_variables(model, jax.random.key(0)), spec(name)
    images = np.random.default_rng(0).integers(
        0, 256, (photos, facts.image_size, facts.image_size, 3), np.uint8
    )

    def run(variables: object, images: jax.Array) -> jax.Array:
        return model.apply(variables, normalize(images, facts), train=False)

    compiled = jax.jit(run, compiler_options=compiler_options())
    jax.block_until_ready(compiled(variables, images))
    return lambda: jax.block_until_ready(compiled(variables, images))


def source(name: str) -> str:
    """Returns where ImageNet's weights come from."""
    facts = spec(name)
    if facts.imagenet_package:
        return f"`--pretrained=imagenet`, package `{facts.imagenet_package}`"
    if facts.imagenet.startswith("hf:"):
        return f"`--pretrained={facts.imagenet}`"
    return facts.imagenet.replace("Keras's file ", "Keras's file `") + "`" if facts.imagenet else "none"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = [name for name in list_models() if not name.endswith(("_torch", "_torchvision"))]
    parser.add_argument("--backbones", nargs="+", choices=own, default=own)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(
        "| backbone | parameters, M | float32, MB | pixels | ImageNet top-1, % | weights | photos/s, one | of eight |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in given.backbones:
        rates = []
        for photos in (1, 8):
            run, taken = forward(name, photos), []
            for _ in range(given.rounds):
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
            rates.append(photos / statistics.median(taken))
            jax.clear_caches()
        count = parameters(name)
        top = f"{TOP_1[name]:.1f}" if name in TOP_1 else "-"
        cells = [
            name,
            f"{count / 1e6:.1f}",
            f"{4 * count / 1e6:.0f}",
            str(spec(name).image_size),
            top,
            source(name),
        ]
        print("| " + " | ".join([*cells, *(f"{rate:.3g}" for rate in rates)]) + " |", flush=True)


if __name__ == "__main__":
    restart_tuned()
    main()
