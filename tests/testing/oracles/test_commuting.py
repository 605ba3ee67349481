"""Other forms of a model, and passes that do not treat them alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.parser import parse_model

from graphopt import RewritePass, any_, const, op, rewrite
from graphopt.rewriting import Reassociates
from graphopt.testing import (
    INLINING,
    NODE_ORDER,
    OPSET_UPGRADE,
    RENAMING,
    TRANSFORMATIONS,
    LawBroken,
    Transformation,
    assert_commutes_with,
    assert_equivalent,
)
from tests.testing.oracles import broken_passes as planted
from tests.testing.oracles.broken_passes import DOUBLE_NEG, HEAD, SUM

FUNCTION = (
    '<ir_version: 8, opset_import: ["": 17, "local": 1]> g (float[n] x) => (float[n] y) { a = local.twice (x) y = local.twice (a) }'
    '<domain: "local", opset_import: ["": 17]> twice (a) => (c) { b = Neg (a) c = Neg (b) }'
)
BRANCHES = (
    f"{HEAD} g (bool c, float[n] x) => (float[n] y, float[n] z) {{ a = Neg(x) b = Neg(a) r = Relu(x)"
    " y = If (c) <then_branch = t () => (float[n] p) { q = Abs(x) p = Add(b, q) }, else_branch = e () => (float[n] s) { s = Neg(r) }>"
    " z = Abs(x) }"
)


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda item: item.name)
@pytest.mark.parametrize("model", [DOUBLE_NEG, SUM, FUNCTION, BRANCHES], ids=["neg", "sum", "function", "branches"])
def test_right_passes_commute(transformation, model):
    found = assert_commutes_with(transformation, planted.Right, model)
    assert f"commutes-with-{transformation.name}" == found.law
    reasons = {
        "its nodes can stand in one order only",
        "it has no functions",
        "onnx.version_converter leaves functions at their opset",
    }
    assert found.skipped in {*reasons, ""}


def test_other_forms_mean_the_same():
    for transformation in TRANSFORMATIONS:
        for model in (DOUBLE_NEG, FUNCTION, BRANCHES):
            if not isinstance(transformation.apply(parse_model(model)), str):
                assert_equivalent(transformation.apply, model, may_change=["opset", "ir_version"])  # type: ignore[arg-type]


def test_renaming_keeps_inputs_and_outputs_and_nothing_else():
    before, after = parse_model(BRANCHES), RENAMING.apply(parse_model(BRANCHES))
    assert isinstance(after, ModelProto)
    onnx.checker.check_model(after)
    assert [before.graph.input, before.graph.output] == [after.graph.input, after.graph.output]
    names = [{name for node in model.graph.node for name in node.output} for model in (before, after)]
    assert {"y", "z"} == names[0] & names[1]


def test_nodes_get_another_order_that_is_still_one():
    after = NODE_ORDER.apply(parse_model(BRANCHES))
    assert isinstance(after, ModelProto)
    onnx.checker.check_model(after)
    assert ["Abs", "Relu", "Neg", "Neg", "If"] == kinds(after)
    assert "its nodes can stand in one order only" == NODE_ORDER.apply(parse_model(DOUBLE_NEG))


def test_inlining_and_upgrades_say_why_not():
    assert "it has no functions" == INLINING.apply(parse_model(SUM))
    inlined = INLINING.apply(parse_model(FUNCTION))
    assert isinstance(inlined, ModelProto)
    assert ["Neg"] * 4 == kinds(inlined)
    assert "onnx.version_converter leaves functions at their opset" == OPSET_UPGRADE.apply(parse_model(FUNCTION))
    newer = OPSET_UPGRADE.apply(parse_model(SUM))
    assert isinstance(newer, ModelProto)
    assert 21 == newer.opset_import[0].version
    odd = parse_model(
        '<ir_version: 8, opset_import: ["": 6]> g (float[2] x) => (float[1] y) { y = Upsample <scales = [1.0]> (x) }'
    )
    assert str(OPSET_UPGRADE.apply(odd)).startswith("onnx.version_converter refuses it: ")
    assert "it does not import the default domain" == OPSET_UPGRADE.apply(ModelProto())


@pytest.mark.parametrize(
    ("transformation", "testable", "model", "detail"),
    [
        (RENAMING, planted.LooksAtNames, SUM, "no rewrites in the other form, {'seen': 1} in the model as it was"),
        (NODE_ORDER, planted.LooksAtOrder, BRANCHES, "no rewrites"),
        (OPSET_UPGRADE, planted.WrongFromOpset20, SUM, "the result for the other form is wrong: "),
        (INLINING, planted.neg_to_abs, FUNCTION, "the result for the other form is wrong: "),
    ],
    ids=["renaming", "order", "upgrade", "inlining"],
)
def test_passes_that_look_at_the_form_are_found(transformation, testable, model, detail):
    if transformation is NODE_ORDER:
        model = model.replace("a = Neg(x) b = Neg(a) r = Relu(x)", "r = Relu(x) a = Neg(x) b = Neg(a)")
    with pytest.raises(LawBroken, match="the law 'commutes-with-") as caught:
        assert_commutes_with(transformation, testable, model)
    assert f"commutes-with-{transformation.name}" == caught.value.law
    assert detail in caught.value.detail
    assert "=>" in caught.value.advice, "the other form is shown"


@dataclass(frozen=True)
class Negated:
    """A stranger's transformation, which is wrong."""

    name: str = "negated"
    keeps_rewrites: bool = False
    keeps_structure: bool = False

    def apply(self, model: ModelProto) -> ModelProto | str:
        copy = ModelProto()
        copy.CopyFrom(model)
        copy.graph.node[-1].op_type = "Neg"
        return copy


