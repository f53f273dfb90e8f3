"""An ONNX graph in the making: its nodes, and values that know how they are stored.

JAX's feature maps are [N, H, W, C], ONNX's convolutions read [N, C, H, W]. A value of three axes and more may be stored
channels first; element-wise operations, sums, slices and the like work on either, so that a network's maps are turned
once, at its beginning. A matrix [N H W, C] that is a reshaped map, by which 1 × 1 convolutions are products, stays a
map, and its product a convolution. Scales and shifts per channel go into the convolution before them while the graph
is being made: batch normalisation takes no pass of its own where it follows a convolution.

Whatever is broadcast is stored as it was, for ONNX broadcasts by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import helper, numpy_helper

from skinjax.predict.export.program import is_static

OPSET = 18
"""Opset of ONNX's operators: ONNX Runtime 1.15 (2023) and later run it."""

LARGEST = 2**31
"""Bytes that a single ONNX file cannot reach, a limit of protocol buffers."""


class UnsupportedError(ValueError):
    """A network is made of an operation that cannot be written as ONNX."""


def refuse(what: str) -> NoReturn:
    """Raises UnsupportedError.

    Args:
      what: The operation, in words.
    """
    raise UnsupportedError(
        f"the network must be made of operations that ONNX can be written in, got {what}; export it as stablehlo or "
        "safetensors, and answer photos by runtime=jax"
    )


@dataclasses.dataclass
class Node:
    """A node; convolutions and the like may change until the graph is finished.

    Attributes:
      kind: ONNX's operator.
      inputs: Names of what it reads.
      output: Name of what it computes.
      attributes: Of the operator.
    """

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]

    def finished(self, graph: Graph) -> onnx.NodeProto:
        """Returns the node as ONNX has it."""
        return helper.make_node(self.kind, self.inputs, [self.output], self.output, **self.attributes)


@dataclasses.dataclass
class Convolution(Node):
    """A convolution that takes up scales and shifts of its output's channels.

    Attributes:
      kernel: float32[out, in, ...].
      bias: float32[out].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def rescale(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Computes scale · y + shift from now on, each a number or one per channel."""
        scale = np.broadcast_to(scale, self.bias.shape).astype(np.float32)
        self.kernel = self.kernel * scale.reshape(-1, *[1] * (self.kernel.ndim - 1))
        self.bias = (self.bias * scale + shift).astype(np.float32)

    def finished(self, graph: Graph) -> onnx.NodeProto:
        """Returns the node as ONNX has it, without a bias where there is none."""
        self.inputs = [self.inputs[0], graph.constant(self.kernel)]
        if self.bias.any():
            self.inputs.append(graph.constant(self.bias))
        return super().finished(graph)


