"""The backbones by name: which there are, what is known of each, and how to make one.

    model = create("efficientnet_b0", num_classes=19)
    variables = init_variables(model, jax.random.key(0))
    logits = model.apply(variables, normalize(photos, spec("efficientnet_b0")))

A family is its specs by name and `build`, which makes the network of a spec. `register` adds another, of any Flax Linen
module: a subclass of `skinjax.models.backbones.backbone.Backbone`, or a network that knows nothing of skinjax.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.errors import LazyInitError

from skinjax.files.keys import check_key
from skinjax.models.backbones import densenet, efficientnet, inception_resnet_v2, inception_v3, xception
from skinjax.models.backbones.backbone import Backbone
from skinjax.models.ops.layers import Conv, DepthwiseConv, fan_in_limit, fan_in_uniform, fan_out_deviation
from skinjax.models.ops.normalization import BatchNorm
from skinjax.models.spec import ModelSpec

Build = Callable[..., nn.Module]

IMAGENET_CLASSES = 1000
"""Classes of the weights that are published for ImageNet."""


@dataclasses.dataclass(frozen=True)
class _Family:
    specs: Mapping[str, ModelSpec]
    build: Build


_FAMILIES: tuple[_Family, ...] = (
    _Family(efficientnet.SPECS, efficientnet.EfficientNet),
    _Family(inception_v3.SPECS, inception_v3.InceptionV3),
    _Family(inception_resnet_v2.SPECS, inception_resnet_v2.InceptionResNetV2),
    _Family(xception.SPECS, xception.Xception),
    _Family(densenet.SPECS, densenet.DenseNet),
)


def register(specs: Mapping[str, ModelSpec], build: Build) -> None:
    """Adds a family of backbones, which every function and study of this process then takes by name.

    Any Flax Linen module will do that is called as `module(images, *, train=False)` and returns logits [N, classes]:

    * Top-level names of its variables are those that its spec lists (`ModelSpec.layers`), for transfer and freezing.
    * Its variables are parameters and, where it has batch normalisation, "batch_stats". Where it has, an attribute
      `axis_name` lets `jax.pmap` average the statistics of several devices.
    * With arguments `features` and `offsets`, as `skinjax.models.backbones.backbone.Backbone` has them (and
      `FeatureMaps` makes them), it can be explained by Grad-CAM; without, it is trained and predicts all the same.
    * With an argument `head` too, as `Backbone` has it, it can read columns beside photos (`skinjax.models.metadata`).
    * A variable whose shape depends on the photos' size has that of the spec's `image_size`.

    Args:
      specs: The family's specs by their names, which no other backbone has.
      build: Function called as `build(spec, num_classes, **options)` that returns the module. Of the options `dtype`,
        `axis_name`, `dropout_rate`, `drop_path_rate` and `bn_momentum` it gets those that it has arguments for, with
        the values that `create` describes; all of them where it takes `**options`.

    Raises:
      ValueError: A name is taken, or is not its spec's own.
    """
    global _FAMILIES
    for name, row in specs.items():
        if row.name != name:
            raise ValueError(f"specs must hold each spec under its own name, got {row.name} under {name}")
        if name in list_models():
            raise ValueError(f"specs must have names that are free, got {name}, which is a backbone already")
    _FAMILIES = (*_FAMILIES, _Family(dict(specs), build))


def list_models() -> tuple[str, ...]:
    """Returns the names of all backbones, family by family.

    Example:
      >>> list_models()[:2]
      ('efficientnet_b0', 'efficientnet_b1')
    """
    return tuple(name for family in _FAMILIES for name in family.specs)


def spec(name: str) -> ModelSpec:
    """Returns what is known of a backbone.

    Args:
      name: One of `list_models()`.

    Raises:
      ValueError: There is no such backbone; the nearest names are given.

    Example:
      >>> spec("efficientnet_b6").image_size, len(spec("efficientnet_b6").block_names)
      (528, 45)
    """
    return _family(name).specs[name]


def create(
    name: str,
    num_classes: int = IMAGENET_CLASSES,
    *,
    pretrained: str | os.PathLike[str] | None = None,
    key: jax.Array | None = None,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    dropout_rate: float | None = None,
    drop_path_rate: float | None = None,
    bn_momentum: float | None = None,
) -> Any:
    """Makes a backbone with a head of so many classes; with `pretrained`, its variables too.

        model = create("efficientnet_lite0", 19)
        model, variables = create("efficientnet_lite0", 19, pretrained="imagenet")

    Args:
      name: One of `list_models()`.
      num_classes: Outputs of the head; by default those of ImageNet, 1000.
      pretrained: Weights to load, as the `path` of `skinjax.models.pretrained.load_pretrained`: a file, a checkpoint
        folder, a hub name or "imagenet". None makes the module alone, whose variables `init_variables` draws.
      key: Random key of a head that the weights do not hold, with `pretrained`; `jax.random.key(0)` by default.
      dtype: Floating dtype of the computation, such as `jnp.bfloat16`; parameters stay float32.
      axis_name: Mapped axis over which batch statistics are averaged; for `jax.pmap` only.
      dropout_rate: Overrides the spec's; in [0, 1).
      drop_path_rate: Overrides the spec's; in [0, 1), and 0 for networks without stochastic depth.
      bn_momentum: Overrides the spec's; in [0, 1). Networks that take none, having no batch normalisation, ignore it.

    Returns:
      A Flax Linen module with an attribute `num_classes`: `model.apply(variables, images float32[N, H, W, 3],
      train=False)` gives logits float32 [N, num_classes]. With `pretrained` the module and its variables,
      {"params": ..., "batch_stats": ...}, the latter as `load_pretrained` returns them.

    Raises:
      ValueError: The name is unknown, or an argument is out of its range or one that the network does not take; the
        weights cannot be read or are of another network.

    Example:
      >>> create("efficientnet_nano", num_classes=6).num_classes
      6
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if pretrained is not None and (isinstance(pretrained, bool) or not os.fspath(pretrained)):
        raise ValueError(
            f'pretrained must be a file, a folder, a hub name or "imagenet", or None for no weights, got {pretrained!r}'
        )
    if key is not None and pretrained is None:
        raise ValueError(
            "key must be given with pretrained, got none of that; init_variables draws all variables"
        )
    if key is not None:
        check_key("key", key)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype must be a floating dtype, got {jnp.dtype(dtype)}")
    given = {"dropout_rate": dropout_rate, "drop_path_rate": drop_path_rate, "bn_momentum": bn_momentum}
    for argument, value in given.items():
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"{argument} must be a number in [0, 1), got {value}")
    family, row = _family(name), spec(name)
    if drop_path_rate and not (row.drop_path_rate or row.stochastic_depth):
        raise ValueError(
            f"drop_path_rate must be 0 for {name}, which has no stochastic depth, got {drop_path_rate}"
        )
    options = {key: getattr(row, key) if value is None else value for key, value in given.items()}
    options |= {"dtype": dtype, "axis_name": axis_name}
    taken = {key: value for key, value in options.items() if takes(family.build, key)}
    if "dropout_rate" not in taken and dropout_rate:
        raise ValueError(f"dropout_rate must be 0 for {name}, which takes none, got {dropout_rate}")
    if "dtype" not in taken and dtype != jnp.float32:
        raise ValueError(f"dtype must be float32 for {name}, which takes no other, got {jnp.dtype(dtype)}")
    model = family.build(row, num_classes, **taken)
    # Beside its fields: it need not have one for its spec, and two specs may have equal modules.
    object.__setattr__(model, _ROW, row)
    if not hasattr(model, "num_classes"):
        object.__setattr__(model, "num_classes", num_classes)
    if pretrained is None:
        return model
    from skinjax.models.pretrained import load_pretrained  # which makes networks by this module

    return model, load_pretrained(name, os.fspath(pretrained), num_classes, key=key)


