"""Operators that act on each element: the shape of one input, or of several broadcast together."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.broadcasting import broadcast_shapes
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, same_as_first, shape_at, tensor
from graphopt.ir import DType, Node, Shape, TensorType, Type

__all__ = ["FUNCTIONS"]

#: Arithmetic was broadcast by attributes before this opset: to the shape of the first input.
_FIRST_WITH_BROADCASTING = 7
_FIRST_WITH_VARIADIC_BROADCASTING = 8


def _broadcast(node: Node, facts: Facts) -> Shape | None:
    return broadcast_shapes([facts.shape(value) for value in node.inputs if value is not None])


def _arithmetic(node: Node, facts: Facts) -> Sequence[Type | None]:
    """Inputs of one element type, broadcast together."""
    inputs = node.inputs
    if len(inputs) == 2:
        a, b = inputs
        if a is not None and b is not None:
            x, y = a.type, b.type
            if type(x) is TensorType and type(y) is TensorType and x.shape is not None and None not in x.shape:
                if x.dtype and x.dtype == y.dtype and (x.shape == y.shape or y.shape == ()):
                    return (x,)
                if (node.opset or 0) < _FIRST_WITH_BROADCASTING and not node.domain:
                    return (x,)
                if x.shape == () and x.dtype == y.dtype and y.shape is not None and None not in y.shape:
                    return (y,)
    dtype = next((found for index in range(len(inputs)) if (found := dtype_at(node, index)) is not None), None)
    if not node.domain and (node.opset or 0) < _FIRST_WITH_BROADCASTING:
        return (tensor(dtype, shape_at(node, facts, 0)),)
    return (tensor(dtype, _broadcast(node, facts)),)


def _variadic(node: Node, facts: Facts) -> Sequence[Type | None]:
    if (node.opset or 0) < _FIRST_WITH_VARIADIC_BROADCASTING:
        return same_as_first(node, facts)
    return _arithmetic(node, facts)


def _power(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 0), _binary_shape(node, facts)),)


def _comparison(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.BOOL, _binary_shape(node, facts)),)


def _binary_shape(node: Node, facts: Facts) -> Shape | None:
    if (node.opset or 0) < _FIRST_WITH_BROADCASTING:
        return shape_at(node, facts, 0)
    return _broadcast(node, facts)


def _where(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 1) or dtype_at(node, 2), _broadcast(node, facts)),)


def _predicate(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.BOOL, shape_at(node, facts, 0)),)


def _cast(node: Node, facts: Facts) -> Sequence[Type | None]:
    to = node.attributes.get("to")
    if to is None or not isinstance(to.value, int):  # opset 1 to 5 spelled types as text
        return (tensor(None, shape_at(node, facts, 0)),)
    return (TensorType(DType(to.value), shape_at(node, facts, 0)),)


def _cast_like(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 1), shape_at(node, facts, 0)),)


def _dropout(node: Node, facts: Facts) -> Sequence[Type | None]:
    first = same_as_first(node, facts)[0]
    if len(node.outputs) == 1:
        return (first,)
    dtype = DType.BOOL if (node.opset or 0) >= 10 else dtype_at(node, 0)
    return first, tensor(dtype, shape_at(node, facts, 0))


def _with_dtype(node: Node, facts: Facts) -> Sequence[Type | None]:
    """The shape of the input, the element type of an attribute or of the input."""
    stated = node.attributes.get("dtype")
    dtype = DType(stated.value) if stated is not None and isinstance(stated.value, int) else dtype_at(node, 0)
    return (tensor(dtype, shape_at(node, facts, 0)),)


_SAME = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumProd",
    "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization",
    "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not",
    "Reciprocal", "Relu", "ReverseSequence", "Round", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "TensorScatter", "ThresholdedRelu",
    "Trilu", "GroupNormalization", "RMSNormalization", "RotaryEmbedding",
)  # fmt: skip

FUNCTIONS: dict[str, ShapeFunction] = {
    **dict.fromkeys(_SAME, same_as_first),
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mod", "PRelu"), _arithmetic
    ),
    **dict.fromkeys(("Sum", "Mean", "Min", "Max"), _variadic),
    "Pow": _power,
    **dict.fromkeys(("And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"), _comparison),
    "Where": _where,
    **dict.fromkeys(("IsNaN", "IsInf"), _predicate),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Dropout": _dropout,
    **dict.fromkeys(("Bernoulli", "RandomNormalLike", "RandomUniformLike", "EyeLike"), _with_dtype),
}
