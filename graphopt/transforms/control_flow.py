"""Control flow that is no choice: If with a constant condition or equal branches, Loop that runs never or once.

The nodes of the branch or body move to where the If or Loop stood; what they capture is in scope there. Names stay, unless another
value or node of the model has the same (sibling subgraphs may). ``If(true, then, else) -> then``; ``Loop(0, ...) -> initial values``;
``Loop(1, true, v, body) -> body(0, true, v)`` with each scan output ``s`` given as ``Unsqueeze(s, 0)``.

Exact. Source: https://onnx.ai/onnx/operators/onnx__If.html and onnx__Loop.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from graphopt.ir import (
    Constant,
    DType,
    Graph,
    Node,
    TensorType,
    Value,
    integer_of,
    replace_all_uses,
    structural_equal,
)
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter, learn_types
from graphopt.transforms.operands import with_first_axis
from graphopt.transforms.optional_squeeze import always_squeezes

__all__ = ["SimplifyIf", "SimplifyLoop"]


@dataclass(frozen=True)
class SimplifyIf(Pass):
    """Put one branch in place of an If, where a constant condition chooses it or both are the same. Exact; idempotent.

    So does an If that squeezes an axis only where its size is 1, if any other size fails further down, for which types are needed.
    Nested ones go in one run.
    """

    name: ClassVar[str] = "simplify-if"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Simplify each If of a graph and its subgraphs."""
        return _Simplifier(graph, ctx, self.name).run("If", _expand_if)


