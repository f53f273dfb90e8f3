"""Depthwise convolution as an operation of its own, fast on CPU as well as on accelerators.

A depthwise convolution filters every channel by itself:

    y[n, h, w, c] = sum_{i, j} x_padded[n, s h + i, s w + j, c] * kernel[i, j, 0, c]

XLA lowers this to a grouped convolution, which its CPU backend runs tens of times slower than the
arithmetic asks for. On CPU it is therefore written as what it is:

* forward: one multiply-add a tap over shifted views of the padded input, which XLA fuses into a single
  pass over memory;
* gradient of the input: the same with the kernel reversed. With stride s the output gradient meets only
  every s-th tap, so each of the s x s phases of the input is a small stride-1 sum of its own and the
  phases are interleaved at the end (no multiplication by the zeros of a dilated gradient);
* gradient of the kernel: a loop over the output rows that carries a partial sum [N, W', C] for each of the
  k² taps and reduces them once, at the end (a reduction a tap over the whole map is many times slower).

Other platforms get XLA's grouped convolution, for which their libraries have good kernels. The choice is
made where the computation is lowered (`jax.lax.platform_dependent`), so one traced function serves all.

Sums are accumulated in float32 when the inputs are bfloat16 or float16. Reverse-mode differentiation of
any order is supported; forward mode (`jax.jvp`) is not, as for every `jax.custom_vjp`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from skinjax.models.ops.reductions import add_rows

Pads = tuple[tuple[int, int], tuple[int, int]]
Pair = tuple[int, int]


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> jax.Array:
    """Filters every channel of a batch of images by its own k × k kernel.

    Equal, in value and in both gradients, to `jax.lax.conv_general_dilated` with
    `feature_group_count` set to the number of channels.

    Args:
      x: Images or feature maps, floating point [N, H, W, C].
      kernel: One filter per channel, [k_h, k_w, 1, C] of the same dtype.
      strides: One step for both spatial axes, or (rows, columns).
      padding: "SAME" (as TensorFlow: the output is ceil(H / stride), and of an odd total the extra row or
        column goes at the end), "VALID", or explicit ((top, bottom), (left, right)), each at least 0.

    Returns:
      Feature maps [N, H', W', C] of the dtype of `x`.

    Raises:
      ValueError: The arguments' shapes, dtypes, strides or padding do not fit together.

    Example:
      >>> images = jnp.ones((1, 4, 4, 2))
      >>> kernel = jnp.ones((3, 3, 1, 2))
      >>> depthwise_conv(images, kernel, strides=2).shape
      (1, 2, 2, 2)
      >>> depthwise_conv(images, kernel)[0, :, :, 0].tolist()[0]  # corners see four ones, edges six
      [4.0, 6.0, 6.0, 4.0]
    """
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[2] != 1 or kernel.shape[3] != x.shape[3]:
        raise ValueError(
            f"x and kernel must be of shapes [N, H, W, C] and [k, k, 1, C], got {x.shape} and {kernel.shape}"
        )
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x and kernel must be of one floating dtype, got {x.dtype} and {kernel.dtype}")
    steps = (strides, strides) if isinstance(strides, int) else tuple(strides)
    if len(steps) != 2 or min(steps) < 1:
        raise ValueError(f"strides must be one or two numbers of at least 1, got {strides}")
    pads = _explicit_padding(x.shape[1:3], kernel.shape[:2], steps, padding)
    return _depthwise(x, kernel, (steps[0], steps[1]), pads)


def _explicit_padding(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Pads:
    """Turns "SAME" and "VALID" into rows and columns of zeros before and after each axis."""
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f'padding must be "SAME", "VALID" or two (before, after) pairs, got "{padding}"')
        pads = lax.padtype_to_pads(sizes, kernel, strides, padding)
    else:
        pads = [(int(before), int(after)) for before, after in padding]
    if len(pads) != 2 or min(min(pair) for pair in pads) < 0:
        raise ValueError(f"padding must be two (before, after) pairs of at least 0, got {padding}")
    for size, k, (before, after) in zip(sizes, kernel, pads, strict=True):
        if size + before + after < k:
            raise ValueError(
                f"kernel must fit into {size} rows or columns padded by ({before}, {after}), got a size of {k}"
            )
    return (pads[0][0], pads[0][1]), (pads[1][0], pads[1][1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, strides: Pair, pads: Pads) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted_forward, strides=strides, pads=pads),
        default=functools.partial(_grouped_forward, strides=strides, pads=pads),
    )


def _depthwise_fwd(
    x: jax.Array, kernel: jax.Array, strides: Pair, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, strides, pads), (x, kernel)


def _depthwise_bwd(
    strides: Pair, pads: Pads, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    return lax.platform_dependent(
        x,
        kernel,
        gradient,
        cpu=functools.partial(_shifted_backward, strides=strides, pads=pads),
        default=functools.partial(_grouped_backward, strides=strides, pads=pads),
    )


_depthwise.defvjp(_depthwise_fwd, _depthwise_bwd)


# XLA's own lowering.


def _grouped_forward(x: jax.Array, kernel: jax.Array, strides: Pair, pads: Pads) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


def _grouped_backward(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair, pads: Pads
) -> tuple[jax.Array, jax.Array]:
    _, pullback = jax.vjp(functools.partial(_grouped_forward, strides=strides, pads=pads), x, kernel)
    return pullback(gradient)


# Shifted multiply-adds.


def _accumulator(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def _pad(x: jax.Array, rows: Pair, columns: Pair) -> jax.Array:
    """Pads, or crops where negative, the spatial axes of [N, H, W, C]."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def _view(x: jax.Array, row: int, column: int, sizes: Pair, strides: Pair) -> jax.Array:
    """Returns the strided view of [N, H, W, C] that starts at (row, column) and has `sizes` rows and columns."""
    limits = row + (sizes[0] - 1) * strides[0] + 1, column + (sizes[1] - 1) * strides[1] + 1
    return lax.slice(
        x, (0, row, column, 0), (x.shape[0], limits[0], limits[1], x.shape[3]), (1, strides[0], strides[1], 1)
    )


