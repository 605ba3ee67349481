"""Operators between stored integers, as the operators that take integers: QLinearConv, QLinearMatMul, QGemm, QLinearAdd, QLinearMul.

``Quantize(Conv(Dequantize(x), Dequantize(w), b)) -> QLinearConv(x, w, b)``, and so on; a Relu or Clip that the integers of the result
imply goes. Runtimes that know Q/DQ do that by themselves. Numerics: lossy, for a sum of products that lies between two steps may be
rounded to either: within one step. Source: https://onnx.ai/onnx/operators/onnx__QLinearConv.html, onnx__QLinearMatMul.html; ONNX
Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Array, DType, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.parameters import bias_quantization, quantized, represented
from graphopt.transforms.quantization.static.roles import clip_bounds
from graphopt.transforms.quantization.static.stored import Stored, parameters_of, scale_and_zero, stored_by

__all__ = ["UseQgemm", "UseQlinearAdd", "UseQlinearConv", "UseQlinearMatmul", "UseQlinearMul"]

_BYTES = (DType.INT8, DType.UINT8)


class _Between(RewritePattern):
    """An operator whose inputs are DequantizeLinear and whose result is quantized."""

    roots: ClassVar[tuple[str, ...]] = ("QuantizeLinear",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 4
    operator: ClassVar[str]

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Look behind the QuantizeLinear for the operator."""
        given = parameters_of(node, DType.UINT8)
        if given is None or given.dtype not in _BYTES or given.scale.size != 1 or given.scale.dtype is not DType.FLOAT:
            return NoMatch("the result is not stored as bytes with one float scale")
        inner = _inner(node.inputs[0], represented(given))
        if inner is None or inner.op != self.operator:
            return NoMatch("it does not quantize %s alone", self.operator)
        if inner.graph is not node.graph or inner.has_references:
            return NoMatch("%s is in another graph, or refers to attributes of a function", self.operator)
        result = scale_and_zero(Stored(node.output, node.inputs[1], node.input_at(2), given))
        return self.make(inner, list(result), given.dtype, rw)

    def make(self, inner: Node, result: list[Value | Array | None], dtype: DType, rw: Rewriter) -> Replacement:
        """The operator on integers, or why not.

        Args:
            inner: the operator on floats.
            result: scale and zero point of its result.
            dtype: in which that is stored.
            rw: makes nodes.
        """
        raise NotImplementedError


def _inner(value: Value | None, ends: tuple[float, float]) -> Node | None:
    """What gives a value that is only quantized, behind an activation that the ends of the integers imply."""
    while value is not None and value.has_single_use and value.producer is not None:
        node = value.producer
        bounds = clip_bounds(node)
        if bounds is None:
            return node
        if not (bounds[0] <= ends[0] and ends[1] <= bounds[1]):
            return None
        value = node.inputs[0]
    return None


def _bytes(value: Value | None) -> Stored | None:
    stored = stored_by(value)
    if (
        stored is None
        or stored.how.dtype not in _BYTES
        or stored.how.scale.dtype is not DType.FLOAT
        or stored.how.block
    ):
        return None
    return stored


def _parts(stored: Stored) -> list[Value | Array | None]:
    """Integers, scale and zero point."""
    return [stored.integers, *scale_and_zero(stored)]


def _bias(value: Value | None, x: Stored, w: Stored) -> Array | NoMatch | None:
    """A bias as int32 in steps of the products."""
    if value is None:
        return None
    constant = constant_of(value)
    stored = None if constant is not None else stored_by(value)
    numbers = constant.numpy() if constant is not None else None if stored is None else stored.floats()
    if numbers is None or numbers.ndim != 1:
        return NoMatch("the bias is not constant, or not one number for each channel")
    how = bias_quantization(x.how, w.how)
    return quantized(numbers, how)


def _fits(x: Stored, w: Stored, dtype: DType) -> NoMatch | None:
    if not x.per_tensor or x.how.dtype is not dtype or (dtype is DType.INT8 and w.how.dtype is not DType.INT8):
        return NoMatch("no kernel for %s with %s that gives %s", x.how.dtype, w.how.dtype, dtype)
    if constant_of(w.integers) is None:
        return NoMatch("the weights are not constant")
    return None


