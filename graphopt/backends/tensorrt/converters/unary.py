"""Functions of one number, and casts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
_CAST_FROM = (DType.INT8, DType.INT4, DType.FLOAT8E4M3FN)


@lower(*_FLOAT, supports=floats_only)
def function(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One unary layer."""
    return [e.unary(e.input(node, 0), _FLOAT[node.op_type])]


def _signed(node: Node) -> str | None:
    dtype = dtype_of(node.input_at(0))
    if dtype is None or dtype.is_float or dtype in (DType.INT32, DType.INT64):
        return None
    return f"{node.op_type} of {dtype} has no layer"


@lower(*_ANY, supports=_signed)
def sign(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One unary layer, of integers too."""
    return [e.unary(e.input(node, 0), _ANY[node.op_type])]


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
        return [e.elementwise(x, e.scalar_like(np.inf, x), "GREATER")]  # nothing is above infinity
    return [e.elementwise(x, e.scalar_like(np.inf if positive else -np.inf, x), "EQUAL")]


@lower("Identity")
def identity(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The tensor itself."""
    return [e.input(node, 0)]


def _inference(node: Node) -> str | None:
    if len(node.outputs) > 1 and (node.outputs[1].is_used or node.outputs[1].is_graph_output):
        return "the mask of Dropout is used"
    mode = node.input_at(2)
    if mode is not None and not (mode.is_constant and mode.const is not None and not mode.const.numpy().any()):
        return "Dropout may be training"
    return None


@lower("Dropout", supports=_inference)
def dropout(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """The tensor itself."""
    return [e.input(node, 0), *(None for _ in node.outputs[1:])]


def _castable(node: Node) -> str | None:
    to, start = dtype_of(node.output), dtype_of(node.input_at(0))
    for dtype in (to, start):
        if dtype in _CAST_FROM:
            return f"TensorRT casts from and to {dtype} by scales only"
    if start is DType.STRING or to is DType.STRING:
        return "there are no strings"
    return None


@lower("Cast", supports=_castable)
def cast(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A cast layer; types that TensorRT lacks are those that stand for them."""
    x = e.input(node, 0)
    dtype = DType(node.int_attr("to"))
    return [_cast_to(e, x, dtype)]


@lower("CastLike", supports=_castable)
def cast_like(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A cast layer."""
    return [e.cast(e.input(node, 0), e.input(node, 1).dtype)]


def _cast_to(e: Emitter, x: Tensor, dtype: DType) -> Tensor:
    _, dtype = e.narrowed(np.empty(0, dtype.numpy), dtype)
    if dtype is DType.BOOL and not e.is_float(x):  # any number but zero is true
        return e.unary(e.elementwise(e.cast(x, DType.INT64), e.scalar_like(0, e.cast(x, DType.INT64)), "EQUAL"), "NOT")
    if dtype is DType.UINT8 and e.api.ir_dtype(x.dtype) in (DType.INT64, DType.BOOL):
        x = e.cast(x, DType.INT32)
    return e.cast(x, dtype)
