"""A 1 × 1 convolution of a map whose channels are scaled photo by photo, with a gradient that keeps no scaled map.

An MBConv block scales its widest map by squeeze-and-excitation and projects it at once. Differentiated as it is
written, the scaled map is kept for the kernel's gradient beside the unscaled one, which the gate's gradient needs. Both
gradients follow from the products of each photo's own map and change,

    P_n = x_n^T g_n,    dK = sum over n of diag(s_n) P_n,    ds_n = sum over outputs of K * P_n,

x_n [places, in], g_n [places, out], s_n [in] and K [in, out], so that the scaled map need not be kept, and neither
gradient goes through the maps again. P holds in × out numbers per photo, in float32 less than a map as long as that has
more places than there are output channels; of smaller maps the scaled one is kept. Reverse mode alone: neither
`jax.jvp` nor `jax.shard_map` with `check_vma` differentiates it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from skinjax.models.ops.reductions import scale_channels


def project_gated(x: jax.Array, gate: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies every channel of a map by one number per photo, then mixes the channels.

    Args:
      x: Feature maps [N, H, W, in], floating.
      gate: [N, in] of the same dtype.
      kernel: [in, out] of the same dtype.

    Returns:
      [N, H, W, out] of the same dtype.

    Example:
      >>> project_gated(jnp.ones((1, 2, 2, 2)), jnp.array([[2.0, 3.0]]), jnp.ones((2, 1)))[0, 1, 1].tolist()
      [5.0]
    """
    many_places = x.shape[1] * x.shape[2] > kernel.shape[1]
    return (_by_photo if many_places else _product)(x, gate, kernel)


def _product(x: jax.Array, gate: jax.Array, kernel: jax.Array) -> jax.Array:
    # In two dimensions, as in `skinjax.models.ops.layers.Conv`.
    rows = scale_channels(x, gate).reshape(-1, x.shape[-1])
    return jnp.dot(rows, kernel).reshape(*x.shape[:-1], kernel.shape[1])


_by_photo = jax.custom_vjp(_product)


def _fwd(x: jax.Array, gate: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _product(x, gate, kernel), (x, gate, kernel)


def _bwd(residuals: tuple[jax.Array, ...], change: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, gate, kernel = residuals
    photos, inputs, outputs = x.shape[0], x.shape[-1], kernel.shape[1]
    products = jnp.einsum(
        "npi,npo->nio",
        x.reshape(photos, -1, inputs),
        change.reshape(photos, -1, outputs),
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    d_gate = jnp.einsum("io,nio->ni", kernel, products)
    d_kernel = jnp.einsum("ni,nio->io", gate, products)
    back = jnp.dot(change.reshape(-1, outputs), kernel.T).reshape(x.shape)
    return back * gate[:, None, None], d_gate.astype(gate.dtype), d_kernel.astype(kernel.dtype)


_by_photo.defvjp(_fwd, _bwd)
