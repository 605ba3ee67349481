"""Merges constants of equal content.

Content is element type, shape and bytes: 0.0 is not -0.0, and each NaN is itself. Most constants are told apart by type and shape, the
rest by a digest of their first 4 KiB, so that large weights are read to the end only when their beginnings agree. Exact; linear.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Constant, DType, Graph, Lineage, Value, replace_all_uses
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["DeduplicateConstants"]

_HEAD = 1 << 12


@dataclass(frozen=True)
class DeduplicateConstants(Pass):
    """Let one of several equal constants serve all who read them.

    A constant of a subgraph also gives way to an equal one of a graph around it, when that saves at least ``min_outer_bytes``: small
    ones stay where shape inference sees them. What callers see stays: inputs, and constants that a graph gives out. Reads weights only
    where two could be equal. Exact; idempotent.

    Attributes:
        min_outer_bytes: size from which a constant of a subgraph is read from a graph around it.
    """

    name: ClassVar[str] = "deduplicate-constants"
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False
    min_outer_bytes: int = 1024

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Group the constants of a graph and its subgraphs, and merge the groups."""
        graphs = list(graph.walk_graphs())
        merged = saved = 0
        for group in _equal_groups(value for inner in graphs for value in inner.initializers() if _is_plain(value)):
            for old, new in _merges(group, self.min_outer_bytes):
                assert old.const is not None
                if not ctx.applications.admits(self.name, old.name):
                    continue
                saved += old.const.nbytes
                merged += 1
                _merge(old, new)
                ctx.applications.record(self.name, old.name)
        return PassResult(changed=merged > 0, stats={"constants": merged, "bytes": saved} if merged else {})


def _is_plain(value: Value) -> bool:
    """Whether a constant is its content and nothing else."""
    return (
        value.annotation is None
        and value.quantization is None
        and (bool(value._uses) or value.graph_outputs > 0)
        and value.is_constant
    )


def _equal_groups(values: Iterable[Value]) -> Iterator[list[Value]]:
    """Groups of at least two equal constants, each in the order given."""
    by_type: defaultdict[object, list[tuple[Value, Constant]]] = defaultdict(list)
    for value in values:
        constant = value.const
        assert constant is not None
        by_type[constant.dtype, constant.shape, constant.is_sparse].append((value, constant))
    for alike in by_type.values():
        if len(alike) < 2:
            continue
        by_head: defaultdict[bytes, list[tuple[Value, Constant]]] = defaultdict(list)
        for value, constant in alike:
            by_head[_head(constant)].append((value, constant))
        for candidates in by_head.values():
            if len(candidates) < 2:
                continue
            by_digest: defaultdict[bytes, list[Value]] = defaultdict(list)
            for value, constant in candidates:
                by_digest[constant.digest()].append(value)
            yield from (group for group in by_digest.values() if len(group) > 1)


def _head(constant: Constant) -> bytes:
    """A digest of the first bytes: of all when that costs no more."""
    if constant.dtype is DType.STRING or constant.is_sparse or constant.nbytes <= _HEAD:
        return constant.digest()
    return hashlib.blake2b(memoryview(next(iter(constant.data.chunks())))[:_HEAD], digest_size=16).digest()


def _merges(group: list[Value], min_outer_bytes: int) -> Iterator[tuple[Value, Value]]:
    """Pairs of a constant that goes and the one that serves instead, which is in the same graph or in one around it."""
    serving: dict[Graph, Value] = {}
    for value in group:
        home = value.graph
        assert home is not None
        if home not in serving or (_is_promised(value) and not _is_promised(serving[home])):
            serving[home] = value
    constant = group[0].const
    assert constant is not None
    if len(serving) > 1 and constant.nbytes >= min_outer_bytes:
        serving = {home: _outermost(home, serving) for home in serving}
    for value in group:
        assert value.graph is not None
        new = serving[value.graph]
        if new is not value and not _is_promised(value):
            yield value, new


def _is_promised(value: Value) -> bool:
    """Whether callers see a constant: as an output, or (before IR version 4) in the list of inputs."""
    return value.is_input or value.graph_outputs > 0


def _outermost(graph: Graph, serving: dict[Graph, Value]) -> Value:
    found = serving[graph]
    while graph.parent is not None and graph.parent.graph is not None:
        graph = graph.parent.graph
        found = serving.get(graph, found)
    return found


def _merge(old: Value, new: Value) -> None:
    graph = old.graph
    assert graph is not None
    new.lineage = Lineage.merge((new.lineage, old.lineage))
    replace_all_uses(old, new)
    graph.remove_initializer(old)
