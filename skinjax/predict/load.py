"""A finished run as a function from photos to probabilities."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.models.pretrained import load_pretrained
from skinjax.models.registry import ModelSpec
from skinjax.train.checkpoints import FINAL, is_finished
from skinjax.train.network import Network
from skinjax.train.step import compiled_predict


@dataclasses.dataclass(frozen=True)
class Run:
    """A network of a run, ready to predict.

    Attributes:
      model: the Linen module; `model.apply(variables, images, train=False)`.
      variables: its parameters and BatchNorm statistics.
      spec: its backbone's specification.
      taxonomy: of the run.
      predict_fn: jitted, uint8[N, image_size, image_size, 3] -> float32[N, K] probabilities, K the classes
        of `network.level`.
      network: what was trained: stage, fold, level, class names, image size.
    """

    model: nn.Module
    variables: dict[str, Any]
    spec: ModelSpec
    taxonomy: Taxonomy
    predict_fn: Callable[[np.ndarray], jax.Array]
    network: Network


def load_run(workdir: str | os.PathLike[str], stage: str = "sub", fold: int = 0) -> Run:
    """Loads a network that an experiment trained.

    Args:
      workdir: folder of the run.
      stage: which of its networks, such as `sub` or `meta`.
      fold: the one that has not seen this fold.

    Returns:
      The network and a function that predicts.

    Raises:
      FileNotFoundError: the run has no such network; the message names the file.
      ValueError: its training has not come to its end.
    """
    workdir = Path(workdir)
    network = Network.read(workdir / "checkpoints" / f"fold_{fold}" / f"{stage}.json")
    variables = load_variables(workdir, network)
    model = network.model()
    logits = compiled_predict(model, network.spec)

    def predict(images: np.ndarray) -> jax.Array:
        return jax.nn.softmax(logits(variables, jnp.asarray(images)))

    return Run(
        model=model,
        variables=variables,
        spec=network.spec,
        taxonomy=load_taxonomy(workdir / "taxonomy.json"),
        predict_fn=predict,
        network=network,
    )


def load_variables(workdir: Path, network: Network) -> dict[str, Any]:
    """Reads the variables of a network of a run.

    Args:
      workdir: folder of the run.
      network: which of its networks.

    Returns:
      {"params": ..., "batch_stats": ...}.

    Raises:
      ValueError: its training has not come to its end.
    """
    folder = network.folder(workdir)
    if not is_finished(folder):
        reached = max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)
        raise ValueError(
            f"{folder} holds a network in training, after {reached} of {network.steps} updates; "
            "run its experiment to the end first"
        )
    return load_pretrained(network.backbone, folder / FINAL, len(network.classes))
