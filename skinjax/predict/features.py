"""Averaged features of a backbone: the vector per photo that its head would read (`skinjax.data.features`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.data.pipeline.loader import Subset
from skinjax.models import compilation, registry
from skinjax.models.pixels import normalize
from skinjax.train.loop import predict_rows


def pooled_features(
    backbone: str,
    variables: dict[str, Any],
    photos: Subset,
    *,
    precision: str = "float32",
    batch_size: int = 32,
    threads: int = 2,
) -> np.ndarray:
    """Computes the averaged features of photos, as the network has them at the end of training.

        data = skinjax.read_photos("manifest.csv").prepare("prepared", 224)
        photos = Subset(data.prepared.source, np.arange(len(data.labels)), data.labels)

    Args:
      backbone: Name in the registry, of a network with named features.
      variables: Its parameters and BatchNorm statistics, with any head.
      photos: n photos, uint8, of the size that the network is to see; see
        `skinjax.data.pipeline.loader.Subset`.
      precision: Dtype of the computation, `float32` or `bfloat16`.
      batch_size: Photos at a time, over all devices.
      threads: Threads that read photos.

    Returns:
      float32[n, F], F the backbone's `feature_width`.
    """
    classes = variables["params"][registry.spec(backbone).head]["bias"].shape[0]
    compute = compiled_features(backbone, precision, classes)
    return predict_rows(compute, variables, photos, batch_size, threads)


@functools.lru_cache(maxsize=16)
def compiled_features(backbone: str, precision: str, num_classes: int) -> Callable[..., jax.Array]:
    """Returns the jitted function (variables, uint8[B, H, W, 3]) -> averaged features float32[B, F].

    Args:
      backbone: Name in the registry.
      precision: Dtype of the computation.
      num_classes: Outputs of the head that is among the variables; nothing depends on it.
    """
    spec = registry.spec(backbone)
    model = registry.create(backbone, num_classes, dtype=jnp.dtype(precision))

    def compute(variables: Any, images: jax.Array) -> jax.Array:
        named = model.apply(variables, normalize(images, spec), train=False, features=True)
        pooled: jax.Array = named["pooled"].astype(jnp.float32)
        return pooled

    return compilation.jit(compute)
