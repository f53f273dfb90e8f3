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
from flax import traverse_util

from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.models import registry
from skinjax.models.pretrained import load_pretrained
from skinjax.models.registry import ModelSpec
from skinjax.models.stored_orbax import open_orbax
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
    variables = load_pretrained(
        network.backbone, finished_folder(workdir, network) / FINAL, len(network.classes)
    )
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


def finished_folder(workdir: Path, network: Network) -> Path:
    """The folder of a network's checkpoints.

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
    return folder


def load_variables(workdir: Path, network: Network) -> dict[str, Any]:
    """Reads the variables of a network of a run, without tracing the network as `load_run` does: four times as fast.

    Args:
      workdir: folder of the run.
      network: which of its networks.

    Returns:
      {"params": ..., "batch_stats": ...}, on the device.

    Raises:
      ValueError: its training has not come to its end, or another network's variables lie there.
    """
    folder, spec = finished_folder(workdir, network), network.spec
    stored = open_orbax(folder / FINAL)
    head = f"params/{spec.head}/kernel"
    parts = {name.split("/")[1] for name in stored.shapes if name.startswith("params/")}
    wanted = {*spec.block_names, spec.head}
    others = set().union(*(registry.spec(name).block_names for name in registry.list_models()))
    shape = (spec.feature_width, len(network.classes))
    if (
        not wanted <= parts
        or any(part not in wanted for part in parts if part in others)
        or stored.shapes.get(head) != shape
    ):
        raise ValueError(f"{folder / FINAL} does not hold {spec.name} with {len(network.classes)} classes")
    values = stored.read(stored.shapes)
    if bad := [name for name, array in values.items() if not np.isfinite(array).all()]:
        raise ValueError(f"{folder / FINAL} holds values in {bad[0]} that are not finite")
    variables: dict[str, Any] = traverse_util.unflatten_dict(
        {tuple(name.split("/")): array for name, array in values.items()}
    )
    return jax.device_put(variables)