_ROW = "_skinjax_row"  # attribute of a module that `create` made


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Says whether a function has an argument of this name, or takes any.

    Example:
      >>> takes(create, "dtype"), takes(create, "depth"), takes(lambda **more: more, "depth")
      (True, False, True)
    """
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def variable_shapes(model: nn.Module, spec: ModelSpec | None = None) -> dict[str, Any]:
    """Works out the shapes and dtypes of a model's variables, without computing any.

    Args:
      model: A network that `create` made, or any Linen module that takes photos [N, H, W, 3].
      spec: Spec whose `image_size` the shapes are of; that which `create` made the model of by default.

    Returns:
      {"params": ..., "batch_stats": ...} with `jax.ShapeDtypeStruct` leaves; without "batch_stats" where the
      network has no batch normalisation.
    """
    shapes: dict[str, Any] = traverse_util.unflatten_dict(_trace(model, spec).shapes)
    return shapes


class _Trace(NamedTuple):
    """Shapes by path of the variables that a network's `init` makes, and paths of the modules that `_draw` knows."""

    shapes: Mapping[tuple[str, ...], jax.ShapeDtypeStruct]
    own: frozenset[tuple[str, ...]]


def _trace(model: nn.Module, spec: ModelSpec | None) -> _Trace:
    images = _images(model, spec)
    try:
        return _kept_trace(model, images)
    except TypeError:  # a module of somebody's whose attributes cannot be hashed
        return _kept_trace.__wrapped__(model, images)


