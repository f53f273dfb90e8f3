"""Arrays of a layer by the layer's name: the last step of every map of names.

Layers are called by their path, like "block_01/expand_norm". That says what a layer is: batch
normalisations end in "norm", the head and the convolutions of squeeze-and-excitation and of Inception-ResNet's
residual branches ("up") have a bias, and everything else is a kernel alone.
"""

from __future__ import annotations

from skinjax.models.backbones import inception_resnet_v2, inception_v3
from skinjax.models.spec import ModelSpec

_BIASED = ("up", "squeeze_excite/reduce", "squeeze_excite/expand")


def is_norm(layer: str) -> bool:
    """Returns whether a layer, by its name, is a batch normalisation.

    Example:
      >>> is_norm("dense_1_01/conv_norm"), is_norm("dense_1_01/conv")
      (True, False)
    """
    return layer.endswith("norm")


def norms_have_scale(spec: ModelSpec) -> bool:
    """Returns whether the batch normalisations of a backbone have a scale; those of Keras's Inception have none."""
    if spec.name in inception_v3.VARIANTS:
        return inception_v3.VARIANTS[spec.name].bn_scale
    return inception_resnet_v2.BN_SCALE.get(spec.name, True)


def arrays_of(layer: str, spec: ModelSpec) -> dict[str, str]:
    """Returns the names of the variables of a layer.

    Args:
      layer: Path of the layer in the network.
      spec: The backbone.

    Returns:
      The names by what they are: "kernel" and perhaps "bias"; or "bias", "mean", "var" and
      perhaps "scale".

    Example:
      >>> from skinjax.models.registry import spec
      >>> arrays_of("mixed_00/branch_0_0_norm", spec("inception_v3"))["var"]
      'batch_stats/mixed_00/branch_0_0_norm/var'
      >>> arrays_of("head", spec("inception_v3"))
      {'kernel': 'params/head/kernel', 'bias': 'params/head/bias'}
    """
    if is_norm(layer):
        names = {"scale": f"params/{layer}/scale"} if norms_have_scale(spec) else {}
        names["bias"] = f"params/{layer}/bias"
        return names | {kind: f"batch_stats/{layer}/{kind}" for kind in ("mean", "var")}
    biased = layer == spec.head or layer.endswith(_BIASED)
    return {kind: f"params/{layer}/{kind}" for kind in (("kernel", "bias") if biased else ("kernel",))}
