"""Operators that take and give stored integers, as float operators between DequantizeLinear and QuantizeLinear; weights stay stored.

``QLinearConv(x, w, b) -> Quantize(Conv(Dequantize(x), Dequantize(w), b * scales))``, and so on: the form from which TensorRT computes on
integers. ``dequantize`` decodes the weights, and asks for scales that are constant; this does neither. Numerics: lossy, a sum that lies
between two steps may be rounded to either. Source: https://onnx.ai/onnx/operators/onnx__QLinearConv.html, onnx__QLinearMatMul.html; ONNX
Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.ir import DType, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, Rewriter
from graphopt.transforms.decompose.integers.spelled import IntegerRule, as_floats, dequantized, quantized
from graphopt.transforms.quantization.static.float_operators import INTEGER_FORMS, IntegerForm

__all__ = ["SpellOutStoredConcat", "SpellOutStoredOperator", "SpellOutStoredProduct"]

_MICROSOFT: Final = "com.microsoft::"
_FORMS: Final = {
    **INTEGER_FORMS,
    f"{_MICROSOFT}QLinearSoftmax": IntegerForm("Softmax", (0,), 3, dropped=("opset",)),
}


@dataclass(frozen=True)
class SpellOutStoredOperator(IntegerRule):
    """QLinearConv, QLinearMatMul, QGemm, QLinearAdd ... -> the float operator between DequantizeLinear and QuantizeLinear."""

    name: ClassVar[str] = "spell-out-stored-operator"
    roots: ClassVar[tuple[str, ...]] = tuple(_FORMS)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Spell one operator out."""
        opset, form = self.opset_of(rw), _FORMS[node.op]
        if isinstance(opset, NoMatch):
            return opset
        if node.int_attr("channels_last", 0):
            return NoMatch("channels are last")
        if node.op_type == "QLinearSoftmax" and (node.int_attr("opset", 0) >= 13) != (opset >= 13):
            return NoMatch("it is a Softmax of another opset")
        inputs: list[Value] = []
        for at in form.data:
            read = _read(node, at, form, rw)
            if isinstance(read, NoMatch):
                return read
            inputs.append(read)
        bias = None if form.bias is None else node.input_at(form.bias)
        if bias is not None:
            made = self._bias(node, bias, form, rw)
            if isinstance(made, NoMatch):
                return made
            inputs.append(made)
        attributes: dict[str, object] = {k: v for k, v in node.attributes.items() if k not in form.dropped}
        result = rw.new_node(form.op, inputs, attributes=attributes).output
        scale, zero = node.input_at(form.result), node.input_at(form.result + 1)
        if scale is None:
            return result  # QGemm that gives floats
        return NoMatch("the zero point of the result is absent") if zero is None else quantized(rw, result, scale, zero)

    @staticmethod
    def _bias(node: Node, bias: Value, form: IntegerForm, rw: Rewriter) -> Value | NoMatch:
        """The bias, which is stored in steps of the product of both scales."""
        scales = [node.input_at(at + 1) for at in form.data]
        if scales[0] is None or scales[1] is None or scales[0].dtype is not DType.FLOAT:
            return NoMatch("a scale is absent, or no float")
        steps = rw.new_node("Mul", [scales[0], scales[1]]).output
        return rw.new_node("Mul", [as_floats(rw, bias), steps]).output


def _read(node: Node, at: int, form: IntegerForm, rw: Rewriter) -> Value | NoMatch:
    integers, scale, zero = (node.input_at(at + place) for place in range(3))
    if integers is None or scale is None or integers.rank is None:
        return NoMatch("integers, their rank or their scale are absent")
    axis = form.channel if at else 0
    if form.op in ("MatMul", "Gemm") and integers.rank > 1:  # rows of the first factor, columns of the second one
        axis = integers.rank - (1 if at else 2)
    if form.op == "Gemm" and at and node.int_attr("transB", 0):
        axis = 0
    return dequantized(rw, integers, scale, zero, axis)


@dataclass(frozen=True)
class SpellOutStoredProduct(IntegerRule):
    """com.microsoft.MatMulIntegerToFloat and DynamicQuantizeMatMul -> MatMul of DequantizeLinear, with Add where there is a bias."""

    name: ClassVar[str] = "spell-out-stored-product"
    roots: ClassVar[tuple[str, ...]] = (f"{_MICROSOFT}MatMulIntegerToFloat", f"{_MICROSOFT}DynamicQuantizeMatMul")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Spell one product out; what is quantized as it comes is, by DynamicQuantizeLinear."""
        opset = self.opset_of(rw)
        if isinstance(opset, NoMatch):
            return opset
        dynamic = node.op_type == "DynamicQuantizeMatMul"
        scale, zero, last = (2, 3, 4) if dynamic else (3, 5, 6)
        weights, weight_scale = node.input_at(1), node.input_at(scale)
        if weights is None or weight_scale is None or weights.rank is None:
            return NoMatch("weights, their rank or their scale are absent")
        w = dequantized(rw, weights, weight_scale, node.input_at(zero), weights.rank - 1)
        if dynamic:
            stored = rw.new_node("DynamicQuantizeLinear", [node.inputs[0]], outputs=3).outputs
            x: Value | NoMatch = rw.new_node("DequantizeLinear", list(stored)).output
        else:
            integers, steps, zeros = (node.input_at(place) for place in (0, 2, 4))
            if integers is None or steps is None:
                return NoMatch("what is multiplied is absent")
            x = dequantized(rw, integers, steps, zeros, 0)
        if isinstance(w, NoMatch):
            return w
        if isinstance(x, NoMatch):
            return x
        product = rw.new_node("MatMul", [x, w]).output
        bias = node.input_at(last)
        return product if bias is None else rw.new_node("Add", [product, bias]).output


@dataclass(frozen=True)
class SpellOutStoredConcat(IntegerRule):
    """com.microsoft.QLinearConcat and QLinearWhere -> Concat, Where of DequantizeLinear, quantized."""

    name: ClassVar[str] = "spell-out-stored-concat"
    roots: ClassVar[tuple[str, ...]] = (f"{_MICROSOFT}QLinearConcat", f"{_MICROSOFT}QLinearWhere")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The scale of the result is first in QLinearConcat, last in QLinearWhere."""
        opset = self.opset_of(rw)
        if isinstance(opset, NoMatch):
            return opset
        chosen = node.op_type == "QLinearWhere"
        places = (1, 4) if chosen else range(2, len(node.inputs), 3)
        inputs: list[Value | None] = [node.input_at(0)] if chosen else []
        for at in places:
            integers, scale, zero = (node.input_at(at + place) for place in range(3))
            if integers is None or scale is None or constant_of(scale) is None:
                return NoMatch("integers are absent, or their scale is not constant")
            read = dequantized(rw, integers, scale, zero, 0)
            if isinstance(read, NoMatch):
                return read
            inputs.append(read)
        scale, zero = (node.input_at(at) for at in ((7, 8) if chosen else (0, 1)))
        if scale is None or zero is None:
            return NoMatch("the scale or zero point of the result is absent")
        made = rw.new_node("Where" if chosen else "Concat", inputs, attributes=dict(node.attributes)).output
        return quantized(rw, made, scale, zero)
