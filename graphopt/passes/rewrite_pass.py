"""A pass made of rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from graphopt.ir import Graph
from graphopt.numerics import Exact, Numerics, weakest
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph

__all__ = ["RewritePass"]


@lru_cache(maxsize=256)
def _weakest_of(rules: tuple[Rule, ...], numerics: Numerics) -> Numerics:
    return weakest([numerics, *(rule.numerics for rule in rules)])


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
        if not self.rules:
            return Exact()
        rules = self.active_rules()
        try:
            return _weakest_of(rules, self.numerics)
        except TypeError:  # a rule of somebody's own that can't be hashed
            return _weakest_of.__wrapped__(rules, self.numerics)

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
