"""The networks of a run that answer together, and one compiled forward pass for all of them.

Networks of one backbone differ in their head alone, and the head of every `Backbone` is a dense layer on the averaged
last map. So the body is traced, compiled and read from the compilation cache once, whatever the number of classes,
levels and folds, and a head is a small matrix product behind it. A registered module of another kind is compiled whole,
once for each number of classes.

Bodies and whole networks can be computed by ONNX Runtime in place of JAX. Whatever follows is the same code.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import jax
import numpy as np

from skinjax.data.columns import ColumnCoding
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models.backbones.backbone import Backbone
from skinjax.predict.augmented import DIHEDRAL, FLIPS, Symmetry
from skinjax.predict.forward_pass import (
    body_function,
    compiled_body,
    compiled_head,
    compiled_network,
    network_function,
)
from skinjax.predict.load import load_variables
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_STAGES = ("sub", "meta")
"""Stages that answer where a run has several of a level and none is named."""

Runtime = Literal["jax", "onnx"]
"""Library that computes a forward pass: JAX by XLA, or ONNX Runtime on the CPU."""

_TRANSFORMS: Mapping[str, tuple[Symmetry, ...]] = {
    "none": FLIPS[:1],
    "flips": FLIPS,
    "dihedral": DIHEDRAL,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """Output of one network for some photos.

    Attributes:
      probs: float32[B, K].
      features: What the photos are compared by, float32[B, C] each: `skinjax.predict.forward_pass.texture` of the first
        map and of `early_map`, and the means of the last map; the logits of a network that gives no maps.
      last_map: [B, h, w, C]; None for a network that gives no maps.
    """

    probs: jax.Array | np.ndarray
    features: tuple[jax.Array | np.ndarray, ...]
    last_map: jax.Array | np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """A network with its variables.

    Attributes:
      network: What was trained.
      variables: All of them, as `network.model()` takes them.
      runtime: Library that computes it; ONNX Runtime in float32, whatever the network's precision.
    """

    network: Network
    variables: Mapping[str, Any]
    runtime: Runtime = "jax"

    @functools.cached_property
    def pools(self) -> bool:
        """Says whether the head is known to be a dense layer on the mean of the last map, as every `Backbone`'s is."""
        return isinstance(self.network.model(), Backbone)

    def run(self, images: np.ndarray, columns: pd.DataFrame | None = None) -> Output:
        """Computes what the network says of photos uint8[B, H, W, 3]; arrays may still be under computation.

        Args:
          images: The photos.
          columns: What it reads beside them, at most B rows; what is not there is unknown.
        """
        table = () if self.pools else self.network.table(columns, len(images))
        found = self.forward_pass(images, *table)
        if not self.pools:
            return Output(*found)
        last_map, textures, pooled = found
        probs = compiled_head()(self.kernel, self.bias, pooled, self._precision)
        return Output(probs, (*textures, pooled), last_map)

    @functools.cached_property
    def forward_pass(self) -> Callable[..., Any]:
        """Returns its forward pass of photos and columns in its runtime, without the head where it pools.

        Raises:
          ValueError: ONNX Runtime is not installed, or the network has an operation that ONNX does not.
        """
        network = dataclasses.replace(self.network, precision=self._precision)
        of_body, of_all = (network.backbone, network.precision), (network.model(), network.spec)
        variables = self.body if self.pools else self.variables
        if self.runtime == "jax":
            compiled = compiled_body(*of_body) if self.pools else compiled_network(*of_all)
            return functools.partial(compiled, variables)
        from skinjax.predict.export.onnx_session import onnx_session  # which needs this module

        pure = body_function(*of_body) if self.pools else network_function(*of_all)
        width = network.columns.width if network.columns is not None else 0
        return onnx_session(functools.partial(pure, variables), network.image_size, width)

    @property
    def _precision(self) -> str:
        return self.network.precision if self.runtime == "jax" else "float32"

    @functools.cached_property
    def body(self) -> dict[str, Any]:
        """Returns the variables with a head of one output in place of the network's own."""
        params, head = self.variables["params"], self.network.spec.head
        kernel = params[head]["kernel"]
        blank = {"kernel": np.zeros((kernel.shape[0], 1), np.float32), "bias": np.zeros(1, np.float32)}
        return {**self.variables, "params": {**params, head: blank}}

    @property
    def kernel(self) -> jax.Array:
        """Returns float32[C, K], what the head weighs the averaged features with."""
        kernel: jax.Array = self.variables["params"][self.network.spec.head]["kernel"]
        return kernel

    @property
    def bias(self) -> jax.Array:
        """Returns float32[K], what the head adds."""
        bias: jax.Array = self.variables["params"][self.network.spec.head]["bias"]
        return bias


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a run that answer together.

    Attributes:
      workdir: Folder of the run.
      taxonomy: Taxonomy of the run.
      members: A mapping level -> network for each fold that answers; their probabilities are averaged. The finest
        level is always there.
      fold: Whose networks these are; -1 for all folds.
      image_size: Side of the photos in pixels.
      fit: How a photo becomes square.
      transforms: A photo is answered as the mean over these, as the run's own predictions were.
    """

    workdir: Path
    taxonomy: Taxonomy
    members: tuple[Mapping[str, Loaded], ...]
    fold: int
    image_size: int
    fit: Any
    transforms: tuple[Symmetry, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """Returns the levels with networks of their own, coarsest first."""
        return tuple(level for level in self.taxonomy.levels if level in self.members[0])

    @property
    def stages(self) -> dict[str, str]:
        """Returns the stage of each level's network."""
        return {level: self.members[0][level].network.stage for level in self.levels}

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the names of the columns that its networks read beside a photo."""
        codings = [loaded.network.columns for member in self.members for loaded in member.values()]
        return tuple(dict.fromkeys(name for one in codings if one is not None for name in one.column_names))

    @property
    def coding(self) -> ColumnCoding | None:
        """Returns the encoding of these columns by the first network that reads any; None where none does."""
        codings = [loaded.network.columns for member in self.members for loaded in member.values()]
        return next((one for one in codings if one is not None), None)

    def forward(self, images: np.ndarray, table: pd.DataFrame | None = None) -> Forward:
        """Gives photos to the device, and returns before they are computed.

        Args:
          images: uint8[B, image_size, image_size, 3].
          table: Columns that networks may read beside photos, at most B rows; what is not there is unknown.
        """
        outputs = []
        for member in self.members:
            by_level = {}
            for level, loaded in member.items():
                views = [
                    loaded.run(np.ascontiguousarray(transform(images)), table)
                    for transform in self.transforms
                ]
                by_level[level] = _Views(views[0], tuple(view.probs for view in views))
            outputs.append(by_level)
        return Forward(tuple(outputs), self.taxonomy.finest)


@dataclasses.dataclass(frozen=True, eq=False)
class _Views:
    """Output of a network for the photos as they are, and the probabilities of each transform of them."""

    first: Output
    probs: tuple[jax.Array | np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Forward:
    """Outputs of the networks for some photos; arrays may still be under computation until they are read.

    Attributes:
      outputs: What they say, by fold and level.
      finest: The finest level.
    """

    outputs: tuple[Mapping[str, _Views], ...]
    finest: str

    def probabilities(self) -> dict[str, np.ndarray]:
        """Returns level -> float32[B, K], the mean over folds and transforms."""
        return {
            level: np.mean([np.asarray(p) for out in self.outputs for p in out[level].probs], axis=0)
            for level in self.outputs[0]
        }

    def features(self) -> list[tuple[np.ndarray, ...]]:
        """Returns what each fold's finest network compares photos by; see `Output`."""
        return [tuple(map(np.asarray, out[self.finest].first.features)) for out in self.outputs]

    def last_map(self, level: str, row: int, member: int = 0) -> np.ndarray:
        """Returns the last map of one photo in a level's network, float32[h, w, C].

        Raises:
          ValueError: The network gives no maps.
        """
        last_map = self.outputs[member][level].first.last_map
        if last_map is None:
            raise ValueError(f"level must be that of a network with feature maps, got {level!r}")
        return np.asarray(last_map[row], np.float32)


