"""ONNX's operators for JAX's primitives: those that networks of this package, and decisions, are made of.

A primitive that is not here is refused by its name. Shapes are as `skinjax.predict.export.graph` keeps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from skinjax.predict.export import axes, elementwise, lookups, products
from skinjax.predict.export.graph import Graph, Tensor, Value, fixed, refuse
from skinjax.predict.export.program import Operation, Program, Variable

_UNARY = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "neg": "Neg", "abs": "Abs", "sqrt": "Sqrt",
    "erf": "Erf", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "not": "Not", "sin": "Sin", "cos": "Cos",
}  # fmt: skip
_LOWERINGS: Mapping[str, Callable[[Graph, Operation, list[Value]], Tensor]] = {
    "argmax": lookups.arg,
    "argmin": lookups.arg,
    "broadcast_in_dim": axes.broadcast_in_dim,
    "clamp": elementwise.clamp,
    "concatenate": axes.concatenate,
    "conv_general_dilated": products.convolution_of,
    "convert_element_type": elementwise.cast,
    "cumsum": lookups.cumulative,
    "dot_general": products.product,
    "gather": lookups.gather,
    "integer_pow": elementwise.power,
    "iota": axes.numbers_along,
    "map_mean": products.map_mean,
    "ne": elementwise.unequal,
    "pad": axes.pad,
    "reshape": axes.reshape,
    "rev": axes.reverse,
    "rsqrt": elementwise.rsqrt,
    "select_n": elementwise.select,
    "slice": axes.cut,
    "square": elementwise.square,
    "squeeze": axes.reshape,
    "swish": elementwise.swish,
    "transpose": axes.transpose,
    "window_max": products.window,
    "window_mean": products.window,
    "xor": elementwise.exclusive,
}


def emit(program: Program, names: Sequence[str], outputs: Sequence[str]) -> Graph:
    """Writes a program as an ONNX graph.

    Args:
      program: The program; its first argument's first axis counts the photos.
      names: Of its arguments.
      outputs: Names of its results.

    Returns:
      The graph.

    Raises:
      UnsupportedError: An operation that is not known; the message names it.
    """
    graph, convolves = Graph(), any(one.name == "conv_general_dilated" for one in program.operations)
    emitter = _Emitter(graph, program)
    for name, one in zip(names, program.inputs, strict=True):
        first = convolves and len(one.shape) == 4
        emitter.values[one] = graph.input(name, one.shape, one.dtype, first)
    for operation in program.operations:
        emitter.lower(operation)
    for name, atom in zip(outputs, program.outputs, strict=True):
        graph.output(name, emitter.read(atom))
    return graph


class _Emitter:
    """The values that are known so far."""

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph = graph
        self.values: dict[Variable, Tensor] = {}
        self._uses = program.uses

    def read(self, atom: Variable | np.ndarray) -> Value:
        """Returns the value of what an operation reads; one that others read too is not changed any more."""
        if not isinstance(atom, Variable):
            return np.asarray(atom)
        value = self.values[atom]
        shared = self._uses[atom] > 1
        return fixed(value) if shared else value

    def lower(self, operation: Operation) -> None:
        """Adds the nodes of an operation."""
        name, values = operation.name, [self.read(atom) for atom in operation.inputs]
        if name in _UNARY:
            found = elementwise.unary(self.graph, _UNARY[name], values[0])
        elif name in elementwise.BINARY:
            found = elementwise.binary(self.graph, operation, values)
        elif name in lookups.REDUCTIONS:
            found = lookups.reduced(self.graph, operation, values)
        elif name in _LOWERINGS:
            found = _LOWERINGS[name](self.graph, operation, values)
        else:
            refuse(name)
        made = operation.outputs[0]
        self.values[made] = dataclasses.replace(found, shape=made.shape, dtype=made.dtype)
