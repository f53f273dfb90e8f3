"""Random keys of JAX as arguments, checked."""

from __future__ import annotations

from typing import Any


def check_key(name: str, key: Any) -> None:
    """Refuses what is not one random key; of a traced key, dtype and shape are checked.

    Args:
      name: What the argument is called in errors.
      key: One key of `jax.random.key`, or of the older `jax.random.PRNGKey`.

    Raises:
      ValueError: It is not a random key, or an array of several.

    Example:
      >>> import jax
      >>> check_key("key", jax.random.key(0))
    """
    import jax  # not needed by most of what is on this floor

    dtype = getattr(key, "dtype", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return
    elif dtype == "uint32" and key.ndim == 1:
        return
    got = repr(key) if dtype is None else f"{dtype} of shape {key.shape}"
    raise ValueError(f"{name} must be a jax.random key, such as jax.random.key(0), got {got}")
