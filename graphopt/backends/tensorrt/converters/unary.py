"""Functions of one number, and casts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import cut, cut_to_output
from graphopt.backends.tensorrt.converters.operands import dtype_of, floats_only
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["cast", "cast_like", "dropout", "function", "identity", "is_infinite", "negation", "sign"]

_FLOAT = {
    "Acos": "ACOS", "Acosh": "ACOSH", "Asin": "ASIN", "Asinh": "ASINH", "Atan": "ATAN", "Atanh": "ATANH", "Ceil": "CEIL",
    "Cos": "COS", "Cosh": "COSH", "Erf": "ERF", "Exp": "EXP", "Floor": "FLOOR", "IsNaN": "ISNAN", "Log": "LOG",
    "Reciprocal": "RECIP", "Round": "ROUND", "Sin": "SIN", "Sinh": "SINH", "Sqrt": "SQRT", "Tan": "TAN",
}  # fmt: skip
_ANY = {"Abs": "ABS", "Neg": "NEG", "Sign": "SIGN"}
#: Floats of 8 bits and fewer that casts would have to round to; what comes in as one is given as float.
_NOT_ROUNDED = (
    DType.FLOAT8E5M2,
    DType.FLOAT8E4M3FNUZ,
    DType.FLOAT8E5M2FNUZ,
    DType.FLOAT4E2M1,
    DType.FLOAT8E8M0,
)


@lower(*_FLOAT, supports=floats_only)
def function(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One unary layer."""
    return [e.unary(e.input(node, 0), _FLOAT[node.op_type])]


@lower(*_ANY)
def sign(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One unary layer, of integers too; the magnitude of the smallest one wraps around."""
    return [cut_to_output(e, node, e.unary(e.input(node, 0), _ANY[node.op_type]))]


@lower("Not")
def negation(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One unary layer of booleans."""
    return [e.unary(e.input(node, 0), "NOT")]


@lower("IsInf", supports=floats_only)
def is_infinite(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Infinity of the signs that are asked for."""
    x = e.input(node, 0)
    negative, positive = node.int_attr("detect_negative", 1), node.int_attr("detect_positive", 1)
    if negative and positive:
        return [e.unary(x, "ISINF")]
    if not (negative or positive):
        return [e.elementwise(x, e.scalar_like(float("inf"), x), "GREATER")]  # nothing is above infinity
    return [e.elementwise(x, e.scalar_like(float("inf") if positive else -float("inf"), x), "EQUAL")]


@lower("Identity")
def identity(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The tensor itself."""
    return [e.input(node, 0)]


def _inference(node: Node) -> str | None:
    if len(node.outputs) > 1 and node.outputs[1].is_used and (node.opset or 0) < 12:
        return "the mask of an old Dropout is used"
    ratio = node.input_at(1)
    if ratio is not None and ratio.const is not None and ratio.is_constant and not ratio.const.numpy().any():
        return None
    mode = node.input_at(2)
    if mode is not None and not (mode.is_constant and mode.const is not None and not mode.const.numpy().any()):
        return "Dropout may be training"
    return None


@lower("Dropout", supports=_inference)
def dropout(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """The tensor itself, and a mask that is true."""
    x = e.input(node, 0)
    if len(node.outputs) < 2 or not node.outputs[1].is_used:
        return [x, *(None for _ in node.outputs[1:])]
    true = e.constant(np.ones((1,) * e.rank(x), np.bool_))
    return [x, e.expand(true, e.shape(x) if -1 in tuple(x.shape) else tuple(x.shape))]


def _castable(node: Node) -> str | None:
    to, start = dtype_of(node.output), dtype_of(node.input_at(0))
    if to in _NOT_ROUNDED:
        return f"TensorRT has no numbers of {to}"
    if to is DType.FLOAT8E4M3FN and not node.int_attr("saturate", 1):
        return f"TensorRT saturates what it casts to {to}"
    if start is DType.STRING or to is DType.STRING:
        return "there are no strings"
    return None


@lower("Cast", supports=_castable)
def cast(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A cast layer; types that TensorRT lacks are those that stand for them."""
    to = DType(node.int_attr("to"))
    if to.is_float and (whole := e.whole.get(node.inputs[0])) is not None:  # type: ignore[arg-type]  # it is there
        return [e.cast(whole, e.inside(to) if to is not DType.FLOAT8E4M3FN else to)]
    return [_cast_to(e, e.input(node, 0), to)]


@lower("CastLike", supports=_castable)
def cast_like(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A cast layer."""
    to = dtype_of(node.input_at(1)) or e.api.ir_dtype(e.input(node, 1).dtype)
    return [_cast_to(e, e.input(node, 0), to)]


def _cast_to(e: Emitter, x: Tensor, to: DType) -> Tensor:
    x = e.plain(x)
    if to is DType.BOOL and not e.is_float(x):  # any number but zero is true
        return e.unary(e.elementwise(e.cast(x, DType.INT64), e.scalar_like(0, e.cast(x, DType.INT64)), "EQUAL"), "NOT")
    kind = to if to is DType.FLOAT8E4M3FN else e.inside(to)
    if to is not kind is DType.INT32 and e.api.ir_dtype(x.dtype) is DType.INT64:
        return e.cast(cut(e, x, to), kind)  # what int32 lacks must not be saturated
    found = e.cast(x, kind)
    return cut(e, found, to) if e.is_integer(found) else found