@functools.lru_cache(maxsize=32)  # half a second each, and a command asks for the same ones time and again
def _kept_trace(model: nn.Module, images: jax.ShapeDtypeStruct) -> _Trace:
    own: set[tuple[str, ...]] = set()

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if _is_own(context.module):
            own.add(context.module.path)
        return call(*args, **kwargs)

    def init(key: jax.Array, images: jax.Array) -> Any:  # a new function, whose trace JAX has not kept
        return model.init(key, images)

    with nn.intercept_methods(note):
        shapes = jax.eval_shape(init, jax.random.key(0), images)
    return _Trace(traverse_util.flatten_dict(shapes), frozenset(own))


def _images(model: nn.Module, spec: ModelSpec | None) -> jax.ShapeDtypeStruct:
    """Returns the shape that a model is traced with."""
    row = spec or getattr(model, _ROW, None) or getattr(model, "spec", None)
    size = row.image_size if isinstance(row, ModelSpec) else 96
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def feature_maps(model: nn.Module, spec: ModelSpec) -> tuple[str, ...]:
    """Returns the names of the feature maps [N, h, w, C] that a network gives, in order.

    Args:
      model: A network of this spec.
      spec: Its row in the registry.

    Returns:
      `spec.map_names`, or those of them that a registered module gives; none where it has no arguments `features`
      and `offsets`.

    Example:
      >>> feature_maps(create("efficientnet_nano", 2), spec("efficientnet_nano"))[:2]
      ('stem', 'block_00')
    """
    return spec.map_names if isinstance(model, Backbone) else _given_maps(model, spec)


@functools.lru_cache(maxsize=16)
def _given_maps(model: nn.Module, spec: ModelSpec) -> tuple[str, ...]:
    if not (takes(type(model).__call__, "features") and takes(type(model).__call__, "offsets")):
        return ()
    run = functools.partial(model.apply, features=True)
    named = jax.eval_shape(run, variable_shapes(model, spec), _images(model, spec))
    return tuple(name for name in spec.map_names if name in named and named[name].ndim == 4)


def init_variables(model: nn.Module, key: jax.Array, spec: ModelSpec | None = None) -> dict[str, Any]:
    """Draws fresh variables from the layers' own initialisers, for skinjax's layers in a fraction of the time.

    `model.init` compiles a random draw for every parameter, half a minute for EfficientNet-B6; this traces
    the shapes and draws the parameters of skinjax's own layers with NumPy. Layers of others start as their own
    initialisers say, a scale of zeros among them. Every array has a random stream of its own, from the key and its
    name: another number of classes leaves the rest of the network as it was.

    Args:
      model: A network that `create` made, or any Linen module that takes photos [N, H, W, 3].
      key: Random key (`jax.random.key` or the older `jax.random.PRNGKey`).
      spec: Spec whose `image_size` the shapes are of; that which `create` made the model of by default.

    Returns:
      {"params": ..., "batch_stats": ...}, float32; without "batch_stats" where the network has no batch normalisation.

    Raises:
      ValueError: `key` is not a random key.

    Example:
      >>> model = create("efficientnet_nano", num_classes=19)
      >>> variables = init_variables(model, jax.random.key(0))
      >>> variables["params"]["head"]["kernel"].shape
      (640, 19)
    """
    check_key("key", key)
    shapes, own = _trace(model, spec)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = [int(word) for word in np.asarray(jax.random.key_data(key) if typed else key).ravel()]
    arrays, others = {}, []
    for path, leaf in shapes.items():  # path: collection, modules, name
        generator = np.random.default_rng([*words, zlib.crc32("/".join(path).encode())])
        drawn = _draw("/".join(path), leaf.shape, generator) if path[1:-1] in own else None
        arrays[path] = None if drawn is None else jnp.asarray(drawn, leaf.dtype)
        others += [path] if drawn is None else []
    if others:
        images = _images(model, spec)
        try:  # without the forward pass; layer by layer, so that equal shapes are compiled once
            start = model.lazy_init(key, images)
        except LazyInitError:  # a start that depends on the photos
            start = model.init(key, jnp.zeros(images.shape))
        flat = traverse_util.flatten_dict(start)
        arrays |= {path: flat[path] for path in others}
    variables: dict[str, Any] = traverse_util.unflatten_dict(arrays)
    return variables


def _is_own(module: nn.Module) -> bool:
    """Says whether `_draw` knows the initialisers of a layer."""
    if type(module) is nn.Dense:
        return module.kernel_init is fan_in_uniform and module.bias_init is nn.initializers.zeros_init()
    return type(module) in (Conv, DepthwiseConv, BatchNorm)


def _draw(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray | None:
    """Draws what the initialisers of skinjax's layers would give a variable of this name; None where it is none."""
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
    return None


def _family(name: str) -> _Family:
    """Returns the family whose specs hold the name."""
    for family in _FAMILIES:
        if name in family.specs:
            return family
    nearest = difflib.get_close_matches(str(name), list_models(), n=3, cutoff=0.3) or list_models()
    raise ValueError(f'backbone must be a registered one, such as {", ".join(nearest)}, got "{name}"')
