"""Computes at once what is computed alike of parts that lie side by side.

``Concat(f(a), f(b)) -> f(Concat(a, b))``, and ``f`` of each part of a Split becomes a Split of ``f(x)``, for operators that compute element
by element. Not where a convolution or product gives a part: runtimes compute its activation with it. Exact; functions that kernels
approximate re-associate.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.movement.elementwise import SAME_BITS, UNARY

__all__ = ["ALGEBRA_RULES", "RULES"]

#: Take what is computed of their result along.
_FUSING = frozenset(
    {"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul"}
)


def _is_alike(node: Node, other: Node) -> bool:
    return node.op == other.op and node.attrs == other.attrs and len(node.inputs) == len(other.inputs) == 1


class JoinBeforeUnary(RewritePattern):
    """Concat(f(a), f(b)) -> f(Concat(a, b))."""

    name: ClassVar[str] = "join-before-unary"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 2
    ops: ClassVar[frozenset[str]] = SAME_BITS
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Concat(op["Relu", "Neg"](any_("a")), op["Relu", "Neg"](any_("b")), axis=0),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All operands, by the same operator with the same attributes, of one element type."""
        made = node.inputs[0].producer if len(node.inputs) > 1 and node.inputs[0] is not None else None
        if made is None or made.op not in self.ops:
            return NoMatch("not of several results of one kind")
        parts = [producer_of(value, (made.op,), node) for value in node.inputs]
        first = parts[0]
        if first is None or len({id(part) for part in parts}) < len(parts):
            return NoMatch("not of several results of one kind")
        inputs: list[Value | None] = []
        for part in parts:
            given = None if part is None else part.inputs[0]
            if part is None or given is None or not _is_alike(part, first):
                return NoMatch("operands are computed in other ways")
            if given.dtype is None or given.dtype != (first.inputs[0] or given).dtype:
                return NoMatch("element types differ, or are not known")
            if given.producer is not None and given.producer.op in _FUSING:
                return NoMatch("%s takes the activation", given.producer.op)
            inputs.append(given)
        rw.matched = [node, *(part for part in parts if part is not None)]
        joined = rw.new_node("Concat", inputs, attributes=dict(node.attributes)).output
        return rw.new_node(first.op, [joined], attributes=dict(first.attributes)).output


class ComputeBeforeSplit(RewritePattern):
    """f(a), f(b) of a, b = Split(x) -> Split(f(x))."""

    name: ClassVar[str] = "compute-before-split"
    roots: ClassVar[tuple[str, ...]] = ("Split",)
    reach: ClassVar[int] = 2
    ops: ClassVar[frozenset[str]] = SAME_BITS

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Each part must be read by the same operator alone."""
        readers = [part.users[0] for part in node.outputs if part.has_single_use]
        first = readers[0] if readers else None
        if first is None or len(readers) < max(len(node.outputs), 2) or first.op not in self.ops:
            return NoMatch("parts are not each read by one such operator")
        if (
            any(not _is_alike(reader, first) or reader.graph is not node.graph for reader in readers)
            or first.has_references
        ):
            return NoMatch("parts are read in other ways")
        x = node.inputs[0]
        whole = rw.new_node(first.op, [x], attributes=dict(first.attributes)).output
        made = rw.new_node(
            "Split", [whole, *node.inputs[1:]], outputs=len(readers), attributes=dict(node.attributes), name=node.name
        )
        rw.matched = [node, *readers]
        for reader, part in zip(readers, made.outputs, strict=True):
            rw.replace(reader.output, part)
        for reader in readers:
            rw.erase_if_unused(reader)
        return [None] * len(node.outputs)


class JoinBeforeFunction(JoinBeforeUnary):
    """Concat(Sigmoid(a), Sigmoid(b)) -> Sigmoid(Concat(a, b)), for functions that kernels approximate."""

    name: ClassVar[str] = "join-before-function"
    numerics: ClassVar[Numerics] = Reassociates(1e-6)
    ops: ClassVar[frozenset[str]] = UNARY - SAME_BITS
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Concat(op["Sigmoid", "Tanh"](any_("a")), op["Sigmoid", "Tanh"](any_("b")), axis=0),
    )


class ComputeFunctionBeforeSplit(ComputeBeforeSplit):
    """Sigmoid(a), Sigmoid(b) of a, b = Split(x) -> Split(Sigmoid(x)), for functions that kernels approximate."""

    name: ClassVar[str] = "compute-function-before-split"
    numerics: ClassVar[Numerics] = Reassociates(1e-6)
    ops: ClassVar[frozenset[str]] = UNARY - SAME_BITS


RULES = (JoinBeforeUnary(), ComputeBeforeSplit())
ALGEBRA_RULES = (JoinBeforeFunction(), ComputeFunctionBeforeSplit())
