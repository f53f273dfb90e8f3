"""The networks of a run that answer together, and one compiled forward pass for all of them.

Networks of one backbone differ in their head alone, and every family's head is a dense layer on the averaged last
map (`skinjax.models.features`). So the body is traced, compiled and read from the compilation cache once, whatever
the number of classes, levels and folds, and a head is a small matrix product behind it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.models import registry
from skinjax.models.compilation import compiler_options
from skinjax.models.features import map_names
from skinjax.models.pixels import normalize
from skinjax.predict.augmented import DIHEDRAL, FLIPS, Symmetry
from skinjax.predict.load import load_variables
from skinjax.train.network import Network

DEFAULT_STAGES = ("sub", "meta")
"""Stages that answer where a run has several of a level and none is named."""

_TRANSFORMS: Mapping[str, tuple[Symmetry, ...]] = {
    "none": FLIPS[:1],
    "flips": FLIPS,
    "dihedral": DIHEDRAL,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """A network with its variables.

    Attributes:
      network: what was trained.
      variables: all of them, as `network.model()` takes them.
    """

    network: Network
    variables: Mapping[str, Any]

    @functools.cached_property
    def body(self) -> dict[str, Any]:
        """The variables with a head of one output in place of the network's own."""
        params, head = self.variables["params"], self.network.spec.head
        kernel = params[head]["kernel"]
        blank = {"kernel": np.zeros((kernel.shape[0], 1), np.float32), "bias": np.zeros(1, np.float32)}
        return {**self.variables, "params": {**params, head: blank}}

    @property
    def kernel(self) -> jax.Array:
        """float32[C, K], what the head weighs the averaged features with."""
        kernel: jax.Array = self.variables["params"][self.network.spec.head]["kernel"]
        return kernel

    @property
    def bias(self) -> jax.Array:
        """float32[K], what the head adds."""
        bias: jax.Array = self.variables["params"][self.network.spec.head]["bias"]
        return bias


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a run that answer together.

    Attributes:
      workdir: folder of the run.
      taxonomy: of the run.
      members: a mapping level -> network for each fold that answers; their probabilities are averaged. The finest
        level is always there.
      fold: whose networks these are; -1 for all folds.
      image_size: side of the photos in pixels.
      fit: how a photo becomes square.
      transforms: a photo is answered as the mean over these, as the run's own predictions were.
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
        """Levels with networks of their own, coarsest first."""
        return tuple(level for level in self.taxonomy.levels if level in self.members[0])

    @property
    def stages(self) -> dict[str, str]:
        """The stage of each level's network."""
        return {level: self.members[0][level].network.stage for level in self.levels}

    def forward(self, images: np.ndarray) -> Forward:
        """Gives photos to the device, and returns before they are computed.

        Args:
          images: uint8[B, image_size, image_size, 3].
        """
        outputs = []
        for member in self.members:
            by_level = {}
            for level, loaded in member.items():
                run, read = compiled_body(loaded.network.backbone, loaded.network.precision), compiled_head()
                views = []
                for transform in self.transforms:
                    views.append(run(loaded.body, np.ascontiguousarray(transform(images))))
                probs = tuple(
                    read(loaded.kernel, loaded.bias, pooled, loaded.network.precision)
                    for _, _, pooled in views
                )
                last_map, *features = views[0]
                by_level[level] = _Output(probs, tuple(features), last_map)
            outputs.append(by_level)
        return Forward(tuple(outputs), self.taxonomy.finest)


@dataclasses.dataclass(frozen=True, eq=False)
class _Output:
    probs: tuple[jax.Array, ...]
    features: tuple[jax.Array, ...]
    last_map: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Forward:
    """What the networks say of some photos; arrays may still be under computation until they are read.

    Attributes:
      outputs: by fold and level.
      finest: the finest level.
    """

    outputs: tuple[Mapping[str, _Output], ...]
    finest: str

    def probabilities(self) -> dict[str, np.ndarray]:
        """Level -> float32[B, K], the mean over folds and transforms."""
        return {
            level: np.mean([np.asarray(p) for out in self.outputs for p in out[level].probs], axis=0)
            for level in self.outputs[0]
        }

    def features(self) -> list[tuple[np.ndarray, ...]]:
        """Of each fold's finest network, the means of `early_map` and of the last map: two float32[B, C]."""
        return [tuple(map(np.asarray, out[self.finest].features)) for out in self.outputs]

    def last_map(self, level: str, row: int, member: int = 0) -> np.ndarray:
        """float32[h, w, C], the last map of one photo in a level's network."""
        return np.asarray(self.outputs[member][level].last_map[row], np.float32)


