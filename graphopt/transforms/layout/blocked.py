"""Keeps tensors in the blocked layout that ONNX Runtime runs convolutions in.

An addition or multiplication by a constant between two convolutions has no kernel for that layout: ONNX Runtime reorders before and after
it. A BatchNormalization that only adds and scales has one (a convolution of single elements), so ``Add(x, c) -> BatchNormalization(x, 1, c,
mean=0, var=1)`` there, and so for Sub, Mul and Div. float32; only where ``x`` comes from a convolution or an activation of one and goes
into one, or into pooling. Touches weights. Needs types. Numerics: re-associates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Graph, Node, Value
from graphopt.numerics import Numerics
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import (
    NoMatch,
    Pattern,
    Reassociates,
    Replacement,
    RewritePattern,
    Rewriter,
    Rule,
    any_,
    const,
    op,
)
from graphopt.transforms.fusion.activations.gelu import ends_gelu
from graphopt.transforms.layout.affine import as_batch_norm, feeds_layout
from graphopt.transforms.layout.channels import CPU_TARGETS, channel_count, channel_numbers

__all__ = ["KeepBlockedLayout"]

#: Operators between a convolution and the next that keep the layout.
_KEEPS: Final = frozenset(
    {"Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Tanh", "Mul", "Add", "BatchNormalization"}
)
_DEPTH: Final = 3


def _from_conv(value: Value, depth: int = _DEPTH) -> bool:
    """Whether a value comes from a convolution through operators that keep the layout."""
    node = value.producer
    if node is None or node.op == "Conv":
        return node is not None
    if depth == 0 or node.op not in _KEEPS:
        return False
    return any(_from_conv(item, depth - 1) for item in node.inputs if item is not None and not item.is_constant)


class KeepAffineBlocked(RewritePattern):
    """Conv(Add(act(Conv(x)), c)) -> Conv(BatchNormalization(act(Conv(x)), 1, c, 0, 1)), and Sub, Mul, Div."""

    name: ClassVar[str] = "keep-affine-blocked"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Mul", "Div")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = _DEPTH + 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Conv(op.Add(op.Relu(op.Conv(any_("x"), const("v"))), const("c")), const("w"), pads=(1, 1, 1, 1)),
        op.Conv(op.Mul(op.Conv(any_("x"), const("v")), const("c")), const("w"), pads=(1, 1, 1, 1)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Replace it if what gives and what reads it are convolutions."""
        operands = [value for value in node.inputs if value is not None]
        places = [index for index, value in enumerate(operands) if not value.is_constant]
        if len(operands) != 2 or len(places) != 1 or (node.op in ("Sub", "Div") and places != [0]):
            return NoMatch("nothing constant stands beside a value")
        if (node.opset or 0) < 7 or not feeds_layout(node.output):
            return NoMatch("no convolution or pooling reads it")
        x, constant = operands[places[0]], operands[1 - places[0]]
        channels = channel_count(x)
        if x.dtype is not DType.FLOAT or channels is None or (x.rank or 0) != 4 or not _from_conv(x):
            return NoMatch("%s does not come from a convolution", x.type)
        if node.op in ("Mul", "Div") and ends_gelu(node):
            return NoMatch("it is the last product of a Gelu, which runtimes look for")
        numbers = channel_numbers(constant, x, channels)
        if isinstance(numbers, NoMatch):
            return numbers
        if node.op == "Div" and not numbers.all():
            return NoMatch("divides by zero")
        ones, zeros = np.ones(channels), np.zeros(channels)
        match node.op:
            case "Add":
                return as_batch_norm(x, ones, numbers, node, rw)
            case "Sub":
                return as_batch_norm(x, ones, -numbers, node, rw)
            case "Mul":
                return as_batch_norm(x, numbers, zeros, node, rw)
            case _:
                return as_batch_norm(x, 1 / numbers, zeros, node, rw)


@dataclass(frozen=True)
class KeepBlockedLayout(RewritePass):
    """Make a BatchNormalization of what is added or scaled between convolutions, for ONNX Runtime. Re-associates; needs types."""

    name: ClassVar[str] = "keep-blocked-layout"
    rules: ClassVar[tuple[Rule, ...]] = (KeepAffineBlocked(),)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rule if the target is ONNX Runtime on a processor."""
        if ctx.target.name not in CPU_TARGETS:
            return PassResult(changed=False)
        return super().run(graph, ctx)
