"""Notes spelled as Q/DQ pairs: where they stand, what they are called, and that they mean what was noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from graphopt.errors import PipelineError
from graphopt.ir import Constant, constant_of
from graphopt.transforms.quantization.parameters import round_trip
from graphopt.transforms.quantization.static import AssignQuantization, InsertQdq
from tests.transforms.harness import assert_close, model, run
from tests.transforms.quantization.static.quantizing import assigned, context, feeds_of, quantized_model, run_optimized
from tests.transforms.quantization.static.test_placement import CONV, B, V, W, picture, reason


def ops(proto):
    return [node.op_type for node in proto.graph.node]


def test_one_pair_for_a_value_and_integers_for_constants():
    after = quantized_model(picture(f"a = {CONV}(x, w, b) c = Relu(a) d = {CONV}(c, w) y = Add(c, d)"))
    assert {"QuantizeLinear": 4, "DequantizeLinear": 6} == {
        op: ops(after).count(op) for op in ("QuantizeLinear", "DequantizeLinear")
    }
    producers = {name: node for node in after.graph.node for name in node.output}
    add = next(node for node in after.graph.node if node.op_type == "Add")
    assert ["c_dequantized", "d_dequantized"] == list(add.input)
    assert "y_float" == add.output[0], "the output is what its integers stand for"
    assert "y_quantized" == producers["y"].input[0]
    assert "w" not in {item.name for item in after.graph.initializer}


def test_weights_and_biases_are_stored_as_noted():
    proto = picture(f"y = {CONV}(x, w, b)")
    lifted, _ctx = assigned(proto)
    noted: dict[str, Any] = {value.name: value.quantization for value in lifted.graph.values()}
    after = quantized_model(proto)
    arrays = {item.name: numpy_helper.to_array(item) for item in after.graph.initializer}
    assert [np.int8, np.int32] == [arrays[name].dtype for name in ("w_quantized", "b_quantized")]
    assert -127 <= arrays["w_quantized"].min()
    steps = noted["x"].scale.numpy() * noted["w"].scale.numpy()
    np.testing.assert_array_equal(steps, noted["b"].scale.numpy())
    np.testing.assert_allclose(arrays["b_quantized"] * steps, B, atol=float(steps.max()))


@pytest.mark.parametrize("target", ["onnx", "onnxruntime-cpu", "tensorrt"])
def test_the_result_is_that_of_round_trips(target):
    """Bit for bit what numpy makes of each tensor, up to sums of products."""
    proto = model("y = MatMul(x, v)", "float[3,4] x", opset=17, initializers={"v": V})
    lifted, _ctx = assigned(proto, target=target)
    noted: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    feeds = feeds_of(proto)
    after = quantized_model(proto, target=target, feeds=feeds)
    weights = constant_of(noted["v"])
    assert weights is not None
    for feed in feeds:
        x: Any = round_trip(feed["x"], noted["x"].quantization)
        expected = x @ round_trip(weights.numpy(), noted["v"].quantization)
        assert_close([expected], run(after, feed), 1e-6)
        assert_close([expected], run_optimized(after, feed), 1e-6)


def test_float_readers_of_what_comes_as_floats_read_floats():
    """A LayerNormalization gives floats: the residual behind it loses nothing."""
    proto = model(
        "h = LayerNormalization(x, s) m = MatMul(h, v) y = Add(h, m)",
        "float[3,4] x",
        opset=17,
        initializers={"v": V, "s": np.ones(4, np.float32)},
    )
    after = quantized_model(proto)
    add = next(node for node in after.graph.node if node.op_type == "Add")
    assert "h" in add.input


def test_values_that_subgraphs_capture_are_read_as_all_others_read_them():
    one, other = ("() => (float[1,4,6,6] p) { p = Neg(c) }", "() => (float[1,4,6,6] q) { q = Abs(c) }")
    body = f"c = {CONV}(x, w) y = If (k) <then_branch = t {one}, else_branch = e {other}>"
    proto = picture(body, inputs="float[1,4,6,6] x, bool k")
    after = quantized_model(proto)
    branch = next(node for node in after.graph.node if node.op_type == "If").attribute[0].g
    assert ["c_dequantized"] == list(branch.node[0].input)
    feed = feeds_of(proto)[0]
    assert_close(run(proto, feed), run(after, feed), 0.05)


def test_an_output_that_is_an_input_of_others_keeps_its_name_and_type():
    proto = picture(f"a = {CONV}(x, w) y = {CONV}(a, w)", outputs="float[1,4,6,6] y, float[1,4,6,6] a")
    after = quantized_model(proto)
    feed = feeds_of(proto)[0]
    assert_close(run(proto, feed), run(after, feed), 0.1)
    assert {"a_float", "a_quantized"} <= {name for node in after.graph.node for name in node.output}


@pytest.mark.parametrize("opset", [17, 21])
def test_activations_of_16_bits(opset):
    """Before opset 21 only ONNX Runtime's own operators take them."""
    proto = picture("a = MatMul(x, v) y = Relu(a)", opset=opset, inputs="float[3,4] x")
    after = quantized_model(proto, AssignQuantization(activation="uint16"))
    assert {"com.microsoft" if opset < 21 else ""} == {
        n.domain for n in after.graph.node if n.op_type == "QuantizeLinear"
    }
    feed = feeds_of(proto)[0]
    assert_close(run(proto, feed), run(after, feed), 0.02)


