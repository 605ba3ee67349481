"""Drops what a failure does not need: samples, outputs, dead nodes, unused inputs and constants, texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Model
from graphopt.verify.reduction.case import Case, node_key
from graphopt.verify.reduction.chunks import minimize, simplify
from graphopt.verify.reduction.editing import dead_nodes, sweep
from graphopt.verify.reduction.search import Search

__all__ = ["DropDeadNodes", "DropNotes", "DropOutputs", "DropSamples", "DropUnused"]


@dataclass(frozen=True)
class DropSamples:
    """Keep as few sets of inputs as show the failure, at least one."""

    name: ClassVar[str] = "drop samples"

    def shrink(self, search: Search) -> None:
        """Keep the first that shows the failure alone, or else a small group."""
        samples = search.case.samples
        if len(samples) < 2:
            return

        def holds(kept: list[int]) -> bool:
            candidate = search.case.copy().with_samples(tuple(samples[index] for index in kept))
            return bool(kept) and search.attempt(candidate)

        if not any(holds([index]) for index in range(len(samples))):
            minimize(range(len(samples)), holds)


@dataclass(frozen=True)
class DropOutputs:
    """Give out fewer values; nodes that nothing else needs go too."""

    name: ClassVar[str] = "drop outputs"

    def shrink(self, search: Search) -> None:
        """Keep as few outputs as possible, at least one."""
        spare = set(dead_nodes(search.case.model.graph))

        def holds(kept: list[str]) -> bool:
            return bool(kept) and search.attempt(_with_outputs(search.case, set(kept), spare), same_values=True)

        minimize([value.name for value in search.case.model.graph.outputs], holds)


def _with_outputs(case: Case, kept: set[str], spare: set[str]) -> Case:
    candidate = case.copy()
    graph = candidate.model.graph
    for index in reversed(range(len(graph.outputs))):
        if graph.outputs[index].name not in kept:
            graph.remove_output(index)
    sweep(graph, spare)
    return candidate


@dataclass(frozen=True)
class DropDeadNodes:
    """Drop nodes that no output needs."""

    name: ClassVar[str] = "drop dead nodes"

    def shrink(self, search: Search) -> None:
        """Keep as few of them as possible."""

        def holds(kept: list[str]) -> bool:
            candidate = search.case.copy()
            gone = dead - set(kept)
            graph = candidate.model.graph
            for node in reversed(graph.nodes):
                if node_key(node) in gone and not any(value.is_used for value in node.outputs):
                    graph.erase(node)
            return search.attempt(candidate, same_values=True)

        found = dead_nodes(search.case.model.graph)
        dead = set(found)
        if found:
            minimize(found, holds)


@dataclass(frozen=True)
class DropUnused:
    """Drop inputs and constants that nobody reads, functions that nobody calls, operator sets that no node is from."""

    name: ClassVar[str] = "drop what is unused"

    def shrink(self, search: Search) -> None:
        """All at once, or else in smaller groups."""
        graph = search.case.model.graph
        unused = [value.name for value in (*graph.inputs, *graph.initializers()) if not value.is_used]
        simplify(
            list(dict.fromkeys(unused)),
            lambda names: search.attempt(_without(search.case, set(names)), same_values=True),
        )
        candidate = search.case.copy()
        _drop_functions(candidate.model)
        search.attempt(candidate, same_values=True)


def _without(case: Case, names: set[str]) -> Case:
    candidate = case.copy()
    graph = candidate.model.graph
    for value in graph.initializers():
        if value.name in names:
            graph.remove_initializer(value)
    for value in list(graph.inputs):
        if value.name in names:
            graph.remove_input(value)
    return candidate


def _drop_functions(model: Model) -> None:
    reached = {model.graph}
    todo = [model.graph]
    domains = {""}
    while todo:
        for node in todo.pop().walk():
            domains.add(node.domain)
            function = model.function_of(node.domain, node.op_type, node.overload)
            if function is not None and function.graph not in reached:
                reached.add(function.graph)
                todo.append(function.graph)
    for key, function in list(model.functions.items()):
        if function.graph not in reached:
            del model.functions[key]
    for domain in list(model.opset_imports):
        if domain not in domains:
            del model.opset_imports[domain]
    model.graph.touch()


@dataclass(frozen=True)
class DropNotes:
    """Drop doc strings, metadata, quantization annotations and the stated types of inner values."""

    name: ClassVar[str] = "drop texts"

    def shrink(self, search: Search) -> None:
        """All at once; if the failure needs some of it, the stated types or else everything else."""
        for types, texts in ((True, True), (False, True), (True, False)):
            candidate = search.case.copy()
            if types:
                _drop_statements(candidate.model)
            if texts:
                _drop_texts(candidate.model)
            if search.attempt(candidate, same_values=True):
                return


def _drop_statements(model: Model) -> None:
    for graph in model.graphs():
        for node in graph.nodes:
            for value in node.outputs:
                value.declared = False


def _drop_texts(model: Model) -> None:
    for owner in model.owners():
        owner.doc, owner.metadata = "", {}
    for graph in model.graphs():
        graph.doc, graph.metadata = "", None
        for value in graph.values():
            value.doc, value.metadata, value.annotation = "", None, None
        for node in graph.nodes:
            node.doc, node.metadata = "", None
