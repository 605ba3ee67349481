"""Mutants on models: caught by the kit, reached and not minded, or never reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx.parser
import pytest

from benchmarks.guards.court import laws_of_the_kit
from benchmarks.guards.guard import Guard, Unit, units
from benchmarks.guards.judging import Oracle, Trial, judge
from benchmarks.guards.mutants import guards_of
from graphopt.passes import Pipeline
from graphopt.testing import GeneratedModel

UNITS = {unit.name: unit for unit in units()}
TRANSPOSE = "eliminate-transpose: shape: eliminate_transpose: order != tuple(range(len(order)))"


def guard_called(guard_id: str) -> Guard:
    owner = guard_id.partition(":")[0]
    (found,) = [guard for guard in guards_of([UNITS[owner]]) if guard.id == guard_id]
    return found


def made(text: str, *shapes: tuple[int, ...]) -> GeneratedModel:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.standard_normal(shape).astype(np.float32)
        for value, shape in zip(proto.graph.input, shapes, strict=True)
    }
    return GeneratedModel(proto, (feeds,))


KEPT = made("(float[2,3] x) => (float[2,3] y) { t = Transpose<perm = [0, 1]>(x) y = Abs(t) }", (2, 3))
MOVED = made("(float[2,3] x) => (float[3,2] y) { t = Transpose<perm = [1, 0]>(x) y = Abs(t) }", (2, 3))
SUMMED = made("(float[2,2] x) => (float s) { t = Transpose<perm = [1, 0]>(x) z = Mul(t, x) s = ReduceMax(z) }", (2, 2))


def verdict_on(guard_id: str, *models: GeneratedModel, oracle: Oracle = laws_of_the_kit):
    def trials(unit: Unit) -> Sequence[Trial]:
        return [Trial(unit, model, oracle) for model in models]

    return judge(guard_called(guard_id), trials)


def test_a_mutant_that_breaks_a_law_is_caught():
    found = verdict_on(TRANSPOSE, KEPT, MOVED)
    assert ("caught", 2, 1) == (found.state, found.seen, found.changed)
    assert found.reason.startswith("LawBroken: ")


def test_a_mutant_that_does_the_same_is_never_reached():
    found = verdict_on(TRANSPOSE, KEPT, KEPT)
    assert ("never", "", 2, 0) == (found.state, found.reason, found.seen, found.changed)


def test_a_mutant_that_nobody_minds_is_reached():
    found = verdict_on(TRANSPOSE, MOVED, KEPT, MOVED, oracle=lambda pipeline, model: None)
    assert ("reached", 3, 2) == (found.state, found.seen, found.changed)


def test_wrong_numbers_are_caught_where_shapes_agree():
    found = verdict_on(TRANSPOSE, SUMMED)
    assert "caught" == found.state


def test_what_the_kit_has_against_the_real_rule_too_does_not_count():
    def grumpy(pipeline: Pipeline, model: GeneratedModel) -> None:
        raise AssertionError("as always")

    assert "reached" == verdict_on(TRANSPOSE, MOVED, oracle=grumpy).state


def test_a_mutant_that_fails_is_caught():
    computed = made("(float[2,3] x) => (float[2,3] y) { c = Less(x, x) a = Neg(x) y = Where(c, a, x) }", (2, 3))
    found = verdict_on("resolve-constant-where: constant: condition of Where: constant", computed)
    assert "caught" == found.state
    assert "which is not constant" in found.reason


def test_a_default_that_a_caller_overrides_is_caught():
    overridden = made(
        "(float[2,3] x, bool[1] c) => (float[2,3] y) <bool[1] c = {1}> { a = Neg(x) y = Where(c, a, x) }", (2, 3), (1,)
    )
    feeds = {**overridden.feeds[0], "c": np.array([False])}
    found = verdict_on(
        "resolve-constant-where: constant: condition of Where: no default of an input",
        GeneratedModel(overridden.proto, (feeds,)),
    )
    assert "caught" == found.state


def test_more_arithmetic_is_caught():
    shared = made(
        """(float[1,2,4,4] x) => (float[1,2,3,3] y, float[1,2,3,3] z)
        <float[2,2,2,2] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[1] c = {2}>
        { z = Conv(x, w) y = Mul(z, c) }""",
        (1, 2, 4, 4),
    )
    guard_id = "fold-multiplication: use: Conv|ConvTranspose|Gemm of Mul: no graph output"
    assert "breaks the law 'frugal'" in verdict_on(guard_id, shared).reason
    lax = verdict_on(guard_id, shared, oracle=lambda pipeline, model: None)
    assert ("reached", "costs more on 1") == (lax.state, lax.reason)


def test_legalization_is_judged_on_what_fusion_leaves():
    model = made(
        """(float[1,2,4,4] x) => (float[1,2,3,3] y)
        <float[2,2,2,2] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> { c = Conv(x, w) y = Relu(c) }""",
        (1, 2, 4, 4),
    )
    (guard,) = [item for item in guards_of([UNITS["use-fused-conv"]]) if "FLOAT" in item.what]
    trial = Trial(UNITS["use-fused-conv"], model, laws_of_the_kit)
    assert trial.differs(guard.mutant(UNITS["use-fused-conv"])) is None
    assert "" == trial.complaint(UNITS["use-fused-conv"].real)


@pytest.mark.parametrize("name", ["fold-constants", "simplify-if"])
def test_whole_passes_are_judged_too(name):
    trial = Trial(UNITS[name], KEPT, laws_of_the_kit)
    assert trial.differs(UNITS[name].real) is None
