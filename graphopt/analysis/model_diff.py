"""What is different between two models: nodes, interface, functions, weights.

Nodes are matched by lineage, names and structure, see :mod:`graphopt.analysis.node_matching`. Each node of either model is in exactly one
place of the result. The order of nodes and of initializers means nothing and is not compared; numbers of weights are read only where
types and sizes are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphopt.analysis.model_survey import ModelSurvey, label_of
from graphopt.analysis.node_changes import Change, Numbers, changes_of, constant_change
from graphopt.analysis.node_matching import Group, Matching, match_models
from graphopt.ir import Model, Node, Value, collector_paused

__all__ = ["InitializerTotals", "ModelDiff", "NodeChange", "NodeGroup", "NodeRef", "OperatorCounts", "diff_models"]


@dataclass(frozen=True, slots=True)
class NodeRef:
    """A node of one of the models.

    Attributes:
        name: its name, or that of its first output.
        op: its operator.
        graph: where it stands: ``""`` in the main graph, else the function, or the node and attribute of a subgraph.
        note: what became of it, where that is known.
    """

    name: str
    op: str
    graph: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{f'{self.graph}: ' if self.graph else ''}{self.name} ({self.op})"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node and its counterpart.

    Attributes:
        before: the node.
        after: its counterpart.
        changes: how they differ; none when only names do.
    """

    before: NodeRef
    after: NodeRef
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that stand for each other.

    Attributes:
        kind: ``fused`` (one instead of several), ``split`` (several instead of one), or ``rewritten`` (several instead of several).
        before: the nodes.
        after: what stands for them.
    """

    kind: Literal["fused", "split", "rewritten"]
    before: tuple[NodeRef, ...]
    after: tuple[NodeRef, ...]


@dataclass(slots=True)
class OperatorCounts:
    """How often an operator is there, and what happened to it."""

    before: int = 0
    after: int = 0
    removed: int = 0
    added: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class InitializerTotals:
    """Initializers of all graphs of both models."""

    before: int
    after: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """What is different between two models.

    Attributes:
        same: how many nodes have a counterpart that is the same, name included.
        renamed: counterparts that differ in names only.
        changed: counterparts that differ.
        groups: nodes that were fused, split or rewritten together.
        removed: nodes without a counterpart in the second model.
        added: nodes without a counterpart in the first.
        operators: counts by operator, most frequent first.
        interface: how inputs and outputs of the models differ, one text each.
        opsets: how operator set imports differ.
        functions: functions that are in one model only, or whose interface differs.
        initializers: number and size of the weights.
        initializer_changes: initializers of main graphs that are in one model only, or differ.
    """

    same: int
    renamed: tuple[NodeChange, ...] = ()
    changed: tuple[NodeChange, ...] = ()
    groups: tuple[NodeGroup, ...] = ()
    removed: tuple[NodeRef, ...] = ()
    added: tuple[NodeRef, ...] = ()
    operators: dict[str, OperatorCounts] = field(default_factory=dict)
    interface: tuple[str, ...] = ()
    opsets: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    initializers: InitializerTotals = field(default_factory=lambda: InitializerTotals(0, 0, 0, 0))
    initializer_changes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the models are the same, names included."""
        nodes = (self.renamed, self.changed, self.groups, self.removed, self.added)
        return not any((*nodes, self.interface, self.opsets, self.functions, self.initializer_changes))


def diff_models(before: Model, after: Model, *, numbers: bool = False) -> ModelDiff:
    """What is different between two models.

    Args:
        before: the one model.
        after: the other; what graphopt made from ``before`` says which nodes it fused, others are matched by names and structure.
        numbers: whether differences of large weights are measured too; by default only whether they differ is told.

    Example:
        >>> from graphopt.frontends.onnx import lift
        >>> from graphopt.data import digits_model
        >>> found = diff_models(lift(digits_model()), lift(digits_model()))
        >>> found.is_empty, found.same
        (True, 26)
    """
    with collector_paused():
        return _Differ(match_models(before, after), Numbers(large=numbers)).diff()


