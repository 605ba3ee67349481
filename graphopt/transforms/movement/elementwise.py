"""Says how operators that compute each element by itself, or along stated axes, look when their operands are transposed first.

Constants of such operators are transposed with them. Used by the rules that move transpositions past them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphopt.ir import Array, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["SAME_BITS", "UNARY", "Form", "constant_behind", "data_inputs", "form_behind", "is_movable"]

#: Operators that compute each element of their result from one element of their operand.
UNARY = frozenset({
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
})  # fmt: skip
#: Those that give the same bits wherever an element stands. Kernels of the others approximate, a few elements at once, and the last few
#: of a tensor or of a thread's share in another way; their bits differ in ONNX Runtime.
SAME_BITS = frozenset({
    "Abs", "BitwiseNot", "Cast", "Ceil", "Floor", "IsInf", "IsNaN", "LeakyRelu", "Neg", "Not", "Reciprocal", "Relu", "Round", "Sign",
    "Sqrt", "ThresholdedRelu",
})  # fmt: skip
_BROADCASTING = frozenset({
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
    "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
})  # fmt: skip
_ALONG = frozenset({"Softmax", "LogSoftmax", "Concat"})
_SUMMING = frozenset({"ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
_REDUCING = _SUMMING | {"ReduceMax", "ReduceMin"}
#: Take parts along stated axes, or add to them.
_PLACING = frozenset({"Gather", "Pad", "Slice"})
_MOVABLE = UNARY | _BROADCASTING | _ALONG | _REDUCING | _PLACING | {"Clip"}


def is_movable(node: Node, *, exact: bool = True) -> bool:
    """Whether a transposition can go past a node; :func:`form_behind` may still refuse.

    Args:
        node: any.
        exact: whether each bit must stay; else numbers may be added up in another order, and functions approximated at another place.
    """
    if node.op not in _MOVABLE or node.has_references or len(node.outputs) != 1:
        return False
    if exact and (node.op in _SUMMING or (node.op in UNARY and node.op not in SAME_BITS)):
        return False
    opset = node.opset or 0
    if node.op in ("Softmax", "LogSoftmax"):
        return opset >= 13  # before, all axes from one on are one
    if node.op in _REDUCING:
        return node.attr("keepdims", 1) == 1
    if node.op in _PLACING:
        return opset >= 11
    return opset >= 8 if node.op in _BROADCASTING else node.op != "Concat" or opset >= 4


def data_inputs(node: Node) -> range:
    """Positions of the operands that have the axes of the result."""
    if node.op in _BROADCASTING or node.op == "Concat":
        return range(len(node.inputs))
    return range(1)


@dataclass(frozen=True, slots=True)
class Form:
    """How a node is stated when its operands are transposed first.

    Attributes:
        attributes: all of them.
        operands: inputs that say which axes are meant, by position.
    """

    attributes: dict[str, object]
    operands: Mapping[int, Array] = field(default_factory=dict)


def form_behind(node: Node, order: Sequence[int]) -> Form | NoMatch:
    """The form of a movable node for operands whose axes were brought into an order before.

    Args:
        node: a movable one.
        order: axis of the operands as they are for each axis of them as they will be.
    """
    attributes: dict[str, object] = dict(node.attributes)
    if node.op in _ALONG:
        axis = node.int_attr("axis", -1)
        if not -len(order) <= axis < len(order):
            return NoMatch("axis %d of %s does not fit", axis, node.op)
        attributes["axis"] = place = list(order).index(axis % len(order))
        if node.op != "Concat" and axis % len(order) == len(order) - 1 != place:
            return NoMatch("%s is computed fastest along the last axis", node.op)
        return Form(attributes)
    if node.op in _PLACING:
        return _placed(node, order)
    if node.op not in _REDUCING:
        return Form(attributes)
    axes = ints_operand(node, "axes", 1)
    found = normalize_axes(axes, len(order)) if isinstance(axes, tuple) and axes else NoMatch("all axes are reduced")
    if isinstance(found, NoMatch):
        return found
    places = tuple(sorted(list(order).index(axis) for axis in found))
    if "axes" in attributes:
        return Form(attributes | {"axes": places})
    return Form(attributes, {1: np.array(places, np.int64)})


def _placed(node: Node, order: Sequence[int]) -> Form | NoMatch:
    """The form of a Gather, Pad or Slice."""
    attributes: dict[str, object] = dict(node.attributes)
    if node.op == "Gather":
        which, axes = node.inputs[1], normalize_axes((node.int_attr("axis", 0),), len(order))
        if which is None or which.rank != 1 or isinstance(axes, NoMatch):
            return NoMatch("the axis that is looked along does not stay one axis")
        return Form(attributes | {"axis": list(order).index(axes[0])})
    stated = ints_operand(node, "axes", 3)
    if isinstance(stated, NoMatch):
        return stated
    if stated is None:
        counted = node.input_at(1)
        count = counted.shape[0] if counted is not None and counted.shape else None
        if not isinstance(count, int):
            return NoMatch("axes are not known")
        stated = tuple(range(count if node.op == "Slice" else count // 2))
    axes = normalize_axes(stated, len(order))
    if isinstance(axes, NoMatch):
        return axes
    places = np.array([list(order).index(axis) for axis in axes], np.int64)
    if node.op == "Slice" or node.input_at(3) is not None:
        return Form(attributes, {3: places})
    pads = ints_operand(node, "pads", 1)
    if not isinstance(pads, tuple) or len(pads) != 2 * len(axes):
        return NoMatch("pads are not constant")
    moved = np.zeros((2, len(order)), np.int64)
    moved[:, places] = np.array(pads, np.int64).reshape(2, -1)
    return Form(attributes, {1: moved.reshape(-1)})


def constant_behind(value: Value, order: Sequence[int]) -> Array | None:
    """A constant operand with its axes in an order; ``None`` where it can stay as it is.

    Args:
        value: a constant whose rank is at most that of the result.
        order: as above.
    """
    assert value.const is not None, "asked of constants"
    shape = value.const.shape
    if value.const.size == 1:
        return None
    array = value.const.numpy()
    return np.ascontiguousarray(array.reshape((1,) * (len(order) - len(shape)) + shape).transpose(order))
