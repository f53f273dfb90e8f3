"""What one needs to know of a network beside its layers: sizes, pixel range, names, origin."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One row of the registry.

    Attributes:
      name: name in the registry.
      family: the architecture that it is a variant of.
      image_size: rows and columns of the photos that the variant was designed for; others work.
      mean: what `pixels.normalize` subtracts from red, green and blue of photos in [0, 1].
      std: what it then divides by.
      feature_width: channels of the pooled features that the head reads.
      bn_epsilon: added to the variance in every batch normalisation.
      bn_momentum: weight of the old running statistics in every update of them.
      padding: how convolutions pad; "SAME" is TensorFlow's rule, which for stride 2 differs from PyTorch's.
      stem: top-level names of what stands before the blocks, in order; may be none.
      block_names: top-level names of the blocks, in order.
      top: top-level names of what stands between the blocks and the head, in order; may be none.
      head: top-level name of the classifier.
      dropout_rate: dropout before the head, in training.
      drop_path_rate: stochastic depth of the last block; it grows from 0 in proportion to the depth.
      paper: where the architecture was published.
      weights: where pretrained weights come from, and under which licence.
    """

    name: str
    family: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    feature_width: int
    bn_epsilon: float
    bn_momentum: float
    padding: str
    stem: tuple[str, ...]
    block_names: tuple[str, ...]
    top: tuple[str, ...]
    head: str
    dropout_rate: float
    drop_path_rate: float
    paper: str
    weights: str
