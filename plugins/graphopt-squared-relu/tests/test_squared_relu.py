"""The operator means one thing in numpy, in ONNX Runtime, and fused or not."""

import numpy as np
import pytest
from graphopt_squared_relu.operator import OP

import graphopt
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import DType, GraphBuilder, TensorType, print_model
from graphopt.passes import PassContext, PassManager, Pipeline
from graphopt.runtime import OrtRunner, ReferenceRunner

PLUGINS = builtin_plugins()


def square_by_mul(b, x):
    positive = b.Relu(x)
    return b.Mul(positive, positive)


def square_by_two_relus(b, x):
    return b.Mul(b.Relu(x), b.Relu(x))


def square_by_pow(b, x):
    return b.Pow(b.Relu(x), np.float32(2))


def shared_relu(b, x):
    positive = b.Relu(x)
    return b.Sub(b.Mul(positive, positive), positive)


def not_squared(b, x):
    return b.Mul(b.Relu(x), b.Relu(b.Neg(x)))


def cubed(b, x):
    return b.Pow(b.Relu(x), np.float32(3))


def more_axes(b, x):
    return b.Pow(b.Relu(x), np.full((1, 1, 1), 2, np.float32))


def integers(b, x):
    positive = b.Relu(b.Cast(x, to=DType.INT32))
    return b.Cast(b.Mul(positive, positive), to=DType.FLOAT)


def model_of(build, opset=17):
    b = GraphBuilder(opset=opset)
    b.output(build(b, b.input("x", DType.FLOAT, ["n", 3])), "y", DType.FLOAT)
    return b.build()


def fuse(model):
    pipeline = Pipeline.from_text("fuse-squared-relu", PLUGINS.passes)
    return PassManager(pipeline).run(model, PassContext(types=OnnxTypes()))


def ops(model):
    return [node.op for node in model.graph.nodes]


@pytest.mark.parametrize("build", [square_by_mul, square_by_two_relus, square_by_pow])
def test_squares_are_fused(build):
    model = model_of(build)
    assert fuse(model).changed
    assert [OP] == ops(model)
    assert not fuse(model).changed


def test_a_relu_with_other_users_stays():
    model = model_of(shared_relu)
    fuse(model)
    assert sorted(["Relu", OP, "Sub"]) == sorted(ops(model))


@pytest.mark.parametrize("build", [not_squared, cubed, more_axes, integers])
def test_what_is_no_square_of_floats_is_not_fused(build):
    model = model_of(build, opset=14)
    before = print_model(model)
    assert not fuse(model).changed
    assert ops(model) == [node.op for node in model_of(build, opset=14).graph.nodes]
    assert OP not in before


def test_the_type_of_the_operator_is_inferred():
    model = model_of(shared_relu)
    fuse(model)
    (fused,) = (node for node in model.graph.nodes if node.op == OP)
    assert TensorType(DType.FLOAT, model.graph.inputs[0].type.shape) == fused.output.type


X = np.array([[-1.5, 0.0, 2.0], [3.5, -0.0, 1e-3]], np.float32)


@pytest.mark.parametrize("build", [square_by_mul, square_by_two_relus, square_by_pow, shared_relu])
def test_fused_and_decomposed_models_compute_the_same(build):
    model = model_of(build)
    original = graphopt.lower(model, target="onnx", plugins=PLUGINS)
    fuse(model)
    lowered = graphopt.lower(model, target="onnxruntime", plugins=PLUGINS)
    assert not [node for node in lowered.graph.node if node.domain == "example.activations"]
    assert not [item for item in lowered.opset_import if item.domain == "example.activations"]
    with ReferenceRunner(original) as runner:
        expected = runner.run({"x": X})["y"]
    with OrtRunner(lowered) as runner:
        np.testing.assert_allclose(runner.run({"x": X})["y"], expected, rtol=1e-6)


def test_the_kernel_is_the_meaning_of_the_operator():
    expected = PLUGINS.kernels[OP](X)
    model = model_of(square_by_mul)
    fuse(model)
    with OrtRunner(graphopt.lower(model, plugins=PLUGINS)) as runner:
        np.testing.assert_array_equal(runner.run({"x": X})["y"], expected)


def test_the_named_pipeline_optimizes_and_is_checked():
    original = graphopt.lower(model_of(shared_relu), target="onnx", plugins=PLUGINS)
    result = graphopt.optimize(original, pipeline="squared-relu", plugins=PLUGINS)
    assert any(record.name == "fuse-squared-relu" and record.changed for record in result.report.passes)
