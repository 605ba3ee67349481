"""Operators that treat each index on its own: elementwise ones with broadcasting, and those that keep the shape."""

from __future__ import annotations

from graphopt.analysis.dim_groups.following import Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]


def _elementwise(node: Node, follow: Following) -> None:
    """All operands are broadcast to what each output is."""
    operands = []
    for value in node.inputs:
        axes = follow.axes(value)
        if value is not None and axes is None:
            follow.freeze_node(node, "the rank of an operand is unknown")
            return
        if axes is not None:
            operands.append(axes)
    if not operands:
        return
    found = follow.broadcast(operands, node)
    for output in node.outputs:
        follow.give(output, found)


def _cast(node: Node, follow: Following) -> None:
    """A size stays one as another integer."""
    _elementwise(node, follow)
    elements = follow.sizes.read(node, 0)
    kind = node.outputs[0].dtype
    if elements is None:
        return
    if kind is not None and kind.is_integer:
        follow.sizes.give(node.outputs[0], elements)
    else:
        follow.sizes.escape(node, 0)


def _first_only(node: Node, follow: Following) -> None:
    """The shape of the first operand; the others are numbers that hold for all of it."""
    axes = follow.axes(node.input_at(0))
    if axes is not None:
        for output in node.outputs:
            follow.give(output, axes)


def _along_axis(why: str, default: int) -> RoleFunction:
    """What mixes the indices of one axis, and keeps the shape."""

    def roles(node: Node, follow: Following) -> None:
        axes = follow.axes(node.input_at(0))
        if axes is None:
            return
        axis = node.int_attr("axis", default)
        opset = node.opset or 0
        if node.op in ("Softmax", "LogSoftmax", "Hardmax") and opset < 13:  # these flatten from the axis on
            first = node.int_attr("axis", 1)
            mixed = range(first + len(axes) if first < 0 else first, len(axes))
        else:
            mixed = range(axis % len(axes), axis % len(axes) + 1)
        for place in mixed:
            follow.freeze(axes[place], why, node)
        for output in node.outputs:
            follow.give(output, axes)

    return roles


def _cumulative(node: Node, follow: Following) -> None:
    axes, numbers = follow.axes(node.input_at(0)), follow.numbers(node.input_at(1))
    if axes is None:
        return
    for place, extent in enumerate(axes):
        if numbers is None or numbers[0] % len(axes) == place:
            follow.freeze(extent, "it is summed up step by step", node)
    follow.give(node.outputs[0], axes)


def _last_two(node: Node, follow: Following) -> None:
    axes = follow.axes(node.input_at(0))
    if axes is None:
        return
    for extent in axes[-2:]:
        follow.freeze(extent, "a triangle is cut out of it", node)
    follow.give(node.outputs[0], axes)


def _scaled(node: Node, follow: Following) -> None:
    """QuantizeLinear and DequantizeLinear: one scale, or one for each index of an axis."""
    axes, scale = follow.axes(node.input_at(0)), follow.axes(node.input_at(1))
    if axes is None or scale is None or node.int_attr("block_size", 0) or len(scale) > 1:
        return
    for position in (1, 2):
        given = follow.axes(node.input_at(position))
        if given is not None and len(given) == 1 and given[0].size != 1:
            follow.unify(given[0], axes[node.int_attr("axis", 1) % len(axes)], node)
    follow.give(node.outputs[0], axes)


_BROADCASTING = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu Cos Cosh Div Elu "
    "Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean "
    "Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum "
    "Swish Tan Tanh ThresholdedRelu Where Xor com.microsoft::BiasGelu com.microsoft::FastGelu com.microsoft::Gelu "
    "com.microsoft::QuickGelu com.microsoft::BiasAdd"
)

FUNCTIONS: dict[str, RoleFunction] = {
    **dict.fromkeys(_BROADCASTING.split(), _elementwise),
    "Cast": _cast,
    **dict.fromkeys(("Clip", "Dropout", "CastLike"), _first_only),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _along_axis("a softmax is taken over it", -1)),
    "LpNormalization": _along_axis("its indices are normalized together", -1),
    "CumSum": _cumulative,
    "Trilu": _last_two,
    "com.microsoft::Trilu": _last_two,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _scaled),
}
