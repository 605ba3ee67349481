"""Multiplies the channels of a stream where it is written, and undoes that where it is read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Constant, DType, Graph, Node, constant_of
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.linear import round_to
from graphopt.transforms.quantization.accuracy.streams import Stream
from graphopt.transforms.statistics import LayerInput

__all__ = ["columns_of", "rescale", "with_columns"]

Float64 = npt.NDArray[np.float64]


def columns_of(layer: LayerInput, channels: Float64) -> Float64:
    """A number for each input channel as one for each column of a layer's weights: float64 [groups, 1, columns]."""
    each = layer.columns * layer.groups // len(channels)
    return np.repeat(channels, each).reshape(layer.groups, 1, layer.columns)


def with_columns(layer: LayerInput, matrix: Float64, factor: Float64) -> Float64:
    """Weights as :meth:`LayerInput.matrix` gives them, with each input channel multiplied by a number."""
    return matrix * columns_of(layer, factor)


def rescale(graph: Graph, stream: Stream, factor: Float64) -> bool:
    """Divide the channels of a stream by numbers; says whether that was done.

    Nothing is edited when a constant would not fit into its type. Constants that others read too are copied.

    Args:
        graph: the main graph.
        stream: what to scale.
        factor: float64 [channels], positive and finite.
    """
    matrices: dict[LayerInput, Float64] = {}
    for reader in stream.readers:
        matrices[reader] = with_columns(reader, _matrix(matrices, reader), factor)
    vectors: list[tuple[Node, int, Float64]] = []
    for writer in stream.writers:
        layer, node = writer.layer, writer.node
        if layer is not None:
            rows = factor.reshape(layer.groups, -1, 1)
            matrices[layer] = _matrix(matrices, layer) / rows
        for position in writer.positions:
            constant = constant_of(node.input_at(position))
            assert constant is not None, "it was found to be constant"
            axis = -1 if layer is not None or constant.ndim == 1 else _axis(node, constant.ndim, stream.axis)
            shape = [-1 if at == axis % constant.ndim else 1 for at in range(constant.ndim)]
            vectors.append((node, position, constant.numpy().astype(np.float64) / factor.reshape(shape)))
    weights = {layer: _rounded(layer.weights(matrix), _dtype(layer.node, 1)) for layer, matrix in matrices.items()}
    others = [(node, at, _rounded(numbers, _dtype(node, at))) for node, at, numbers in vectors]
    if any(item is None for item in (*weights.values(), *(item for _, _, item in others))):
        return False
    for layer, array in weights.items():
        assert array is not None, "they fit"
        layer.weight.const = Constant(np.ascontiguousarray(array))
    for node, position, array in others:
        assert array is not None, "they fit"
        _put(graph, node, position, array)
    return True


def _matrix(known: dict[LayerInput, Float64], layer: LayerInput) -> Float64:
    """Weights as they are by now: a layer may read and write the same stream."""
    if layer not in known:
        assert layer.weight.const is not None, "the weights were found to be constant"
        return layer.matrix(layer.weight.const.numpy()).astype(np.float64)
    return known[layer]


def _axis(node: Node, ndim: int, axis: int) -> int:
    """The axis of the channels in a constant that broadcasts against a node's output."""
    if axis < 0:
        return axis
    assert node.output.rank is not None, "the rank was found to be known"
    return axis - node.output.rank + ndim


def _dtype(node: Node, position: int) -> DType | None:
    constant = constant_of(node.input_at(position))
    return None if constant is None else constant.dtype


def _rounded(numbers: Array, dtype: DType | None) -> Array | None:
    """Numbers in a type, ``None`` where one does not fit."""
    assert dtype is not None, "it was found to be constant"
    made = round_to(numbers.astype(np.float64), dtype)
    return None if isinstance(made, NoMatch) else made


def _put(graph: Graph, node: Node, position: int, array: Array) -> None:
    """Let a node read other numbers; a constant that only it reads is changed in place."""
    value = node.inputs[position]
    assert value is not None, "it was found to be there"
    if value.use_count == 1 and not value.is_graph_output and not value.is_input and value.producer is None:
        value.const = Constant(np.ascontiguousarray(array))
        return
    made = graph.add_constant(Constant(np.ascontiguousarray(array)), value.name)
    made.lineage = value.lineage
    node.replace_input(position, made)
