"""A stateful machine that edits an IR at random and checks every invariant after each step.

Hypothesis shrinks what fails to the shortest list of edits. Subclass it to mix steps of your own with the edits, such as a run of your
pass on whatever graph the edits have made::

    class WithMyPass(GraphMachine):
        @rule()
        def run_my_pass(self):
            self.run_pass(MyPass())


    TestMyPass = WithMyPass.TestCase
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from graphopt.ir import (
    DType,
    Graph,
    GraphBuilder,
    Model,
    Node,
    Value,
    clone_model,
    parse_model,
    print_model,
    replace_all_uses,
    structural_equal,
    structural_hash,
    verify,
)
from graphopt.passes import Pass, PassContext, PassManager
from graphopt.serde import emit_model, lift_model
from graphopt.testing.ledger import Ledger

__all__ = ["GraphMachine"]

_T = TypeVar("_T")
_PICKS = st.integers(0, 1 << 16)
_ATTRIBUTES = st.one_of(
    st.integers(-3, 3),
    st.floats(width=32, allow_nan=False),
    st.text(max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
)
_MOST_GRAPHS = 8


def _pick(items: Sequence[_T], number: int) -> _T:
    return items[number % len(items)]


class GraphMachine(RuleBasedStateMachine):
    """Edits a model at random, beside a naive model of it in plain lists.

    Steps: insert and move nodes and whole branches, erase, replace and resize inputs, rename, change attributes, add and remove
    initializers and outputs, redirect all uses of a value, take a copy and go back to it. After each step the verifier must be content,
    order, inputs, outputs and use lists must be those of the naive model, structure must not have changed without a new version, a
    clone must have the same structural hash, and the model must come back the same from text and from an ONNX message.

    Override :meth:`first_model` to start from something else.

    Attributes:
        model: the model that is edited.
        ledger: the naive model.
    """

    model: Model
    ledger: Ledger

    def first_model(self) -> Model:
        """What the edits begin with: inputs ``x`` and ``c``, nothing computed."""
        b = GraphBuilder()
        b.model.opset_imports["test"] = 1
        b.output(b.input("x", DType.FLOAT, []))
        b.input("c", DType.BOOL, [])
        return b.build()

    def run_pass(self, step: Pass, ctx: PassContext | None = None) -> None:
        """Run a pass on the model as a step of its own; it must say whether it changed anything.

        Args:
            step: the pass.
            ctx: what else it may use.
        """
        before = structural_hash(self.model)
        report = PassManager([step]).run(self.model, ctx)
        assert report.changed or structural_hash(self.model) == before, (
            f"{step.name} says changed=False, but it changed something"
        )
        self.ledger = Ledger(self.model)

    @initialize()
    def _start(self) -> None:
        self.model = self.first_model()
        self.ledger = Ledger(self.model)
        self._save()
        self._seen = (self.model, self.model.version, structural_hash(self.model))

    # -- nodes --------------------------------------------------------------------------------------------------------------

    def _insert(self, graph: Graph, place: int, node: Node) -> None:
        nodes = self.ledger.order[graph]
        if place == len(nodes):
            graph.append(node)
        elif place == 0:
            graph.prepend(node)
        elif place % 2:
            graph.insert_before(nodes[place], node)
        else:
            graph.insert_after(nodes[place - 1], node)
        self.ledger.add_node(graph, place, node)

    @property
    def made(self) -> list[Node]:
        """Nodes of the domain ``test``, which no schema binds: only these get other inputs and attributes."""
        return [node for node in self.ledger.nodes if node.domain == "test"]

    def _fresh(self) -> Value:
        return Value(self.model.names.fresh("v"))

    @rule(at=_PICKS, reads=st.lists(_PICKS, max_size=3), absent=st.booleans(), outputs=st.integers(0, 2))
    def insert_node(self, at: int, reads: list[int], absent: bool, outputs: int) -> None:
        """A new node anywhere, which reads whatever is visible there."""
        graph, place = _pick(self.ledger.places, at)
        visible = self.ledger.visible(graph, place)
        values: list[Value | None] = [_pick(visible, number) for number in reads if visible]
        if absent:
            values.append(None)
        self._insert(graph, place, Node("test::Op", values, [self._fresh() for _ in range(outputs)]))

    @precondition(lambda self: len(self.ledger.order) < _MOST_GRAPHS)
    @rule(at=_PICKS, captured=_PICKS)
    def insert_branches(self, at: int, captured: int) -> None:
        """A node with two subgraphs that capture values."""
        graph, place = _pick(self.ledger.places, at)
        visible = self.ledger.visible(graph, place)
        branches = []
        for number in (captured, captured + 1):
            branch = Graph("branch")
            inner = branch.append(Node("test::Inner", [_pick(visible, number)] if visible else [], [self._fresh()]))
            branch.add_output(inner.output)
            branches.append(branch)
        node = Node("test::If", visible[:1], [self._fresh()])
        for name, branch in zip(("then_branch", "else_branch"), branches, strict=True):
            node.set_attribute(name, branch)
        self._insert(graph, place, node)
        for branch in branches:
            self.ledger.add_graph(branch)

    @precondition(lambda self: self.ledger.inputs)
    @rule(at=_PICKS)
    def erase_node(self, at: int) -> None:
        """A node that nobody reads goes, with all that is inside it."""
        node = _pick(self.ledger.nodes, at)
        graph = node.graph
        if graph is None or self.ledger.used.intersection(node.outputs):
            return
        graph.erase(node)
        self.ledger.remove_node(graph, node)

    @precondition(lambda self: self.ledger.inputs)
    @rule(at=_PICKS, to=_PICKS)
    def move_node(self, at: int, to: int) -> None:
        """A node moves within its graph, if order allows."""
        node = _pick(self.ledger.nodes, at)
        graph = node.graph
        assert graph is not None, "it stands in one"
        nodes = self.ledger.order[graph]
        anchor = _pick(nodes, to)
        moved = [item for item in nodes if item is not node]
        moved.insert(moved.index(anchor) if anchor is not node else nodes.index(node), node)
        if self.ledger.is_ordered(graph, moved):
            graph.move_before(anchor, node)
            self.ledger.order[graph] = moved

    # -- what nodes read and say --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.made)
    @rule(at=_PICKS, index=_PICKS, value=_PICKS)
    def replace_input(self, at: int, index: int, value: int) -> None:
        """A node reads something else, or nothing."""
        node = _pick(self.made, at)
        graph = node.graph
        if not node.inputs or graph is None:
            return
        choices = [None, *self.ledger.visible(graph, self.ledger.order[graph].index(node))]
        index %= len(node.inputs)
        node.replace_input(index, _pick(choices, value))
        self.ledger.inputs[node][index] = _pick(choices, value)

    @precondition(lambda self: self.made)
    @rule(at=_PICKS, count=st.integers(0, 4))
    def resize_inputs(self, at: int, count: int) -> None:
        """A node gets absent inputs at its end, or loses its last ones."""
        node = _pick(self.made, at)
        node.resize_inputs(count)
        self.ledger.inputs[node] = (self.ledger.inputs[node] + [None] * count)[:count]

    @precondition(lambda self: self.made)
    @rule(at=_PICKS, name=st.sampled_from("abc"), value=_ATTRIBUTES)
    def set_attribute(self, at: int, name: str, value: object) -> None:
        """An attribute gets a value, whatever it had before."""
        _pick(self.made, at).set_attribute(name, value if value != [] else [0])

    @precondition(lambda self: self.ledger.inputs)
    @rule(at=_PICKS, inner=st.booleans())
    def rename(self, at: int, inner: bool) -> None:
        """A node, or a value that it makes, gets another name."""
        node = _pick(self.ledger.nodes, at)
        if not inner or not node.outputs:
            node.name = self.model.names.fresh("n")
            return
        value = _pick(node.outputs, at)
        if not value.graph_outputs:  # what callers see keeps its name
            value.name = self.model.names.fresh("w")

    @rule(at=_PICKS)
    def redirect_uses(self, at: int) -> None:
        """All that read a value read the first input instead."""
        values = [value for node in self.ledger.nodes for value in node.outputs]
        if values and self.model.graph.inputs:
            old, new = _pick(values, at), self.model.graph.inputs[0]
            replace_all_uses(old, new)
            self.ledger.replace_uses(old, new)

    # -- graphs -------------------------------------------------------------------------------------------------------------

    @rule(at=_PICKS, index=_PICKS, value=_PICKS)
    def set_output(self, at: int, index: int, value: int) -> None:
        """A graph gives something else."""
        graph = _pick(self.ledger.graphs, at)
        visible = self.ledger.visible(graph, len(self.ledger.order[graph]))
        if self.ledger.outputs[graph] and visible:
            index %= len(self.ledger.outputs[graph])
            graph.set_output(index, _pick(visible, value))
            self.ledger.outputs[graph][index] = _pick(visible, value)

    @rule(at=_PICKS, value=_PICKS, add=st.booleans())
    def add_or_remove_output(self, at: int, value: int, add: bool) -> None:
        """A graph gives one value more or less, but at least one."""
        graph = _pick(self.ledger.graphs, at)
        visible = self.ledger.visible(graph, len(self.ledger.order[graph]))
        if add and visible:
            graph.add_output(_pick(visible, value))
            self.ledger.outputs[graph].append(_pick(visible, value))
        elif not add and len(self.ledger.outputs[graph]) > 1:
            index = value % len(self.ledger.outputs[graph])
            graph.remove_output(index)
            self.ledger.outputs[graph].pop(index)

    @rule(at=_PICKS, number=st.integers(0, 3))
    def add_initializer(self, at: int, number: int) -> None:
        """A graph gets a constant."""
        _pick(self.ledger.graphs, at).add_constant(np.full(2, number, np.float32), "w")

    @rule(at=_PICKS)
    def remove_initializer(self, at: int) -> None:
        """A constant that nobody reads goes."""
        values = [value for graph in self.ledger.graphs for value in graph.initializers() if not value.is_used]
        if values:
            value = _pick(values, at)
            assert value.graph is not None, "it is a constant of one"
            value.graph.remove_initializer(value)

    # -- copies -------------------------------------------------------------------------------------------------------------

    @rule()
    def take_copy(self) -> None:
        """The model is copied, to go back to."""
        self._save()

    def _save(self) -> None:
        self._saved = clone_model(self.model)
        self._saved_text = print_model(self._saved, weights="inline")

    @rule()
    def go_back(self) -> None:
        """The copy takes the place of the model; edits since then must not have reached it."""
        assert print_model(self._saved, weights="inline") == self._saved_text, "an edit reached the copy"
        copy = clone_model(self._saved)
        self.model, self.ledger = copy, Ledger(copy)

    # -- what must hold -----------------------------------------------------------------------------------------------------

    @invariant()
    def _is_sound(self) -> None:
        verify(self.model)
        self.ledger.check(self.model)

    @invariant()
    def _version_grows_with_structure(self) -> None:
        model, version, known = self._seen
        now = structural_hash(self.model)
        if model is self.model and version == self.model.version:
            assert now == known, "the structure changed, the version did not"
        self._seen = (self.model, self.model.version, now)

    @invariant()
    def _clone_is_the_same(self) -> None:
        copy = clone_model(self.model)
        verify(copy)
        assert structural_hash(copy, names=True) == structural_hash(self.model, names=True), "hash of a clone"

    @invariant()
    def _text_comes_back(self) -> None:
        again = parse_model(print_model(self.model, weights="inline"))
        verify(again)
        assert structural_equal(again, self.model, names=True), "the model after print and parse"

    @invariant()
    def _message_comes_back(self) -> None:
        again = lift_model(emit_model(clone_model(self.model), lineage=False))
        verify(again)
        assert structural_equal(again, self.model, names=True), "the model after emit and lift"
