"""Products of integers, and the quantization that comes before them, by operators on floats that hold integers.

``MatMulInteger(a, b, z_a, z_b) -> Cast(MatMul(a - z_a, b - z_b))``, ``ConvInteger`` likewise. float32 adds integers exactly up to 2^24: the
sums of a product are bounded by what the types and the constants can give. Where the bound lies above, ``b = 16 h + l`` is multiplied in
two parts. A result that is cast to floats and read by nobody else needs no such care: it is a product of floats. Numerics: re-associates
(in that case; else exact). Source: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html, onnx__ConvInteger.html,
onnx__DynamicQuantizeLinear.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value, constant_of
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, Rewriter
from graphopt.transforms.decompose.integers.spelled import IntegerRule, shifted

__all__ = ["SpellOutDynamicQuantize", "SpellOutIntegerConv", "SpellOutIntegerMatmul"]

_EXACT: Final = 2**24
_PART: Final = 16


def _largest(value: Value, zero: Value | None) -> int:
    """The largest magnitude of bytes less their zero point."""
    low, high = (-128, 127) if value.dtype is DType.INT8 else (0, 255)
    constant = constant_of(zero)
    if zero is None:
        return max(-low, high)
    if constant is None:
        return high - low
    zeros = constant.numpy().astype(np.int64)
    return int(max((high - zeros).max(), (zeros - low).max()))


def _weight_sum(weights: Value, zero: Value | None, axes: tuple[int, ...], spread: tuple[int, ...]) -> int | None:
    """The largest sum of magnitudes of constant weights over axes; ``None`` where they are not constant."""
    stored, shift = constant_of(weights), constant_of(zero)
    if stored is None or (shift is None and zero is not None):
        return None
    numbers = stored.numpy().astype(np.int64)
    if shift is not None:
        zeros = shift.numpy().astype(np.int64)
        numbers = numbers - (zeros.reshape(()) if zeros.size == 1 else zeros.reshape(spread))
    return int(np.abs(numbers).sum(axis=axes).max(initial=0))


def _is_cast_to_floats(value: Value) -> bool:
    if value.graph_outputs or not value.is_used:
        return False
    readers = [use.node for use in value.uses]
    return all(node.op == "Cast" and node.int_attr("to") == int(DType.FLOAT) for node in readers)


class _Exact:
    """Multiplies as exactly as the result needs it."""

    def __init__(self, op: str, node: Node, rw: Rewriter, most: int | None, terms: int | None, largest: int) -> None:
        self._op, self._node, self._rw = op, node, rw
        self._plain = _is_cast_to_floats(node.outputs[0]) or (most is not None and most * largest <= _EXACT)
        self._split = terms is not None and terms * largest * _PART <= _EXACT

    def product(self, a: Value, b: Value) -> Replacement:
        """int32."""
        if self._plain:
            return self._integers(self._floats(a, b))
        if not self._split:
            return NoMatch("sums may be larger than floats add exactly")
        rw, part = self._rw, np.array(_PART, np.float32)
        high = rw.new_node("Floor", [rw.new_node("Div", [b, rw.constant(part)]).output]).output
        low = rw.new_node("Sub", [b, rw.new_node("Mul", [high, rw.constant(part)]).output]).output
        above, below = (self._integers(self._floats(a, item)) for item in (high, low))
        more = rw.new_node("Mul", [above, rw.constant(np.array(_PART, np.int32))]).output
        return rw.new_node("Add", [more, below]).output

    def _floats(self, a: Value, b: Value) -> Value:
        attributes: dict[str, object] = dict(self._node.attributes)
        return self._rw.new_node(self._op, [a, b], attributes=attributes).output

    def _integers(self, value: Value) -> Value:
        return self._rw.new_node("Cast", [value], attributes={"to": int(DType.INT32)}).output


@dataclass(frozen=True)
class SpellOutIntegerMatmul(IntegerRule):
    """MatMulInteger(a, b, z_a, z_b) -> Cast(MatMul(a - z_a, b - z_b))."""

    name: ClassVar[str] = "spell-out-integer-matmul"
    roots: ClassVar[tuple[str, ...]] = ("MatMulInteger",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Zero points are one number, one for each row of ``a``, or one for each column of ``b``."""
        a, b, row, column = (node.input_at(place) for place in range(4))
        if a is None or b is None or a.rank is None or b.shape is None:
            return NoMatch("shapes are not known")
        if min(a.rank, len(b.shape)) < 2:
            return NoMatch("a factor is a vector")
        inner = b.shape[-2]
        most = _weight_sum(b, column, (len(b.shape) - 2,), (1, -1))
        exact = _Exact("MatMul", node, rw, most, inner if isinstance(inner, int) else None, _largest(a, row))
        if most is None and isinstance(inner, int):
            exact = _Exact("MatMul", node, rw, inner * _largest(b, column), inner, _largest(a, row))
        return exact.product(shifted(rw, a, row, (-1, 1)), shifted(rw, b, column, (1, -1)))


@dataclass(frozen=True)
class SpellOutIntegerConv(IntegerRule):
    """ConvInteger(x, w, z_x, z_w) -> Cast(Conv(x - z_x, w - z_w)); what is padded is the zero point, so 0 afterwards."""

    name: ClassVar[str] = "spell-out-integer-conv"
    roots: ClassVar[tuple[str, ...]] = ("ConvInteger",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Zero points are one number, or one for each channel of the result."""
        x, w, zero, channel = (node.input_at(place) for place in range(4))
        shape = None if w is None else w.shape
        if x is None or w is None or shape is None or not all(isinstance(size, int) for size in shape):
            return NoMatch("shapes are not known")
        spread = (-1, *(1,) * (len(shape) - 1))
        most = _weight_sum(w, channel, tuple(range(1, len(shape))), spread)
        terms = int(np.prod([size for size in shape[1:] if isinstance(size, int)]))
        largest = _largest(x, zero)
        exact = _Exact("Conv", node, rw, terms * _largest(w, channel) if most is None else most, terms, largest)
        return exact.product(shifted(rw, x, zero, None), shifted(rw, w, channel, spread))


@dataclass(frozen=True)
class SpellOutDynamicQuantize(IntegerRule):
    """DynamicQuantizeLinear(x) -> QuantizeLinear(x, s, z), s and z of the range of x with 0 in it."""

    name: ClassVar[str] = "spell-out-dynamic-quantize"
    roots: ClassVar[tuple[str, ...]] = ("DynamicQuantizeLinear",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Numbers that are all 0 have a scale of 1."""
        x = node.input_at(0)
        if x is None or x.dtype is not DType.FLOAT:
            return NoMatch("it is of %s", None if x is None else x.dtype)
        number = {item: rw.constant(np.array(item, np.float32)) for item in (0.0, 1.0, 255.0)}
        high, low = (
            rw.new_node(
                pick, [rw.new_node(f"Reduce{pick}", [x], attributes={"keepdims": 0}).output, number[0.0]]
            ).output
            for pick in ("Max", "Min")
        )
        span = rw.new_node("Sub", [high, low]).output
        steps = rw.new_node("Div", [span, number[255.0]]).output
        scale = rw.new_node("Where", [rw.new_node("Equal", [span, number[0.0]]).output, number[1.0], steps]).output
        place = rw.new_node("Round", [rw.new_node("Div", [rw.new_node("Neg", [low]).output, scale]).output]).output
        cut = rw.new_node("Clip", [place, number[0.0], number[255.0]]).output
        zero = rw.new_node("Cast", [cut], attributes={"to": int(DType.UINT8)}).output
        return [rw.new_node("QuantizeLinear", [x, scale, zero]).output, scale, zero]