def test_transformations_of_strangers_are_not_trusted():
    assert isinstance(Negated(), Transformation)
    found = assert_commutes_with(Negated(), planted.Right, DOUBLE_NEG)
    assert found.skipped.startswith("negated itself changes numbers: output 'y'")
    assert not found.compared


def test_broken_models_of_a_transformation_are_not_the_fault_of_the_pass():
    old = parse_model(
        '<ir_version: 4, opset_import: ["": 10]> g (float[2] x) => (float[4] y)'
        " { a = Neg(x) b = Neg(a) y = Pad <pads = [1, 1], value = 2.0> (b) }"
    )

    @dataclass(frozen=True)
    class Stamped(Negated):
        """Says another opset and changes nothing else."""

        name: str = "stamped"

        def apply(self, model: ModelProto) -> ModelProto | str:
            copy = ModelProto()
            copy.CopyFrom(model)
            copy.opset_import[0].version = 21
            return copy

    found = assert_commutes_with(Stamped(), planted.Right, old)
    assert found.skipped.startswith("stamped gives a broken model: the node of 'y' (Pad)")


def test_forms_that_no_runtime_runs_are_not_the_fault_of_the_pass():
    """The reference evaluator computes an opset that ONNX Runtime lacks; results that re-associate are judged in ONNX Runtime."""

    @rewrite(op.Mul(any_("x"), const("c")), numerics=Reassociates())
    def divide_by_reciprocal(m, rw):
        return rw.new("Div", m["x"], rw.constant(np.reciprocal(m.array("c"))))

    class DivideByReciprocal(RewritePass):
        name = "divide-by-reciprocal"
        rules = (divide_by_reciprocal,)

    @dataclass(frozen=True)
    class Newest(Negated):
        """Says an opset for which there are no kernels."""

        name: str = "newest"

        def apply(self, model: ModelProto) -> ModelProto | str:
            copy = ModelProto()
            copy.CopyFrom(model)
            copy.opset_import[0].version = onnx.defs.onnx_opset_version()
            return copy

    model = parse_model(
        '<ir_version: 8, opset_import: ["": 21]> g (float[2] x) => (float[2] y) <float s = {0.5}, int8 i = {3}>'
        " { a = DequantizeLinear (i, s) b = Add (a, x) y = Mul (b, s) }"
    )
    found = assert_commutes_with(Newest(), DivideByReciprocal, model)
    assert {"divide-by-reciprocal": 1} == found.rewrites
    assert found.skipped.startswith("newest itself changes numbers: the optimized model does not load")
