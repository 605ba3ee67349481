"""Which rewrites would change what takes the time of a model: those that optimizing a copy of it makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphopt.compiler.environment import Environment
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.remarks import Remarks
from graphopt.errors import GraphoptError
from graphopt.ir import Model, Node
from graphopt.runtime.profiling import Advice

__all__ = ["Change", "advice_by_kernel", "find_changes", "origins_of_all"]

_LEVELS = ("O1", "O2", "O3")
#: Passes that save memory or names, not time.
_TIDYING = frozenset({"constants-to-initializers", "deduplicate-constants", "eliminate-dead-code"})


@dataclass(frozen=True, slots=True)
class Change:
    """A rewrite that optimizing would make, and the original nodes that it changes.

    Attributes:
        advice: the rewrite.
        origins: original nodes.
    """

    advice: Advice
    origins: frozenset[str]


def find_changes(model: Model, environment: Environment) -> list[Change]:
    """Rewrites that optimizing would make, those of lower levels first.

    Args:
        model: it is not changed.
        environment: knows the passes.
    """
    found: dict[tuple[str, frozenset[str]], Change] = {}
    for level in _LEVELS:
        remarks = Remarks()
        try:
            optimize(model, level=level, check=False, remarks=remarks, plugins=environment.plugins)
        except GraphoptError:  # what can't be optimized can be profiled
            continue
        for edit in remarks.made:
            rule, pass_name = edit.application.rule, edit.application.pass_name
            if pass_name not in _TIDYING:
                origins = frozenset(edit.origins)
                found.setdefault((rule, origins), Change(Advice(rule, pass_name, level), origins))
    return list(found.values())


def advice_by_kernel(
    changes: Sequence[Change], standing: Mapping[str, Sequence[Node]], beside: Mapping[str, Sequence[Node]]
) -> dict[str, tuple[Advice, ...]]:
    """Rewrites that change something, by kernel: not those of nodes that the runtime made one kernel of by itself.

    Args:
        changes: what would be made.
        standing: nodes that a kernel stands for.
        beside: nodes for whose sake the runtime put a kernel in.
    """
    kernels: dict[str, set[str]] = defaultdict(set)
    for name, nodes in standing.items():
        for origin in origins_of_all(nodes):
            kernels[origin].add(name)
    found: dict[str, dict[Advice, None]] = defaultdict(dict)
    neighbours: dict[str, set[str]] = defaultdict(set)
    for name, nodes in beside.items():
        for origin in origins_of_all(nodes):
            neighbours[origin].add(name)
    for change in changes:
        touched = {name for origin in change.origins for name in kernels.get(origin, ())}
        if len(touched) == 1 and len(change.origins) > 1:
            continue
        for name in touched.union(*(neighbours.get(origin, ()) for origin in change.origins)):
            found[name][change.advice] = None
    return {name: tuple(advice) for name, advice in found.items()}


def origins_of_all(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The original nodes that some nodes came from.

    Args:
        nodes: of one model.
    """
    return tuple(dict.fromkeys(name for node in nodes for name in node.lineage.names()))
