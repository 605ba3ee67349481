"""Other forms of a model that mean the same, and the law that a pass treats them alike."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import onnx.inliner
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto

from graphopt.errors import ModelError
from graphopt.ir import Graph, structural_equal
from graphopt.numerics import Exact
from graphopt.serde import emit_model, lift_model
from graphopt.testing.oracles.case import Case, Run
from graphopt.testing.oracles.law import Checked, LawBroken, model_text
from graphopt.testing.oracles.laws import interface_changes, may_change_of
from graphopt.testing.oracles.original import Fault

__all__ = ["INLINING", "NODE_ORDER", "OPSET_UPGRADE", "RENAMING", "TRANSFORMATIONS", "Transformation", "commutes"]


@runtime_checkable
class Transformation(Protocol):
    """Writes a model in another form that means the same, with the same inputs and outputs.

    Attributes:
        name: kebab-case, for reports.
        keeps_rewrites: whether a pass must find the same rewrites in both forms, by rule and number.
        keeps_structure: whether its results on both forms must be the same up to names.
    """

    @property
    def name(self) -> str:
        """Kebab-case name."""

    @property
    def keeps_rewrites(self) -> bool:
        """Whether a pass must find the same rewrites in both forms."""

    @property
    def keeps_structure(self) -> bool:
        """Whether the results must be the same up to names."""

    def apply(self, model: ModelProto) -> ModelProto | str:
        """The model in its other form, or why it has none; ``model`` is not changed."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """Gives every inner value and node another name, in reverse alphabetical order, and some that look as if graphopt had made them."""

    name: str = "renaming"
    keeps_rewrites: bool = True
    keeps_structure: bool = True

    def apply(self, model: ModelProto) -> ModelProto | str:
        """The model with other names inside; inputs, outputs and functions keep theirs."""
        ir = lift_model(model)
        for owner in ir.owners():
            fixed = {value.name for value in (*owner.graph.inputs, *owner.graph.outputs)}
            fresh = _names(fixed)
            for graph in owner.graph.walk_graphs():
                _rename(graph, fixed, fresh)
        return emit_model(ir, lineage=False)


def _names(taken: set[str]) -> Iterator[str]:
    """Names that sort backwards, every third with a suffix such as fresh names have."""
    for number in range(1_000_000):
        name = f"v{999_999 - number:06d}" + ("_1" if number % 3 == 2 else "")
        if name not in taken:
            yield name


def _rename(graph: Graph, fixed: set[str], fresh: Iterator[str]) -> None:
    for value in graph.values():
        if value.name and value.name not in fixed:
            value.name = next(fresh)
    for node in graph.nodes:
        if node.name:
            node.name = next(fresh)


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """Puts nodes into another order in which every value is still made before it is read: later ones first where that can be."""

    name: str = "node-order"
    keeps_rewrites: bool = True
    keeps_structure: bool = False

    def apply(self, model: ModelProto) -> ModelProto | str:
        """The model with its nodes in another order, in subgraphs and functions too."""
        copy = ModelProto()
        copy.CopyFrom(model)
        moved = [_reorder(nodes) for nodes in (copy.graph.node, *(function.node for function in copy.functions))]
        return copy if any(moved) else "its nodes can stand in one order only"


def _reorder(nodes: object) -> bool:
    """Sort a list of nodes anew, in place; says whether anything moved."""
    assert hasattr(nodes, "extend"), "a repeated field"
    items: list[NodeProto] = list(nodes)  # type: ignore[call-overload]  # repeated fields are iterable
    moved = False
    for node in items:
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for graph in graphs:
                moved = _reorder(graph.node) or moved
    order = _other_order(items)
    if order == list(range(len(items))):
        return moved
    sorted_items = [NodeProto.FromString(items[index].SerializeToString()) for index in order]
    del nodes[:]  # type: ignore[attr-defined]
    nodes.extend(sorted_items)
    return True


def _other_order(nodes: list[NodeProto]) -> list[int]:
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waits: list[set[int]] = []
    users: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        needed = {makers[name] for name in _reads(node) if name in makers} - {index}
        waits.append(needed)
        for maker in needed:
            users[maker].append(index)
    ready = [-index for index, needed in enumerate(waits) if not needed]
    heapq.heapify(ready)
    order = []
    while ready:
        index = -heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waits[user].discard(index)
            if not waits[user]:
                heapq.heappush(ready, -user)
    return order if len(order) == len(nodes) else list(range(len(nodes)))


def _reads(node: NodeProto) -> set[str]:
    """What a node reads, from inside its subgraphs too; names made in there do no harm."""
    found = set(node.input)
    stack: list[GraphProto] = [item.g for item in node.attribute if item.HasField("g")]
    stack += [graph for item in node.attribute for graph in item.graphs]
    while stack:
        graph = stack.pop()
        found.update(value.name for value in graph.output)
        for inner in graph.node:
            found.update(inner.input)
            stack += [item.g for item in inner.attribute if item.HasField("g")]
            stack += [graph for item in inner.attribute for graph in item.graphs]
    return found


@dataclass(frozen=True, slots=True)
class Inlining:
    """Puts the bodies of the model's functions in the place of their calls."""

    name: str = "inlining"
    keeps_rewrites: bool = False
    keeps_structure: bool = False

    def apply(self, model: ModelProto) -> ModelProto | str:
        """The model without functions, by onnx.inliner."""
        if not model.functions:
            return "it has no functions"
        try:
            return onnx.inliner.inline_local_functions(model)
        except Exception as err:  # noqa: BLE001 - the inliner raises several classes, some of them native
            return f"onnx.inliner refuses it: {_first_line(err)}"


