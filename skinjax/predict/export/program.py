"""A traced JAX function as a flat list of operations, from which a graph of another format is made.

Calls (`jit`, custom derivatives) are inlined, branches by platform are those of a platform that is not named, what
depends on no input is computed, and what no output needs is left out. Then a few groups of operations, which the
networks are written in because XLA computes them fast, are recognised as what they are: windows of pooling, means of
maps, and swish. Every group is matched by what it computes, never by the name of a function.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np

_INLINED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {
    "jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "custom_jvp_call", "custom_vjp_call",
}  # fmt: skip
_SAME = {"stop_gradient", "copy", "optimization_barrier", "sharding_constraint", "reduce_precision"}
_OF_NUMPY: Mapping[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "neg": np.negative,
    "sqrt": np.sqrt,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A value that depends on an input.

    Attributes:
      shape: Sizes of its axes; that of photos may be an expression of `jax.export.symbolic_shape`.
      dtype: Type of its numbers.
    """

    shape: tuple[Any, ...]
    dtype: np.dtype


Atom = Variable | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One operation.

    Attributes:
      name: Of the primitive, or `window_max`, `window_mean` (`size`, `strides`, `pads`, `counts_padding`), `map_mean`
        and `swish`.
      inputs: What it reads.
      outputs: What it computes.
      params: Of the primitive.
    """

    name: str
    inputs: tuple[Atom, ...]
    outputs: tuple[Variable, ...]
    params: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A function as operations in order.

    Attributes:
      inputs: Its arguments.
      operations: Each reads only inputs and what comes before it.
      outputs: Its results.
    """

    inputs: tuple[Variable, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Atom, ...]

    @property
    def uses(self) -> Counter[Variable]:
        """Returns how often each variable is read, by operations and as a result."""
        read = [atom for operation in self.operations for atom in operation.inputs]
        return Counter(atom for atom in (*read, *self.outputs) if isinstance(atom, Variable))


def trace(function: Callable[..., Sequence[jax.Array]], *shapes: jax.ShapeDtypeStruct) -> Program:
    """Traces a function and simplifies it.

    Args:
      function: Pure, of arrays to a sequence of arrays.
      shapes: Of its arguments; sizes may be symbolic.

    Returns:
      The program.

    Example:
      >>> add = trace(lambda x: [x * jnp.sqrt(4.0) + 1], jax.ShapeDtypeStruct((3,), jnp.float32))
      >>> [(one.name, float(one.inputs[1])) for one in add.operations]
      [('mul', 2.0), ('add', 1.0)]
    """
    closed = jax.make_jaxpr(function)(*shapes)
    inputs = tuple(_variable(place) for place in closed.jaxpr.invars)
    operations: list[Operation] = []
    outputs = tuple(_inline(closed.jaxpr, closed.consts, inputs, operations))
    program = _needed(Program(inputs, tuple(operations), outputs))
    return _needed(recognise(program))


def is_static(shape: Sequence[Any]) -> bool:
    """Says whether all sizes of a shape are numbers.

    >>> is_static((1, 2)), is_static(jax.export.symbolic_shape("n, 2"))
    (True, False)
    """
    return all(isinstance(size, int | np.integer) for size in shape)


def _variable(place: Any) -> Variable:
    return Variable(tuple(place.aval.shape), np.dtype(place.aval.dtype))


