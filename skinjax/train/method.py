"""Training options that are fixed when the step is compiled."""

from __future__ import annotations

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import optax

from skinjax.train.losses import Loss
from skinjax.train.optimizers import Optimizer, WeightDecay
from skinjax.train.schedules import Decay


@dataclasses.dataclass(frozen=True)
class Method:
    """Optimiser, loss and what goes with them; the defaults are chapter 4's, or ours where it is silent.

    Two methods with an optimiser or a schedule of one's own are equal, and share a compiled step, where these are the
    same objects; so make them once, and not per network.

    Attributes:
      optimizer: `"sgd"` with momentum (chapter 4), `"rmsprop"` (chapter 3), `"adamw"`, or any
        `optax.GradientTransformation`, its schedule and weight decay inside. Of the recipe it leaves the rates,
        momentum, weight decay and burn-in unused; clipping, frozen blocks, averages and parts of a batch go with it
        as with the others.
      weight_decay: `"l2"` (equation 4-3) or `"decoupled"` (4-4), of sgd and rmsprop; adamw's is decoupled.
      decay_all: whether BatchNorm's parameters and biases decay too.
      learning_rate_decay: see `skinjax.train.schedules.thesis_schedule`; or any `optax.Schedule`, a function of the
        update count from 0 that gives the learning rate, in place of the recipe's rates and burn-in.
      loss: `"cross_entropy"`, `"focal"`, or `"binary"` for two classes.
      label_smoothing: share in [0, 1) of a label that is spread over all classes.
      focal_gamma: of the focal loss, at least 0.
      clip_norm: norm that the gradients of a step are scaled down to; 0 for none.
      accumulate: parts that a batch is computed in, one after the other, to save memory; BatchNorm then takes its
        statistics from each part, and its running ones move by one step per part.
      average_decay: of the moving averages of the weights, in [0, 1); 0 for none.
      frozen_blocks: how many blocks from the stem on are not trained; 0 for none, the stem trained too.
      layer_decay: factor in (0, 1] by which the learning rate falls with each block away from the head.
    """

    optimizer: Optimizer | optax.GradientTransformation = "sgd"
    weight_decay: WeightDecay = "l2"
    decay_all: bool = True
    learning_rate_decay: Decay | optax.Schedule = "cosine"
    loss: Loss = "cross_entropy"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    clip_norm: float = 0.0
    accumulate: int = 1
    average_decay: float = 0.0
    frozen_blocks: int = 0
    layer_decay: float = 1.0

    @classmethod
    def finetune(cls) -> Method:
        """Returns our method for fine-tuning a network with ImageNet weights; goes with `Recipe.finetune`.

        >>> Method.finetune().optimizer
        'adamw'
        """
        return cls(optimizer="adamw", decay_all=False, average_decay=0.98, layer_decay=0.85)

    def __post_init__(self) -> None:
        choices = {
            "optimizer": get_args(Optimizer),
            "weight_decay": get_args(WeightDecay),
            "learning_rate_decay": get_args(Decay),
            "loss": get_args(Loss),
        }
        if self.has_own_optimizer:
            del choices["optimizer"]
            if callable(self.learning_rate_decay):
                raise ValueError(
                    "learning_rate_decay must stay as it is with an optimizer of one's own, whose schedule is inside, "
                    f"got {self.learning_rate_decay!r}"
                )
        if callable(self.learning_rate_decay):
            del choices["learning_rate_decay"]
            _check_schedule(self.learning_rate_decay)
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        ranges = {
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "focal_gamma": (self.focal_gamma >= 0, "at least 0"),
            "clip_norm": (self.clip_norm >= 0, "at least 0"),
            "accumulate": (self.accumulate >= 1, "at least 1"),
            "average_decay": (0 <= self.average_decay < 1, "in [0, 1)"),
            "frozen_blocks": (self.frozen_blocks >= 0, "at least 0"),
            "layer_decay": (0 < self.layer_decay <= 1, "in (0, 1]"),
        }
        for name, (within, limits) in ranges.items():
            if not within:
                raise ValueError(f"{name} must be {limits}, got {getattr(self, name)}")

    @property
    def has_own_optimizer(self) -> bool:
        """Returns whether the optimiser is a transformation that the caller made."""
        return isinstance(self.optimizer, optax.GradientTransformation)


def _check_schedule(schedule: optax.Schedule) -> None:
    rate = jax.eval_shape(lambda count: jnp.asarray(schedule(count)), jax.ShapeDtypeStruct((), jnp.int32))
    if rate.shape:
        raise ValueError(
            f"learning_rate_decay must give one number for an update count, got an array of shape {rate.shape}"
        )
