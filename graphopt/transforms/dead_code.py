"""Removes what nothing needs: nodes, constants, outputs of nodes, functions.

One sweep against the order of each graph is enough, because users stand after what they use. Subgraphs are swept when the node that
holds them is met, so that values captured only by dead nodes are dead when the sweep reaches them. Exact; needs no types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, cast

from graphopt.ir import FunctionKey, Graph, Model, Node
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Applications

__all__ = ["EliminateDeadCode", "RemoveUnusedFunctions"]

_NAME: Final = "eliminate-dead-code"
#: Operators whose number of outputs is part of what they mean: the training form of BatchNormalization, the cache of Attention. ONNX
#: Runtime's MaxPool has one kernel with and one without indices, which take NaN and negative infinity otherwise.
_COUNT_HAS_MEANING = frozenset({"Attention", "BatchNormalization", "MaxPool"})


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """Remove nodes and constants that nothing needs, and outputs that nobody reads, where the operator can leave them out.

    Inputs and outputs of the graph stay. A constant that callers may override stays too: it is an input. Exact; idempotent.
    """

    name: ClassVar[str] = _NAME
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Sweep a graph and its subgraphs once."""
        counts: Counter[str] = Counter()
        _sweep(graph, counts, ctx.applications)
        return PassResult(changed=bool(counts), stats=dict(counts))


def _sweep(graph: Graph, counts: Counter[str], applications: Applications) -> None:
    for node in reversed(graph.nodes):
        outputs = node.outputs
        for value in outputs:
            if value._uses or value.graph_outputs:
                break
        else:
            if outputs and applications.admits(_NAME, outputs[0].name):
                applications.record(_NAME, _erase(node, graph))
                counts["nodes"] += 1
                continue
        if node.subgraphs and len(outputs) > 1:
            _note_outputs(node, _remove_subgraph_outputs, counts, applications)
        for inner in node.subgraphs:
            _sweep(inner, counts, applications)
        if len(outputs) > 1:
            _note_outputs(node, _drop_outputs, counts, applications)
    _drop_constants(graph, counts, applications)


def _note_outputs(node: Node, drop: Callable[[Node], int], counts: Counter[str], applications: Applications) -> None:
    """Drop outputs, and note it."""
    site = node.outputs[0].name
    if applications.admits(_NAME, site) and (dropped := drop(node)):
        counts["outputs"] += dropped
        applications.record(_NAME, site)


def _erase(node: Node, graph: Graph) -> str:
    """Erase a node; the name of its first output."""
    site = node.outputs[0].name
    graph.erase(node)
    return site


def _remove_subgraph_outputs(node: Node) -> int:
    """Remove outputs of If, and what Loop collects, that nobody reads; how many there were.

    What computes them inside is dead then. Values that a Loop carries stay: the next iteration reads them.
    """
    if node.op == "If":
        first, shift = 0, 0
    elif node.op == "Loop":
        first, shift = len(node.inputs) - 2, 1  # a body gives its condition first
    else:
        return 0
    if any(len(graph.outputs) != len(node.outputs) + shift for graph in node.subgraphs) or first < 0:
        return 0
    removed = 0
    for index in reversed(range(first, len(node.outputs))):
        if len(node.outputs) > 1 and not node.outputs[index].is_used:
            node.remove_output(index)
            for graph in node.subgraphs:
                graph.remove_output(index + shift)
            removed += 1
    return removed


def _drop_outputs(node: Node) -> int:
    """Drop optional outputs that nobody reads; how many there were."""
    outputs = node.outputs
    if node.op in _COUNT_HAS_MEANING or all(value.is_used for value in outputs):
        return 0
    schema = node.schema
    if schema is None:
        return 0
    formal = schema.outputs
    dropped = 0
    for index in range(len(outputs) - 1, -1, -1):
        value = outputs[index]
        if value.is_used or index >= len(formal) or not formal[index].optional:
            continue
        if value.name or (index and index == len(outputs) - 1):
            node.drop_output(index)
            dropped += 1
    return dropped


def _drop_constants(graph: Graph, counts: Counter[str], applications: Applications) -> None:
    dead = [value for value in graph.initializers() if not value.is_used and not value.is_input]  # inputs are a promise
    if not dead:
        return
    named = _names_in_annotations(graph)
    for value in dead:
        if value.name in named or not applications.admits(_NAME, value.name):
            continue
        graph.remove_initializer(value)
        applications.record(_NAME, value.name)
        counts["constants"] += 1


def _names_in_annotations(graph: Graph) -> set[str]:
    """Constants that quantization annotations refer to by name: scales and zero points."""
    return {name for value in graph.values() if value.annotation is not None for name in value.annotation.values()}


@dataclass(frozen=True)
class RemoveUnusedFunctions(Pass):
    """Remove functions that neither the graph nor a function that it needs calls. Exact; idempotent."""

    name: ClassVar[str] = "remove-unused-functions"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False
    per_function: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Follow calls from the main graph, and remove what was not met."""
        model = cast(Model, graph.owner)
        if not model.functions:
            return PassResult(changed=False)
        reached: set[FunctionKey] = set()
        todo = [graph]
        while todo:
            for node in todo.pop().walk():
                key = node.domain, node.op_type, node.overload
                if key not in reached and key in model.functions:
                    reached.add(key)
                    todo.append(model.functions[key].graph)
        unused = [key for key in model.functions if key not in reached]
        for key in unused:
            del model.functions[key]
        if unused:
            model.graph.touch()
        return PassResult(changed=bool(unused), stats={"functions": len(unused)} if unused else {})
