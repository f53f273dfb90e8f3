"""Class frequencies taken off the logits of a trained network (Menon et al. 2021, doi:10.48550/arXiv.2007.07314)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def without_prior(variables: dict[str, Any], head: str, labels: np.ndarray, tau: float) -> dict[str, Any]:
    """Returns a network whose logits lack tau times the logarithm of each class's share of the training photos.

    Args:
      variables: Of the network.
      head: Name of its head, whose bias changes.
      labels: int[N], classes of the training photos.
      tau: At least 0; 1 answers as if all classes were equally common.

    Raises:
      ValueError: The head has no bias; see `head_path`.
    """
    *path, last = head_path(variables["params"], head)
    params = changed = dict(variables["params"])
    for name in path:
        changed[name] = changed = dict(changed[name])
    changed[last] = changed[last] - jnp.asarray(tau * log_shares(labels, len(changed[last])))
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


def log_shares(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns float32[K], the logarithm of each class's share of the photos; of a class without any, of half a photo.

    Args:
      labels: int[N].
      num_classes: K.

    >>> np.exp(log_shares(np.array([0, 0, 0, 1]), 2)).round(2).tolist()
    [0.75, 0.25]
    """
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 0.5)
    return np.log(counts / len(labels)).astype(np.float32)