def _inline(jaxpr: Any, consts: Sequence[Any], args: Sequence[Atom], into: list[Operation]) -> list[Atom]:
    known: dict[Any, Atom] = dict(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
    known |= dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Atom:
        literal = isinstance(atom, jax.extend.core.Literal)
        return np.asarray(atom.val, atom.aval.dtype) if literal else known[atom]

    for equation in jaxpr.eqns:
        inputs = tuple(read(atom) for atom in equation.invars)
        found = _outputs(equation, inputs, into)
        known |= dict(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _outputs(equation: Any, inputs: tuple[Atom, ...], into: list[Operation]) -> Sequence[Atom]:
    name, params = equation.primitive.name, equation.params
    if name in _SAME:
        return inputs
    if name == "platform_index":
        platforms = params["platforms"]
        return [np.asarray(next((i for i, one in enumerate(platforms) if one is None), len(platforms) - 1))]
    if name == "cond" and isinstance(inputs[0], np.ndarray):
        branch = params["branches"][int(np.clip(inputs[0], 0, len(params["branches"]) - 1))]
        return _inline(branch.jaxpr, branch.consts, inputs[1:], into)
    if name in _CALLS:
        inner = next(params[key] for key in _INLINED if key in params)
        if isinstance(inner, jax.extend.core.ClosedJaxpr):
            return _inline(inner.jaxpr, inner.consts, inputs, into)
        return _inline(inner, (), inputs, into)
    outputs = tuple(_variable(place) for place in equation.outvars)
    constant = not any(isinstance(atom, Variable) for atom in inputs)
    if constant and all(is_static(one.shape) for one in outputs):
        return _computed(equation, inputs)
    into.append(Operation(name, inputs, outputs, params))
    return outputs


def _computed(equation: Any, inputs: tuple[Any, ...]) -> list[np.ndarray]:
    """Returns what an operation makes of constants."""
    name, place = equation.primitive.name, equation.outvars[0].aval
    if name in _OF_NUMPY:
        return [np.asarray(_OF_NUMPY[name](*inputs), place.dtype)]
    if name in ("reshape", "squeeze"):
        return [np.reshape(inputs[0], place.shape)]
    if name == "convert_element_type":
        return [np.asarray(inputs[0], place.dtype)]
    found = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)
    return [np.asarray(one) for one in (found if equation.primitive.multiple_results else [found])]


def _needed(program: Program) -> Program:
    needed = {atom for atom in program.outputs if isinstance(atom, Variable)}
    kept: list[Operation] = []
    for operation in reversed(program.operations):
        if needed.intersection(operation.outputs):
            kept.append(operation)
            needed.update(atom for atom in operation.inputs if isinstance(atom, Variable))
    return dataclasses.replace(program, operations=tuple(reversed(kept)))


# ------------------------------------------------------------------------------------------------- groups of operations


def recognise(program: Program) -> Program:
    """Puts single operations in the place of groups: windows of pooling, means of maps, swish.

    Args:
      program: Any program.

    Returns:
      The program; operations of a group that nothing else reads are still in it.
    """
    groups = _Groups(program)
    # The largest group first: its parts come before it.
    changed: dict[Operation, Operation] = {}
    for operation in reversed(program.operations):
        if (found := groups.match(operation)) is not None:
            changed[operation] = found
    kept = [changed.get(operation, operation) for operation in program.operations]
    return dataclasses.replace(program, operations=tuple(kept))


class _Groups:
    """Operations by what they compute."""

    def __init__(self, program: Program) -> None:
        self._made = {one: operation for operation in program.operations for one in operation.outputs}
        self._uses = program.uses

    def match(self, operation: Operation) -> Operation | None:
        """Returns the one operation that computes the same as the group that ends here; None for no group."""
        if operation.name == "max":
            return self._window(operation, operation, -math.inf)
        if operation.name in ("div", "mul") and isinstance(operation.inputs[0], Variable):
            return self._swish(operation) or self._mean(operation) or self._map_mean(operation)
        return None

    def _by(self, atom: Atom, name: str) -> Operation | None:
        """Returns the operation of this name that makes a value; None where another does."""
        operation = self._made.get(atom) if isinstance(atom, Variable) else None
        return operation if operation is not None and operation.name == name else None

    def _with_constant(self, atom: Atom, name: str, constant: float) -> Atom | None:
        """Returns the other operand where a value is made of a constant by an operation of this name."""
        operation = self._by(atom, name)
        for place, one in enumerate(operation.inputs if operation else ()):
            if isinstance(one, np.ndarray) and one.size == 1 and one.item() == constant:
                return operation.inputs[1 - place] if operation else None
        return None

    def _swish(self, operation: Operation) -> Operation | None:
        """Matches z / (1 + exp(-max(z, -80))), or z times its logistic."""
        z, other = operation.inputs
        if operation.name == "mul":
            for one, gate in ((z, other), (other, z)):
                logistic = self._by(gate, "logistic")
                if logistic is not None and logistic.inputs[0] is one:
                    return Operation("swish", (one,), operation.outputs, {})
            return None
        exponential = self._by(self._with_constant(other, "add", 1.0) or np.zeros(()), "exp")
        negative = self._by(exponential.inputs[0], "neg") if exponential else None
        bounded = self._with_constant(negative.inputs[0], "max", -80.0) if negative else None
        return Operation("swish", (z,), operation.outputs, {}) if bounded is z else None

    def _mean(self, operation: Operation) -> Operation | None:
        """A sum over windows by their size, or times one over how much of each lies on the map."""
        total, weight = self._by(operation.inputs[0], "add"), operation.inputs[1]
        if total is None or not isinstance(weight, np.ndarray) or self._uses[total.outputs[0]] != 1:
            return None
        window = self._window(total, operation, 0.0)
        if window is None:
            return None
        size, strides, pads = (window.params[name] for name in ("size", "strides", "pads"))
        rows, columns = window.inputs[0].shape[1:3]
        if operation.name == "div" and weight.size == 1 and weight.item() == size[0] * size[1]:
            counts_padding = True
        elif operation.name == "mul" and is_static((rows, columns)):
            counts = [
                [
                    min(start + k, extent) - max(start, 0)
                    for start in range(-low, extent + high - k + 1, stride)
                ]
                for extent, k, stride, (low, high) in zip((rows, columns), size, strides, pads, strict=True)
            ]
            expected = 1 / np.outer(counts[0], counts[1]).astype(np.float32)
            found = (
                weight.reshape(weight.shape[-3:-1]) if weight.ndim >= 3 and weight.shape[-1] == 1 else weight
            )
            if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-6):
                return None
            counts_padding = False
        else:
            return None
        params = {**window.params, "counts_padding": counts_padding}
        return Operation("window_mean", window.inputs, operation.outputs, params)

    def _map_mean(self, operation: Operation) -> Operation | None:
        """The sum over all places of a map, at once or first by rows, divided by their number."""
        total, count = self._by(operation.inputs[0], "reduce_sum"), operation.inputs[1]
        if operation.name != "div" or total is None or not isinstance(count, np.ndarray) or count.size != 1:
            return None
        source, axes = total.inputs[0], tuple(total.params["axes"])
        if axes == (1,) and (rows := self._by(source, "reduce_sum")) and tuple(rows.params["axes"]) == (1,):
            source, axes = rows.inputs[0], (1, 2)
        if axes != (1, 2) or len(source.shape) != 4 or source.dtype != np.float32:
            return None
        if not is_static(source.shape[1:3]) or count.item() != math.prod(source.shape[1:3]):
            return None
        return Operation("map_mean", (source,), operation.outputs, {})

    def _window(self, root: Operation, ends: Operation, filling: float) -> Operation | None:
        """Maxima, or sums, of shifted views of one map [N, H, W, C]."""
        views = self._leaves(root, root.name)
        slices = [self._by(view, "slice") for view in views]
        if len(slices) < 4 or any(one is None for one in slices):
            return None
        cuts = [one for one in slices if one is not None]
        source = cuts[0].inputs[0]
        if any(one.inputs[0] is not source for one in cuts) or len(source.shape) != 4:
            return None
        steps = {tuple(one.params["strides"] or (1,) * 4) for one in cuts}
        starts = [tuple(one.params["start_indices"]) for one in cuts]
        rows, columns = (sorted({start[axis] for start in starts}) for axis in (1, 2))
        grid = {(0, row, column, 0) for row in rows for column in columns}
        size = len(rows), len(columns)
        regular = rows == list(range(size[0])) and columns == list(range(size[1]))
        whole = all(one.outputs[0].shape[0] == source.shape[0] for one in cuts) and all(
            one.outputs[0].shape[3] == source.shape[3] for one in cuts
        )
        if len(steps) != 1 or set(starts) != grid or len(starts) != len(grid) or not regular or not whole:
            return None
        strides = steps.pop()[1:3]
        fits = all(
            (extent - k) // stride + 1 == made
            for extent, k, stride, made in zip(
                source.shape[1:3], size, strides, ends.outputs[0].shape[1:3], strict=True
            )
        )
        if not fits:
            return None
        pads: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
        padded = self._by(source, "pad")
        if padded is not None and _is_border(padded, filling):
            pads = tuple((low, high) for low, high, _ in padded.params["padding_config"][1:3])
            source = padded.inputs[0]
        params = {"size": size, "strides": tuple(strides), "pads": pads}
        return Operation(f"window_{root.name}", (source,), ends.outputs, params)

    def _leaves(self, operation: Operation, name: str) -> list[Atom]:
        leaves: list[Atom] = []
        for atom in operation.inputs:
            inner = self._by(atom, name)
            alone = inner is not None and self._uses[inner.outputs[0]] == 1
            leaves += self._leaves(inner, name) if inner is not None and alone else [atom]
        return leaves


def _is_border(operation: Operation, filling: float) -> bool:
    """Says whether a padding adds rows and columns of a number to a map, and nothing else."""
    value, config = operation.inputs[1], operation.params["padding_config"]
    same = isinstance(value, np.ndarray) and value.size == 1 and value.item() == filling
    border = config[0] == config[3] == (0, 0, 0) and all(
        min(low, high) >= 0 and inner == 0 for low, high, inner in config
    )
    return same and border
