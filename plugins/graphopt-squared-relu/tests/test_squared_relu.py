"""The operator means one thing in numpy, in ONNX Runtime, and fused or not."""

import numpy as np
import onnx.parser
import onnx.shape_inference
import pytest
from graphopt_squared_relu.fusion import FuseSquaredRelu
from graphopt_squared_relu.operator import OP

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.testing import assert_equivalent, assert_no_rewrite, assert_rewrites, check_pass

PLUGINS = builtin_plugins().load()
X = np.array([[-1.5, 0.0, 2.0], [3.5, -0.0, 1e-3]], np.float32)


def model(nodes, constants="", dtype="float"):
    shape = f"{dtype}[n, 3]"
    return f'<ir_version: 8, opset_import: ["": 17]> g ({shape} x) => ({shape} y) <{constants}> {{ {nodes} }}'


BY_MUL = model("r = Relu(x) y = Mul(r, r)")
BY_TWO_RELUS = model("r = Relu(x) s = Relu(x) y = Mul(r, s)")
BY_POW = model("r = Relu(x) y = Pow(r, two)", "float two = {2.0}")
SHARED = model("r = Relu(x) s = Mul(r, r) y = Sub(s, r)")


def test_every_law_holds():
    """On models that Hypothesis draws: with the patterns, nearly with them, and any."""
    report = check_pass(FuseSquaredRelu, max_examples=20)
    assert {"fuse-squared-relu-mul", "fuse-squared-relu-pow"} == {
        rule for rule, count in report.rewrites.items() if count
    }


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BY_MUL, "fuse-squared-relu-mul"),
        (BY_TWO_RELUS, "fuse-squared-relu-mul"),
        (BY_POW, "fuse-squared-relu-pow"),
        (SHARED, "fuse-squared-relu-mul"),
    ],
)
def test_squares_are_fused(text, rule):
    assert_rewrites(FuseSquaredRelu, text, {rule: 1})
    assert_equivalent(FuseSquaredRelu, text, feeds={"x": X})


@pytest.mark.parametrize(
    "text",
    [
        model("r = Relu(x) m = Neg(x) s = Relu(m) y = Mul(r, s)"),
        model("r = Relu(x) y = Pow(r, three)", "float three = {3.0}"),
        model("r = Relu(x) y = Pow(r, two)", "float[1, 1] two = {2.0}"),
        model("r = Relu(x) y = Mul(r, r)", dtype="int32"),
    ],
)
def test_what_is_no_square_of_floats_is_not_fused(text):
    assert_no_rewrite(FuseSquaredRelu, text)


def test_the_type_of_the_operator_is_inferred():
    """ONNX's own inference knows the operator as soon as the plugin is loaded."""
    head = '<ir_version: 8, opset_import: ["": 17, "example.activations": 1]>'
    text = f"{head} g (float[n, 3] x) => (y) {{ y = example.activations.SquaredRelu(x) }}"
    inferred = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True)
    dims = inferred.graph.output[0].type.tensor_type.shape.dim
    assert ["n", 3] == [dims[0].dim_param, dims[1].dim_value]


@pytest.mark.parametrize("text", [BY_MUL, BY_TWO_RELUS, BY_POW, SHARED])
def test_runtimes_without_the_operator_get_its_parts(text):
    proto = onnx.parser.parse_model(text)
    result = graphopt.optimize(proto, pipeline="fuse-squared-relu", plugins=PLUGINS)
    assert result.report.passes[0].changed
    assert not [node for node in result.proto.graph.node if node.domain == "example.activations"]
    assert not [item for item in result.proto.opset_import if item.domain == "example.activations"]


def test_the_kernel_is_the_meaning_of_the_operator():
    with graphopt.Session(onnx.parser.parse_model(BY_MUL), optimize=False) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], PLUGINS.kernels[OP](X))


def test_the_named_pipeline_optimizes_and_is_checked():
    result = graphopt.optimize(onnx.parser.parse_model(SHARED), pipeline="squared-relu", plugins=PLUGINS)
    assert any(record.name == "fuse-squared-relu" and record.changed for record in result.report.passes)
    assert result.report.verdict.ok
