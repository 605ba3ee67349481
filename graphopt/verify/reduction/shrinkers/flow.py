"""Flattens control flow and functions: a branch in place of its If, one iteration in place of a Loop, a body in place of a call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.ir import Model, Node, TensorType
from graphopt.passes import PassContext
from graphopt.transforms.control_flow import SimplifyIf, SimplifyLoop
from graphopt.transforms.dead_code import RemoveUnusedFunctions
from graphopt.transforms.inlining import InlineFunctions
from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.search import Search

__all__ = ["FlattenIf", "FlattenLoop", "InlineCalls"]


@dataclass(frozen=True)
class FlattenIf:
    """Put a branch in place of its If: the first that still fails."""

    name: ClassVar[str] = "inline branches"

    def shrink(self, search: Search) -> None:
        """Each If, outer ones first, those inside what was inlined too."""
        number = 0
        while _nth(search.case.model, "If", number) is not None:
            if not any(search.attempt(_chosen(search.case, number, branch=branch)) for branch in (True, False)):
                number += 1


def _chosen(case: Case, number: int, *, branch: bool) -> Case | None:
    """The branch in place of the n-th If."""
    candidate = case.copy()
    node = _nth(candidate.model, "If", number)
    if node is None or node.graph is None:
        return None
    node.replace_input(0, node.graph.add_constant(np.array(branch), "condition"))
    graph = node.graph
    SimplifyIf().run(graph.root, PassContext())
    return candidate if node.graph is not graph else None


@dataclass(frozen=True)
class FlattenLoop:
    """Put one iteration in place of a Loop, or let it run once."""

    name: ClassVar[str] = "unroll loops"

    def shrink(self, search: Search) -> None:
        """Each Loop, outer ones first."""
        number = 0
        while _nth(search.case.model, "Loop", number) is not None:
            if not search.attempt(_once(search.case, number, flatten=True)):
                search.attempt(_once(search.case, number, flatten=False))
                number += 1


def _once(case: Case, number: int, *, flatten: bool) -> Case | None:
    """The n-th Loop run once, or its body in its place."""
    candidate = case.copy()
    node = _nth(candidate.model, "Loop", number)
    if node is None or node.graph is None or len(node.inputs) < 2:
        return None
    graph = node.graph
    limit = node.inputs[0]
    rank = limit.rank or 0 if limit is not None and isinstance(limit.type, TensorType) else 0
    node.replace_input(0, graph.add_constant(np.ones((1,) * rank, np.int64), "trips"))
    if flatten:
        node.replace_input(1, None)
        SimplifyLoop().run(graph.root, PassContext())
        if node.graph is graph:
            return None
    return candidate


@dataclass(frozen=True)
class InlineCalls:
    """Put bodies of functions in place of their calls."""

    name: ClassVar[str] = "inline functions"

    def shrink(self, search: Search) -> None:
        """All at once, or else one function after the other."""
        names = [f"{domain}::{name}" for domain, name, _ in search.case.model.functions]
        if not names or search.attempt(_inlined(search.case, ())):
            return
        for name in names:
            search.attempt(_inlined(search.case, tuple(other for other in names if other != name)))


def _inlined(case: Case, keep: tuple[str, ...]) -> Case | None:
    candidate = case.copy()
    graph = candidate.model.graph
    try:
        InlineFunctions(keep=keep).run(graph, PassContext())
        RemoveUnusedFunctions().run(graph, PassContext())
    except GraphoptError:
        return None
    return candidate


def _nth(model: Model, op: str, number: int) -> Node | None:
    for index, node in enumerate(_all(model, op)):
        if index == number:
            return node
    return None


def _all(model: Model, op: str) -> Iterator[Node]:
    for owner in model.owners():
        yield from (node for node in owner.graph.walk() if node.op == op)