class _Differ:
    def __init__(self, matching: Matching, numbers: Numbers) -> None:
        self.matching = matching
        self.numbers = numbers
        self.operators: dict[str, OperatorCounts] = {}

    def diff(self) -> ModelDiff:
        matching = self.matching
        before, after = matching.before.model, matching.after.model
        self._count()
        pairs = list(self._pairs())
        changed = tuple(pair for pair in pairs if pair.changes)
        renamed = tuple(pair for pair in pairs if not pair.changes and pair.before != pair.after)
        for pair in changed:
            if pair.before.op == pair.after.op:
                self.operators[pair.before.op].changed += 1
            else:
                self.operators[pair.before.op].removed += 1
                self.operators[pair.after.op].added += 1
        operators = dict(sorted(self.operators.items(), key=lambda item: (-item[1].before - item[1].after, item[0])))
        return ModelDiff(
            same=len(pairs) - len(changed) - len(renamed),
            renamed=renamed,
            changed=changed,
            groups=tuple(self._group(group) for group in matching.groups if not group.is_pair),
            removed=tuple(self._removed()),
            added=tuple(self._added()),
            operators=operators,
            interface=tuple(_interface(before, after)),
            opsets=tuple(_opsets(before, after)),
            functions=tuple(_functions(before, after)),
            initializers=_totals(before, after),
            initializer_changes=tuple(_initializers(before, after, self.numbers)),
        )

    def _count(self) -> None:
        before = Counter(node.op for node in self.matching.before.nodes)
        after = Counter(node.op for node in self.matching.after.nodes)
        for op in {**before, **after}:
            self.operators[op] = OperatorCounts(before[op], after[op])

    def _pairs(self) -> Iterator[NodeChange]:
        matching = self.matching
        for group in matching.groups:
            if group.is_pair:
                (a,), (b,) = group.before, group.after
                changes = tuple(changes_of(a, b, matching.values, self.numbers))
                yield NodeChange(_ref(a, matching.before), _ref(b, matching.after), changes)

    def _group(self, group: Group) -> NodeGroup:
        before = tuple(_ref(node, self.matching.before) for node in group.before)
        after = tuple(_ref(node, self.matching.after) for node in group.after)
        gone, come = Counter(ref.op for ref in before), Counter(ref.op for ref in after)
        for op in {**gone, **come}:
            kept = min(gone[op], come[op])
            self.operators[op].changed += kept
            self.operators[op].removed += gone[op] - kept
            self.operators[op].added += come[op] - kept
        kind: Literal["fused", "split", "rewritten"] = "rewritten"
        if len(after) == 1:
            kind = "fused"
        elif len(before) == 1:
            kind = "split"
        return NodeGroup(kind, before, after)

    def _removed(self) -> Iterator[NodeRef]:
        constants = {value.name for graph in self.matching.after.paths for value in graph.initializers()}
        for node in self.matching.removed():
            self.operators[node.op].removed += 1
            constant = any(value.name in constants for value in node.outputs if value.name)
            yield _ref(node, self.matching.before, "its value is an initializer now" if constant else "")

    def _added(self) -> Iterator[NodeRef]:
        constants = {value.name for graph in self.matching.before.paths for value in graph.initializers()}
        for node in self.matching.added():
            self.operators[node.op].added += 1
            constant = any(value.name in constants for value in node.outputs if value.name)
            yield _ref(node, self.matching.after, "its value was an initializer" if constant else "")


def _ref(node: Node, survey: ModelSurvey, note: str = "") -> NodeRef:
    return NodeRef(label_of(node), node.op, survey.path(node), note)


# -- what is not nodes ------------------------------------------------------------------------------------------------------------


def _interface(before: Model, after: Model) -> Iterator[str]:
    yield from _values("input", before.graph.inputs, after.graph.inputs)
    yield from _values("output", before.graph.outputs, after.graph.outputs)


def _values(what: str, before: Sequence[Value], after: Sequence[Value]) -> Iterator[str]:
    mine, theirs = {value.name: value for value in before}, {value.name: value for value in after}
    for name, value in mine.items():
        other = theirs.get(name)
        if other is None:
            yield f"{what} {name!r} ({value.type}) removed"
        elif value.type != other.type:
            yield f"{what} {name!r}: {value.type or 'no type'} -> {other.type or 'no type'}"
        elif (value.const is None) != (other.const is None) and value.is_input:
            yield f"{what} {name!r}: {'has no default any more' if other.const is None else 'has a default now'}"
    for name, value in theirs.items():
        if name not in mine:
            yield f"{what} {name!r} ({value.type}) added"
    kept, now = [name for name in mine if name in theirs], [name for name in theirs if name in mine]
    if kept != now:
        yield f"{what}s in another order: {', '.join(now)}"


def _opsets(before: Model, after: Model) -> Iterator[str]:
    for domain in sorted({*before.opset_imports, *after.opset_imports}):
        old, new = before.opset_imports.get(domain), after.opset_imports.get(domain)
        if old != new:
            yield f"{domain or 'ai.onnx'}: {old or 'none'} -> {new or 'none'}"
    if before.ir_version != after.ir_version:
        yield f"IR version: {before.ir_version} -> {after.ir_version}"


def _functions(before: Model, after: Model) -> Iterator[str]:
    for key in {**before.functions, **after.functions}:
        name = "::".join(filter(None, key))
        old, new = before.functions.get(key), after.functions.get(key)
        if old is None or new is None:
            yield f"{name} {'added' if old is None else 'removed'}"
            continue
        for what, mine, theirs in (
            ("inputs", [value.name for value in old.graph.inputs], [value.name for value in new.graph.inputs]),
            ("outputs", [value.name for value in old.graph.outputs], [value.name for value in new.graph.outputs]),
            ("attributes", old.attribute_names, new.attribute_names),
        ):
            if mine != theirs:
                yield f"{name}, {what}: {', '.join(mine) or 'none'} -> {', '.join(theirs) or 'none'}"


def _totals(before: Model, after: Model) -> InitializerTotals:
    counts, sizes = [], []
    for model in (before, after):
        constants = [value.const for graph in model.graphs() for value in graph.initializers()]
        counts.append(len(constants))
        sizes.append(sum(constant.nbytes for constant in constants if constant is not None))
    return InitializerTotals(counts[0], counts[1], sizes[0], sizes[1])


def _initializers(before: Model, after: Model, numbers: Numbers) -> Iterator[Change]:
    mine = {value.name: value.const for value in before.graph.initializers() if value.const is not None}
    theirs = {value.name: value.const for value in after.graph.initializers() if value.const is not None}
    for name, constant in mine.items():
        other = theirs.get(name)
        if other is None:
            yield Change("constant", name, str(constant.type), "")
        else:
            yield from constant_change(name, constant, other, numbers)
    for name, constant in theirs.items():
        if name not in mine:
            yield Change("constant", name, "", str(constant.type))