class UseQlinearConv(_Between):
    """QuantizeLinear of Conv of DequantizeLinear -> QLinearConv."""

    name: ClassVar[str] = "use-qlinear-conv"
    operator: ClassVar[str] = "Conv"

    def make(self, inner: Node, result: list[Value | Array | None], dtype: DType, rw: Rewriter) -> Replacement:
        """The convolution on integers."""
        x, w = _bytes(inner.input_at(0)), _bytes(inner.input_at(1))
        if x is None or w is None:
            return NoMatch("an input is not stored as bytes")
        reason = _fits(x, w, dtype)
        if reason is not None:
            return reason
        if w.how.axis not in (None, 0):
            return NoMatch("the scales of the weights are not one for each output channel")
        bias = _bias(inner.input_at(2), x, w)
        if isinstance(bias, NoMatch):
            return bias
        inputs = [*_parts(x), *_parts(w), *result, bias]
        return rw.new_node("QLinearConv", inputs, attributes=dict(inner.attributes)).output


class UseQlinearMatmul(_Between):
    """QuantizeLinear of MatMul of DequantizeLinear -> QLinearMatMul."""

    name: ClassVar[str] = "use-qlinear-matmul"
    operator: ClassVar[str] = "MatMul"

    def make(self, inner: Node, result: list[Value | Array | None], dtype: DType, rw: Rewriter) -> Replacement:
        """The product of integers."""
        a, b = _bytes(inner.input_at(0)), _bytes(inner.input_at(1))
        if a is None or b is None:
            return NoMatch("a factor is not stored as bytes")
        reason = _fits(a, b, dtype)
        if reason is not None:
            return reason
        rank = b.integers.rank
        if b.how.axis is not None and (rank != 2 or b.how.axis % 2 != 1):
            return NoMatch("the scales of the weights are not one for each column")
        return rw.new("QLinearMatMul", *_parts(a), *_parts(b), *result)


class UseQgemm(_Between):
    """QuantizeLinear of Gemm of DequantizeLinear -> com.microsoft.QGemm."""

    name: ClassVar[str] = "use-qgemm"
    operator: ClassVar[str] = "Gemm"
    makes: ClassVar[str] = "com.microsoft::QGemm"

    def make(self, inner: Node, result: list[Value | Array | None], dtype: DType, rw: Rewriter) -> Replacement:
        """The product of integers with its bias."""
        a, b = _bytes(inner.input_at(0)), _bytes(inner.input_at(1))
        if a is None or b is None:
            return NoMatch("a factor is not stored as bytes")
        if inner.float_attr("alpha", 1.0) != 1.0 or inner.float_attr("beta", 1.0) != 1.0:
            return NoMatch("it scales its product")
        channel = 0 if inner.int_attr("transB", 0) else 1
        reason = _fits(a, b, dtype)
        if reason is not None:
            return reason
        if b.how.axis is not None and b.how.axis % 2 != channel:
            return NoMatch("the scales of the weights are not one for each column")
        bias = _bias(inner.input_at(2), a, b)
        if isinstance(bias, NoMatch):
            return bias
        attributes: dict[str, object] = {name: inner.int_attr(name, 0) for name in ("transA", "transB")}
        inputs = [*_parts(a), *_parts(b), bias, *result]
        return rw.new_node(self.makes, inputs, attributes={"alpha": 1.0, **attributes}).output


class _Elementwise(_Between):
    makes: ClassVar[str]

    def make(self, inner: Node, result: list[Value | Array | None], dtype: DType, rw: Rewriter) -> Replacement:
        """The operator on integers."""
        a, b = _bytes(inner.input_at(0)), _bytes(inner.input_at(1))
        if a is None or b is None:
            return NoMatch("an input is not stored as bytes")
        if not (a.per_tensor and b.per_tensor) or {a.how.dtype, b.how.dtype} != {dtype}:
            return NoMatch("the element types or the scales differ")
        return rw.new(self.makes, *_parts(a), *_parts(b), *result)


class UseQlinearAdd(_Elementwise):
    """QuantizeLinear of Add of DequantizeLinear -> com.microsoft.QLinearAdd."""

    name: ClassVar[str] = "use-qlinear-add"
    operator: ClassVar[str] = "Add"
    makes: ClassVar[str] = "com.microsoft::QLinearAdd"


class UseQlinearMul(_Elementwise):
    """QuantizeLinear of Mul of DequantizeLinear -> com.microsoft.QLinearMul."""

    name: ClassVar[str] = "use-qlinear-mul"
    operator: ClassVar[str] = "Mul"
    makes: ClassVar[str] = "com.microsoft::QLinearMul"
