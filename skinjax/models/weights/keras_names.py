"""Names of our variables in Keras's files, for the backbones of `keras.applications`.

A layer has the name that its author gave it ("block1a_expand_conv") or one that Keras numbers as layers are made
("conv2d_7"). Numbers go on from whatever was made before in the same process, so only their order says
something: the n-th convolution without a name of its own is our n-th, and so is the n-th normalisation.

What the reader of files calls an array depends on the format. An `.h5` has "conv2d_7/kernel"; in a
`.weights.h5` or `.keras` it is "layers/conv2d_3/vars/0", where 3 counts the model's list of layers, which is
ordered by how far a layer is from the output; the layer's own name stands beside it, but not in files of Keras 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from skinjax.models.backbones import efficientnet, inception_resnet_v2, inception_v3, xception
from skinjax.models.backbones.branches import Branch, Fork, Pool, Unit, unit_names
from skinjax.models.spec import ModelSpec
from skinjax.models.weights.array_names import arrays_of

# What an `.h5` calls arrays, by the end of the name; the last four are Keras 1's.
_ENDINGS = {
    "depthwise_kernel": "depthwise",
    "pointwise_kernel": "pointwise",
    "kernel": "kernel",
    "gamma": "scale",
    "beta": "bias",
    "bias": "bias",
    "mean": "mean",
    "variance": "var",
    "count": "count",
    "_W": "kernel",
    "_b": "bias",
    "running_std": "var",  # the variance, in spite of its name
}
# And in which order a `.weights.h5` has the arrays of a layer, by its class.
_ORDER = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise",),
    "separable_conv2d": ("depthwise", "pointwise"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("scale", "bias", "mean", "var"),
    "normalization": ("mean", "var", "count"),
}
_NUMBERED = re.compile(r"(conv2d|convolution2d|batch_?normalization|normalization)(?:_v\d)?(?:_(\d+))?")
# Layers of the blocks of EfficientNet, Xception and DenseNet, and of the Inceptions' modules.
_INSIDE = re.compile(r"(block\d+[a-z]?|conv\d+_block\d+|pool\d+|mixed)_|block(35|17|8)_")
_HEADS = ("predictions", "fc1000", "probs")
PIXELS = "pixels"  # what `keras_names` calls EfficientNet's first layer


class KerasLayer(NamedTuple):
    """A layer of a Keras model that has arrays.

    Attributes:
      name: Its name; "conv2d#3" for the fourth convolution that Keras names by a number.
      kind: Its class as a `.weights.h5` spells it.
      ours: The path of its layer here; two for a separable convolution.
    """

    name: str
    kind: str
    ours: tuple[str, ...]


def keras_layers(spec: ModelSpec) -> tuple[KerasLayer, ...]:
    """Lists the layers with arrays of a backbone's Keras model, those of a class in the order of its list of layers.

    Example:
      >>> from skinjax.models.registry import spec
      >>> [layer.name for layer in keras_layers(spec("xception"))[6:10]]
      ['block2_sepconv2', 'block2_sepconv2_bn', 'conv2d#0', 'batch_normalization#0']
    """
    return (*_LAYERS[spec.family](spec), KerasLayer(_HEADS[0], "dense", (spec.head,)))


def keras_names(spec: ModelSpec, arrays: Iterable[str], layer_names: Mapping[str, str]) -> dict[str, str]:
    """Maps each array of a Keras file to the variable of ours that it holds.

    Args:
      spec: A row of the registry.
      arrays: Names of the file's arrays, as `open_weights` gives them.
      layer_names: The layers' own names by the arrays' names, where those do not have them.

    Returns:
      The variable by the array's name; arrays that no layer of the backbone has are absent. Those of
      EfficientNet's first layer, which normalises pixels, are called "pixels/mean", "pixels/var", "pixels/count".

    Example:
      >>> from skinjax.models.registry import spec
      >>> keras_names(spec("densenet121"), ["conv1/bn/gamma:0", "pool2_conv/kernel", "lambda/scale"], {})
      {'conv1/bn/gamma:0': 'params/stem_norm/scale', 'pool2_conv/kernel': 'params/transition_1/conv/kernel'}
    """
    layers = keras_layers(spec)
    by_name = {layer.name: layer for layer in layers}
    by_place: dict[str, KerasLayer] = {}
    counts: dict[str, int] = {}
    for layer in layers:
        number = counts[layer.kind] = counts.get(layer.kind, -1) + 1
        by_place[f"layers/{layer.kind}_{number}" if number else f"layers/{layer.kind}"] = layer

    groups: dict[str, list[str]] = {}
    own_names: dict[str, str] = {}
    for array in arrays:
        group = array.rsplit("/", 1)[0]
        groups.setdefault(group, []).append(array)
        if not group.endswith("/vars"):
            own_names[group] = group
        elif array in layer_names:
            own_names[group] = layer_names[array]
    ranks = _ranks(own_names.values())
    found = {}
    for group, members in groups.items():
        if group in own_names:
            layer_found = by_name.get(ranks.get(own_names[group], "")) or _named(own_names[group], by_name)
        else:
            place = group.removesuffix("/vars").rpartition("layers/")[2]  # in the inner of nested models
            layer_found = by_place.get(f"layers/{place}")
        if layer_found is None:
            continue
        order = _ORDER[layer_found.kind]
        if layer_found.kind == "batch_normalization" and len(members) == 3:
            order = order[1:]
        for array in members:
            role = _role(array, order)
            variable = None if role is None else _variable(layer_found, role, spec)
            if variable is not None:
                found[array] = variable
    return found


def reason_to_leave_out(array: str) -> str | None:
    """Returns why an array of a Keras file is no variable of a network, or None where there is no reason.

    Example:
      >>> reason_to_leave_out("layers/dropout/seed_generator/vars/0")
      "Keras's random state, which nothing here needs"
    """
    return "Keras's random state, which nothing here needs" if "seed_generator" in array else None


def is_inside(array: str, layer_name: str) -> bool:
    """Returns whether an array that a backbone does not have is of a larger one, by its layer's name or class.

    Args:
      array: Its name, as `open_weights` gives it.
      layer_name: Its layer's own name, or "" where that is not known.

    Example:
      >>> is_inside("block1b_dwconv/depthwise_kernel", ""), is_inside("dense_1/kernel", "")
      (True, False)
      >>> is_inside("layers/conv2d_66/vars/0", ""), is_inside("layers/dense_1/vars/0", "")
      (True, False)
    """
    group = array.rsplit("/", 1)[0]
    if layer_name or not group.endswith("/vars"):
        name = layer_name or group
        return any(_INSIDE.match(part) for part in (name.rsplit("/", 1)[-1], name.replace("/", "_")))
    kind = re.sub(r"_\d+$", "", group.removesuffix("/vars").rsplit("/", 1)[-1])
    return kind in _ORDER and kind != "dense"


def _ranks(names: Iterable[str]) -> dict[str, str]:
    """Maps numbered names to class and rank: {"conv2d_8": "conv2d#1", "conv2d_7": "conv2d#0"}."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in set(names):
        if match := _NUMBERED.fullmatch(name.rsplit("/", 1)[-1]):  # the last part, in a model within a model
            base = "conv2d" if match[1].startswith("conv") else match[1].replace("batchn", "batch_n")
            numbered.setdefault(base, []).append((int(match[2] or 0), name))
    return {
        name: f"{base}#{rank}"
        for base, members in numbered.items()
        for rank, (_, name) in enumerate(sorted(members))
    }


