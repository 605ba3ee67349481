"""A pass made of rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Graph
from graphopt.numerics import Exact, Numerics, weakest
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph

__all__ = ["RewritePass"]


@dataclass(frozen=True)
class RewritePass(Pass):
    """Applies rules until none applies. Subclasses state ``name`` and ``rules``; numerics are those of the rules.

    Attributes:
        rules: in order of preference.
    """

    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = ()

    def active_rules(self) -> tuple[Rule, ...]:
        """The rules that apply under the options of this pass."""
        return self.rules

    @property
    def declared_numerics(self) -> Numerics:
        """The weakest of what the rules declare, or of the class, whichever is weaker."""
        return weakest([self.numerics, *(rule.numerics for rule in self.active_rules())]) if self.rules else Exact()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules everywhere in a graph."""
        result = rewrite_graph(
            graph,
            RuleIndex(self.active_rules()),
            inference=ctx.types,
            applications=ctx.applications,
            explain=ctx.explain,
            journal=ctx.journal,
        )
        return PassResult(changed=result.changed, stats=dict(result.applied))