def early_map(spec: registry.ModelSpec) -> str:
    """The map a third of the way into a backbone: it still knows texture, which the last one may have dropped.

    >>> early_map(registry.spec("efficientnet_b0"))
    'block_05'
    """
    names = map_names(spec)
    return names[len(names) // 3]


@functools.lru_cache(maxsize=16)
def compiled_body(backbone: str, precision: str) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
    """The jitted function (variables, uint8[B, H, W, 3]) -> last map [B, h, w, C], and the means of two maps.

    Args:
      backbone: name in the registry.
      precision: dtype of the computation.

    Returns:
      The function; its variables have a head of one output, as `Loaded.body`. The means are float32[B, C] each, of
      `early_map` and of the last map.
    """
    spec = registry.spec(backbone)
    model = registry.create(backbone, 1, dtype=jnp.dtype(precision))
    early, last = early_map(spec), map_names(spec)[-1]

    def run(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        named = model.apply(variables, normalize(images, spec), features=True)
        return named[last], named[early].astype(jnp.float32).mean(axis=(1, 2)), named["pooled"]

    return jax.jit(run, compiler_options=compiler_options())


@functools.cache
def compiled_head() -> Callable[..., jax.Array]:
    """The jitted function (kernel, bias, pooled, precision) -> probabilities float32[B, K], as the head computes."""

    def read(kernel: jax.Array, bias: jax.Array, pooled: jax.Array, precision: str) -> jax.Array:
        dtype = jnp.dtype(precision)
        logits = pooled.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)
        return jax.nn.softmax(logits.astype(jnp.float32))

    return jax.jit(read, static_argnames="precision")


def load_predictor(
    workdir: str | Path, fold: int = 0, stages: Sequence[str] = (), transforms: str | None = None
) -> Predictor:
    """Loads the networks of a run that answer together.

    Args:
      workdir: folder of a run of any experiment that trained networks.
      fold: whose networks answer; -1 averages those of all folds.
      stages: which networks, such as `sub` and `meta`, one a level; by default those two, or the only one of a level.
      transforms: `none`, `flips` or `dihedral`; by default as the run predicted (its --test_time_augmentation).

    Returns:
      The predictor.

    Raises:
      ValueError: no such run, fold or stage, several networks of a level, none of the finest, or one whose training
        has not come to its end.
    """
    workdir = Path(workdir)
    flags = run_flags(workdir)
    taxonomy = load_taxonomy(workdir / "taxonomy.json")
    folds = sorted(
        int(path.name.removeprefix("fold_"))
        for path in (workdir / "checkpoints").glob("fold_*")
        if path.name.removeprefix("fold_").isdecimal()
    )
    if not folds:
        raise ValueError(f"{workdir} holds no network: it has no checkpoints/fold_0")
    if fold >= 0 and fold not in folds:
        raise ValueError(f"{workdir} has no networks of fold {fold}, only of {', '.join(map(str, folds))}")
    members = []
    for number in folds if fold < 0 else [fold]:
        chosen = _choose(workdir, number, taxonomy, tuple(stages))
        members.append(
            {level: Loaded(network, load_variables(workdir, network)) for level, network in chosen.items()}
        )
    sizes = {loaded.network.image_size for member in members for loaded in member.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"{workdir}: networks of different image sizes cannot answer together: {sorted(sizes)}"
        )
    if len({tuple(member) for member in members}) > 1:
        raise ValueError(f"{workdir}: the folds have networks of different levels; name one --fold")
    name = transforms or flags.get("test_time_augmentation") or "none"
    if name not in _TRANSFORMS:
        raise ValueError(f"transforms must be one of {', '.join(_TRANSFORMS)}, got {name!r}")
    return Predictor(
        workdir=workdir,
        taxonomy=taxonomy,
        members=tuple(members),
        fold=fold,
        image_size=sizes.pop(),
        fit=flags.get("fit") or "stretch",
        transforms=_TRANSFORMS[name],
    )


def run_flags(workdir: Path) -> dict[str, Any]:
    """The flags that a run was made with, from its `config.json`.

    Raises:
      ValueError: the folder is no run's.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise ValueError(f"{workdir} is not the folder of a run: it has no config.json")
    try:
        flags = json.loads(path.read_text(encoding="utf-8"))["flags"]
        flags.get("fit")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not the configuration of a run") from error
    return dict(flags)


def _choose(workdir: Path, fold: int, taxonomy: Taxonomy, stages: tuple[str, ...]) -> dict[str, Network]:
    """One network a level, coarsest level first."""
    folder = workdir / "checkpoints" / f"fold_{fold}"
    there = [Network.read(path) for path in sorted(folder.glob("*.json"))]
    if unknown := [stage for stage in stages if stage not in {network.stage for network in there}]:
        names = ", ".join(network.stage for network in there) or "none"
        raise ValueError(f"{folder} has no network {unknown[0]!r}; there are: {names}")
    chosen = {}
    for level in taxonomy.levels:
        # A binary network, or one of other classes, says nothing of the taxonomy's.
        of_level = [n for n in there if n.level == level and n.classes == taxonomy.classes(level)]
        wanted = [n for n in of_level if n.stage in (stages or DEFAULT_STAGES)]
        if not stages and not wanted and len(of_level) == 1:
            wanted = of_level
        if len(wanted) > 1 or (not stages and not wanted and of_level):
            names = ", ".join(n.stage for n in of_level)
            raise ValueError(
                f"{folder} has several networks of level {level!r}: {names}; name one in --stages"
            )
        if wanted:
            chosen[level] = wanted[0]
    if taxonomy.finest not in chosen:
        names = ", ".join(f"{n.stage} ({n.level})" for n in there) or "none"
        raise ValueError(
            f"{folder} has no network of the level {taxonomy.finest!r} to answer with; there are: {names}"
        )
    return chosen