@dataclasses.dataclass
class Affine(Node):
    """A scale and shift per channel with no convolution before it.

    Attributes:
      scale: float32[channels].
      bias: float32[channels].
    """

    scale: np.ndarray
    bias: np.ndarray

    def rescale(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Computes scale · y + shift from now on, each a number or one per channel."""
        self.scale = (self.scale * scale).astype(np.float32)
        self.bias = (self.bias * scale + shift).astype(np.float32)

    def finished(self, graph: Graph) -> onnx.NodeProto:
        """Returns one pass over memory: a normalisation by mean 0 and variance 1."""
        zero, one = np.zeros_like(self.bias), np.ones_like(self.bias)
        self.inputs = [self.inputs[0], *map(graph.constant, (self.scale, self.bias, zero, one))]
        self.attributes = {"epsilon": 0.0}
        return super().finished(graph)


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph.

    Attributes:
      name: In the graph.
      shape: As JAX has it.
      dtype: Of its numbers.
      stored: Shape that is stored, in JAX's order of axes: `shape`, but for axes of 1 that stand for all.
      channels_first: Whether the last axis is stored as the second.
      node: What computes it, where scales and shifts may still be put into that.
      image: The map that this is the matrix [N H W, C] of; then nothing else of the tensor counts but its shape.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: np.dtype
    stored: tuple[Any, ...]
    channels_first: bool = False
    node: Node | None = None
    image: Tensor | None = None


Value = Tensor | np.ndarray


def fixed(tensor: Tensor) -> Tensor:
    """Returns a tensor whose node is not changed any more."""
    image = None if tensor.image is None else dataclasses.replace(tensor.image, node=None)
    return dataclasses.replace(tensor, node=None, image=image)


def stored_shape(value: Value) -> tuple[Any, ...]:
    """Returns the shape that is stored of a value."""
    return value.stored if isinstance(value, Tensor) else np.shape(value)


def place_of(tensor: Tensor, axis: int) -> int:
    """Returns where an axis is stored."""
    rank = len(tensor.shape)
    if not tensor.channels_first or axis == 0:
        return axis
    return 1 if axis == rank - 1 else axis + 1


class Graph:
    """Nodes and constants, in order."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._constants: dict[bytes, str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._turned: dict[tuple[str, bool], Tensor] = {}
        self._photos = ""
        self._count: Any = None

    # ------------------------------------------------------------------------------------------- making nodes

    def constant(self, values: np.ndarray) -> str:
        """Returns the name of a constant; equal ones are stored once.

        Args:
          values: Any array of a type that ONNX knows.
        """
        array = np.ascontiguousarray(values).reshape(np.shape(values))
        key = f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = name
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """Returns the name of a constant int64[...], as ONNX's shapes and axes are."""
        return self.constant(np.array(values, np.int64))

    def emit(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node with one output, and returns the output's name."""
        return self.add(Node(kind, list(inputs), "", attributes))

    def add(self, node: Node) -> str:
        """Adds a node, and returns the name of its output."""
        node.output = f"{node.kind.lower()}_{len(self._nodes)}"
        self._nodes.append(node)
        return node.output

    def input(self, name: str, shape: Sequence[Any], dtype: np.dtype, first: bool) -> Tensor:
        """Adds an argument.

        Args:
          name: Its name.
          shape: Its sizes; the one that is no number is that of photos.
          dtype: Of its numbers.
          first: Whether to turn it channels first at once.
        """
        sizes = [int(size) if is_static((size,)) else "N" for size in shape]
        self._inputs.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), sizes)
        )
        if not self._photos:
            self._photos, self._count = name, shape[0]
        tensor = Tensor(name, tuple(shape), dtype, tuple(shape))
        return self.first(tensor) if first else tensor

    def output(self, name: str, value: Tensor | np.ndarray) -> None:
        """Makes a value a result.

        Args:
          name: Its name.
          value: The value.
        """
        tensor = self.full(self.tensor(value))
        kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
        sizes = [int(size) if is_static((size,)) else "N" for size in tensor.shape]
        self._outputs.append(helper.make_tensor_value_info(name, kind, sizes))
        self._nodes.append(Node("Identity", [tensor.name], name, {}))

    # --------------------------------------------------------------------------------------- how it is stored

    def tensor(self, value: Tensor | np.ndarray) -> Tensor:
        """Returns a value as a tensor, a constant too."""
        if isinstance(value, Tensor):
            return value
        shape = tuple(np.shape(value))
        return Tensor(self.constant(np.asarray(value)), shape, np.asarray(value).dtype, shape)

    def first(self, tensor: Tensor) -> Tensor:
        """Returns a tensor of three axes or more stored channels first."""
        tensor = self.unfolded(tensor)
        return tensor if tensor.channels_first else self._turn(tensor, True)

    def plain(self, tensor: Tensor) -> Tensor:
        """Returns a tensor stored in JAX's order of axes."""
        tensor = self.unfolded(tensor)
        return self._turn(tensor, False) if tensor.channels_first else tensor

    def full(self, tensor: Tensor) -> Tensor:
        """Returns a tensor stored in JAX's order of axes and shape."""
        tensor = self.plain(tensor)
        if tensor.stored == tensor.shape:
            return tensor
        name = self.emit("Expand", [tensor.name, self._sizes(tensor.shape)])
        return Tensor(name, tensor.shape, tensor.dtype, tensor.shape)

    def unfolded(self, tensor: Tensor) -> Tensor:
        """Returns a matrix that stands for a map as a matrix of its own."""
        if tensor.image is None:
            return tensor
        image = self.full(tensor.image)
        name = self.emit("Reshape", [image.name, self.integers(-1, int(tensor.shape[1]))])
        return Tensor(name, tensor.shape, tensor.dtype, tensor.shape)

    def _turn(self, tensor: Tensor, first: bool) -> Tensor:
        found = self._turned.get((tensor.name, first))
        if found is not None:
            return dataclasses.replace(found, shape=tensor.shape)
        rank = len(tensor.stored)
        order = [0, rank - 1, *range(1, rank - 1)] if first else [0, *range(2, rank), 1]
        if all(size == 1 for size in tensor.stored[1:-1]):  # nothing moves
            channels, ones = int(tensor.stored[-1]), [1] * (rank - 2)
            sizes = [-1, channels, *ones] if first else [-1, *ones, channels]
            name = self.emit("Reshape", [tensor.name, self.integers(*sizes)])
        else:
            name = self.emit("Transpose", [tensor.name], perm=order)
        made = Tensor(name, tensor.shape, tensor.dtype, tensor.stored, channels_first=first)
        self._turned[tensor.name, first] = made
        self._turned[name, not first] = dataclasses.replace(tensor, node=None)
        return made

    def _sizes(self, shape: Sequence[Any]) -> str:
        """Returns the name of a shape as int64[rank], worked out when the graph runs where it is not known before."""
        if is_static(shape):
            return self.integers(*map(int, shape))
        parts = []
        for size in shape:
            if is_static((size,)):
                parts.append(self.integers(int(size)))
                continue
            if size % self._count != 0:
                raise ValueError(
                    f"a size must be a multiple of the number of photos {self._count}, got {size}"
                )
            count = self.emit("Shape", [self._photos], start=0, end=1)
            factor = int(size // self._count)
            parts.append(count if factor == 1 else self.emit("Mul", [count, self.integers(factor)]))
        return self.emit("Concat", parts, axis=0)

    # ------------------------------------------------------------------------------------------------ the end

    def finished(self, metadata: Mapping[str, str], description: str) -> onnx.ModelProto:
        """Returns the whole model, checked.

        Args:
          metadata: Texts by name.
          description: What the model is, for people.

        Raises:
          ValueError: It is larger than one file can be.
        """
        nodes = [node.finished(self) for node in self._nodes]
        size = sum(len(one.raw_data) for one in self._initializers)
        if size >= LARGEST:
            raise ValueError(
                f"an ONNX file must be smaller than 2 GiB, and these networks hold {size / 2**30:.1f}; export one fold"
            )
        graph = helper.make_graph(nodes, "skinjax", self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="skinjax",
            doc_string=description,
        )
        model.ir_version = min(
            model.ir_version, 8
        )  # that of the operators' version; runtimes refuse newer ones
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model
