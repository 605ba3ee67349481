"""Gelu and the bias before it become ``com.microsoft::BiasGelu``.

``Gelu(x + b) -> BiasGelu(x, b)`` for Gelu by the error function, float32, and ``b`` a constant with one number for each place of the last
axis. Numerics: re-associates (another kernel). Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import DType, Node
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import same_dim

__all__ = ["FuseBiasGelu"]

_SUM = op.Add(any_("x"), const("b"), commute=True)


class FuseBiasGelu(RewritePattern):
    """Gelu(Add(x, b)) -> com.microsoft::BiasGelu(x, b)."""

    name: ClassVar[str] = "fuse-bias-gelu"
    roots: ClassVar[tuple[str, ...]] = ("Gelu", "com.microsoft::Gelu")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = "com.microsoft::BiasGelu"
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Gelu(_SUM, approximate="none"),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The sum must have no other reader."""
        total = node.inputs[0]
        add = None if total is None else total.producer
        if add is None or total is None or add.op != "Add" or add.graph is not node.graph or add.has_references:
            return NoMatch("the operand is no sum")
        if not total.has_single_use or total.dtype is not DType.FLOAT:
            return NoMatch("the sum has other readers, or is %s", total.type)
        if node.op == "Gelu" and node.str_attr("approximate", "none") != "none":
            return NoMatch("Gelu by tanh")
        for x, b in (add.inputs, add.inputs[::-1]):
            if x is None or b is None or not b.is_constant or b.shape is None or len(b.shape) != 1 or not x.shape:
                continue
            if same_dim(x.shape[-1], b.shape[0]):
                rw.matched = [node, add]
                made = rw.new_node(self.makes, [x, b], name=node.name)
                made.output.type = node.output.type
                return made.output
        return NoMatch("no term is a constant with one number for each place of the last axis")
