"""Fusion of networks' probabilities over a taxonomy of two levels (thesis, section 4.4) or more.

A network for M meta-classes answers p^l, one for S sub-classes answers p^f, and l(j) is the parent of
sub-class j. The fused diagnosis is the arg-max over sub-classes of

    hard         p_j = [x^l_l(j)] x^f_j       [x_i] is 1 at the largest meta probability, else 0 (4-8, 4-9)
    soft         p_j = x^l_l(j) x^f_j         (4-10)
    conditional  p_j = p^l_l(j) p^f_j / sum_{k: l(k) = l(j)} p^f_k     (ours: the law of total probability)

Only the conditional form is a distribution by itself; `normalize` rescales the others. A rule may also be any
function of (p^l, p^f, parents). `fuse_levels` goes down a chain of levels by the same rules.

All functions take and give `jax.numpy` arrays with any leading axes, and mean the same eager, under `jit`
and under `vmap`. Probabilities lie in [0, 1], which is not checked (they may be traced), and are computed in
float32 or wider. Gradients are finite, probabilities of exactly 0 and 1 included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skinjax.decide.probabilities import class_indices, class_probabilities

FusionRule = Literal["soft", "hard", "conditional"]
"""Rules by which the two levels are fused; see the module's docstring."""

OwnRule = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""A rule of one's own: (float[..., M], float[..., S], int[S]) -> scores float[..., S], at least 0.

