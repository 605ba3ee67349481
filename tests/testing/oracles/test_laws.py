"""Each oracle is content with a right pass, and turns red for the pass that breaks its law and says which, where and what to do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnx.parser import parse_model

from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import DType, GraphBuilder
from graphopt.passes import Lossy, Pipeline, Reassociates
from graphopt.testing import (
    GeneratedModel,
    LawBroken,
    assert_deterministic,
    assert_equivalent,
    assert_honest,
    assert_idempotent,
    assert_no_rewrite,
    assert_rewrites,
    assert_unchanged_input,
)
from tests.testing.oracles import broken_passes as planted
from tests.testing.oracles.broken_passes import DOUBLE_NEG, HEAD, SCALED, SUM

ALL = [assert_equivalent, assert_honest, assert_idempotent, assert_deterministic, assert_unchanged_input]


def broken(law, oracle, testable, model, **options):
    with pytest.raises(LawBroken) as caught:
        oracle(testable, model, **options)
    assert law == caught.value.law, str(caught.value)
    return caught.value


def copy_of(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


@pytest.mark.parametrize("oracle", ALL)
def test_right_passes_keep_all_laws(oracle):
    found = oracle(planted.Right, DOUBLE_NEG)
    assert (True, {"drop-double-neg": 1}) == (found.changed, found.rewrites)
    assert not found.skipped


@pytest.mark.parametrize(
    "model",
    [
        parse_model(DOUBLE_NEG),
        GeneratedModel(parse_model(DOUBLE_NEG), ({"x": np.ones((2, 3), np.float32)},)),
        GeneratedModel(parse_model(DOUBLE_NEG)).ir,
        DOUBLE_NEG,
    ],
    ids=["message", "drawn", "ir", "text"],
)
def test_models_come_in_many_forms(model, tmp_path):
    assert {"drop-double-neg": 1} == assert_equivalent(planted.Right(), model).rewrites


def test_models_come_as_builders_and_files(tmp_path):
    b = GraphBuilder(opset=17)
    b.output(b.Neg(b.Neg(b.input("x", DType.FLOAT, ["n"]))), "y")
    assert {"drop-double-neg": 1} == assert_equivalent(planted.Right(), b).rewrites
    onnx.save(parse_model(DOUBLE_NEG), tmp_path / "m.onnx")
    for path in (tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        assert {"drop-double-neg": 1} == assert_equivalent(planted.Right(), path).rewrites


@pytest.mark.parametrize(
    "testable",
    [
        planted.Right,
        planted.Right(),
        Pipeline.of(planted.Right()),
        planted.drop_double_neg,
        [planted.drop_double_neg, planted.add_nothing],
    ],
    ids=["class", "pass", "pipeline", "rule", "rules"],
)
def test_passes_come_in_many_forms(testable):
    assert {"drop-double-neg": 1} == assert_equivalent(testable, DOUBLE_NEG).rewrites


def test_what_is_neither_pass_nor_model_is_refused():
    with pytest.raises(TypeError, match="can't test a int; expected a pass"):
        assert_equivalent(3, DOUBLE_NEG)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a float is no model"):
        assert_equivalent(planted.Right, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="model text is not ONNX text"):
        assert_equivalent(planted.Right, "{ nonsense }")


# -- equivalent -------------------------------------------------------------------------------------------------------------


def test_wrong_numbers_are_found_with_their_rule_and_element():
    error = broken("equivalent", assert_equivalent, planted.neg_to_abs, DOUBLE_NEG)
    assert ("neg-to-abs", "b") == (error.application.rule, error.application.site)
    text = str(error)
    assert "rule 'neg-to-abs' (exact) breaks the law 'equivalent': output 'y' (float[" in text
    assert "expected 0; " not in text.split("what to do")[1]
    for part in (
        "first wrong rewrite: #1 neg-to-abs",
        "what to do: ",
        "before:",
        "Neg",
        "after:",
        "Abs",
        "inputs:",
        "x = float32[",
    ):
        assert part in text


def test_first_wrong_of_several_rewrites_is_named():
    body = f"{HEAD} g (float[n] x) => (float[n] y) {{ a = Neg(x) b = Neg(a) c = Relu(b) d = Neg(c) e = Neg(d) y = Relu(e) }}"
    error = broken("equivalent", assert_equivalent, [planted.drop_double_neg, planted.relu_to_leaky], body)
    assert ("relu-to-leaky", "y") == (error.application.rule, error.application.site)


def test_signs_of_zeros_count():
    model = f"{HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{0.0, 0.0}}> {{ y0 = Add(x, w) y = Identity(y0) }}"
    feeds = {"x": np.array([-0.0, 1], np.float32)}
    error = broken("equivalent", assert_equivalent, planted.add_nothing, model, feeds=feeds)
    assert "at [0]: -0, expected 0" in error.detail
    assert "signs of zeros count" in error.detail
    np.testing.assert_array_equal(feeds["x"], error.feeds["x"])
    assert assert_equivalent(planted.add_nothing, model, feeds={"x": np.ones(2, np.float32)}).changed


def test_exact_means_every_bit():
    feeds = {"x": np.linspace(-3, 3, 30).reshape(10, 3).astype(np.float32)}
    error = broken("equivalent", assert_equivalent, planted.merge_factors, SCALED, feeds=feeds)
    assert "numbers apart; declared exact: every bit counts" in error.detail
    assert assert_equivalent(planted.merge_factors, SCALED, feeds=feeds, numerics=Reassociates(1e-6)).compared


def test_nan_payloads_do_not_count():
    def other_nan(proto: ModelProto) -> ModelProto:
        copy = copy_of(proto)
        copy.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.array([0x7FC00001], np.uint32).view(np.float32), "w")
        )
        return copy

    model = parse_model(f"{HEAD} g (float[1] x) => (float[1] y) {{ y = Add(x, w) }}")
    model.graph.initializer.append(numpy_helper.from_array(np.array([np.nan], np.float32), "w"))
    assert assert_equivalent(other_nan, model).compared


def test_reassociation_is_judged_on_calm_numbers_only():
    wild = GeneratedModel(parse_model(SCALED), ({"x": np.full((1, 3), 1e38, np.float32)},), frozenset({"wild"}))
    found = assert_equivalent(planted.merge_factors, wild, numerics=Reassociates())
    assert (0, "the numbers are extreme: only exact rewrites can be judged on them") == (found.compared, found.skipped)
    found = assert_equivalent(
        planted.merge_factors, SCALED, feeds={"x": np.full((1, 3), np.inf, np.float32)}, numerics=Reassociates()
    )
    assert found.skipped.startswith("outputs have NaN or infinities on all inputs")


def test_wrong_numbers_are_more_than_rounding():
    error = broken("equivalent", assert_equivalent, planted.neg_to_abs, DOUBLE_NEG, numerics=Reassociates())
    assert "times what is allowed" in error.detail


def test_lossy_passes_are_held_to_types_and_ranks_only():
    """Division by a pruned weight is infinite, and prune-magnitude was blamed for it."""

    def divide(proto: ModelProto) -> ModelProto:
        return parse_model(f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) {{ z = Sub(x, x) y = Div(x, z) }}")

    found = assert_equivalent(divide, DOUBLE_NEG, numerics=Lossy())
    assert (True, 0, "it is declared lossy: numbers were not compared") == (
        found.changed,
        found.compared,
        found.skipped,
    )

    def flatten(proto: ModelProto) -> ModelProto:
        copy = copy_of(proto)
        copy.graph.node[-1].CopyFrom(onnx.helper.make_node("ReduceSum", ["b"], ["y"], keepdims=0))
        return copy

    model = parse_model(DOUBLE_NEG)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    error = broken("equivalent", assert_equivalent, flatten, model, numerics=Lossy())
    assert "float with 0 axes, expected float with 2 axes" in error.detail


def test_results_that_do_not_run_are_found():
    def other_size(proto: ModelProto) -> ModelProto:
        return parse_model(
            f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) <float[5] w = {{1, 1, 1, 1, 1}}> {{ y = Add(x, w) }}"
        )

    assert "the result does not" in broken("equivalent", assert_equivalent, other_size, DOUBLE_NEG).detail


def test_originals_that_do_not_run_are_no_proof():
    model = f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) <float[5] w = {{1, 1, 1, 1, 1}}> {{ a = Neg(x) b = Neg(a) y = Add(b, w) }}"
    with pytest.raises(ExecutionError, match="the original does not run"):
        assert_equivalent(planted.Right, model)


def test_random_outputs_are_compared_by_type_only():
    model = f"{HEAD} g (float[3] x) => (float[3] y, float[3] z) {{ a = Neg(x) b = Neg(a) y = Relu(b) z = RandomNormalLike(x) }}"
    found = assert_equivalent(planted.Right, model)
    assert found.changed
    assert "output 'z' is another one in each run" == found.skipped
    assert "output 'y'" in broken("equivalent", assert_equivalent, planted.neg_to_abs, model).detail


# -- interface and validity -------------------------------------------------------------------------------------------------


def test_renamed_outputs_are_found():
    assert (
        "outputs are ['z'], expected ['y']" == broken("interface", assert_equivalent, planted.RenamesOutput, SUM).detail
    )


def test_lost_doc_strings_are_found():
    model = parse_model(SUM)
    model.graph.input[0].doc_string = "an image"
    error = broken("interface", assert_equivalent, planted.DropsDoc, model)
    assert "input 'x': its doc string (from 'an image' to '') changed" == error.detail


def test_opset_changes_only_where_that_is_declared():
    error = broken("interface", assert_equivalent, planted.ChangesOpset, SUM)
    assert "opset of domain ai.onnx is 18, expected 17" == error.detail
    assert assert_equivalent(planted.ChangesOpset, SUM, may_change=["opset"]).changed
    assert assert_equivalent(planted.ChangesOpsetOnPurpose, SUM).changed


def test_changed_types_and_ir_versions_are_found():
    def change(proto: ModelProto) -> ModelProto:
        copy = copy_of(proto)
        copy.ir_version = 9
        copy.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "m"
        return copy

    detail = broken("interface", assert_equivalent, change, SUM).detail
    assert "output 'y': its type (from " in detail
    assert "IR version is 9, expected 8" in detail


def test_invalid_models_are_found():
    error = broken("valid", assert_equivalent, planted.Invalid, SUM)
    assert "onnx.checker takes the original and refuses the result" in error.detail
    assert "slope" in error.detail


def test_broken_graphs_and_exceptions_are_found():
    for oracle in ALL:
        assert "it fails: ModelError: " in broken("runs", oracle, planted.LeavesBrokenGraph, SUM).detail
        assert "it fails: PassError: pass 'fails': KeyError: 'w'" in broken("runs", oracle, planted.Fails, SUM).detail
    assert "it gives a NoneType" in broken("runs", assert_equivalent, lambda proto: None, SUM).detail


# -- the other laws ---------------------------------------------------------------------------------------------------------


def test_lies_about_changes_are_found():
    assert (
        "says changed=False, but the model is another one"
        in broken("honest", assert_honest, planted.HidesChange, SUM).detail
    )
    assert "says changed=True, but nothing changed" in broken("honest", assert_honest, planted.ClaimsChange, SUM).detail


def test_second_runs_that_change_more_are_found():
    model = f"{HEAD} g (float[n] x) => (float[n] y) {{ a = Relu(x) y = Relu(a) }}"
    assert (
        "a second run changed the model again"
        in broken("idempotent", assert_idempotent, planted.OneAtATime, model).detail
    )
    assert assert_idempotent(planted.Right, model).law

    def append(proto: ModelProto) -> ModelProto:
        copy = copy_of(proto)
        copy.metadata_props.add(key=f"k{len(copy.metadata_props)}", value="v")
        copy.graph.node.add(op_type="Neg", input=["x"], output=[f"n{len(copy.graph.node)}"])
        return copy

    assert "a second run" in broken("idempotent", assert_idempotent, append, model).detail


@pytest.mark.parametrize("declared", ["float[?]", "float[n]", "float"])
def test_what_inference_learns_of_sizes_without_a_name_is_no_change(declared):
    """A second run names the unnamed size of an output after that of the input; no pass did that."""
    model = f"{HEAD} g (float[?] x) => ({declared} y) {{ a = Neg(x) y = Neg(a) }}"
    assert assert_idempotent("canonicalize", model).changed
    assert not assert_no_rewrite("fold-constants", model).changed


def test_results_that_differ_from_run_to_run_are_found():
    error = broken("deterministic", assert_deterministic, planted.Nondeterministic, DOUBLE_NEG)
    assert "made_" in error.detail


def test_weights_that_are_written_into_are_found():
    error = broken("unchanged-input", assert_unchanged_input, planted.MutatesWeights, SUM)
    assert error.detail.startswith("weight 'w'")


def test_messages_that_are_written_into_are_found():
    def clear(proto: ModelProto) -> ModelProto:
        proto.graph.initializer[0].float_data[0] = 5
        return proto

    error = broken("unchanged-input", assert_unchanged_input, clear, SUM)
    assert "the message that the model was read from" in error.detail
    assert 1.0 == error.model.graph.initializer[0].float_data[0], "the model that is shown is the one from before"


def test_counts_of_rewrites_are_exact():
    assert_rewrites(planted.Right, DOUBLE_NEG, {"drop-double-neg": 1, "other": 0})
    error = broken("rewrites", assert_rewrites, planted.Right, DOUBLE_NEG, counts={"drop-double-neg": 2})
    assert "rewrites are {'drop-double-neg': 1}, expected {'drop-double-neg': 2}" in error.detail
    error = broken("rewrites", assert_rewrites, planted.Right, DOUBLE_NEG, counts={})
    assert "expected none" in error.detail
    shared = DOUBLE_NEG.replace("(float[n, 3] y)", "(float[n, 3] y, float[n, 3] a)")
    error = broken("rewrites", assert_rewrites, planted.Right, shared, counts={"drop-double-neg": 1})
    assert "drop-double-neg at Neg 'b': 'a' is a graph output" in error.detail


def test_guards_are_asked_for_by_their_reason():
    shared = DOUBLE_NEG.replace("(float[n, 3] y)", "(float[n, 3] y, float[n, 3] a)")
    assert_no_rewrite(planted.Right, shared, because="output")
    assert "expected none" in broken("no-rewrite", assert_no_rewrite, planted.Right, DOUBLE_NEG).detail
    error = broken("no-rewrite", assert_no_rewrite, planted.Right, shared, because="rank")
    assert "no reason matches 'rank'; reasons: drop-double-neg at Neg" in error.detail


def test_functions_declare_nothing_and_are_held_to_every_bit():
    def scale(proto: ModelProto) -> ModelProto:
        copy = copy_of(proto)
        copy.graph.initializer[0].float_data[0] *= 1 + 1e-6
        return copy

    assert "declared exact" in broken("equivalent", assert_equivalent, scale, SCALED).detail
    assert assert_equivalent(scale, SCALED, numerics=Reassociates()).compared
