"""Names of our variables in PyTorch's state dicts, and PyTorch's layout of a kernel.

EfficientNet's are those of the libraries that compute as the row does (`_efficientnet`), InceptionV3's and DenseNet's
those that timm and torchvision share, those of Inception-ResNet-v2 and Xception timm's, which are Cadene's but for the
head. Where a layer has had several names, all are known.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from skinjax.models.backbones import efficientnet, inception_resnet_v2, inception_v3, xception
from skinjax.models.backbones.branches import Branch, Pool, unit_names
from skinjax.models.spec import ModelSpec
from skinjax.models.weights.array_names import arrays_of

_Axis = TypeVar("_Axis")
Pairs = Iterator[tuple[str, str]]  # of a layer's name in the file and its path here

_SUFFIXES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

# EfficientNet in timm: a block that does not expand names its layers otherwise than one that does.
_MBCONV = {
    False: {"conv_dw": "depthwise", "bn1": "depthwise_norm", "conv_pw": "project", "bn2": "project_norm"},
    True: {
        "conv_pw": "expand",
        "bn1": "expand_norm",
        "conv_dw": "depthwise",
        "bn2": "depthwise_norm",
        "conv_pwl": "project",
        "bn3": "project_norm",
    },
}
_SQUEEZE_EXCITE = {"se.conv_reduce": "squeeze_excite/reduce", "se.conv_expand": "squeeze_excite/expand"}
# And in efficientnet_pytorch, where one that does not expand has no first two.
_MBCONV_PYTORCH = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_se_reduce": "squeeze_excite/reduce",
    "_se_expand": "squeeze_excite/expand",
    "_project_conv": "project",
    "_bn2": "project_norm",
}

# InceptionV3: the units of each kind of module, branch by branch as `unit_names` has them.
_DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_FIGURE_5 = ("branch1x1", "branch5x5_1", "branch5x5_2", *_DOUBLE, "branch_pool")
_FIGURE_6 = (
    "branch1x1",
    *(f"branch7x7_{i}" for i in range(1, 4)),
    *(f"branch7x7dbl_{i}" for i in range(1, 6)),
    "branch_pool",
)
_FIGURE_7 = (
    "branch1x1",
    "branch3x3_1",
    "branch3x3_2a",
    "branch3x3_2b",
    "branch3x3dbl_1",
    "branch3x3dbl_2",
    "branch3x3dbl_3a",
    "branch3x3dbl_3b",
    "branch_pool",
)
_INCEPTION = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _FIGURE_5),
    "Mixed_6a": ("branch3x3", *_DOUBLE),
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _FIGURE_6),
    "Mixed_7a": ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{i}" for i in range(1, 5))),
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _FIGURE_7),
}


def has_names(spec: ModelSpec) -> bool:
    """Returns whether the names of a backbone's family are known here; those of a registered one are not.

    Example:
      >>> from skinjax.models.registry import spec
      >>> has_names(spec("xception"))
      True
    """
    return spec.family in _LAYERS


@functools.lru_cache(maxsize=64)
def torch_names(spec: ModelSpec) -> Mapping[str, str]:
    """Maps each array of a state dict to the variable of ours that it holds.

    Args:
      spec: A row of the registry.

    Returns:
      For instance {"blocks.1.0.bn1.running_var": "batch_stats/block_01/expand_norm/var", ...}; several names of
      one variable where it has had several. Scales are in it only where the row's normalisations have them.

    Example:
      >>> from skinjax.models.registry import spec
      >>> torch_names(spec("efficientnet_b0"))["blocks.0.0.conv_pw.weight"]
      'params/block_00/project/kernel'
      >>> torch_names(spec("densenet121"))["features.denseblock1.denselayer1.norm.1.bias"]
      'params/dense_1_01/bottleneck_norm/bias'
    """
    return {
        f"{theirs}.{_SUFFIXES[kind]}": variable
        for theirs, ours in _LAYERS[spec.family](spec)
        for kind, variable in arrays_of(ours, spec).items()
    }


def reason_to_leave_out(name: str) -> str | None:
    """Returns why an array of a state dict is no variable of a network, or None where there is no reason.

    Example:
      >>> reason_to_leave_out("AuxLogits.fc.bias")
      "the auxiliary classifier's, which serves training only and is not built here"
    """
    if name.endswith("num_batches_tracked"):
        return "PyTorch's count of batches, which nothing here needs"
    if name == "n_averaged":
        return "PyTorch's count of averaged models, which nothing here needs"
    if name.startswith("AuxLogits."):
        return "the auxiliary classifier's, which serves training only and is not built here"
    return None


def from_torch(axes: tuple[_Axis, ...]) -> tuple[_Axis, ...]:
    """Reorders a shape, or the numbers of the axes, from PyTorch's layout to ours.

    PyTorch keeps kernels as [out, in, k, k], depthwise ones as [channels, 1, k, k], and dense ones as [out, in].

    Example:
      >>> from_torch((32, 3, 5, 7)), from_torch((1000, 1280)), from_torch((32,))
      ((5, 7, 3, 32), (1280, 1000), (32,))
    """
    return axes[2:] + axes[1::-1] if len(axes) == 4 else axes[::-1]


def _efficientnet(spec: ModelSpec) -> Pairs:
    """Yields the names in the libraries that pad as the row does and have its epsilon."""
    if spec.padding == "SAME":
        yield from _timm(spec)
        lite = efficientnet.VARIANTS[spec.name].lite
        if lite or f"{spec.name}_torch" in efficientnet.VARIANTS:  # and not of our own nano
            yield from _efficientnet_pytorch(spec)
    elif spec.name.endswith("_torchvision"):
        yield from _torchvision(spec)
    else:
        yield from _timm(spec)
        if f"{spec.name}vision" not in efficientnet.VARIANTS:  # else its epsilon is another one
            yield from _torchvision(spec)


def _blocks(spec: ModelSpec) -> Iterator[tuple[efficientnet.Block, int]]:
    """Yields the blocks with their positions in their stages."""
    position: dict[int, int] = {}
    for block in efficientnet.blocks_of(spec.name):
        position[block.stage] = position.get(block.stage, -1) + 1
        yield block, position[block.stage]


def _timm(spec: ModelSpec) -> Pairs:
    yield from {"conv_stem": "stem", "bn1": "stem_norm", "conv_head": "top", "bn2": "top_norm"}.items()
    yield "classifier", "head"
    for block, position in _blocks(spec):
        inside = dict(_MBCONV[block.expansion != 1])
        if not efficientnet.VARIANTS[spec.name].lite:
            inside |= _SQUEEZE_EXCITE
        for theirs, ours in inside.items():
            yield f"blocks.{block.stage}.{position}.{theirs}", f"{block.name}/{ours}"


def _torchvision(spec: ModelSpec) -> Pairs:
    last = len(efficientnet.STAGES) + 1
    for number, ours in ((0, "stem"), (last, "top")):
        yield from ((f"features.{number}.0", ours), (f"features.{number}.1", f"{ours}_norm"))
    yield "classifier.1", "head"
    for block, position in _blocks(spec):
        steps = ("expand",) * (block.expansion != 1) + ("depthwise", "squeeze_excite", "project")
        for number, step in enumerate(steps):
            theirs, ours = f"features.{block.stage + 1}.{position}.block.{number}", f"{block.name}/{step}"
            if step == "squeeze_excite":
                yield from ((f"{theirs}.fc1", f"{ours}/reduce"), (f"{theirs}.fc2", f"{ours}/expand"))
            else:
                yield from ((f"{theirs}.0", ours), (f"{theirs}.1", f"{ours}_norm"))


def _efficientnet_pytorch(spec: ModelSpec) -> Pairs:
    yield from {"_conv_stem": "stem", "_bn0": "stem_norm", "_conv_head": "top", "_bn1": "top_norm"}.items()
    yield "_fc", "head"
    lite = efficientnet.VARIANTS[spec.name].lite
    for number, (block, _) in enumerate(_blocks(spec)):
        for theirs, ours in _MBCONV_PYTORCH.items():
            if lite and ours.startswith("squeeze_excite"):
                continue
            if block.expansion != 1 or not ours.startswith("expand"):
                yield f"_blocks.{number}.{theirs}", f"{block.name}/{ours}"


def _inception_v3(spec: ModelSpec) -> Pairs:
    for name, unit in inception_v3.STEM:
        if not isinstance(unit, Pool):
            kernel = "x".join(map(str, unit.kernel))
            yield from _unit(f"{name.replace('conv', 'Conv2d')}_{kernel}", name)
    for (ours, branches), (theirs, units) in zip(inception_v3.BLOCKS, _INCEPTION.items(), strict=True):
        for unit_name, layer in zip(units, unit_names(branches), strict=True):
            yield from _unit(f"{theirs}.{unit_name}", f"{ours}/{layer}")
    yield "fc", "head"


def _inception_resnet_v2(spec: ModelSpec) -> Pairs:
    for name, unit in inception_v3.STEM:
        if not isinstance(unit, Pool):
            yield from _unit(name.replace("conv", "conv2d"), name)
    repeats = {"block35": "repeat", "block17": "repeat_1", "block8": "repeat_2"}
    for block in inception_resnet_v2.BLOCKS:
        kind, number = block.name.rsplit("_", 1)
        theirs = f"{repeats[kind]}.{int(number) - 1}" if kind in repeats else block.name
        theirs = "block8" if block.name == "block8_10" else theirs
        for layer in unit_names(block.branches):
            yield from _unit(f"{theirs}.{_step(block.branches, layer)}", f"{block.name}/{layer}")
        if block.scale is not None:
            yield f"{theirs}.conv2d", f"{block.name}/up"
    yield from _unit("conv2d_7b", "top")
    yield from (("classif", "head"), ("last_linear", "head"))


def _step(branches: tuple[Branch, ...], layer: str) -> str:
    """Returns "branch1.2" for "branch_1_2", and "branch1" where the branch has one step."""
    _, branch, step = layer.split("_")
    return f"branch{branch}" if len(branches[int(branch)]) == 1 else f"branch{branch}.{step}"


def _unit(theirs: str, ours: str) -> Pairs:
    yield f"{theirs}.conv", ours
    yield f"{theirs}.bn", f"{ours}_norm"


def _xception(spec: ModelSpec) -> Pairs:
    for name, module in xception.MODULES.items():
        number = int(name.removeprefix("block_"))
        first, last = number == 1, number == len(xception.MODULES)
        for n in range(1, len(module.widths) + 1):
            if first:
                yield from ((f"conv{n}", f"{name}/conv_{n}"), (f"bn{n}", f"{name}/conv_{n}_norm"))
                continue
            # Rectifier, convolution, normalisation: every third of a module's layers is a convolution.
            position = 3 * (n - 1) + module.first_rectifier
            conv = f"conv{n + 2}" if last else f"block{number - 1}.rep.{position}"
            norm = f"bn{n + 2}" if last else f"block{number - 1}.rep.{position + 1}"
            yield from (
                (f"{conv}.conv1", f"{name}/depthwise_{n}"),
                (f"{conv}.pointwise", f"{name}/pointwise_{n}"),
            )
            yield norm, f"{name}/pointwise_{n}_norm"
        if module.residual and module.stride != 1:
            yield f"block{number - 1}.skip", f"{name}/trunk"
            yield f"block{number - 1}.skipbn", f"{name}/trunk_norm"
    yield from (("fc", "head"), ("last_linear", "head"))


def _densenet(spec: ModelSpec) -> Pairs:
    yield from (("features.conv0", "stem"), ("features.norm0", "stem_norm"), ("features.norm5", "top_norm"))
    yield "classifier", "head"
    inside = {"norm1": "bottleneck_norm", "conv1": "bottleneck", "norm2": "conv_norm", "conv2": "conv"}
    for name in spec.block_names:
        kind, *numbers = (int(part) if part.isdecimal() else part for part in name.split("_"))
        if kind == "transition":
            for layer in ("norm", "conv"):
                yield f"features.transition{numbers[0]}.{layer}", f"{name}/{layer}"
            continue
        for theirs, ours in inside.items():
            # torchvision's published files are older than Python's rule against the dot in the name.
            for spelling in (theirs, re.sub(r"(\d)$", r".\1", theirs)):
                place = f"features.denseblock{numbers[0]}.denselayer{numbers[1]}"
                yield f"{place}.{spelling}", f"{name}/{ours}"


_LAYERS = {
    "efficientnet": _efficientnet,
    "inception_v3": _inception_v3,
    "inception_resnet_v2": _inception_resnet_v2,
    "xception": _xception,
    "densenet": _densenet,
}