def _output_sizes(x: jax.Array, kernel: jax.Array, strides: Pair, pads: Pads) -> Pair:
    rows, columns = (
        (x.shape[axis + 1] + sum(pads[axis]) - kernel.shape[axis]) // strides[axis] + 1 for axis in (0, 1)
    )
    return rows, columns


def _shifted_forward(x: jax.Array, kernel: jax.Array, strides: Pair, pads: Pads) -> jax.Array:
    wide = _accumulator(x.dtype)
    padded = _pad(x, *pads)
    sizes = _output_sizes(x, kernel, strides, pads)
    total = None
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            term = _view(padded, i, j, sizes, strides).astype(wide) * kernel[i, j, 0].astype(wide)
            total = term if total is None else total + term
    assert total is not None
    return total.astype(x.dtype)


def _shifted_backward(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair, pads: Pads
) -> tuple[jax.Array, jax.Array]:
    return (
        _input_gradient(x.shape[1:3], kernel, gradient, strides, pads),
        _kernel_gradient(x, kernel, gradient, strides, pads),
    )


def _input_gradient(
    sizes: Sequence[int], kernel: jax.Array, gradient: jax.Array, strides: Pair, pads: Pads
) -> jax.Array:
    """Computes the gradient of the input, phase by phase.

    Row p of the padded input, with p = s q + r, met the taps i = r + s m at the output rows q - m:
    phase r is the stride-1 sum over m of gradient[q - m] * kernel[r + s m].
    """
    (s_h, s_w), (k_h, k_w) = strides, kernel.shape[:2]
    # Rows and columns of every phase, so that the phases together cover the padded input up to the last
    # row that the crop below keeps.
    rows = -(-(sizes[0] + pads[0][0]) // s_h)
    columns = -(-(sizes[1] + pads[1][0]) // s_w)
    reach_h, reach_w = (k_h - 1) // s_h, (k_w - 1) // s_w
    padded = _pad(gradient, (reach_h, rows - gradient.shape[1]), (reach_w, columns - gradient.shape[2]))
    wide = _accumulator(gradient.dtype)
    phases = []
    for phase_h in range(s_h):
        for phase_w in range(s_w):
            total = jnp.zeros((), wide)
            for m, i in enumerate(range(phase_h, k_h, s_h)):
                for n, j in enumerate(range(phase_w, k_w, s_w)):
                    view = _view(padded, reach_h - m, reach_w - n, (rows, columns), (1, 1))
                    total = total + view.astype(wide) * kernel[i, j, 0].astype(wide)
            shape = (gradient.shape[0], rows, columns, gradient.shape[3])
            phases.append(jnp.broadcast_to(total.astype(gradient.dtype), shape))
    batch, channels = gradient.shape[0], gradient.shape[3]
    woven = jnp.stack(phases, axis=3).reshape(batch, rows, columns, s_h, s_w, channels)
    woven = woven.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * s_h, columns * s_w, channels)
    return lax.slice(
        woven,
        (0, pads[0][0], pads[1][0], 0),
        (batch, pads[0][0] + sizes[0], pads[1][0] + sizes[1], channels),
    )


def _kernel_gradient(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair, pads: Pads
) -> jax.Array:
    """Computes the gradient of the kernel: partial sums over the output rows, reduced once.

    An output row meets a band of k_h input rows, so one sum [N, k_h, W', C] serves a column of taps: k_w
    arrays in the loop instead of k_h k_w, which run as fast and compile two to three times faster.
    """
    wide = _accumulator(x.dtype)
    batch, rows, columns, channels = gradient.shape
    k_h, k_w = kernel.shape[:2]
    padded = _pad(x, *pads)

    def add_row(row: int | jax.Array, sums: list[jax.Array]) -> list[jax.Array]:
        band = lax.dynamic_slice_in_dim(padded, row * strides[0], k_h, axis=1)
        line = lax.dynamic_slice_in_dim(gradient, row, 1, axis=1).astype(wide)
        views = [_view(band, 0, j, (k_h, columns), (1, strides[1])).astype(wide) for j in range(k_w)]
        return [total + line * view for total, view in zip(sums, views, strict=True)]

    start = [jnp.zeros((batch, k_h, columns, channels), wide) for _ in range(k_w)]
    sums = add_rows(rows, add_row, start)
    taps = jnp.stack([total.sum(axis=(0, 2)) for total in sums], axis=1)
    return taps[:, :, None, :].astype(kernel.dtype)
