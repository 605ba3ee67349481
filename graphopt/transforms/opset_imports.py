"""Removes imports of operator sets that no node uses. Exact; needs no types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from graphopt.ir import Graph, Model
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["RemoveUnusedOpsets"]


@dataclass(frozen=True)
class RemoveUnusedOpsets(Pass):
    """Remove imports of domains that nobody uses; the default domain stays.

    The model keeps each domain that a node uses, in the graph or in a function, or that a function is defined in. A function keeps
    what its own nodes use. Exact; idempotent.
    """

    name: ClassVar[str] = "remove-unused-opsets"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False
    per_function: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Collect the domains of all nodes, and remove the other imports."""
        model = cast(Model, graph.owner)
        if not any(set(owner.opset_imports) - {""} for owner in model.owners()):
            return PassResult(changed=False)
        used = {""} | {node.domain for node in graph.walk()}
        removed = 0
        for function in model.functions.values():
            inside = {""} | {node.domain for node in function.graph.walk()}
            removed += _keep(function.opset_imports, inside)
            used |= inside | {function.domain}
        removed += _keep(model.opset_imports, used)
        if removed:
            graph.touch()
        return PassResult(changed=removed > 0, stats={"imports": removed} if removed else {})


def _keep(imports: dict[str, int], used: set[str]) -> int:
    unused = [domain for domain in imports if domain not in used]
    for domain in unused:
        del imports[domain]
    return len(unused)