def load_predictor(
    workdir: str | Path,
    fold: int = 0,
    stages: Sequence[str] = (),
    transforms: str | None = None,
    runtime: Runtime = "jax",
) -> Predictor:
    """Loads the networks of a run that answer together.

    Args:
      workdir: Folder of a run of any experiment that trained networks.
      fold: Whose networks answer; -1 averages those of all folds.
      stages: Which networks, such as `sub` and `meta`, one per level; by default those two, or the only one of a level.
      transforms: `none`, `flips` or `dihedral`; by default as the run predicted (its --test_time_augmentation).
      runtime: Library that computes them; `onnx` needs the extra `export`.

    Returns:
      The predictor.

    Raises:
      ValueError: There is no such run, fold or stage, several networks of a level, none of the finest, one whose
        training has not come to its end, an unknown runtime, or networks that the runtime cannot compute.
    """
    if runtime not in get_args(Runtime):
        raise ValueError(f"runtime must be one of {', '.join(get_args(Runtime))}, got {runtime!r}")
    if runtime == "onnx":
        from skinjax.predict.export.onnx_session import check_installed

        check_installed()
    workdir = Path(workdir)
    run = RunFolder.read(workdir)
    run.check_published()
    options, taxonomy, folds = run.options, run.taxonomy, run.folds
    if not folds:
        raise ValueError(no_networks(run))
    if fold >= 0 and fold not in folds:
        raise ValueError(
            f"fold={fold} must be a fold with networks of {workdir}, which are {', '.join(map(str, folds))}"
        )
    members = []
    for number in folds if fold < 0 else [fold]:
        chosen = _choose(run, number, taxonomy, tuple(stages))
        members.append(
            {
                level: Loaded(network, load_variables(workdir, network), runtime)
                for level, network in chosen.items()
            }
        )
    sizes = {loaded.network.image_size for member in members for loaded in member.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"{workdir}: networks of different image sizes cannot answer together: {sorted(sizes)}"
        )
    if len({tuple(member) for member in members}) > 1:
        raise ValueError(
            f"{workdir}: the folds have networks of different levels, so one of them must answer; give fold=K, "
            "without ensemble"
        )
    name = transforms or options.get("test_time_augmentation") or "none"
    if name not in _TRANSFORMS:
        raise ValueError(f"transforms must be one of {', '.join(_TRANSFORMS)}, got {name!r}")
    return Predictor(
        workdir=workdir,
        taxonomy=taxonomy,
        members=tuple(members),
        fold=fold,
        image_size=sizes.pop(),
        fit=options.get("fit") or "stretch",
        transforms=_TRANSFORMS[name],
    )