def test_portable_models_of_16_bits_need_opset_21():
    proto = picture("y = MatMul(x, v)", opset=17, inputs="float[3,4] x")
    with pytest.raises(PipelineError, match="opset 17 stores no uint16; raise it with raise-opset"):
        assigned(proto, AssignQuantization(activation="uint16"), target="onnx")


def test_halves_have_scales_of_their_own_type():
    constants = {"h": V.astype(np.float16), "c": B.astype(np.float16)}
    proto = model("y = Gemm(x, h, c)", "float16[3,4] x", "float16[3,4] y", opset=21, initializers=constants)
    after = quantized_model(proto, target="onnx")
    types = {item.name: item.data_type for item in after.graph.initializer}
    assert 10 == types["x_quantized_scale"]
    assert "c" in types, "float16 can't hold the scale of a bias"
    feed = feeds_of(proto)[0]
    assert_close(run(proto, feed), run(after, feed), 0.03)


def test_halves_stay_where_their_scales_are_too_small_for_them():
    small = (V * 1e-3).astype(np.float16)
    proto = model("y = MatMul(x, h)", "float16[3,4] x", "float16[3,4] y", opset=21, initializers={"h": small})
    lifted, _ctx = assigned(proto, target="onnx")
    assert all(value.quantization is None for value in lifted.graph.values())


def test_onnx_runtime_has_no_integer_kernels_for_halves():
    proto = model(
        "y = MatMul(x, h)", "float16[3,4] x", "float16[3,4] y", opset=21, initializers={"h": V.astype(np.float16)}
    )
    assert "onnxruntime-x64 has integer kernels for float, and it reads float16" == reason(proto, "y")


def test_a_second_pass_finds_nothing_without_notes():
    lifted, ctx = assigned(picture("y = Neg(x)"))
    assert not InsertQdq().run(lifted.graph, ctx).changed


def test_weights_can_be_exchanged_between_both_passes():
    """So that biases are corrected, and weights adjusted, before integers are made of them."""
    proto = picture(f"y = {CONV}(x, w, b)")
    lifted, ctx = assigned(proto)
    value = next(item for item in lifted.graph.initializers() if item.name == "b")
    value.const = Constant(B * 2)
    InsertQdq().run(lifted.graph, ctx)
    stored = next(item for item in lifted.graph.initializers() if item.name == "b_quantized")
    again = {item.name: numpy_helper.to_array(item) for item in quantized_model(proto).graph.initializer}["b_quantized"]
    found: Any = stored.array()
    np.testing.assert_allclose(found, again * 2.0, atol=2)
    assert context(None).calibration is None
    assert (4, 4, 3, 3) == W.shape
