"""Heads of a common width, so that networks that differ in their classes alone share one compiled program.

A compiled program is one of shapes, the head's among them, and takes as long to compile as hundreds of updates of a
small network. So the training step and the predictions of an epoch see a head with more outputs than there are classes:
further ones with weights of zero and a bias of `NEVER`, whose probability is 0 and through which every gradient is 0.
Everything else (starts, checkpoints, final networks) has the outputs of its classes and no more, and is computed to
rounding as without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from skinjax.models.backbones.backbone import Backbone
from skinjax.models.metadata import WithColumns
from skinjax.train.method import Method
from skinjax.train.state import TrainState

SMALLEST = 32
"""Fewest outputs of a widened head: more than most taxonomies have classes."""
NEVER = -1e15
"""Bias of an output that no photo can have. Weight decay shrinks it, too little to matter within an epoch, after which
it is set anew; its square is a number of float32 still, as RMSprop needs it."""


@dataclasses.dataclass(frozen=True)
class Head:
    """A network's head and what it is widened to.

    Attributes:
      model: The network with `width` outputs.
      classes: Outputs of the network as it is kept.
      width: Outputs that are computed; the same number where it cannot be widened.
    """

    model: nn.Module
    classes: int
    width: int

    @classmethod
    def of(cls, model: Any, method: Method | None = None) -> Head:
        """Finds the width of a network's head.

        Args:
          model: A network of `skinjax.models`; any that is no `Backbone` stays as it is, since its outputs may be
            anything.
          method: How it is trained; None where it is not. Smoothed labels, the binary loss, and an optimiser of one's
            own depend on the number of outputs, so that the head stays as it is.

        Example:
          >>> from skinjax.models import registry
          >>> [Head.of(registry.create("efficientnet_nano", classes)).width for classes in (3, 19, 32, 33)]
          [32, 32, 32, 64]
          >>> Head.of(registry.create("efficientnet_nano", 3), Method(label_smoothing=0.1)).width
          3
        """
        classes = model.num_classes
        dense = isinstance(model.backbone if isinstance(model, WithColumns) else model, Backbone)
        counted = method is not None and (
            method.has_own_optimizer or method.loss == "binary" or method.label_smoothing > 0
        )
        if not dense or counted:
            return cls(model, classes, classes)
        width = max(SMALLEST, 1 << (classes - 1).bit_length())
        if isinstance(model, WithColumns):
            wide = model.clone(num_classes=width, backbone=model.backbone.clone(num_classes=width))
        else:
            wide = model.clone(num_classes=width)
        return cls(wide, classes, width)

    def widen(self, state: TrainState) -> TrainState:
        """Returns the state of the widened network."""
        return dataclasses.replace(
            state,
            params=self._pad(state.params, NEVER),
            average=self._pad(state.average, NEVER),
            opt_state=self._pad(state.opt_state, 0.0),
        )

    def widen_variables(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the variables of the widened network."""
        return self._pad(dict(variables), NEVER)

    def widen_weights(self, weights: jax.Array) -> jax.Array:
        """Returns weights float32[classes] of the classes as float32[width]."""
        return jnp.pad(weights, (0, self.width - self.classes), constant_values=1.0)

    def narrow(self, state: TrainState) -> TrainState:
        """Returns the state of the network as it is kept, from that of the widened one."""

        def cut(path: tuple[Any, ...], leaf: Any) -> Any:
            return _as(leaf, leaf[..., : self.classes]) if _is_logits(path) else leaf

        if self.width == self.classes:
            return state
        parts = {"params": state.params, "average": state.average, "opt_state": state.opt_state}
        return dataclasses.replace(state, **jax.tree_util.tree_map_with_path(cut, parts))

    def _pad(self, tree: Any, bias: float) -> Any:
        """Appends outputs to the arrays of the head, the bias's with a value and the kernel's with zeros."""
        further = self.width - self.classes

        def pad(path: tuple[Any, ...], leaf: Any) -> Any:
            if not _is_logits(path):
                return leaf
            sides = [(0, 0)] * (leaf.ndim - 1) + [(0, further)]
            return _as(leaf, jnp.pad(leaf, sides, constant_values=0.0 if leaf.ndim > 1 else bias))

        return jax.tree_util.tree_map_with_path(pad, tree) if further else tree


def _is_logits(path: tuple[Any, ...]) -> bool:
    """Says whether a path into variables or an optimiser's state ends at an array of the layer of the logits."""
    names = [getattr(entry, "key", None) for entry in path]
    return names[-2:-1] == ["head"] or names[-3:-1] == ["head", "logits"]


def _as(old: Any, new: jax.Array) -> jax.Array:
    """Puts an array where another one lies."""
    return jax.device_put(new, old.sharding) if isinstance(old, jax.Array) else new