def _named(name: str, by_name: Mapping[str, KerasLayer]) -> KerasLayer | None:
    """Finds a layer by its name (in Keras 2 "conv1/bn" for "conv1_bn"), or by its last part in a nested model."""
    last = name.rsplit("/", 1)[-1]
    return by_name.get(_HEADS[0] if last in _HEADS else name.replace("/", "_")) or by_name.get(last)


def _role(array: str, order: tuple[str, ...]) -> str | None:
    weight = array.rsplit("/", 1)[1].removesuffix(":0")
    if weight.isdecimal():
        return order[int(weight)] if int(weight) < len(order) else None
    return next((role for ending, role in _ENDINGS.items() if weight.endswith(ending)), None)


def _variable(layer: KerasLayer, role: str, spec: ModelSpec) -> str | None:
    if layer.kind == "normalization":
        return f"{PIXELS}/{role}"
    if role in ("depthwise", "pointwise"):
        return arrays_of(layer.ours[0 if role == "depthwise" else -1], spec)["kernel"]
    return arrays_of(layer.ours[0], spec).get(role)


# The families. A pair of convolution and normalisation is made by `_pair`.


def _pair(conv: str, norm: str, ours: str, kind: str = "conv2d") -> Iterator[KerasLayer]:
    yield KerasLayer(conv, kind, (ours,))
    yield KerasLayer(norm, "batch_normalization", (f"{ours}_norm",))


def _efficientnet(spec: ModelSpec) -> Iterator[KerasLayer]:
    yield KerasLayer("normalization#0", "normalization", (PIXELS,))
    yield from _pair("stem_conv", "stem_bn", "stem")
    position: dict[int, int] = {}
    for block in efficientnet.blocks_of(spec.name):
        position[block.stage] = position.get(block.stage, -1) + 1
        theirs = f"block{block.stage + 1}{chr(ord('a') + position[block.stage])}"
        if block.expansion != 1:
            yield from _pair(f"{theirs}_expand_conv", f"{theirs}_expand_bn", f"{block.name}/expand")
        yield from _pair(f"{theirs}_dwconv", f"{theirs}_bn", f"{block.name}/depthwise", "depthwise_conv2d")
        for step in ("reduce", "expand"):
            yield KerasLayer(f"{theirs}_se_{step}", "conv2d", (f"{block.name}/squeeze_excite/{step}",))
        yield from _pair(f"{theirs}_project_conv", f"{theirs}_project_bn", f"{block.name}/project")
    yield from _pair("top_conv", "top_bn", "top")


