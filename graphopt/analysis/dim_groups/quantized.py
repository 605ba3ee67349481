"""Operators on integers with scales: axes are those of the operator on floats, and scales of channels go with the channels.

Scales that are found while the model runs are those of whole tensors. They change when indices go, and results with them, by what rounding
to integers makes of that.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, https://onnx.ai/onnx/operators/onnx__QLinearConv.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphopt.analysis.dim_groups.extents import Extent
from graphopt.analysis.dim_groups.following import Following, RoleFunction
from graphopt.analysis.dim_groups.joining import join
from graphopt.analysis.dim_groups.matrices import contract
from graphopt.analysis.dim_groups.windows import convolve
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]


def _scaled(node: Node, follow: Following, positions: Sequence[int], channels: Extent) -> None:
    """Scales and zero points of channels; one number for all says nothing."""
    for position in positions:
        axes = follow.axes(node.input_at(position))
        if axes is not None and len(axes) == 1 and axes[0].size != 1:
            follow.unify(axes[0], channels, node)
        elif axes is not None and any(extent.size != 1 for extent in axes):
            follow.freeze(channels, "its scales have several axes", node)


def _conv(x: int, w: int, scales: tuple[int, ...], bias: int) -> RoleFunction:
    def roles(node: Node, follow: Following) -> None:
        found = convolve(node, follow, (x, w, bias))
        if found is not None:
            _scaled(node, follow, scales, found[1])
            follow.give(node.outputs[0], found)

    return roles


def _product(a: int, b: int, rows: tuple[int, ...], columns: tuple[int, ...], bias: int | None = None) -> RoleFunction:
    """A product of matrices, ``rows`` and ``columns`` are positions of scales and zero points of the factors, or of the result."""

    def roles(node: Node, follow: Following) -> None:
        left, right = follow.axes(node.input_at(a)), follow.axes(node.input_at(b))
        if left is None or right is None or len(left) < 2 or len(right) < 2:
            return
        turned = bool(node.int_attr("transB", 0)), bool(node.int_attr("transA", 0))
        contract(node, follow, ((a, -2 if turned[1] else -1), (b, -1 if turned[0] else -2)))
        made = left[-1 if turned[1] else -2], right[-2 if turned[0] else -1]
        _scaled(node, follow, rows, made[0])
        _scaled(node, follow, columns, made[1])
        found = [*follow.broadcast([left[:-2], right[:-2]], node), *made]
        added = None if bias is None else follow.axes(node.input_at(bias))
        follow.give(node.outputs[0], found if added is None else follow.broadcast([found, added], node))

    return roles


#: What takes integers whose scale is found while the model runs, and takes their zero point into account.
_READERS: Final = frozenset({"MatMulInteger", "ConvInteger", "com.microsoft::MatMulIntegerToFloat", "DequantizeLinear"})


def _dynamic(node: Node, follow: Following) -> None:
    """``DynamicQuantizeLinear``: one scale for the whole tensor, which is another one without some indices: its readers must use it."""
    x = follow.axes(node.input_at(0))
    scaled = all(output.is_used for output in node.outputs) and all(
        user.op in _READERS for user in node.outputs[0].users
    )
    if x is not None and scaled:
        for output, axes in zip(node.outputs, (x, [], []), strict=False):
            follow.give(output, axes)


def _binary(node: Node, follow: Following) -> None:
    """Both operands have a scale and a zero point behind them."""
    operands = [axes for index in (0, 3) if (axes := follow.axes(node.input_at(index))) is not None]
    if len(operands) == 2:
        follow.give(node.outputs[0], follow.broadcast(operands, node))


def _unary(node: Node, follow: Following) -> None:
    x = follow.axes(node.input_at(0))
    if x is not None:
        follow.give(node.outputs[0], x)


def _global_pool(node: Node, follow: Following) -> None:
    x, shape = follow.axes(node.input_at(0)), node.outputs[0].shape
    if x is None or shape is None or len(shape) != len(x):
        return
    first = len(x) - 1 if node.int_attr("channels_last", 0) else 1
    found = [
        extent if at in (0, first) else follow.fixed(shape[at], "it is reduced", node) for at, extent in enumerate(x)
    ]
    for at, extent in enumerate(x):
        if at not in (0, first):
            follow.freeze(extent, "it is reduced", node)
    follow.give(node.outputs[0], found)


def _concat(node: Node, follow: Following) -> None:
    """``QLinearConcat``: scale and zero point of the result, then three inputs for each part."""
    join(node, follow, node.inputs[2::3])


FUNCTIONS: dict[str, RoleFunction] = {
    "QLinearConv": _conv(0, 3, (4, 5), 8),
    "ConvInteger": _conv(0, 1, (3,), 99),
    "QLinearMatMul": _product(0, 3, (1, 2), (4, 5)),
    "MatMulInteger": _product(0, 1, (2,), (3,)),
    "com.microsoft::DynamicQuantizeMatMul": _product(0, 1, (), (2, 3), 4),
    "com.microsoft::MatMulIntegerToFloat": _product(0, 1, (), (3, 5), 6),
    "com.microsoft::QGemm": _product(0, 3, (), (4, 5, 7, 8), 6),
    "DynamicQuantizeLinear": _dynamic,
    **dict.fromkeys(("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul"), _binary),
    **dict.fromkeys(("com.microsoft::QLinearLeakyRelu", "com.microsoft::QLinearSigmoid"), _unary),
    "com.microsoft::QLinearGlobalAveragePool": _global_pool,
    "com.microsoft::QLinearConcat": _concat,
}
