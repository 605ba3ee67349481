"""What a linear layer reads, as the rows of a matrix: windows of a Conv, rows of a Gemm or MatMul.

A layer is ``Y[g] = X[g] . W[g]'`` for each group ``g``: ``X`` has a row for each place of the output and a column for each weight of an
output channel, ``W`` a row for each output channel. Whoever wants to know what a change of weights does to outputs needs ``X`` only.

| operator | rows | columns | groups |
|---|---|---|---|
| Conv | places of the output | input channels of a group, then places of the window | ``group`` |
| Gemm, MatMul | all axes but the last of the input | the last axis | 1 |

Source: https://onnx.ai/onnx/operators/onnx__Conv.html
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, DType, Node, Value
from graphopt.rewriting import NoMatch

__all__ = ["FLOATS", "LayerInput", "read_layer"]

#: Element types of the weights and inputs of a layer.
FLOATS: Final = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE})
#: Where the first row that is taken lies moves by this share of the distance of two, from batch to batch.
_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class LayerInput:
    """The input of a linear layer with constant weights.

    Attributes:
        node: a Conv, Gemm or MatMul.
        weight: its weights.
        groups: of channels that are worked on apart.
        columns: weights of an output channel.
    """

    node: Node
    weight: Value
    groups: int
    columns: int

    @property
    def value(self) -> Value:
        """The tensor that is read."""
        value = self.node.inputs[0]
        assert value is not None, "it was found to be there"
        return value

    @property
    def reads(self) -> Hashable:
        """Equal for two layers that read the same rows of the same tensor."""
        if self.node.op != "Conv":
            return self.value, bool(self.node.op == "Gemm" and self.node.int_attr("transA", 0))
        constant, node = self.weight.const, self.node
        assert constant is not None, "the weights were found to be constant"
        window = tuple(node.ints_attr(name) for name in ("strides", "dilations", "pads"))
        return self.value, self.groups, constant.shape[2:], window, node.str_attr("auto_pad", "NOTSET")

    def rows(self, array: Array, limit: int, turn: int = 0) -> Array:
        """Some of the rows, or all where there are no more.

        Args:
            array: what the layer reads, of one batch.
            limit: how many at most; they lie at equal distances.
            turn: number of the batch, which moves the first one.

        Returns:
            [groups, rows, columns], of the element type of ``array``.
        """
        if self.node.op == "Conv":
            return self._windows(array, limit, turn)
        if self.node.op == "Gemm" and self.node.int_attr("transA", 0):
            array = array.T
        flat = array.reshape(-1, array.shape[-1])
        return flat[_places(len(flat), limit, turn)][None]

    def output_rows(self, array: Array, limit: int, turn: int = 0) -> Array:
        """What the layer gives for the rows that :meth:`rows` takes.

        Args:
            array: what the layer gives, of one batch; it may have other channels than now.
            limit: as there.
            turn: as there.

        Returns:
            [rows, channels], of the element type of ``array``.
        """
        if self.node.op != "Conv":
            flat = array.reshape(-1, array.shape[-1])
            return flat[_places(len(flat), limit, turn)]
        planes = array.reshape(*array.shape[:2], -1)
        which, place = np.divmod(_places(len(planes) * planes.shape[2], limit, turn), planes.shape[2])
        found: Array = planes[which, :, place]
        return found

    def mean(self, array: Array) -> tuple[int, npt.NDArray[np.float64]]:
        """How many rows there are in a batch, and the mean of all: float64 [groups, columns]."""
        if self.node.op != "Conv":
            rows = self.rows(array, array.size)
            return rows.shape[1], rows.mean(axis=1, dtype=np.float64)
        kernel, strides, dilations, pads, sizes = self._geometry(array)
        total = array.sum(axis=0, dtype=np.float64)
        for at in reversed(range(len(kernel))):  # the axis goes, and its place in the window comes last
            starts = np.arange(sizes[at]) * strides[at] - pads[at][0]
            places = starts[None, :, None] + (np.arange(kernel[at]) * dilations[at])[:, None, None]
            taken = (places == np.arange(array.shape[at + 2])).sum(axis=1, dtype=np.float64)
            total = np.tensordot(total, taken, ([at + 1], [1]))
        total = total.transpose(0, *range(len(kernel), 0, -1))
        count = len(array) * math.prod(sizes)
        return count, total.reshape(self.groups, -1) / max(count, 1)

    def matrix(self, weights: Array) -> Array:
        """Weights as [groups, output channels of a group, columns]."""
        if self.node.op == "Conv":
            return weights.reshape(self.groups, weights.shape[0] // self.groups, self.columns)
        return weights[None] if self._is_transposed else weights.T[None]

    def weights(self, matrix: Array) -> Array:
        """The other way round: a matrix of :meth:`matrix` in the shape of the weights."""
        constant = self.weight.const
        assert constant is not None, "the weights were found to be constant"
        if self.node.op == "Conv":
            return matrix.reshape(constant.shape)
        return np.ascontiguousarray(matrix[0] if self._is_transposed else matrix[0].T)

    @property
    def output_axis(self) -> int:
        """Axis of the output channels in the weights."""
        return 0 if self.node.op == "Conv" or self._is_transposed else 1

    @property
    def outputs(self) -> int:
        """How many output channels there are."""
        constant = self.weight.const
        assert constant is not None, "the weights were found to be constant"
        return constant.shape[self.output_axis]

    @property
    def channel_axis(self) -> int:
        """Axis of the output channels in the result."""
        return 1 if self.node.op == "Conv" else -1

    @property
    def _is_transposed(self) -> bool:
        return self.node.op == "Gemm" and bool(self.node.int_attr("transB", 0))

    def _windows(self, array: Array, limit: int, turn: int) -> Array:
        kernel, strides, dilations, pads, sizes = self._geometry(array)
        spatial, (batch, channels) = len(kernel), array.shape[:2]
        places = np.unravel_index(_places(batch * math.prod(sizes), limit, turn), (batch, *sizes))
        axes: list[npt.NDArray[np.int64]] = []
        inside = np.ones((1,) * (spatial + 1), bool)
        for at, (place, size) in enumerate(zip(places[1:], array.shape[2:], strict=True)):
            taken = place[:, None] * strides[at] + np.arange(kernel[at]) * dilations[at] - pads[at][0]
            shape = [len(place), *(kernel[at] if other == at else 1 for other in range(spatial))]
            axes.append(np.clip(taken, 0, size - 1).reshape(shape))
            inside = inside & ((taken >= 0) & (taken < size)).reshape(shape)
        which = places[0].reshape(-1, *[1] * spatial)
        found = np.moveaxis(array, 1, -1)[(which, *axes)] * inside[..., None]  # [rows, *kernel, channels]
        found = np.moveaxis(found, -1, 1).reshape(len(which), self.groups, channels // self.groups * math.prod(kernel))
        return np.ascontiguousarray(found.swapaxes(0, 1))

    def _geometry(
        self, array: Array
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]], tuple[int, ...]]:
        """Sizes of the window, strides, dilations, pads at both ends, and sizes of the output."""
        node, constant = self.node, self.weight.const
        assert constant is not None, "the weights were found to be constant"
        kernel = constant.shape[2:]
        ones = (1,) * len(kernel)
        strides = node.ints_attr("strides") or ones
        dilations = node.ints_attr("dilations") or ones
        how = node.str_attr("auto_pad", "NOTSET") or "NOTSET"
        stated = node.ints_attr("pads") or (0,) * (2 * len(kernel))
        pads: list[tuple[int, int]] = []
        sizes: list[int] = []
        for at, size in enumerate(array.shape[2:]):
            reach = (kernel[at] - 1) * dilations[at] + 1
            if how.startswith("SAME"):
                lacking = max((-(-size // strides[at]) - 1) * strides[at] + reach - size, 0)
                less, more = lacking // 2, lacking - lacking // 2
                pads.append((less, more) if how == "SAME_UPPER" else (more, less))
            else:
                pads.append((0, 0) if how == "VALID" else (stated[at], stated[at + len(kernel)]))
            sizes.append(max(0, (size + sum(pads[at]) - reach) // strides[at] + 1))
        return kernel, strides, dilations, pads, tuple(sizes)


def read_layer(node: Node) -> LayerInput | NoMatch:
    """The view on a Conv, Gemm or MatMul with constant float weights at its second input.

    Args:
        node: any node.
    """
    value, weight = node.input_at(0), node.input_at(1)
    if node.op not in ("Conv", "Gemm", "MatMul"):
        return NoMatch("%s is no linear layer", node.op)
    if value is None or weight is None or not weight.is_constant or weight.const is None:
        return NoMatch("the weights of %s are not constant", node.op)
    shape, dtype = weight.const.shape, weight.const.dtype
    if dtype not in FLOATS or value.is_constant:
        return NoMatch("weights are of type %s, or nothing but constants is read", dtype)
    if (len(shape) < 3 if node.op == "Conv" else len(shape) != 2) or 0 in shape:
        return NoMatch("weights of %s have shape %s", node.op, shape)
    if node.op == "Conv":
        groups = node.int_attr("group", 1)
        return LayerInput(node, weight, groups, math.prod(shape[1:]))
    turned = node.op == "Gemm" and node.int_attr("transB", 0)
    return LayerInput(node, weight, 1, shape[1] if turned else shape[0])


def _places(count: int, limit: int, turn: int) -> npt.NDArray[np.int64]:
    """``limit`` of ``count`` numbers at equal distances, in order; all if there are no more."""
    if count <= limit:
        return np.arange(count)
    step = count / limit
    shift = (turn * _GOLDEN) % 1.0
    return np.minimum(((np.arange(limit) + shift) * step).astype(np.int64), count - 1)
