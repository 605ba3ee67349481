"""Moves transpositions past operators that compute element by element, where that leaves fewer of them.

``Transpose(f(Transpose(x), c)) -> f(x, c')`` for trees of such operators with several leaves: the outer Transpose goes to the leaves if
more of them vanish there than arise. Constants are transposed at once. Exact: each number is computed from the same ones in the same way.
Past sums and means, which may be added up in another order then, and past functions that kernels approximate, where the last bit may depend
on the place of an element, a rule of its own goes, which re-associates.
Source: https://onnx.ai/onnx/operators/onnx__Transpose.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from graphopt.ir import Array, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import order_of
from graphopt.transforms.movement.elementwise import Form, constant_behind, data_inputs, form_behind, is_movable

__all__ = ["ALGEBRA_RULES", "RULES"]

_MOST_NODES = 12


@dataclass
class _Tree:
    """Operators between a Transpose and the leaves that it would go to.

    Attributes:
        order: of the Transpose.
        forms: nodes of the tree, each after what it reads, and how they will be stated.
        leaves: what they read from outside.
        exact: whether each bit must stay.
        saved: Transpose nodes that vanish less those that arise.
    """

    order: tuple[int, ...]
    exact: bool
    forms: dict[Node, Form] = field(default_factory=dict)
    leaves: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    saved: int = 1

    def add(self, value: Value, root: Node) -> NoMatch | None:
        """Take in a value that the tree reads, as a node or as a leaf."""
        if value in self.leaves or value.is_constant:
            return (
                None
                if not value.is_constant or (value.rank or 0) <= len(self.order)
                else NoMatch("a constant is larger")
            )
        if value.rank != len(self.order):
            return NoMatch("%s is broadcast, or of unknown rank", value.type)
        node = value.producer
        alone = node is not None and value.has_single_use and node.graph is root.graph
        if node is not None and node.op == "Transpose" and not node.has_references:
            first = order_of(node, len(self.order))
            if first is not None:
                order = tuple(first[axis] for axis in self.order)
                self.leaves[value] = order
                if order == tuple(range(len(order))):
                    self.saved += alone
                else:
                    self.saved -= not alone
                return None
        if node is None or not alone or not is_movable(node, exact=self.exact) or len(self.forms) >= _MOST_NODES:
            self.leaves[value] = self.order
            self.saved -= 1
            return None
        return self.grow(node, root)

    def grow(self, node: Node, root: Node) -> NoMatch | None:
        """Take in a movable node."""
        form = form_behind(node, self.order)
        if isinstance(form, NoMatch):
            return form
        for position in data_inputs(node):
            operand = node.inputs[position]
            reason = NoMatch("an operand is absent") if operand is None else self.add(operand, root)
            if reason is not None:
                return reason
        self.forms[node] = form
        return None

    def build(self, rw: Rewriter) -> Value:
        """The tree on transposed leaves; its last result."""
        made: dict[Value, Value] = {}
        identity = tuple(range(len(self.order)))
        for leaf, order in self.leaves.items():
            source = leaf
            if order != self.order or (leaf.producer is not None and leaf.producer.op == "Transpose"):
                assert leaf.producer is not None, "only a Transpose changes the order of a leaf"
                source = leaf.producer.inputs[0] or leaf
            made[leaf] = source if order == identity else rw.new("Transpose", source, perm=order)
        result: Value | None = None
        for node, form in self.forms.items():
            operands: list[Value | Array | None] = list(node.inputs)
            for position in data_inputs(node):
                operand = node.inputs[position]
                if operand is not None and operand.is_constant:
                    moved = constant_behind(operand, self.order)
                    operands[position] = operand if moved is None else moved
                elif operand is not None:
                    operands[position] = made[operand]
            for position, array in form.operands.items():
                operands += [None] * (position + 1 - len(operands))
                operands[position] = array
            result = made[node.output] = rw.new_node(
                node.op, operands, attributes=form.attributes, name=node.name
            ).output
        assert result is not None, "a tree has a node"
        return result


class PushTransposeUp(RewritePattern):
    """Transpose(f(Transpose(x), c)) -> f(x, c'), where Transpose nodes are saved."""

    name: ClassVar[str] = "push-transpose-up"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    reach: ClassVar[int] = 3
    exact: ClassVar[bool] = True
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Transpose(
            op["Relu", "Abs", "Neg"](
                op.Transpose(any_("x"), perm=(1, 0)),
            ),
            perm=(1, 0),
        ),
        op.Transpose(op["Add", "Mul"](op.Transpose(any_("x"), perm=(0, 2, 1)), const("c")), perm=(0, 2, 1)),
        op.Transpose(op.Pad(op.Transpose(any_("x"), perm=(1, 0)), const("pads")), perm=(1, 0)),
        op.Transpose(
            op["Add", "Max"](op.Transpose(any_("x"), perm=(1, 0)), op.Transpose(any_("y"), perm=(1, 0))), perm=(1, 0)
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Grow the tree, count, build."""
        given = node.inputs[0]
        inner = None if given is None else given.producer
        if given is None or inner is None or not given.has_single_use or not is_movable(inner, exact=self.exact):
            return NoMatch("nothing to go past")
        order = None if given.rank is None or inner.graph is not node.graph else order_of(node, given.rank)
        if order is None:
            return NoMatch("the rank is not known")
        tree = _Tree(order, self.exact)
        reason = tree.grow(inner, node)
        if reason is not None:
            return reason
        if tree.saved < 1:
            return NoMatch("it would leave %d more Transpose nodes", -tree.saved)
        rw.matched = [node, *tree.forms]
        return tree.build(rw)


class PushTransposePastSums(PushTransposeUp):
    """Transpose(ReduceMean(Transpose(x))) -> ReduceMean(x), and past functions that are approximated, where Transpose nodes are saved."""

    name: ClassVar[str] = "push-transpose-past-sums"
    numerics: ClassVar[Numerics] = Reassociates()
    exact: ClassVar[bool] = False
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Transpose(
            op["ReduceMean", "ReduceL2"](op.Transpose(any_("x"), perm=(0, 2, 1)), axes=(1,), keepdims=1), perm=(0, 2, 1)
        ),
        op.Transpose(
            op.ReduceSum(op.Transpose(any_("x"), perm=(0, 2, 1)), const("axes", equal_to=1), keepdims=1), perm=(0, 2, 1)
        ),
        op.Transpose(op["Sigmoid", "Tanh", "Exp"](op.Transpose(any_("x"), perm=(0, 2, 1))), perm=(0, 2, 1)),
    )


RULES = (PushTransposeUp(),)
ALGEBRA_RULES = (PushTransposePastSums(),)
