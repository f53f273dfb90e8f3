"""A finished run as a function from photos to probabilities."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from skinjax.labels.taxonomy import Taxonomy
from skinjax.models import registry
from skinjax.models.backbones.backbone import Backbone
from skinjax.models.pixels import normalize
from skinjax.models.registry import ModelSpec
from skinjax.models.weights import hub
from skinjax.models.weights.orbax_folders import open_orbax
from skinjax.models.weights.safetensors_files import open_safetensors
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.train.checkpoints import FINAL, is_finished
from skinjax.train.step import compiled_predict

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.predict.decisions import DecisionOptions
    from skinjax.predict.networks import Predictor, Runtime
    from skinjax.predict.photos import AnswerContext


_ROUNDING = 1e-3  # how far resizing or colour conversion may take a pixel out of [0, 1]

FITS = 8
"""Sets of options whose fits a run keeps, the last used ones."""


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A network of a run, ready to predict.

    Attributes:
      workdir: Folder of the run.
      model: The Linen module; `model.apply(variables, images, train=False)`.
      variables: Its parameters and BatchNorm statistics.
      spec: Its backbone's specification.
      taxonomy: Taxonomy of the run.
      predict_fn: Jitted, uint8[N, image_size, image_size, 3] -> float32[N, K] probabilities, K the classes
        of `network.level`. Where the network reads columns, a frame of them may come second, a row per photo.
      network: What was trained: stage, fold, level, class names, image size.
    """

    workdir: Path
    model: nn.Module
    variables: dict[str, Any]
    spec: ModelSpec
    taxonomy: Taxonomy
    predict_fn: Callable[..., jax.Array]
    network: Network

    def __repr__(self) -> str:
        network = self.network
        return (
            f"Run({self.workdir}: {network.stage} of fold {network.fold}, {network.backbone} at {network.image_size} "
            f"pixels, {len(network.classes)} classes of level {network.level})"
        )

    def apply(self, images: jax.Array, columns: pd.DataFrame | None = None) -> jax.Array:
        """Computes logits, as a pure function of pixels that jit, grad and vmap trace.

        Args:
          images: [..., H, W, 3], uint8 in 0..255 or floating in [0, 1].
          columns: What the network reads beside photos, a row per photo, counted over all leading axes; what is not
            there is unknown.

        Returns:
          float32[..., K], not calibrated; `jax.nn.softmax` makes probabilities of them.

        Raises:
          ValueError: The shape or dtype is another, or floating photos, where they are no tracer, leave [0, 1].
        """
        images = jnp.asarray(images)
        if images.ndim < 3:
            raise ValueError(f"images must be of shape [..., H, W, 3], got {list(images.shape)}")
        if (
            jnp.issubdtype(images.dtype, jnp.floating)
            and not isinstance(images, jax.core.Tracer)
            and images.size
        ):
            low, high = float(images.min()), float(images.max())
            if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
                raise ValueError(
                    f"images must be floating in [0, 1] or uint8 in 0..255, got {images.dtype} from {low:g} to {high:g}"
                )
        batch = images.reshape(-1, *images.shape[-3:])
        table = self.network.table(columns, len(batch))
        logits = self.model.apply(self.variables, normalize(batch, self.spec), *table, train=False)
        return logits.astype(jnp.float32).reshape(*images.shape[:-3], -1)

    def predict(
        self,
        photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | pd.DataFrame,
        columns: pd.DataFrame | None = None,
        *,
        runtime: Runtime = "jax",
        **options: Any,
    ) -> pd.DataFrame:
        """Answers photos: by the networks of this fold together, calibrated, with sets and reasons.

        Networks are read once per runtime, and what answers rest on is fitted once per runtime and options, of which
        the last `FITS` are kept.

        Args:
          photos: Photos and folders of photos, or a single one; or a frame with a column `image` and the columns that
            networks read beside the photos.
          columns: What networks may read beside the photos, a row for each of `photos`, which are then no folders.
          runtime: Library that computes the networks, `jax` or `onnx`, which needs the extra `export`.
          options: Those of `skinjax.predict.decisions.DecisionOptions`, such as `coverage`.

        Returns:
          A row per photo, in order: the most probable class of every level with its calibrated probability,
          `diagnosis` or the `reasons` for giving none, the conformal set, score and degree of malignancy, `urgency` and
          `advice` where the run has degrees, and every finest class's probability. A photo that cannot be read has an
          `error`.

        Raises:
          ValueError: Pixels in place of photos' names, an option that is unknown or out of range, or networks that
            cannot answer together.
        """
        pixels: Any = photos
        if getattr(getattr(pixels, "dtype", None), "kind", "O") in "biufV":
            raise ValueError(
                f"photos must be names of photos and folders, got an array {pixels.dtype}{list(pixels.shape)}; "
                "predict_fn takes pixels"
            )
        from skinjax.predict.networks import DEFAULT_STAGES, load_predictor
        from skinjax.predict.table import answers_table, decision_options

        if runtime not in self._predictors:
            network = self.network
            alone = network.level == self.taxonomy.finest and network.stage not in DEFAULT_STAGES
            stages = (network.stage,) if alone else ()
            self._predictors[runtime] = load_predictor(self.workdir, network.fold, stages, runtime=runtime)
        predictor = self._predictors[runtime]
        context = self._context(predictor, decision_options(predictor, **options))
        return answers_table(predictor, context, photos, columns)

    @functools.cached_property
    def _predictors(self) -> dict[Runtime, Predictor]:
        return {}

    @functools.cached_property
    def _context(self) -> Callable[[Predictor, DecisionOptions], AnswerContext]:
        from skinjax.predict.table import answer_context

        return functools.lru_cache(maxsize=FITS)(answer_context)