def no_networks(run: RunFolder) -> str:
    """Returns a sentence that says why a run's folder holds no network, and what to do instead.

    Args:
      run: A run without networks.
    """
    if run.study == "probe" and run.options.get("features"):
        files = ", ".join(map(str, run.options["features"]))
        return (
            f"workdir={run.path} holds no network: its heads read the features in {files}, and the network that made "
            "these is not known here, so that no photo can be turned into such features; to answer photos, run "
            "`skinjax probe` on photos (--manifest, --backbone) or on a features file that `skinjax features` wrote"
        )
    return (
        f"workdir={run.path} holds no network: it has no checkpoints/fold_0, as training has not come so far"
    )


def _choose(run: RunFolder, fold: int, taxonomy: Taxonomy, stages: tuple[str, ...]) -> dict[str, Network]:
    """Returns one network per level, coarsest level first."""
    folder, there = f"{run.path}, fold={fold},", run.networks(fold)
    if unknown := [stage for stage in stages if stage not in {network.stage for network in there}]:
        names = ", ".join(network.stage for network in there) or "none"
        raise ValueError(f"{folder} has no network {unknown[0]!r}; there are: {names}")
    chosen = {}
    for level in taxonomy.levels:
        # A binary network, or one of other classes, says nothing of the taxonomy's.
        of_level = [n for n in there if n.level == level and n.classes == taxonomy.classes(level)]
        eligible = [n for n in of_level if n.stage in (stages or DEFAULT_STAGES)]
        if not stages and not eligible and len(of_level) == 1:
            eligible = of_level
        if len(eligible) > 1 or (not stages and not eligible and of_level):
            names = ", ".join(n.stage for n in of_level)
            raise ValueError(f"{folder} has several networks of level {level!r}: {names}; name one in stages")
        if eligible:
            chosen[level] = eligible[0]
    if taxonomy.finest not in chosen:
        names = ", ".join(f"{n.stage} ({n.level})" for n in there) or "none"
        raise ValueError(
            f"{folder} has no network of the level {taxonomy.finest!r} to answer with; there are: {names}"
        )
    return chosen
