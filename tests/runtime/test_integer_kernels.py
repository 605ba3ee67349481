"""Which nodes ONNX Runtime computes on integers, and why the others not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.errors import ExecutionError
from graphopt.runtime.integer_kernels import LayerKernel, integer_layers
from graphopt.runtime.isolation import shared_worker
from tests.transforms.harness import model, run
from tests.transforms.quantization.static.quantizing import feeds_of, quantized_model, run_optimized
from tests.transforms.quantization.static.test_placement import CONV, picture

PAIR = "{0}q = QuantizeLinear({0}, s, z) {0}d = DequantizeLinear({0}q, s, z) "
STORED = "wd = DequantizeLinear(wq, s, zw) "
CONSTANTS: dict[str, Any] = {
    "s": np.float32(0.05),
    "z": np.uint8(100),
    "zw": np.int8(0),
    "wq": np.ones((4, 4, 1, 1), np.int8),
    "c": np.float32(0.5),
    "k": np.float32(2.0),
}


def layers(proto, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    return {item.layer: item for item in integer_layers(str(path))}


def test_a_network_on_integers(tmp_path):
    proto = picture(
        f"a = {CONV}(x, w, b) r = Relu(a) m = MaxPool<kernel_shape = [2, 2]>(r) g = GlobalAveragePool(m) f = Flatten(g) y = Gemm(f, v)"
    )
    found = layers(quantized_model(proto), tmp_path)
    assert {"com.microsoft::QLinearConv"} == {item.kernel for item in found.values() if item.op == "Conv"}
    assert LayerKernel("y", "Gemm", "com.microsoft::QGemm", integer=True, reason="on integers") in found.values()
    assert all(item.integer for item in found.values())
    assert found["r"].reason == "part of another kernel, or not needed"


def test_a_float_network(tmp_path):
    found = layers(picture(f"a = {CONV}(x, w) t = Tanh(a) y = Softmax(t)"), tmp_path)
    assert {False} == {item.integer for item in found.values()}
    assert "what it reads is not quantized" == found["y"].reason
    assert "ONNX Runtime has no integer kernel for Tanh" == found["t"].reason


@pytest.mark.parametrize(
    ("body", "layer", "why"),
    [
        (PAIR.format("x") + STORED + "a = Conv(xd, wd) y = Neg(a)", "a", "its result is not quantized alone"),
        (PAIR.format("x") + STORED + "y = Conv(xd, wd)", "y", "its result is given out as floats"),
        (
            PAIR.format("x") + "a = Add(xd, c) " + PAIR.format("a") + "y = Neg(ad)",
            "a",
            "one of its inputs is not quantized",
        ),
        (
            PAIR.format("x") + STORED + "a = Conv(xd, wd) r = Clip(a, c, k) " + PAIR.format("r") + "y = Neg(rd)",
            "a",
            "Clip behind it cuts more than the integers of its result",
        ),
        (
            PAIR.format("x")
            + "a = MaxPool<kernel_shape = [2, 2]>(xd) aq = QuantizeLinear(a, c, z) ad = DequantizeLinear(aq, c, z) y = Neg(ad)",
            "a",
            "it gives integers of another scale than it reads",
        ),
        (
            PAIR.format("x") + "a = Tanh(xd) " + PAIR.format("a") + "y = Neg(ad)",
            "a",
            "ONNX Runtime has no integer kernel for Tanh",
        ),
    ],
)
def test_reasons(body, layer, why, tmp_path):
    found = layers(model(body, "float[1,4,6,6] x", opset=17, initializers=CONSTANTS), tmp_path)
    assert (False, why) == (found[layer].integer, found[layer].reason)


def test_it_runs_in_a_child(tmp_path):
    onnx.save(quantized_model(picture("y = MatMul(x, v)", inputs="float[3,4] x")), tmp_path / "model.onnx")
    (found,) = shared_worker().call(integer_layers, str(tmp_path / "model.onnx"), timeout=60)
    assert ("com.microsoft::MatMulIntegerToFloat", True) == (found.kernel, found.integer)


def test_a_model_that_is_not_loaded(tmp_path):
    onnx.save(model("y = Neg(x)", opset=17), tmp_path / "model.onnx")
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(ExecutionError, match="ONNX Runtime does not load"):
        integer_layers(str(tmp_path / "other.onnx"))


# -- the schemes say what is so -----------------------------------------------------------------------------------------------

OPERATORS = {
    "Add": "Add(a, a2)",
    "AveragePool": "AveragePool<kernel_shape = [2, 2]>(a)",
    "Concat": "Concat<axis = 1>(a, a2)",
    "GlobalAveragePool": "GlobalAveragePool(a)",
    "LeakyRelu": "LeakyRelu<alpha = 0.1>(a)",
    "Mul": "Mul(a, a2)",
    "Sigmoid": "Sigmoid(a)",
    "Softmax": "Softmax(a)",
    "Where": "Where(cond, a, a2)",
    "DepthToSpace": "DepthToSpace<blocksize = 2>(a)",
    "Expand": "Expand(a, two)",
    "Flatten": "Flatten<axis = 2>(a)",
    "Gather": "Gather<axis = 1>(a, places)",
    "GatherElements": "GatherElements<axis = 1>(a, indices)",
    "MaxPool": "MaxPool<kernel_shape = [2, 2]>(a)",
    "Reshape": "Reshape(a, shape)",
    "Resize": 'Resize<mode = "nearest">(a, , scales)',
    "Slice": "Slice(a, start, end, axis)",
    "Squeeze": "Squeeze(a, start)",
    "Tile": "Tile(a, two)",
    "Transpose": "Transpose<perm = [0, 2, 3, 1]>(a)",
    "Unsqueeze": "Unsqueeze(a, start)",
}
SHAPES = {
    "two": np.array([2, 1, 1, 1]),
    "places": np.array([0, 2]),
    "indices": np.zeros((1, 4, 6, 6), np.int64),
    "shape": np.array([1, 1, -1, 6]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "start": np.array([0]),
    "end": np.array([2]),
    "axis": np.array([1]),
    "cond": np.ones((1, 4, 6, 6), np.bool_),
}


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_operators_of_the_scheme_have_kernels(op, tmp_path):
    """Between two layers, so that integers are there and wanted."""
    behind = f"g = {CONV}(o, w)" if op in ("LeakyRelu", "Sigmoid", "Softmax") else "g = Add(o, o)"
    body = f"a = {CONV}(x, w) a2 = {CONV}(x, w) o = {OPERATORS[op]} {behind} y = Neg(g)"
    proto = picture(body, **{name: array for name, array in SHAPES.items() if name in OPERATORS[op]})
    found = layers(quantized_model(proto), tmp_path)
    assert found["o"].integer, found["o"]


def test_split_has_a_kernel(tmp_path):
    proto = picture(
        f"a = {CONV}(x, w) o, p = Split<axis = 1>(a, parts) g = Add(o, p) y = Neg(g)", parts=np.array([2, 2])
    )
    assert layers(quantized_model(proto), tmp_path)["o"].integer


def test_hard_sigmoid_is_an_add_that_saturates(tmp_path):
    proto = picture(
        f"a = {CONV}(x, w) h = HardSigmoid<alpha = 0.15, beta = 0.6>(a) m = Mul(a, h) g = {CONV}(m, w) y = Neg(g)"
    )
    after = quantized_model(proto)
    found = layers(after, tmp_path)
    assert {"Add", "Clip", "Conv", "Mul", "Neg"} == {item.op for item in found.values()}
    assert {"y"} == {name for name, item in found.items() if not item.integer}
    (feed,) = feeds_of(proto, 1)
    pairs: list[Any] = [(run(proto, feed), run(after, feed)), (run(after, feed), run_optimized(after, feed))]
    for (expected,), (actual,) in pairs:
        np.testing.assert_allclose(actual, expected, atol=0.05 * float(np.abs(expected).max()))


def test_a_normalization_behind_a_concat_is_a_convolution_of_each_channel(tmp_path):
    constants = {f"n{at}": np.linspace(0.5, 2.0 + at, 8).astype(np.float32) for at in range(4)}
    body = f"a = {CONV}(x, w) r = Relu(a) e = Concat<axis = 1>(a, r) n = BatchNormalization(e, n0, n1, n2, n3) t = Relu(n) y = Conv(t, k)"
    proto = picture(body, k=np.ones((4, 8, 1, 1), np.float32), **constants)
    after = quantized_model(proto)
    found = layers(after, tmp_path)
    assert {"Concat", "Conv", "Relu"} == {item.op for item in found.values()}
    assert all(item.integer for item in found.values())
    for feed in feeds_of(proto):
        outputs: Any = run(proto, feed), run(after, feed), run_optimized(after, feed)
        (expected,), (plain,), (fast,) = outputs
        np.testing.assert_allclose(plain, expected, atol=0.05 * float(np.abs(expected).max()))
        np.testing.assert_allclose(fast, plain, atol=0.03 * float(np.abs(expected).max()))


def test_no_operator_is_left_out():
    from graphopt.backends.onnxruntime.quantization import ARM64, X64

    assert X64.static_ops | X64.passing_ops == {
        *OPERATORS,
        "BatchNormalization",
        "Conv",
        "Gemm",
        "HardSigmoid",
        "MatMul",
        "Split",
    }
    assert ("int8", X64.static_ops) == (ARM64.activation, ARM64.static_ops)
