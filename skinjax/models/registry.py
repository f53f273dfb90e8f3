"""The backbones by name: what there is, what is known of each, and how to make one.

    model = create("efficientnet_b0", num_classes=19)
    variables = init_variables(model, jax.random.key(0))
    logits = model.apply(variables, normalize(photos, spec("efficientnet_b0")))

A family is its specs by name and `build`, which makes the network of a spec. `register` adds one of your own.
"""

from __future__ import annotations

import dataclasses
import difflib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import densenet, efficientnet, inception_resnet_v2, inception_v3, xception
from skinjax.models.layers import fan_in_limit, fan_out_deviation
from skinjax.models.spec import ModelSpec

Build = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class _Family:
    specs: Mapping[str, ModelSpec]
    build: Build


_FAMILIES: tuple[_Family, ...] = tuple(
    _Family(module.SPECS, module.build)
    for module in (efficientnet, inception_v3, inception_resnet_v2, xception, densenet)
)


def register(specs: Mapping[str, ModelSpec], build: Build) -> None:
    """Adds a family of backbones, which every function and experiment of this process then takes by name.

    The network's top-level layers bear the names that its spec lists, which is what `skinjax.models.transfer` carries
    over, and its kernels, scales and biases those that Flax's and `skinjax.models.layers`' layers give them, which is
    what `init_variables` draws.

    Args:
      specs: the family's specs by their names, which no other backbone has.
      build: called as `build(spec, num_classes, dtype=, axis_name=, dropout_rate=, drop_path_rate=, bn_momentum=)`;
        gives a Flax Linen module with an attribute `num_classes`, called as `create` says.

    Raises:
      ValueError: a name that is taken, or that is not its spec's own.
    """
    global _FAMILIES
    for name, row in specs.items():
        if row.name != name:
            raise ValueError(f"specs wants each spec under its own name, not {row.name} under {name}")
        if name in list_models():
            raise ValueError(f"specs wants names of its own, but there is a backbone {name} already")
    _FAMILIES = (*_FAMILIES, _Family(dict(specs), build))


def list_models() -> tuple[str, ...]:
    """Names of all backbones, family by family.

    Example:
      >>> list_models()[:2]
      ('efficientnet_b0', 'efficientnet_b1')
    """
    return tuple(name for family in _FAMILIES for name in family.specs)


def spec(name: str) -> ModelSpec:
    """What is known of a backbone.

    Args:
      name: one of `list_models()`.

    Raises:
      ValueError: there is no such backbone; the nearest names are given.

    Example:
      >>> spec("efficientnet_b6").image_size, len(spec("efficientnet_b6").block_names)
      (528, 45)
    """
    return _family(name).specs[name]


def create(
    name: str,
    num_classes: int,
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    dropout_rate: float | None = None,
    drop_path_rate: float | None = None,
    bn_momentum: float | None = None,
) -> Any:
    """Makes a backbone with a new head.

    Args:
      name: one of `list_models()`.
      num_classes: outputs of the head.
      dtype: floating dtype of the computation, such as `jnp.bfloat16`; parameters stay float32.
      axis_name: mapped axis over which batch statistics are averaged; for `jax.pmap` only.
      dropout_rate: overrides the spec's; in [0, 1).
      drop_path_rate: overrides the spec's; in [0, 1), and 0 for families whose paper has no stochastic depth.
      bn_momentum: overrides the spec's; in [0, 1).

    Returns:
      A Flax Linen module: `model.apply(variables, images float32[N, H, W, 3], train=False)` gives logits
      float32 [N, num_classes].

    Raises:
      ValueError: an unknown name, or an argument out of its range.

    Example:
      >>> create("efficientnet_nano", num_classes=6).num_classes
      6
    """
    if num_classes < 1:
        raise ValueError(f"num_classes wants at least 1, not {num_classes}")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype wants a floating dtype, not {jnp.dtype(dtype)}")
    rates = {"dropout_rate": dropout_rate, "drop_path_rate": drop_path_rate, "bn_momentum": bn_momentum}
    for argument, value in rates.items():
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"{argument} wants a number in [0, 1), not {value}")
    row = spec(name)
    if drop_path_rate and row.family != "efficientnet" and not row.drop_path_rate:
        raise ValueError(
            f"drop_path_rate wants 0 for {name}, which has no stochastic depth, not {drop_path_rate}"
        )
    rates = {key: getattr(row, key) if value is None else value for key, value in rates.items()}
    return _family(name).build(row, num_classes, dtype=dtype, axis_name=axis_name, **rates)


def variable_shapes(model: Any) -> Mapping[str, Any]:
    """The shapes and dtypes of a model's variables, without computing any.

    Args:
      model: what `create` made.

    Returns:
      {"params": ..., "batch_stats": ...} with `jax.ShapeDtypeStruct` leaves.
    """
    # No variable's shape depends on the photos' size, so a small one that every backbone takes keeps the trace cheap.
    images = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    shapes: Mapping[str, Any] = jax.eval_shape(model.init, jax.random.key(0), images)
    return shapes


def init_variables(model: Any, key: jax.Array) -> dict[str, Any]:
    """Fresh variables from the distributions of the layers' own initialisers, in a fraction of the time.

    `model.init` compiles a random draw for every parameter, half a minute for EfficientNet-B6; this traces
    the shapes and draws with NumPy. Every array has a random stream of its own, from the key and the
    array's name: another number of classes leaves the rest of the network as it was.

    Args:
      model: what `create` made.
      key: random key (`jax.random.key` or the older `jax.random.PRNGKey`).

    Returns:
      {"params": ..., "batch_stats": ...}, float32.

    Example:
      >>> model = create("efficientnet_nano", num_classes=19)
      >>> variables = init_variables(model, jax.random.key(0))
      >>> variables["params"]["head"]["kernel"].shape
      (640, 19)
    """
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = [int(word) for word in np.asarray(jax.random.key_data(key) if typed else key).ravel()]

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = "/".join(str(part.key) for part in path)
        generator = np.random.default_rng([*words, zlib.crc32(name.encode())])
        return jnp.asarray(_draw(name, leaf.shape, generator), leaf.dtype)

    variables: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, dict(variable_shapes(model)))
    return variables


def _draw(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """What the layers' initialisers would give a parameter or statistic of this name, by Linen's naming."""
    kind = name.rsplit("/", 1)[-1]
    if kind == "kernel" and len(shape) == 4:
        normal = generator.standard_normal(shape, np.float32)
        return np.multiply(normal, np.float32(fan_out_deviation(shape)), out=normal)
    if kind == "kernel" and len(shape) == 2:
        limit = fan_in_limit(shape)
        return generator.uniform(-limit, limit, shape)
    if kind in ("scale", "var"):
        return np.ones(shape, np.float32)
    if kind in ("bias", "mean"):
        return np.zeros(shape, np.float32)
    raise ValueError(f"init_variables knows no rule for {name} of shape {shape}")


def _family(name: str) -> _Family:
    """The family whose specs hold the name."""
    for family in _FAMILIES:
        if name in family.specs:
            return family
    nearest = difflib.get_close_matches(str(name), list_models(), n=3, cutoff=0.3) or list_models()
    raise ValueError(f'there is no backbone "{name}"; the nearest names are {", ".join(nearest)}')
