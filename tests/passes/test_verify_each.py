"""Each pass is held to what it declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from graphopt.errors import ModelError, PassError, VerificationError
from graphopt.passes import Exact, Pass, PassManager, PassResult, Reassociates, VerifyEach
from tests.passes.sample_passes import DropOne, EliminateDoubleNeg, Tune, chain


@dataclass(frozen=True)
class Liar(Pass):
    """Changes an operator in silence."""

    name: ClassVar[str] = "liar"

    def run(self, graph, ctx):
        next(iter(graph.nodes)).set_op("Abs")
        return PassResult(changed=False)


@dataclass(frozen=True)
class Breaker(Pass):
    """Leaves a node that reads a value defined after it."""

    name: ClassVar[str] = "breaker"

    def run(self, graph, ctx):
        first, last = list(graph.nodes)
        graph.move_before(first, last)
        return PassResult(changed=True)


def test_a_silent_change_is_found():
    with pytest.raises(PassError, match="pass 'liar': says changed=False, but the model is another one; report it"):
        PassManager([Tune(), Liar()], [VerifyEach()]).run(chain("Relu", "Neg"))


def test_a_broken_graph_is_found():
    with pytest.raises(
        PassError, match=r"pass 'breaker': left a broken model: .* passes already run: eliminate-double-neg"
    ):
        PassManager([EliminateDoubleNeg(), Breaker()], [VerifyEach()]).run(chain("Relu", "Neg"))


def test_a_model_that_is_broken_already_is_no_pass_s_fault():
    model = chain("Relu", "Neg")
    first, last = list(model.graph.nodes)
    model.graph.move_before(first, last)
    with pytest.raises(ModelError):
        PassManager([Tune()], [VerifyEach()]).run(model)


def test_a_pass_may_refine_types_without_a_change():
    @dataclass(frozen=True)
    class Typed(Tune):
        def run(self, graph, ctx):
            next(iter(graph.nodes)).output.type = graph.inputs[0].type
            return PassResult(changed=False)

    report = PassManager([Typed()], [VerifyEach()]).run(chain("Relu", "Neg"))
    assert not report.changed


def test_numbers_are_checked_after_each_change_with_what_was_declared_so_far():
    asked = []
    PassManager(
        [EliminateDoubleNeg(), Tune(), DropOne(), EliminateDoubleNeg()],
        [VerifyEach(lambda model, numerics: asked.append(numerics))],
    ).run(chain("Neg", "Relu", "Neg", "Neg", "Neg"))
    assert [Exact(), Reassociates(1e-2), Reassociates(1e-2)] == asked


def test_other_numbers_are_blamed_on_the_pass():
    def compare(model, numerics):
        raise VerificationError("output 'y' differs by 1")

    with pytest.raises(
        PassError,
        match=r"pass 'drop-one': changes the numbers, declared re-associates \(rtol 0.01\): output 'y' differs",
    ):
        PassManager([DropOne()], [VerifyEach(compare)]).run(chain("Relu", "Neg"))
