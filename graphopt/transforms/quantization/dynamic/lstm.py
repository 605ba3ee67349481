"""An LSTM becomes ONNX Runtime's DynamicQuantizeLSTM, whose weights are int8 and whose inputs and states are quantized at each step.

float32, weights constant, time first (``layout=0``); weights are symmetric, whatever is asked for.
There is no such kernel for GRU and RNN. Numerics: lossy.
Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, Constant, DType, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.quantization.dynamic.form import Int8Weights

__all__ = ["QuantizeLstm"]

_OP: Final = "com.microsoft::DynamicQuantizeLSTM"
_INPUTS: Final = 8
_KEPT: Final = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
)


def dynamic_lstm(node: Node) -> tuple[tuple[Value, Constant], tuple[Value, Constant]] | NoMatch:
    """The weights and the recurrence weights of an LSTM, if it can become a quantized one."""
    if node.op != "LSTM":
        return NoMatch("ONNX Runtime has no quantized kernel for %s", node.op)
    found = []
    for name, value in (("W", node.input_at(1)), ("R", node.input_at(2))):
        constant = constant_of(value)
        if value is None or constant is None or constant.ndim != 3 or not constant.size:
            return NoMatch("%s is no constant of three axes", name)
        if constant.dtype is not DType.FLOAT:
            return NoMatch("the numbers are %s, and the kernel takes float", constant.dtype)
        found.append((value, constant))
    if node.int_attr("layout", 0):
        return NoMatch("the batch is the first axis")
    weights, recurrence = found
    return weights, recurrence


@dataclass(frozen=True)
class QuantizeLstm(RewritePattern):
    """LSTM(x, w, r) -> com.microsoft::DynamicQuantizeLSTM(x, w8, r8)."""

    name: ClassVar[str] = "quantize-lstm"
    roots: ClassVar[tuple[str, ...]] = ("LSTM",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    makes: ClassVar[str] = _OP
    contexts: ClassVar[tuple[Pattern, ...]] = (op.LSTM(any_("x"), const("w"), const("r")),)
    form: Int8Weights = field(default_factory=Int8Weights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any LSTM of a selected layer."""
        refused = self.form.refusal(node)
        if refused is not None:
            return refused
        found = dynamic_lstm(node)
        if isinstance(found, NoMatch):
            return found
        (w, weights), (r, recurrence) = found
        stored = [self._stored(constant) for constant in (weights, recurrence)]
        parameters: list[Array] = []
        numbers: list[Value] = []
        for value, item in zip((w, r), stored, strict=True):
            if isinstance(item, NoMatch):
                return item
            numbers.append(rw.constant(item[0], f"{value.name}_int8"))
            parameters += item[1:]
        inputs = [node.inputs[0], *numbers, *(node.input_at(place) for place in range(3, _INPUTS)), *parameters]
        stated: dict[str, object] = {name: node.attributes[name] for name in _KEPT if name in node.attributes}
        stated.setdefault("hidden_size", recurrence.shape[2])
        made = rw.new_node(_OP, inputs, outputs=len(node.outputs), attributes=stated, name=node.name)
        for new, old in zip(made.outputs, node.outputs, strict=True):
            new.type = old.type
        return [new if old.is_used else None for new, old in zip(made.outputs, node.outputs, strict=True)]

    def _stored(self, constant: Constant) -> tuple[Array, Array, Array] | NoMatch:
        """Weights [directions, 4*hidden, inputs] as integers [directions, inputs, 4*hidden], with scales and zero points.

        The kernel takes no zero point but 0.
        """
        parts = []
        for direction in constant.numpy():
            made = self.form.stored(direction, 0, symmetric=True)
            if isinstance(made, NoMatch):
                return made
            parts.append(made)
        integers = np.stack([np.ascontiguousarray(array.T) for array, _how in parts])
        scales = np.stack([how.scale.numpy() for _array, how in parts])
        return integers, scales, np.stack([how.zero_point.numpy() for _array, how in parts])
