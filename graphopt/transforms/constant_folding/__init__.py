"""Constant folding: what is the same in every run is computed once, as long as the model does not grow.

The constant region is found in one walk; small integer and data-moving operators are computed in numpy on the way. Then the frontier is
chosen, by sizes that types state, before anything large is computed. What is left to compute runs in one model in the executor.

Exact: data movement and integers by definition; float operators because the executor runs the kernels that would run the nodes
later, on tensors of the same shapes. ``float_math=False`` leaves these out, for a target whose float kernels are others. What a runtime
does with weights once they are constant is its own: ONNX Runtime packs those of LSTM, and its last bits change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec

from graphopt.ir import Array, Constant, Graph, Model, Node, Value
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter, learn_types
from graphopt.transforms.constant_folding.evaluation import Evaluation
from graphopt.transforms.constant_folding.region import Region, find_region
from graphopt.transforms.constant_folding.selection import Choice, choose
from graphopt.transforms.constants import put_constant

__all__ = ["FoldConstants"]

_ROUNDS = 8
_SHARE = 400
_SLACK = 64


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace what only depends on constants by constants, in a few runs of the executor and without growing the model.

    Random, stateful and unknown operators, calls of functions, DequantizeLinear, and what the executor can't run stay. A result that
    would take more bytes than it frees stays too (ConstantOfShape, Expand, Tile, Range, Cast of weights), and what follows it is
    folded if that is small again. Needs types; reads the weights that it computes with; idempotent.

    Attributes:
        max_growth: bytes by which a run may grow the model.
        max_share: what part of the model that may be at most, 400 for a 400th; 0 for no such bound.
        max_bytes: results larger than this are never computed.
        max_fill: what ConstantOfShape makes of more bytes stays made where it is used, however much the model may grow.
        float_math: whether the executor may be used; else only data movement and integer arithmetic are folded.
    """

    name: ClassVar[str] = "fold-constants"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    max_growth: Annotated[int, msgspec.Meta(ge=0)] = 1024
    max_share: Annotated[int, msgspec.Meta(ge=0)] = _SHARE
    max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 28
    max_fill: Annotated[int, msgspec.Meta(ge=0)] = 1 << 48
    float_math: bool = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Fold in a graph and its subgraphs, again where what was folded tells sizes that were unknown."""
        stats: Counter[str] = Counter()
        refused: set[Node] = set()
        while self._fold(graph, ctx, stats, refused):
            pass
        stats["refused"] = len(refused)
        return PassResult(changed=stats["nodes"] > 0, stats={name: count for name, count in stats.items() if count})

    def _fold(self, graph: Graph, ctx: PassContext, stats: Counter[str], refused: set[Node]) -> bool:
        """Fold what can be; says whether types became better known by it."""
        executor = ctx.executor if self.float_math else None
        known: dict[Value, Array] = {}
        kinds: set[object] = set()
        for _ in range(_ROUNDS):
            region = find_region(
                graph,
                has_executor=executor is not None,
                max_bytes=self.max_bytes,
                refused=frozenset(refused),
                known=known,
            )
            if not region.nodes:
                return False
            chosen = choose(region, self._allowance(graph), self.max_fill)
            evaluation = Evaluation(region, executor, self.max_bytes, kinds)
            evaluation.compute([value for choice in chosen for value in choice.values])
            stats["runs"] += evaluation.runs
            if evaluation.refused <= refused:
                break
            refused |= evaluation.refused
        folded, has_learned = self._replace(chosen, region, ctx)
        stats["nodes"] += folded
        return has_learned

    def _allowance(self, graph: Graph) -> int:
        owner = graph.owner
        size = owner.constant_bytes if isinstance(owner, Model) else 0
        return min(self.max_growth, size // self.max_share) if self.max_share else self.max_growth

    def _replace(self, chosen: list[Choice], region: Region, ctx: PassContext) -> tuple[int, bool]:
        """Put constants in place of chosen nodes; how many, and whether types are better known then."""
        rewriter = Rewriter(ctx.types)
        folded = 0
        better_known: list[Node] = []
        for node, values, nbytes in ((choice.node, choice.values, choice.nbytes) for choice in chosen):
            site = values[0].name
            arrays = [region.arrays.get(value) for value in values]
            constants = [Constant(array) for array in arrays if array is not None]
            if len(constants) < len(values) or sum(constant.nbytes for constant in constants) > nbytes + _SLACK:
                continue
            home = node.graph
            if home is None or not ctx.applications.admits(self.name, site):
                continue
            if any(v.dtype is not None and v.dtype != c.dtype for v, c in zip(values, constants, strict=True)):
                continue
            rewriter.start(node)
            for value, constant in zip(values, constants, strict=True):
                better_known += value.users  # what they give may have a size that is one of these numbers
                if value.graph_outputs:
                    rewriter.replace(value, rewriter.constant(constant, f"{value.name}_value"))
                else:
                    put_constant(value, constant, home)
            rewriter.erase_if_unused(node)
            ctx.applications.record(self.name, site)
            folded += 1
        return folded, bool(learn_types(ctx.types, better_known))
