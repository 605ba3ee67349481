"""What rules have in common that spell an operator out by simpler ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, DType, Graph, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter, RuleIndex, rewrite_graph
from graphopt.target import Target

__all__ = ["DecomposePass", "SpellOut", "Spelling"]

_DTYPES: Final = frozenset({DType.FLOAT, DType.FLOAT16, DType.DOUBLE})


@dataclass(frozen=True, slots=True)
class Spelling:
    """Makes nodes for one element type.

    Attributes:
        rw: makes them.
        dtype: of numbers.
    """

    rw: Rewriter
    dtype: DType

    def number(self, number: float) -> Array:
        """A number as a constant."""
        return np.array(number, self.dtype.numpy)

    def of(self, op: str, *operands: Value | Array | float, **attributes: object) -> Value:
        """The output of a new node; numbers become constants."""
        given = [self.number(item) if isinstance(item, int | float) else item for item in operands]
        return self.rw.new_node(op, given, attributes=dict(attributes)).output


class SpellOut(RewritePattern):
    """A rule that spells out one operator, or several that mean the same.

    Attributes:
        min_opset: oldest opset of the default domain at which it applies.
        dtypes: element types for which it applies.
    """

    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 1
    min_opset: ClassVar[int] = 9
    dtypes: ClassVar[frozenset[DType]] = _DTYPES

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | Sequence[Value | None] | NoMatch:
        """The same function of the first input by simpler operators; all outputs if there are several."""
        raise NotImplementedError

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Any node of a floating-point type."""
        x, opset = node.input_at(0), rw.graph.opset()
        dtype = None if x is None else x.dtype
        if x is None or dtype is None or dtype not in self.dtypes:
            return NoMatch("the element type is %s", dtype)
        if opset is None or opset < self.min_opset:
            return NoMatch("opset %s is older than %d", opset, self.min_opset)
        return self.spell(x, node, Spelling(rw, dtype))


@dataclass(frozen=True)
class DecomposePass(RewritePass):
    """Spells out operators.

    Attributes:
        ops: operators to spell out, all that the pass knows when there are none.
        lacking: whether only those are spelled out that the target has no kernel for.
    """

    ops: tuple[str, ...] = ()
    lacking: bool = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules of the operators asked for everywhere in a graph."""
        index = RuleIndex(self.active_rules())
        index.by_root = {op: rules for op, rules in index.by_root.items() if self._is_wanted(op, ctx.target)}
        if not index.by_root:
            return PassResult(changed=False)
        result = rewrite_graph(graph, index, inference=ctx.types, applications=ctx.applications, explain=ctx.explain)
        return PassResult(changed=result.changed, stats=dict(result.applied))

    def _is_wanted(self, op: str, target: Target) -> bool:
        return (not self.ops or op in self.ops) and not (self.lacking and target.has_kernel(op))
