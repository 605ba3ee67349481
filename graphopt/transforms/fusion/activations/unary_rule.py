"""What rules of activations have in common: they find a function of one value, and put its operator in the place of its spelling.

Only for float32 and float16: ONNX Runtime has no kernels of most activations for other types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from graphopt.ir import Array, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.expressions import nodes_between

__all__ = ["DTYPES", "Activation", "RecognizeActivation"]

DTYPES: Final = frozenset({DType.FLOAT, DType.FLOAT16})


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of one value.

    Attributes:
        op: its operator.
        x: the value.
        attributes: of the operator.
        operands: inputs after ``x``; arrays become constants.
        times: what the result is multiplied with, ``None`` for nothing.
        leaves: what else the expression depends on.
    """

    op: str
    x: Value
    attributes: dict[str, object] = field(default_factory=dict)
    operands: tuple[Value | Array | None, ...] = ()
    times: Value | None = None
    leaves: tuple[Value, ...] = ()


class RecognizeActivation(RewritePattern):
    """A rule that finds an :class:`Activation`.

    Attributes:
        min_opset: oldest opset of the default domain at which it applies.
        max_opset: newest one, ``None`` for any.
        makes: an operator that is worth making only where the target computes it by one kernel, ``""`` for none.
        dtypes: element types for which it applies.
    """

    numerics: ClassVar[Numerics] = Reassociates()
    min_opset: ClassVar[int] = 7
    max_opset: ClassVar[int | None] = None
    makes: ClassVar[str] = ""
    dtypes: ClassVar[frozenset[DType]] = DTYPES

    def find(self, node: Node) -> Activation | NoMatch:
        """The activation whose last node this is."""
        raise NotImplementedError

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Find it, see that nobody else needs its parts, replace it."""
        opset = node.opset
        if opset is None or opset < self.min_opset:
            return NoMatch("opset %s is older than %d", opset, self.min_opset)
        if self.max_opset is not None and opset > self.max_opset:
            return NoMatch("opset %d is newer than %d", opset, self.max_opset)
        found = self.find(node)
        if isinstance(found, NoMatch):
            return found
        if found.x.dtype not in self.dtypes or node.output.dtype not in (None, found.x.dtype):
            return NoMatch("the element type is %s", found.x.dtype)
        nodes = nodes_between(node, (found.x, *found.leaves), found.x)
        if isinstance(nodes, NoMatch):
            return nodes
        rw.matched = nodes
        made = rw.new_node(found.op, (found.x, *found.operands), attributes=dict(found.attributes)).output
        return made if found.times is None else rw.new("Mul", found.times, made)