def load_run(workdir: str | os.PathLike[str], stage: str = "", fold: int = 0) -> Run:
    """Loads a network that a study trained.

    Args:
      workdir: Folder of the run; one that `skinjax export --format=hub` wrote, or its name on the Hub, such as
        `hf:clinic/skin`.
      stage: Which of its networks, such as `sub` or `meta`; empty for the study's main one.
      fold: The one that has not seen this fold.

    Returns:
      The network and a function that predicts.

    Raises:
      FileNotFoundError: The run has no such network; the message names the file.
      ValueError: Its training has not come to its end.
    """
    workdir = hub.fetch_folder(str(workdir)) if str(workdir).startswith(hub.PREFIX) else Path(workdir)
    folder = RunFolder.read(workdir)
    folder.check_published()
    network = folder.network(stage, fold)
    variables = load_variables(workdir, network)
    model = network.model()
    logits = compiled_predict(model, network.spec)

    def predict(images: np.ndarray, columns: pd.DataFrame | None = None) -> jax.Array:
        if (dtype := getattr(images, "dtype", None)) != np.uint8:
            raise ValueError(
                f"images must be uint8 in 0..255, got {dtype or type(images).__name__}; Run.apply takes [0, 1]"
            )
        size = network.image_size
        if len(images.shape) != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images must be of shape [N, image_size, image_size, 3] with image_size {size}, "
                f"got {list(images.shape)}"
            )
        table = network.table(columns, len(images))
        return jax.nn.softmax(logits(variables, jnp.asarray(images), *table))

    return Run(
        workdir=workdir,
        model=model,
        variables=variables,
        spec=network.spec,
        taxonomy=folder.taxonomy,
        predict_fn=predict,
        network=network,
    )


def finished_folder(workdir: Path, network: Network) -> Path:
    """Returns the folder of a network's checkpoints.

    Raises:
      ValueError: Its training has not come to its end.
    """
    folder = RunFolder(workdir, "").checkpoints(network)
    if not is_finished(folder):
        reached = max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)
        raise ValueError(
            f"{folder} holds a network in training, after {reached} of {network.steps} updates; "
            "run its command to the end first"
        )
    return folder


def _holds(shapes: Mapping[str, tuple[int, ...]], network: Network) -> bool:
    """Says whether arrays of these names and shapes are a network's variables."""
    spec, model = network.spec, network.model()
    if not isinstance(model, Backbone):
        own = traverse_util.flatten_dict(registry.variable_shapes(model), sep="/")
        return dict(shapes) == {name: leaf.shape for name, leaf in own.items()}
    # By names and the head's shape alone, as tracing takes seconds.
    parts = {name.split("/")[1] for name in shapes if name.startswith("params/")}
    layers = {*spec.block_names, spec.head}
    others = set().union(*(registry.spec(name).block_names for name in registry.list_models()))
    head = shapes.get(f"params/{spec.head}/kernel")
    return layers == parts & (layers | others) and head == (spec.feature_width, len(network.classes))


def load_variables(workdir: Path, network: Network) -> dict[str, Any]:
    """Reads the variables of a network of a run, without tracing the network.

    Args:
      workdir: Folder of the run.
      network: Which of its networks.

    Returns:
      {"params": ..., "batch_stats": ...}, the latter where there is batch normalisation, on the device.

    Raises:
      ValueError: Its training has not come to its end, or another network's variables lie there.
    """
    published = RunFolder(workdir, "").weights_file(network)
    place = published or finished_folder(workdir, network) / FINAL
    stored = open_safetensors(place) if published else open_orbax(place)
    if not _holds(stored.shapes, network):
        name, count = network.backbone, len(network.classes)
        raise ValueError(f"{place} does not hold {name} with {count} classes")
    values = stored.read(stored.shapes)
    if bad := [name for name, array in values.items() if not np.isfinite(array).all()]:
        raise ValueError(f"{place} holds values in {bad[0]} that are not finite")
    variables: dict[str, Any] = traverse_util.unflatten_dict(
        {tuple(name.split("/")): array for name, array in values.items()}
    )
    return jax.device_put(variables)
