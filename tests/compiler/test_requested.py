"""Sizes of inputs and a newer opset that a caller asks for: where they stand in a pipeline, and what the check makes of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from graphopt import optimize, replay
from graphopt.compiler.environment import Environment
from graphopt.compiler.requested import check_requests, stated_sizes, with_requests
from graphopt.errors import ExecutionError, PipelineError, UnsupportedOpError
from graphopt.passes import Pipeline
from graphopt.target import Target
from graphopt.transforms.input_sizes import InputSizes
from tests.compiler import planting
from tests.transforms.harness import model

TEXT = "s = Shape (x) y = Reshape (x, s) z = Softmax (y)"
PROTO = model(TEXT, "float[batch,3,seq] x", "float[batch,3,seq] z", opset=11)


def dims(proto: ModelProto) -> list[list[str | int]]:
    values = [*proto.graph.input, *proto.graph.output]
    return [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values]


def test_the_check_feeds_what_is_stated() -> None:
    result = optimize(PROTO, set_dims={"batch": 5}, input_shapes={"x": ("batch", 3, "2..6")})
    assert result.report.verdict is not None
    assert "ok" == result.report.verdict.status
    sizes = [sample.sizes for sample in result.report.verdict.samples]
    assert all(set(some) == {"seq"} and 2 <= some["seq"] <= 6 for some in sizes)
    assert len({some["seq"] for some in sizes}) > 1
    assert [[5, 3, "seq"], [5, 3, "seq"]] == dims(result.proto)


def test_an_interface_of_fixed_sizes_is_no_failure_where_it_is_asked_for() -> None:
    result = optimize(PROTO, set_dims={"batch": 1, "seq": 4}, opset=21)
    assert result.report.verdict is not None
    assert "ok" == result.report.verdict.status
    assert [[1, 3, 4], [1, 3, 4]] == dims(result.proto)
    assert 21 == result.proto.opset_import[0].version
    assert [] == result.report.notes


def test_a_pass_in_a_pipeline_states_sizes_as_well() -> None:
    result = optimize(PROTO, pipeline="set-input-shapes{dims={batch=7}},raise-opset{to=17}")
    assert result.report.verdict is not None
    assert "ok" == result.report.verdict.status
    assert [[7, 3, "seq"], [7, 3, "seq"]] == dims(result.proto)


def test_brought_inputs_must_have_the_stated_sizes() -> None:
    with pytest.raises(ExecutionError, match=r"input 'x' has size 2 along axis 0, expected 1 as in float\[1, 3, seq\]"):
        optimize(PROTO, set_dims={"batch": 1}, inputs={"x": np.zeros((2, 3, 4), np.float32)})
    with pytest.raises(
        ExecutionError, match=r"input 'x' has size 9 along axis 2, outside of 1\.\.8 that is stated for 'seq'"
    ):
        optimize(PROTO, set_dims={"seq": "1..8"}, inputs={"x": np.zeros((2, 3, 9), np.float32)})
    optimize(PROTO, set_dims={"seq": "1..8"}, inputs={"x": np.zeros((2, 3, 8), np.float32)})


def test_what_can_not_be_done_is_said_at_once() -> None:
    """Not as a failure of a pass that is looked into."""
    with pytest.raises(
        PipelineError, match=r"^no input has a dimension 'sek'; did you mean 'seq'\? dimensions .*: batch, seq$"
    ) as caught:
        optimize(PROTO, set_dims={"sek": 1})
    assert [] == getattr(caught.value, "__notes__", [])
    masked = model("n, y = Dropout (x)", "float[n,3] x", "float[n,3] y", opset=7)
    with pytest.raises(
        UnsupportedOpError, match=r"\(Dropout\) can't be raised from opset 7 to 13: .*; opset 9 is the newest"
    ) as refusal:
        optimize(masked, opset=13, pipeline="canonicalize")
    assert [] == getattr(refusal.value, "__notes__", [])


@pytest.mark.parametrize("check", [True, False])
def test_other_failures_of_the_pass_are_as_they_were(check: bool) -> None:
    with pytest.raises(PipelineError, match="dimension 'seq': size -1 is negative"):
        optimize(PROTO, pipeline="set-input-shapes{dims={seq=-1}}", check=check)


def pipeline(text: str, sizes: InputSizes | None = None, opset: int | None = None, target: Target | None = None) -> str:
    made = Pipeline.from_text(text, Environment().plugins.passes)
    return with_requests(made, sizes or InputSizes(), opset, target or Target()).to_text()


def test_sizes_come_first_and_the_opset_before_fusing() -> None:
    prepare = "constants-to-initializers,eliminate-dead-code"
    assert f"{prepare},raise-opset{{to=17}},canonicalize" == pipeline(f"{prepare},canonicalize", opset=17)
    assert "raise-opset{to=17},fixpoint(canonicalize)" == pipeline("fixpoint(canonicalize)", opset=17)
    assert "raise-opset{to=17}" == pipeline("", opset=17)
    stated = InputSizes({"x": (1, "n")}, {"n": 2})
    assert f"set-input-shapes{{shapes={{x=[1,n]}},dims={{n=2}}}},{prepare},raise-opset{{to=9}}" == pipeline(
        prepare, stated, 9
    )


def test_what_a_target_prefers_is_no_must() -> None:
    target = Target("chip", preferred_opset=20)
    assert "raise-opset{to=20,strict=false},canonicalize" == pipeline("canonicalize", target=target)
    assert "raise-opset{to=18},canonicalize" == pipeline("canonicalize", opset=18, target=target)
    assert "" == pipeline("", target=target)


def test_all_that_is_stated_in_a_pipeline() -> None:
    text = "set-input-shapes{dims={a=1}},canonicalize,set-input-shapes{dims={b=2},shapes={x=[1]}}"
    made = Pipeline.from_text(text, Environment().plugins.passes)
    assert InputSizes({"x": (1,)}, {"a": 1, "b": 2}) == stated_sizes(made)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"set_dims": ["batch=1"]}, TypeError, "set_dims is .*, expected a mapping"),
        ({"set_dims": {"batch": 1.5}}, TypeError, "size of dimension 'batch' is 1.5"),
        ({"set_dims": {"batch": True}}, TypeError, "size of dimension 'batch' is True"),
        ({"input_shapes": {"x": "1,3"}}, TypeError, "shape of input 'x' is '1,3', expected a list of sizes"),
        ({"input_shapes": {"x": 3}}, TypeError, "shape of input 'x' is 3"),
        ({"input_shapes": {"x": (None,)}}, TypeError, "size of input 'x' is None"),
        ({"opset": "17"}, TypeError, "opset is '17'"),
        ({"opset": 6}, PipelineError, "opset is 6, expected 7 or later; a model is never lowered"),
    ],
)
def test_arguments_that_can_not_be_meant(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        check_requests(**{"set_dims": None, "input_shapes": None, "opset": None} | arguments)


def test_a_failing_rewrite_is_found_with_stated_sizes(tmp_path) -> None:
    """The reproducer states them too, in its pipeline."""
    plugins = planting.plugins()
    result = optimize(
        planting.chain(), pipeline="wrong-rule", set_dims={"n": 3}, plugins=plugins, reproducer=tmp_path / "again"
    )
    assert [[3, 4], [3, 4]] == dims(result.proto)
    assert any("drop_sqrt" in text or "drop-sqrt" in text for text in result.report.skipped)
    again = replay(result.report.reproducer, plugins=planting.plugins())
    assert "set-input-shapes{dims={n=3}},wrong-rule" == again.pipeline
    assert again.again


def test_a_model_without_the_default_domain_is_left_alone() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["ai.onnx.ml" : 3]>
        g (float[n,2] x) => (float[n,2] y) { y = ai.onnx.ml.Scaler <offset = [1.0], scale = [2.0]> (x) }""")
    result = optimize(proto, opset=17)
    assert {"ai.onnx.ml": 3} == {item.domain: item.version for item in result.proto.opset_import}
