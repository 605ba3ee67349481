"""Operators on stored integers, spelled as float operators between DequantizeLinear and QuantizeLinear.

``QLinearConv(x, w, b) -> Quantize(Conv(Dequantize(x), Dequantize(w), Dequantize(b)))``, and so on for QLinearMatMul, QGemm and other
operators of that kind. Numerics: lossy, within one step of the result. Source: https://onnx.ai/onnx/operators/onnx__QLinearConv.html,
onnx__QLinearMatMul.html; ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.parameters import dequantized
from graphopt.transforms.quantization.static.stored import Stored, parameters_of_values

__all__ = ["INTEGER_FORMS", "IntegerForm", "SpellOutIntegerOperator", "SpellOutIntegerProduct"]

_MICROSOFT: Final = "com.microsoft::"


@dataclass(frozen=True, slots=True)
class IntegerForm:
    """How an operator takes its integers.

    Attributes:
        op: the float operator.
        data: where triples of integers, scale and zero point begin.
        result: where scale and zero point of the result are.
        bias: where the int32 bias is.
        channel: axis of weights with a scale for each channel.
        dropped: attributes that the float operator lacks.
    """

    op: str
    data: tuple[int, ...]
    result: int
    bias: int | None = None
    channel: int = 0
    dropped: tuple[str, ...] = ()


#: Operators on integers, and how they take them.
INTEGER_FORMS: Final[dict[str, IntegerForm]] = {
    "QLinearConv": IntegerForm("Conv", (0, 3), 6, 8, 0),
    f"{_MICROSOFT}QLinearConv": IntegerForm("Conv", (0, 3), 6, 8, 0, ("channels_last",)),
    "QLinearMatMul": IntegerForm("MatMul", (0, 3), 6, None, 1),
    f"{_MICROSOFT}QGemm": IntegerForm("Gemm", (0, 3), 7, 6, 1),
    f"{_MICROSOFT}QLinearAdd": IntegerForm("Add", (0, 3), 6),
    f"{_MICROSOFT}QLinearMul": IntegerForm("Mul", (0, 3), 6),
    f"{_MICROSOFT}QLinearSigmoid": IntegerForm("Sigmoid", (0,), 3),
    f"{_MICROSOFT}QLinearLeakyRelu": IntegerForm("LeakyRelu", (0,), 3),
    f"{_MICROSOFT}QLinearAveragePool": IntegerForm("AveragePool", (0,), 3, dropped=("channels_last",)),
    f"{_MICROSOFT}QLinearGlobalAveragePool": IntegerForm("GlobalAveragePool", (0,), 3, dropped=("channels_last",)),
}


class SpellOutIntegerOperator(RewritePattern):
    """QLinearConv, QLinearMatMul, QGemm, QLinearAdd ... -> the float operator between DequantizeLinear and QuantizeLinear."""

    name: ClassVar[str] = "spell-out-integer-operator"
    roots: ClassVar[tuple[str, ...]] = tuple(INTEGER_FORMS)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Spell one operator out."""
        form = INTEGER_FORMS[node.op]
        if node.int_attr("channels_last", 0):
            return NoMatch("channels are last")
        read = [_stored(node, at, form.channel if at else 0) for at in form.data]
        found = [item for item in read if item is not None]
        if len(found) < len(read):
            return NoMatch("a scale or zero point is not constant, or not one number for each channel")
        flipped = form.op == "Gemm" and node.int_attr("transB", 0)
        inputs: list[Value | Array | None] = [
            _dequantize(item, (0 if flipped else form.channel) if at else 0, rw) for at, item in enumerate(found)
        ]
        if form.bias is not None and (bias := node.input_at(form.bias)) is not None:
            constant = constant_of(bias)
            if constant is None:
                return NoMatch("the bias is not constant")
            steps = found[0].how.scale.numpy().astype(np.float32) * found[1].how.scale.numpy().astype(np.float32)
            inputs.append((constant.numpy().astype(np.float32) * steps).astype(np.float32))
        attributes: dict[str, object] = {k: v for k, v in node.attributes.items() if k not in form.dropped}
        made = rw.new_node(form.op, inputs, attributes=attributes).output
        scale, zero = node.input_at(form.result), node.input_at(form.result + 1)
        if scale is None:
            return made  # QGemm that gives floats
        if zero is None:
            return NoMatch("the zero point of the result is absent")
        return rw.new("QuantizeLinear", made, scale, zero)


class SpellOutIntegerProduct(RewritePattern):
    """com.microsoft.MatMulIntegerToFloat and DynamicQuantizeMatMul -> MatMul, with Add where there is a bias."""

    name: ClassVar[str] = "spell-out-integer-product"
    roots: ClassVar[tuple[str, ...]] = (f"{_MICROSOFT}MatMulIntegerToFloat", f"{_MICROSOFT}DynamicQuantizeMatMul")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Spell one product out."""
        dynamic = node.op_type == "DynamicQuantizeMatMul"
        scale, zero, last = (2, 3, 4) if dynamic else (3, 5, 6)
        weights = _read(node.input_at(1), node.input_at(scale), node.input_at(zero), 1)
        constant = None if weights is None else constant_of(weights.integers)
        if weights is None or constant is None or (weights.how.axis is not None and constant.ndim != 2):
            return NoMatch("the weights are not constant, or have other scales than one for each column")
        x: Value | Array | None = node.inputs[0]
        if not dynamic:
            stored = _read(node.input_at(0), node.input_at(2), node.input_at(4), 0)
            if stored is None or not stored.per_tensor:
                return NoMatch("what it reads has no constant scale")
            x = _dequantize(stored, 0, rw)
        product = rw.new("MatMul", x, dequantized(constant.numpy(), weights.how))
        bias = node.input_at(last)
        return product if bias is None else rw.new("Add", product, bias)


def _stored(node: Node, at: int, axis: int) -> Stored | None:
    flipped = node.op_type == "QGemm" and at and node.int_attr("transB", 0)
    return _read(node.input_at(at), node.input_at(at + 1), node.input_at(at + 2), 0 if flipped else axis)


def _read(integers: Value | None, scale: Value | None, zero: Value | None, axis: int) -> Stored | None:
    if integers is None or scale is None:
        return None
    how = parameters_of_values(scale, zero, integers.dtype, axis)
    return None if how is None else Stored(integers, scale, zero, how)


def _dequantize(stored: Stored, axis: int, rw: Rewriter) -> Value | Array:
    floats = stored.floats()
    if floats is not None:
        return floats
    zero: Value | Array | None = stored.zero_point
    if stored.how.axis is None:
        return rw.new("DequantizeLinear", stored.integers, stored.how.scale.numpy(), stored.how.zero_point.numpy())
    return rw.new("DequantizeLinear", stored.integers, stored.scale, zero, axis=axis)