def _inception_v3(spec: ModelSpec) -> Iterator[KerasLayer]:
    stem = [name for name, unit in inception_v3.STEM if not isinstance(unit, Pool)]
    for number, name in enumerate(stem):
        yield from _numbered(number, name)
    made = len(stem)
    for name, branches in inception_v3.BLOCKS:
        yield from _module(name, branches, made)
        made += len(list(unit_names(branches)))


def _inception_resnet_v2(spec: ModelSpec) -> Iterator[KerasLayer]:
    stem = [name for name, unit in inception_v3.STEM if not isinstance(unit, Pool)]
    for number, name in enumerate(stem):
        yield from _numbered(number, name)
    made = len(stem)
    for block in inception_resnet_v2.BLOCKS:
        yield from _module(block.name, block.branches, made)
        made += len(list(unit_names(block.branches)))
        if block.scale is not None:
            kind, position = block.name.rsplit("_", 1)
            yield KerasLayer(f"{kind}_{int(position)}_conv", "conv2d", (f"{block.name}/up",))
    yield from _pair("conv_7b", "conv_7b_bn", "top")


def _numbered(number: int, ours: str) -> Iterator[KerasLayer]:
    yield from _pair(f"conv2d#{number}", f"batch_normalization#{number}", ours)


def _module(name: str, branches: tuple[Branch, ...], made: int) -> Iterator[KerasLayer]:
    """Yields the units of an Inception module as Keras lists them, the farthest from its end first."""
    order = sorted(
        enumerate(zip(unit_names(branches), _distances(branches), strict=True)), key=lambda item: -item[1][1]
    )
    for number, (unit, _) in order:
        yield from _numbered(made + number, f"{name}/{unit}")


def _distances(branches: tuple[Branch, ...]) -> Iterator[int]:
    """Counts the layers of Keras between each unit's convolution and the end of the module."""
    for branch in branches:
        distance, found = 0, []
        for step in reversed(branch):
            # A unit is three layers, a fork's are joined by one more, a pooling is one.
            distance += 3 if isinstance(step, Unit) else 4 if isinstance(step, Fork) else 1
            found += [distance] * (len(step.units) if isinstance(step, Fork) else isinstance(step, Unit))
        yield from reversed(found)


def _xception(spec: ModelSpec) -> Iterator[KerasLayer]:
    trunks = 0
    for name, module in xception.MODULES.items():
        theirs = f"block{int(name.removeprefix('block_'))}"
        for n in range(1, len(module.widths) + 1):
            if not module.separable:
                yield from _pair(f"{theirs}_conv{n}", f"{theirs}_conv{n}_bn", f"{name}/conv_{n}")
                continue
            ours = (f"{name}/depthwise_{n}", f"{name}/pointwise_{n}")
            yield KerasLayer(f"{theirs}_sepconv{n}", "separable_conv2d", ours)
            yield KerasLayer(f"{theirs}_sepconv{n}_bn", "batch_normalization", (f"{ours[1]}_norm",))
        if module.residual and module.stride != 1:
            yield from _numbered(trunks, f"{name}/trunk")
            trunks += 1


def _densenet(spec: ModelSpec) -> Iterator[KerasLayer]:
    yield from _pair("conv1_conv", "conv1_bn", "stem")
    for name in spec.block_names:
        kind, *numbers = name.split("_")
        group = int(numbers[0]) + 1  # Keras counts the stem
        if kind == "transition":
            yield KerasLayer(f"pool{group}_bn", "batch_normalization", (f"{name}/norm",))
            yield KerasLayer(f"pool{group}_conv", "conv2d", (f"{name}/conv",))
            continue
        theirs = f"conv{group}_block{int(numbers[1])}"
        yield KerasLayer(f"{theirs}_0_bn", "batch_normalization", (f"{name}/bottleneck_norm",))
        yield KerasLayer(f"{theirs}_1_conv", "conv2d", (f"{name}/bottleneck",))
        yield KerasLayer(f"{theirs}_1_bn", "batch_normalization", (f"{name}/conv_norm",))
        yield KerasLayer(f"{theirs}_2_conv", "conv2d", (f"{name}/conv",))
    yield KerasLayer("bn", "batch_normalization", ("top_norm",))


_LAYERS = {
    "efficientnet": _efficientnet,
    "inception_v3": _inception_v3,
    "inception_resnet_v2": _inception_resnet_v2,
    "xception": _xception,
    "densenet": _densenet,
}
