"""Weights of the classes in a trained network's answers, between those for accuracy and those for balanced accuracy.

Where a network says the probability p_k of each class, and K classes have photos, each the share π_k of them, the rule

    answer = argmax over k of w_k p_k,    w_k = (1 - s) + s / (K π_k),

has the highest expected (1 - s) · accuracy + s · balanced accuracy of all rules: both figures are sums over classes of
the probability of being that class and answered so, accuracy with the weight 1 and balanced accuracy with 1 / (K π_k).
s = 0 leaves the network as it is, s = 1 is the logit adjustment of Menon et al. 2021 (doi:10.48550/arXiv.2007.07314).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def weigh_classes(variables: dict[str, Any], head: str, labels: np.ndarray, share: float) -> dict[str, Any]:
    """Returns a network whose logits are greater by the logarithm of each class's weight.

    Args:
      variables: Of the network.
      head: Name of its head, whose bias changes.
      labels: int[N], classes of the training photos.
      share: s, in [0, 1].

    Raises:
      ValueError: The head has no bias; see `head_path`.
    """
    *path, last = head_path(variables["params"], head)
    params = changed = dict(variables["params"])
    for name in path:
        changed[name] = changed = dict(changed[name])
    changed[last] = changed[last] + jnp.asarray(log_weights(labels, len(changed[last]), share))
    return variables | {"params": params}


def head_path(params: dict[str, Any], head: str) -> tuple[str, ...]:
    """Returns the names that lead to the bias which is added to the logits.

    Args:
      params: Parameters of a network.
      head: Name of its head.

    Raises:
      ValueError: The head is no dense layer with a bias, nor ends in one called `logits`.

    >>> head_path({"head": {"kernel": 0, "bias": 0}}, "head"), head_path({"head": {"logits": {"bias": 0}}}, "head")
    (('head', 'bias'), ('head', 'logits', 'bias'))
    """
    for path in ((head, "bias"), (head, "logits", "bias")):
        found: Any = params
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            return path
    raise ValueError("prior_adjustment must be 0 for a network whose head has no bias")


def log_weights(labels: np.ndarray, num_classes: int, share: float) -> np.ndarray:
    """Returns float32[num_classes], the logarithm of each class's weight; 0 for a class without photos.

    Args:
      labels: int[N], classes of the training photos.
      num_classes: Classes of the network.
      share: s, in [0, 1].

    >>> weights = np.exp(log_weights(np.array([0, 0, 0, 1]), 2, share=0.5))  # classes with 3/4 and 1/4 of the photos
    >>> [round(float(weight), 3) for weight in weights]
    [0.833, 1.5]
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    even = len(labels) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, np.log1p(share * (even - 1)), 0).astype(np.float32)
