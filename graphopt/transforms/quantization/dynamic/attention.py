"""ONNX Runtime's Attention with its projections becomes QAttention: int8 weights, an activation that is quantized on the spot.

``com.microsoft::Attention(x, w, b) -> com.microsoft::QAttention(q, w8, b, s, s_w, z, z_w)`` with ``q, s, z = DynamicQuantizeLinear(x)``.
The projections are integer products; what is made of queries, keys and values stays floats. float32, weights and bias constant. QAttention
takes no bias of scores, no rotary embedding, and projections of equal sizes only. Numerics: lossy.
Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from graphopt.ir import Constant, DType, Node, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.dynamic.form import Int8Weights
from graphopt.transforms.quantization.dynamic.product import OLDEST, quantized_activation

__all__ = ["QuantizeAttention", "dynamic_attention"]

_OP: Final = "com.microsoft::QAttention"
_KEPT: Final = ("mask_filter_value", "num_heads", "scale", "unidirectional")
_REFUSED: Final = ("do_rotary", "past_present_share_buffer", "qkv_hidden_sizes", "rotary_embedding_dim")
#: Inputs of Attention.
_MASK, _PAST, _SCORE_BIAS, _PAST_LENGTH = 3, 4, 5, 6


def dynamic_attention(node: Node) -> Constant | NoMatch:
    """The weights of an Attention, if it can become a quantized one."""
    if node.op != "com.microsoft::Attention":
        return NoMatch("%s is not ONNX Runtime's Attention", node.op)
    x, weights = node.input_at(0), constant_of(node.input_at(1))
    if x is None or weights is None or weights.ndim != 2 or not weights.size or weights.is_sparse:
        return NoMatch("the weights are no constant matrix")
    if constant_of(node.input_at(2)) is None:
        return NoMatch("there is no constant bias")
    if x.dtype is not DType.FLOAT or weights.dtype is not DType.FLOAT:
        return NoMatch("the numbers are %s, and the kernel takes float", x.dtype)
    if node.graph is None or (node.graph.opset() or 0) < OLDEST:
        return NoMatch("the opset has no DynamicQuantizeLinear; raise-opset makes it newer")
    if node.input_at(_SCORE_BIAS) is not None or node.input_at(_PAST_LENGTH) is not None:
        return NoMatch("QAttention takes no bias of scores and no length of the past")
    stated = [name for name in _REFUSED if name in node.attributes and node.attributes[name].value]
    return NoMatch("QAttention has no %s", ", ".join(stated)) if stated else weights


@dataclass(frozen=True)
class QuantizeAttention(RewritePattern):
    """com.microsoft::Attention(x, w, b) -> com.microsoft::QAttention(DynamicQuantizeLinear(x), w8, b)."""

    name: ClassVar[str] = "quantize-attention"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::Attention",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    makes: ClassVar[str] = _OP
    contexts: ClassVar[tuple[Pattern, ...]] = ()
    form: Int8Weights = field(default_factory=Int8Weights)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any Attention of a selected layer."""
        refused = self.form.refusal(node)
        if refused is not None:
            return refused
        weights = dynamic_attention(node)
        if isinstance(weights, NoMatch):
            return weights
        x, value = node.inputs[0], node.inputs[1]
        assert x is not None and value is not None, "that was asked"  # noqa: PT018 - one reason for both
        made = self.form.stored(weights.numpy(), 1, known=value.quantization)
        if isinstance(made, NoMatch):
            return made
        array, how = made
        number, scale, zero = quantized_activation(x, rw)
        inputs = [
            number,
            rw.constant(array, f"{value.name}_int8"),
            node.inputs[2],
            scale,
            how.scale.numpy(),
            node.input_at(_MASK),
            zero,
            how.zero_point.numpy(),
            node.input_at(_PAST),
        ]
        stated: dict[str, object] = {name: node.attributes[name] for name in _KEPT if name in node.attributes}
        found = rw.new_node(_OP, inputs, outputs=len(node.outputs), attributes=stated, name=node.name)
        for new, old in zip(found.outputs, node.outputs, strict=True):
            new.type = old.type
        return [new if old.is_used else None for new, old in zip(found.outputs, node.outputs, strict=True)]
