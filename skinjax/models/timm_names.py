"""timm's names for the arrays of EfficientNet, and PyTorch's layout of a kernel.

timm counts blocks by stage (`blocks.1.0`), and names the layers of a block that does not expand otherwise
than those of one that does. PyTorch keeps kernels as [out, in, k, k] and dense weights as [out, in].
"""

from __future__ import annotations

from typing import TypeVar

from skinjax.models.efficientnet import VARIANTS, Block, plan_blocks
from skinjax.models.spec import ModelSpec

_Axis = TypeVar("_Axis")

_CONV = {"weight": "params/{}/kernel", "bias": "params/{}/bias"}
_NORM = {
    "weight": "params/{}/scale",
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}
_WITHOUT_EXPANSION = {
    "conv_dw": "depthwise",
    "bn1": "depthwise_norm",
    "conv_pw": "project",
    "bn2": "project_norm",
}
_WITH_EXPANSION = {
    "conv_pw": "expand",
    "bn1": "expand_norm",
    "conv_dw": "depthwise",
    "bn2": "depthwise_norm",
    "conv_pwl": "project",
    "bn3": "project_norm",
}
_SQUEEZE_EXCITE = {"se.conv_reduce": "squeeze_excite/reduce", "se.conv_expand": "squeeze_excite/expand"}
_OUTSIDE_BLOCKS = {
    "conv_stem": "stem",
    "bn1": "stem_norm",
    "conv_head": "top",
    "bn2": "top_norm",
    "classifier": "head",
}


def timm_names(spec: ModelSpec) -> dict[str, str]:
    """The variable of ours that each of timm's arrays holds, for an EfficientNet.

    Args:
      spec: a row of the family.

    Returns:
      For instance {"blocks.1.0.bn1.running_var": "batch_stats/block_01/expand_norm/var", ...}.

    Raises:
      ValueError: the spec is of another family.

    Example:
      >>> from skinjax.models.registry import spec
      >>> timm_names(spec("efficientnet_b0"))["blocks.0.0.conv_pw.weight"]
      'params/block_00/project/kernel'
    """
    if spec.name not in VARIANTS:
        raise ValueError(
            f"{spec.name} cannot be read from a .safetensors file: only EfficientNet's names are known"
        )
    variant = VARIANTS[spec.name]
    layers = dict(_OUTSIDE_BLOCKS)
    before: list[Block] = []
    for block in plan_blocks(variant.width, variant.depth):
        position = sum(other.stage == block.stage for other in before)
        inside = _WITHOUT_EXPANSION if block.expansion == 1 else _WITH_EXPANSION
        for theirs, ours in (inside | _SQUEEZE_EXCITE).items():
            layers[f"blocks.{block.stage}.{position}.{theirs}"] = f"{block.name}/{ours}"
        before.append(block)
    names = {}
    for theirs, ours in layers.items():
        biased = ours == spec.head or "squeeze_excite" in ours
        for suffix, variable in (_NORM if ours.endswith("_norm") else _CONV).items():
            if suffix != "bias" or biased or ours.endswith("_norm"):
                names[f"{theirs}.{suffix}"] = variable.format(ours)
    return names


def from_timm(axes: tuple[_Axis, ...]) -> tuple[_Axis, ...]:
    """Reorders a shape, or the numbers of the axes, from PyTorch's layout to ours.

    Example:
      >>> from_timm((32, 3, 5, 5)), from_timm((1000, 1280)), from_timm((32,))
      ((5, 5, 3, 32), (1280, 1000), (32,))
    """
    return axes[2:] + axes[1::-1] if len(axes) == 4 else axes[::-1]