It is called with all leading axes at once, and may be traced (`jax.jit`, `jax.vmap`, `jax.grad`).
"""


def fuse(
    meta_probs: ArrayLike,
    sub_probs: ArrayLike,
    parents: ArrayLike,
    rule: FusionRule | OwnRule = "soft",
    normalize: bool = False,
) -> jax.Array:
    """Fuses meta-class and sub-class probabilities into one score a sub-class.

    Where nothing is left to share out, the answer is stated rather than NaN. In the conditional form a
    meta-class whose sub-classes all have probability 0 spreads its own evenly over them. With `normalize`,
    hard and soft scores that are 0 for every sub-class (the two networks contradict each other completely)
    become that conditional form. A meta-class without any sub-class in `parents` cannot be the answer: its
    probability is lost, and only `normalize` gives it to the others.

    Args:
      meta_probs: float[..., M], the coarse network's probabilities, each in [0, 1].
      sub_probs: float[..., S], the fine network's probabilities, with the same leading axes.
      parents: int[S], the meta-class in [0, M) of every sub-class.
      rule: "soft" (4-10), "hard" (4-8 and 4-9; of equal meta probabilities the first wins),
        "conditional", or a function of the three arrays, see `OwnRule`.
      normalize: Whether the scores are rescaled to sum to 1 over the sub-classes.

    Returns:
      float[..., S] in [0, 1], the fused scores in the order of `sub_probs`; of a rule of one's own, what it gives.

    Raises:
      ValueError: An unknown rule, shapes that do not fit, a rule of one's own whose scores are not
        float[..., S], or parents that are no integers in [0, M).

    Example:
      >>> meta, sub = jnp.array([0.75, 0.25]), jnp.array([0.25, 0.25, 0.5])
      >>> fuse(meta, sub, jnp.array([0, 0, 1])).tolist()
      [0.1875, 0.1875, 0.125]
      >>> fuse(meta, sub, jnp.array([0, 0, 1]), rule="conditional").tolist()
      [0.375, 0.375, 0.25]
      >>> fuse(meta, sub, jnp.array([0, 0, 1]), rule=lambda meta, sub, parents: sub * jnp.sqrt(meta[..., parents]))
      Array([0.21650635, 0.21650635, 0.25      ], dtype=float32)
    """
    _check_rule(rule)
    meta, sub = class_probabilities("meta_probs", meta_probs), class_probabilities("sub_probs", sub_probs)
    if meta.shape[:-1] != sub.shape[:-1]:
        raise ValueError(
            "meta_probs and sub_probs must have the same leading axes, "
            f"got shapes {meta.shape} and {sub.shape}"
        )
    num_parents = meta.shape[-1]
    parents = class_indices("parents", parents, sub.shape[-1], num_parents)
    gate = jnp.take(_largest(meta) if rule == "hard" else meta, parents, axis=-1)
    if rule == "conditional" or normalize:
        conditional = gate * _shares(sub, parents, num_parents)
    if callable(rule):
        scores = _own_scores(rule, meta, sub, parents)
    else:
        scores = conditional if rule == "conditional" else gate * sub
    if normalize:
        scores = _rescaled(scores, otherwise=conditional)
    return scores


def fuse_levels(
    probs_per_level: Sequence[ArrayLike],
    parents_per_level: Sequence[ArrayLike],
    rule: FusionRule | OwnRule = "soft",
    normalize: bool = False,
) -> jax.Array:
    """Fuses the probabilities of a chain of levels, coarsest first, into one score per class of the finest.

    With g(j) the parent of class j, and p^i what the network of level i says, the score f^i of level i is

        soft         f^i_j = f^{i-1}_g(j) p^i_j        the product of the probabilities from the top to j
        hard         f^i_j = [c^{i-1} = g(j)] p^i_j    c^i is the most probable child of c^{i-1}
        conditional  f^i_j = f^{i-1}_g(j) p^i_j / sum of p^i over the siblings of j

    with f^0 = p^0 and c^0 the largest of p^0. For two levels this is `fuse`. Hard fusion walks down from the
    top, so that two gates never contradict each other; it ends in scores of 0 where the walk meets a class
    with no child. `normalize` rescales after every step, which changes nothing else and keeps long products
    from underflowing.

    Args:
      probs_per_level: L arrays float[..., K_i], coarsest first, with the same leading axes.
      parents_per_level: L - 1 arrays int[K_{i+1}]; the i-th holds the class in [0, K_i) of level i that
        every class of level i + 1 belongs to.
      rule: "soft", "hard" (of equal probabilities the first wins), "conditional", or a function that fuses
        the scores so far with the next level, see `OwnRule`.
      normalize: Whether the scores are rescaled to sum to 1; see `fuse` for scores that are all 0.

    Returns:
      float[..., K_L] in [0, 1], the scores of the finest level; of one level, its probabilities.

    Raises:
      ValueError: An unknown rule, numbers of levels or shapes that do not fit, or parents that are no
        integers in range.

    Example:
      >>> top, middle = jnp.array([0.75, 0.25]), jnp.array([0.5, 0.25, 0.25])
      >>> fine = jnp.array([0.5, 0.0, 0.5])
      >>> fuse_levels([top, middle, fine], [jnp.array([0, 0, 1]), jnp.array([0, 1, 2])]).tolist()
      [0.1875, 0.0, 0.03125]
    """
    _check_rule(rule)
    if not probs_per_level or len(parents_per_level) != len(probs_per_level) - 1:
        raise ValueError(
            "probs_per_level must hold at least one level and parents_per_level one fewer, "
            f"got {len(probs_per_level)} and {len(parents_per_level)}"
        )
    levels = [class_probabilities(f"probs_per_level[{i}]", level) for i, level in enumerate(probs_per_level)]
    for i, level in enumerate(levels):
        if level.shape[:-1] != levels[0].shape[:-1]:
            raise ValueError(
                f"probs_per_level[{i}] must have the leading axes of the first level, "
                f"got shapes {levels[0].shape} and {level.shape}"
            )
    chain = [
        class_indices(f"parents_per_level[{i}]", parents, levels[i + 1].shape[-1], levels[i].shape[-1])
        for i, parents in enumerate(parents_per_level)
    ]
    scores = _largest(levels[0]) if rule == "hard" and chain else levels[0]
    for i, parents in enumerate(chain):
        last = i == len(chain) - 1
        if rule != "hard":
            scores = fuse(scores, levels[i + 1], parents, rule, normalize)
        elif last:
            scores = fuse(scores, levels[i + 1], parents, "soft", normalize)
        else:
            open_classes = jnp.take(scores, parents, axis=-1)
            scores = _largest(jnp.where(open_classes > 0, levels[i + 1], -1)) * open_classes
    if normalize and not chain:
        scores = _rescaled(scores, otherwise=scores)
    return scores


def marginalize(sub_probs: ArrayLike, parents: ArrayLike, num_parents: int) -> jax.Array:
    """Sums sub-class probabilities into meta-classes: what a fine network alone says of the coarse level.

    Args:
      sub_probs: float[..., S], probabilities of the sub-classes.
      parents: int[S], the meta-class in [0, num_parents) of every sub-class.
      num_parents: M, the number of meta-classes; one without sub-classes gets 0.

    Returns:
      float[..., M], the probability of each meta-class.

    Raises:
      ValueError: Shapes that do not fit, or parents that are no integers in [0, num_parents).

    Example:
      >>> marginalize(jnp.array([0.25, 0.25, 0.5]), jnp.array([0, 0, 1]), num_parents=2).tolist()
      [0.5, 0.5]
    """
    if num_parents < 1:
        raise ValueError(f"num_parents must be at least 1, got {num_parents}")
    sub = class_probabilities("sub_probs", sub_probs)
    parents = class_indices("parents", parents, sub.shape[-1], num_parents)
    membership = jax.nn.one_hot(parents, num_parents, dtype=sub.dtype)
    # On an accelerator the default precision is below float32, and a scatter-add is not reproducible.
    return jnp.matmul(sub, membership, precision=jax.lax.Precision.HIGHEST)


def _check_rule(rule: FusionRule | OwnRule) -> None:
    if rule not in get_args(FusionRule) and not callable(rule):
        raise ValueError(f"rule must be one of {', '.join(get_args(FusionRule))} or a function, got {rule!r}")


def _own_scores(rule: OwnRule, meta: jax.Array, sub: jax.Array, parents: jax.Array) -> jax.Array:
    scores = jnp.asarray(rule(meta, sub, parents))
    if scores.shape != sub.shape or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(
            f"rule must give a score per sub-class, floats of shape {sub.shape}, got {scores.dtype} of shape "
            f"{scores.shape}"
        )
    return scores


def _largest(values: jax.Array) -> jax.Array:
    """Returns 1 at the largest value, the first of equals, and 0 elsewhere."""
    return jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1], dtype=values.dtype)


def _shares(sub: jax.Array, parents: jax.Array, num_parents: int) -> jax.Array:
    """Returns each sub-class's share of its meta-class's probability, even where the meta-class has none."""
    mass = marginalize(sub, parents, num_parents)
    siblings = jnp.sum(jax.nn.one_hot(parents, num_parents, dtype=sub.dtype), axis=0)
    nonzero, scaled = _scaled(sub, jnp.take(mass, parents, axis=-1))
    total = jnp.take(marginalize(scaled, parents, num_parents), parents, axis=-1)
    return jnp.where(nonzero, scaled / jnp.where(nonzero, total, 1), 1 / jnp.take(siblings, parents))


def _rescaled(scores: jax.Array, otherwise: jax.Array) -> jax.Array:
    """Scores that sum to 1; where they are all 0, the other ones rescaled (left at 0 if these are 0 too)."""
    for candidate in (otherwise, scores):
        nonzero, scaled = _scaled(candidate, jnp.sum(candidate, axis=-1, keepdims=True))
        total = jnp.sum(scaled, axis=-1, keepdims=True)
        otherwise = jnp.where(nonzero, scaled / jnp.where(nonzero, total, 1), otherwise)
    return otherwise


def _scaled(values: jax.Array, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Values divided by their mass, held constant, and where there is any mass.

    A ratio does not change when both sides are scaled, nor does its gradient; but the gradient of a plain
    `values / mass` divides by the square of the mass, which underflows in float32 below 1e-19.
    """
    mass = jax.lax.stop_gradient(mass)
    nonzero = mass >= jnp.finfo(mass.dtype).tiny
    return nonzero, values / jnp.where(nonzero, mass, 1)
