"""The machine finds nothing wrong with the IR, and what was planted it finds."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from graphopt.ir import GraphBuilder, Model, Node
from graphopt.testing import GraphMachine
from graphopt.transforms.dead_code import EliminateDeadCode
from tests.testing.oracles import broken_passes as planted

QUICK = settings(
    deadline=None, max_examples=20, stateful_step_count=10, phases=[Phase.generate], report_multiple_bugs=False
)


TestGraphMachine = GraphMachine.TestCase
TestGraphMachine.settings = settings(deadline=None, max_examples=20, stateful_step_count=30)


class WithRightPass(GraphMachine):
    """Mixes a right pass with the edits."""

    runs: ClassVar[int] = 0

    @rule()
    def eliminate(self) -> None:
        self.run_pass(EliminateDeadCode())
        type(self).runs += 1


class WithLyingPass(GraphMachine):
    """Mixes a pass that hides what it does."""

    def first_model(self) -> Model:
        b = GraphBuilder(opset=17)
        b.output(b.Relu(b.input("x")), "y")
        return b.build()

    @rule()
    def hide(self) -> None:
        self.run_pass(planted.HidesChange())


class WithLostUse(GraphMachine):
    """Forgets that a node reads a value."""

    @rule()
    def lose_use(self) -> None:
        for node in self.made:
            for value in node.inputs:
                if value is not None:
                    value._uses.clear()


class WithSilentEdit(GraphMachine):
    """Edits without a new version."""

    @rule()
    def edit(self) -> None:
        for node in self.made:
            node.op_type, node.op = "Other", "test::Other"


class WithSharedGraph(GraphMachine):
    """Edits the copy to which it goes back."""

    @rule()
    def edit_copy(self) -> None:
        graph = self._saved.graph
        self.model = self._saved
        graph.append(Node("test::Op", [graph.inputs[0]], []))


def test_passes_are_mixed_with_edits():
    run_state_machine_as_test(WithRightPass, settings=QUICK)
    assert 5 < WithRightPass.runs


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (WithLyingPass, "hides-change says changed=False, but it changed something"),
        (WithLostUse, "which does not know of it"),
        (WithSilentEdit, "the structure changed, the version did not"),
        (WithSharedGraph, "graphs of the model"),
    ],
)
def test_planted_defects_are_found(machine, message):
    with pytest.raises(Exception, match=message):
        run_state_machine_as_test(machine, settings=QUICK)