@dataclass(frozen=True)
class SimplifyLoop(Pass):
    """Put the initial values, or the body, in place of a Loop that runs never or once. Exact; idempotent.

    A Loop with a condition that is only known while it runs stays, and so does one that never runs and gives scan outputs of unknown
    size. Needs types for the latter.
    """

    name: ClassVar[str] = "simplify-loop"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Simplify each Loop of a graph and its subgraphs."""
        return _Simplifier(graph, ctx, self.name).run("Loop", _expand_loop)


class _Simplifier:
    """One run: walks all graphs and moves bodies to where they are called from."""

    def __init__(self, graph: Graph, ctx: PassContext, pass_name: str) -> None:
        self._graph = graph
        self._ctx = ctx
        self._name = pass_name
        self._names: Counter[str] = Counter()
        self.rewriter = Rewriter(ctx.types)
        self.better_known: list[Node] = []

    def run(self, op: str, expand: Callable[[_Simplifier, Node], Sequence[Value] | None]) -> PassResult:
        """Expand nodes of one operator until none can be; what was moved is looked at again."""
        applications = self._ctx.applications
        found = 0
        todo = [node for node in self._graph.walk() if node.op == op]
        todo.reverse()
        while todo:
            node = todo.pop()
            site = node.outputs[0].name if node.outputs else node.name
            if not _stands_in(node, self._graph) or not applications.admits(self._name, site):
                continue
            self.rewriter.start(node)
            values = expand(self, node)
            if values is None:
                continue
            self.rewriter.finish(node, values)
            self.better_known += [user for value in values for user in value.users]
            applications.record(self._name, site)
            found += 1
        # A branch may say more than both do, and an initial value more than those of all iterations.
        readers = [node for node in dict.fromkeys(self.better_known) if _stands_in(node, self._graph)]
        learn_types(self._ctx.types, readers)
        return PassResult(changed=found > 0, stats={"nodes": found} if found else {})

    def splice(self, body: Graph, anchor: Node) -> list[Value]:
        """Move the contents of a subgraph right before the node that holds it; the values that the subgraph gave out."""
        graph = cast(Graph, anchor.graph)
        self._count_names()
        outputs = list(body.outputs)
        for index in reversed(range(len(outputs))):
            body.remove_output(index)
        for value in body.initializers():
            body.remove_initializer(value)
            self._settle_value(value)
            graph.add_initializer(value)
        for node in body.nodes:
            graph.move_before(anchor, node)
            if node.name and self._count(node.name) > 1:
                self._rename(node)
            for value in node.outputs:
                self._settle_value(value)
        return outputs

    def forget(self, body: Graph) -> None:
        """The names of a subgraph that is going away are free."""
        self._count_names()
        self._names.subtract(_names(body))

    def _settle_value(self, value: Value) -> None:
        if value.name and self._count(value.name) > 1:
            self._rename(value)

    def _count_names(self) -> None:
        """Count all names, once, while everything is still in its place."""
        if not self._names:
            self._names.update(_names(self._graph))

    def _count(self, name: str) -> int:
        """How many values and nodes have a name."""
        return self._names[name]

    def _rename(self, item: Value | Node) -> None:
        self._names[item.name] -= 1
        item.lineage = item.lineage
        item.name = self.rewriter.graph.fresh_name(item.name)


def _names(graph: Graph) -> Iterator[str]:
    for inner in graph.walk_graphs():
        yield from (value.name for value in inner.values())
        yield from (node.name for node in inner.nodes)


def _stands_in(node: Node, root: Graph) -> bool:
    """Whether a node is still part of a graph or its subgraphs: the branch that it was in may be gone."""
    graph = node.graph
    while graph is not None and graph is not root:
        graph = graph.parent.graph if graph.parent is not None else None
    return graph is not None


# -- If -----------------------------------------------------------------------------------------------------------------------------


def _expand_if(simplifier: _Simplifier, node: Node) -> Sequence[Value] | None:
    attributes = [node.attributes.get("else_branch"), node.attributes.get("then_branch")]
    if any(item is None or item.ref for item in attributes):
        return None
    condition = integer_of(node.input_at(0))
    if condition is None and (always_squeezes(node) or _are_same(node)):
        condition = 1
    if condition is None:
        return None
    other, chosen = (cast(Graph, item.value) for item in attributes if item is not None)
    if condition == 0:
        other, chosen = chosen, other
    simplifier.forget(other)
    return simplifier.splice(chosen, node)


def _are_same(node: Node) -> bool:
    """Whether both branches compute the same of the same values."""
    then, other = (cast(Graph, node.attributes[name].value) for name in ("then_branch", "else_branch"))
    return len(then.nodes) == len(other.nodes) and structural_equal(then, other)


# -- Loop ---------------------------------------------------------------------------------------------------------------------------


def _expand_loop(simplifier: _Simplifier, node: Node) -> Sequence[Value] | None:
    attribute = node.attributes.get("body")
    if attribute is None or attribute.ref:
        return None
    body = cast(Graph, attribute.value)
    initial = list(node.inputs[2:])
    if None in initial or len(body.inputs) != len(initial) + 2 or len(body.outputs) != len(node.outputs) + 1:
        return None
    if any(value.const is not None for value in body.inputs):
        return None
    given = cast("list[Value]", initial)
    match _iterations(node, body):
        case 0:
            return _never(simplifier.rewriter, node, given, body)
        case 1:
            return _once(simplifier, node, given, body)
        case _:
            return None


def _iterations(node: Node, body: Graph) -> int | None:
    """How often a Loop runs if that is never or once, ``None`` if it is more often or not known."""
    limit, condition = node.input_at(0), node.input_at(1)
    trips, go = integer_of(limit), integer_of(condition)
    if (trips is not None and trips <= 0) or go == 0:
        return 0
    if condition is not None and go is None:
        return None
    if trips == 1 or ((limit is None or trips is not None) and integer_of(body.outputs[0]) == 0):
        return 1
    return None


def _never(rw: Rewriter, node: Node, initial: list[Value], body: Graph) -> Sequence[Value] | None:
    """The initial values, and nothing for each scan output."""
    scans = list(zip(node.outputs, body.outputs[1:], strict=True))[len(initial) :]
    empty: list[Constant] = []
    for output, element in scans:
        shape = element.type.static_shape if isinstance(element.type, TensorType) else None
        if shape is None or element.dtype is None or element.dtype is DType.STRING:
            return None
        empty.append(Constant(np.zeros((0, *shape), element.dtype.numpy)))
        if output.dtype is not None and output.dtype != element.dtype:
            return None
    return [*initial, *(rw.constant(item, output.name) for item, (output, _) in zip(empty, scans, strict=True))]


def _once(simplifier: _Simplifier, node: Node, initial: list[Value], body: Graph) -> Sequence[Value] | None:
    """What the body gives for the first iteration, each scan output with a new first axis."""
    count, go = body.inputs[:2]
    if (count.rank or 0) > 1 or (go.rank or 0) > 1:
        return None
    if any(
        value.type is not None and not isinstance(value.type, TensorType) for value in body.outputs[1 + len(initial) :]
    ):
        return None
    rw = simplifier.rewriter
    first = [rw.constant(np.zeros((1,) * (count.rank or 0), np.int64), count.name)] if count.is_used else [count]
    first += [rw.constant(np.ones((1,) * (go.rank or 0), np.bool_), go.name)] if go.is_used else [go]
    stands_for = dict(zip(body.inputs, [*first, *initial], strict=True))
    for old, new in stands_for.items():
        simplifier.better_known += old.users
        replace_all_uses(old, new)
    outputs = [stands_for.get(value, value) for value in simplifier.splice(body, node)[1:]]
    values = outputs[: len(initial)]
    for value in outputs[len(initial) :]:
        values.append(with_first_axis(rw, value))
    return values
