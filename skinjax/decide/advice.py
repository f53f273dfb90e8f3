"""Urgency of seeing a doctor, and the conditions under which advice may reassure.

Urgencies are the places of `skinjax.labels.degrees.URGENCIES`: 0 routine, 1 soon, 2 urgent. To be told too late costs
most, so there are five rules:

1. **The network's own word counts.** The urgency is never below that of the most probable class: a photo that is called
   melanoma is urgent, whatever the probabilities add up to by degree.
2. **Reassurance takes certainty, alarm does not.** Where the network cannot tell, "routine" is withheld, and what is
   more urgent is said all the same.
3. **Probabilities hold for photos like those they were fitted on.** Of a photo that is blurred, dark or unlike the
   run's, only a most probable class of the highest degree counts as an alarm. Anything less would be said of nearly
   any such photo, a black one among them, and soon be ignored; another photo tells more.
4. **A call of the target counts as well.** What a two-stage run calls its target is never less urgent than the highest
   degree among the target's classes (`skinjax.predict.advice.raise_for_target`).
5. **A photo's alarm is its case's.** A case of several photos is urgent where the most probable class of one that
   counts is of the highest degree, and is not called routine where its photos disagree (`case_urgencies`).

All take and give `jax.numpy` arrays, eager, under `jit` and under `vmap`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from skinjax.decide.probabilities import class_indices, class_probabilities

WITHHELD = -1
"""Stands for the urgency where none is given."""


def top_degree(probs: ArrayLike, degree_of_class: ArrayLike) -> jax.Array:
    """Returns the degree of the most probable class, the highest of equally probable ones.

    Args:
      probs: float[..., K].
      degree_of_class: int[K], degrees from 0; `skinjax.decide.malignancy.NO_TUMOUR` for classes that are no tumours.

    Returns:
      int32[...].

    Example:
      >>> top_degree(jnp.array([[0.4, 0.4, 0.2], [0.1, 0.3, 0.6]]), jnp.array([0, 2, -1])).tolist()
      [2, -1]
    """
    probs = class_probabilities("probs", probs)
    degrees = jnp.asarray(degree_of_class)
    class_indices("degree_of_class", degrees + 1, probs.shape[-1], jnp.iinfo(jnp.int32).max)
    top = probs == jnp.max(probs, axis=-1, keepdims=True)
    return jnp.max(jnp.where(top, degrees, -1), axis=-1).astype(jnp.int32)


def degree_urgency(degree: ArrayLike, num_degrees: int) -> jax.Array:
    """Returns the urgency of degrees; see `skinjax.labels.degrees.urgency_of`.

    Args:
      degree: int[...] in [0, num_degrees), or below 0 for no tumour.
      num_degrees: D, at least 2.

    Returns:
      int32[...] in 0..2.

    Raises:
      ValueError: There are fewer than two degrees.

    Example:
      >>> degree_urgency(jnp.array([-1, 0, 1, 2]), num_degrees=3).tolist()
      [0, 0, 1, 2]
    """
    if num_degrees < 2:
        raise ValueError(f"num_degrees must be at least 2, got {num_degrees}")
    values = jnp.asarray(degree)
    return jnp.where(values <= 0, 0, jnp.where(values >= num_degrees - 1, 2, 1)).astype(jnp.int32)


def urgencies(
    degree: ArrayLike, top: ArrayLike, certain: ArrayLike, usable: ArrayLike, num_degrees: int
) -> jax.Array:
    """Returns the urgency of the advice for each photo, by the first three rules of this module.

    Args:
      degree: int[...], of `skinjax.decide.malignancy.call_degree`.
      top: int[...], of `top_degree`.
      certain: bool[...], whether the network is certain enough of a diagnosis.
      usable: bool[...], whether the photo is sharp and bright enough, and like those that the network knows.
      num_degrees: D, at least 2.

    Returns:
      int32[...] in 0..2, or `WITHHELD`.

    Raises:
      ValueError: There are fewer than two degrees.

    Example:
      >>> urgencies(degree=[0, 0, 0, 2, 2], top=[0, 0, 2, 0, 0], certain=[True, False, False, False, False],
      ...           usable=[True, True, True, True, False], num_degrees=3).tolist()
      [0, -1, 2, 2, -1]
    """
    own, usable = degree_urgency(top, num_degrees), jnp.asarray(usable)
    highest = degree_urgency(num_degrees - 1, num_degrees)
    urgency = jnp.where(
        usable, jnp.maximum(own, degree_urgency(degree, num_degrees)), jnp.where(own == highest, own, 0)
    )
    told = (jnp.asarray(certain) & usable) | (urgency > 0)
    return jnp.where(told, urgency, WITHHELD).astype(jnp.int32)


def case_urgencies(urgency: ArrayLike, alarm: ArrayLike, disagreeing: ArrayLike) -> jax.Array:
    """Returns the urgency of the advice for each case, by the last rule of this module.

    Args:
      urgency: int[...], of `urgencies` for the pooled photos; 0..2 or `WITHHELD`.
      alarm: bool[...], whether the most probable class of one of the photos is of the highest degree.
      disagreeing: bool[...], whether the photos disagree more than they may.

    Returns:
      int32[...] in 0..2, or `WITHHELD`.

    Example:
      >>> case_urgencies([0, 0, 1, -1], alarm=[True, False, False, False],
      ...                disagreeing=[False, True, True, False]).tolist()
      [2, -1, 1, -1]
    """
    given = jnp.asarray(urgency)
    given = jnp.where(jnp.asarray(disagreeing) & (given == 0), WITHHELD, given)
    return jnp.where(jnp.asarray(alarm), 2, given).astype(jnp.int32)