@dataclass(frozen=True, slots=True)
class OpsetUpgrade:
    """Converts the model to a newer opset of the default domain.

    Attributes:
        version: the opset; a model that has it already goes up by one.
    """

    version: int = 21
    name: str = "opset-upgrade"
    keeps_rewrites: bool = False
    keeps_structure: bool = False

    def apply(self, model: ModelProto) -> ModelProto | str:
        """The model at the newer opset, by onnx.version_converter."""
        current = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
        if not current:
            return "it does not import the default domain"
        if model.functions:
            return "onnx.version_converter leaves functions at their opset"
        try:
            return onnx.version_converter.convert_version(model, max(self.version, current + 1))
        except Exception as err:  # noqa: BLE001 - the converter raises several classes, some of them native
            return f"onnx.version_converter refuses it: {_first_line(err)}"


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]


#: Other names for inner values and nodes.
RENAMING: Final = Renaming()
#: Another order of nodes.
NODE_ORDER: Final = NodeOrder()
#: No functions.
INLINING: Final = Inlining()
#: A newer opset.
OPSET_UPGRADE: Final = OpsetUpgrade()
#: The transformations that :func:`~graphopt.testing.check_pass` tries.
TRANSFORMATIONS: Final[tuple[Transformation, ...]] = (RENAMING, NODE_ORDER, INLINING, OPSET_UPGRADE)


def commutes(case: Case, transformation: Transformation) -> Checked:
    """The law ``commutes-with-NAME``; see :func:`~graphopt.testing.assert_commutes_with`."""
    law = f"commutes-with-{transformation.name}"
    run = case.run
    other = transformation.apply(case.proto)
    if isinstance(other, str):
        return Checked(law, run.changed, run.rewrites, skipped=other)
    try:
        early = _run_other(case, other, law, transformation)
    except ModelError as err:  # before any pass: converters leave attributes that the newer operator does not have
        return Checked(law, run.changed, run.rewrites, skipped=f"{transformation.name} gives a broken model: {err}")
    if case.found_nothing and not early.changed:
        return Checked(law)
    if transformation.keeps_rewrites and early.rewrites != run.rewrites:
        raise case.broken(
            law,
            f"{early.rewrites or 'no rewrites'} in the other form, {run.rewrites or 'none'} in the model as it was",
            advice=f"find out what the pass reads besides structure; the other form is\n{model_text(other)}",
            after=early.proto,
        )
    if not transformation.keeps_structure:
        return _compare_numbers(case, transformation, law, other, early)
    late = transformation.apply(run.proto)
    if isinstance(late, str) or not structural_equal(lift_model(late), lift_model(early.proto)):
        raise case.broken(
            law,
            "the result for the other form is structurally another model than the other form of the result",
            advice=f"do not let names decide; the other form is\n{model_text(other)}",
            after=early.proto,
        )
    return Checked(law, run.changed, run.rewrites)


def _run_other(case: Case, other: ModelProto, law: str, transformation: Transformation) -> Run:
    try:
        return case.run_on(other)
    except LawBroken as err:
        raise case.broken(
            law,
            f"after {transformation.name} {err.detail}",
            advice=f"{err.advice}; the other form is\n{model_text(other)}",
        ) from err


def _own_fault(case: Case, other: ModelProto) -> Fault | None:
    """What is wrong with the other form before any pass: bits, or, as results are judged, that no runtime runs it."""
    for numerics in (Exact(), case.subject.numerics):
        fault, _compared, _skipped = case.original.find_fault(other, numerics)
        if fault is not None:
            return fault
    return None


def _compare_numbers(case: Case, transformation: Transformation, law: str, other: ModelProto, early: Run) -> Checked:
    """Hold the result for the other form, and the other form of the result, to what the model does."""
    run = case.run
    changes = interface_changes(other, early.proto, may_change_of(case))
    fault, compared, skipped = case.original.find_fault(early.proto, case.subject.numerics)
    if fault is not None:
        own = _own_fault(case, other)
        if own is not None:
            reason = f"{transformation.name} itself changes numbers: {own.detail}"
            return Checked(law, run.changed, run.rewrites, skipped=reason)
    if changes or fault is not None:
        raise case.broken(
            law,
            f"the result for the other form is wrong: {fault.detail if fault is not None else '; '.join(changes)}",
            advice=f"this is a wrong result for another model, which is\n{model_text(other)}",
            feeds=None if fault is None else fault.feeds,
            after=early.proto,
        )
    if transformation.keeps_rewrites or not run.changed:
        return Checked(law, run.changed, run.rewrites, compared, skipped)
    late = transformation.apply(run.proto)
    if isinstance(late, str):
        return Checked(law, run.changed, run.rewrites, compared, skipped)
    fault, more, skipped = case.original.find_fault(late, case.subject.numerics)
    if fault is not None and _own_fault(case, other) is None:
        raise case.broken(
            law,
            f"the other form of the result is wrong: {fault.detail}",
            advice=f"the result means something else once {transformation.name} was applied to it",
            feeds=fault.feeds,
            after=late,
        )
    return Checked(law, run.changed, run.rewrites, compared + more, skipped)
