"""Operators whose lowering is more than a layer, beside ONNX Runtime: integers and scales, windows that are apart, fused operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.tensorrt_networks import Made, refusal
from graphopt.compiler.environment import Environment
from tests.backends.tensorrt.library import close, expected, needs_library, network_of, outputs_of
from tests.testing.test_builtin_passes import RULES, around
from tests.transforms.harness import model

pytestmark = needs_library

MICROSOFT = ', "com.microsoft" : 1'
RNG = np.random.default_rng(5)


def _f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def _scale(value=0.05):
    return np.array(value, np.float32)


STORED = {
    "as": _scale(),
    "az": np.array(120, np.uint8),
    "w": RNG.integers(-100, 100, (4, 3)).T.astype(np.int8),
    "k": RNG.integers(-100, 100, (4, 3, 2, 2)).astype(np.int8),
    "ws": RNG.uniform(0.01, 0.03, 4).astype(np.float32),
    "wz": np.zeros(4, np.int8),
    "os": _scale(0.1),
    "oz": np.array(100, np.uint8),
    "b": RNG.integers(-999, 999, 4).astype(np.int32),
}
#: Within one step of what is stored.
STEP = 0.11
READ = " y = DequantizeLinear(r, os, oz)"
WRITTEN = "q = QuantizeLinear(x, as, az) "
CASES = {
    "zero point": ("q = QuantizeLinear(x, as, az) y = DequantizeLinear(q, as, az)", "float[2,3] x", 1e-5),
    "zero point of an output": ("y = QuantizeLinear(x, as, az)", "float[2,3] x", 0.01),
    "moved bytes": ("q = QuantizeLinear(x, as, az) t = Transpose(q) y = DequantizeLinear(t, as, az)", "float[2,3] x", 1e-5),
    "bytes that come in": ("y = DequantizeLinear(x, as, az)", "uint8[2,3] x", 1e-5),
    "convolution": (WRITTEN + "r = QLinearConv(q, as, az, k, ws, wz, os, oz, b)" + READ, "float[1,3,5,6] x", STEP),
    "product": (WRITTEN + "r = QLinearMatMul(q, as, az, w, ws, wz, os, oz)" + READ, "float[2,3] x", STEP),
    "sum": (WRITTEN + "r = com.microsoft.QLinearAdd(q, as, az, q, as, az, os, oz)" + READ, "float[2,3] x", STEP),
    "as it comes": ("y = com.microsoft.DynamicQuantizeMatMul(x, w, ws, wz)", "float[2,3] x", 1e-3),
    "integers": ("q = Cast<to = 2>(x) y = MatMulInteger(q, w, az)", "int32[2,3] x", 0),
    "FastGelu": ("y = com.microsoft.FastGelu(x)", "float[2,3] x", 1e-4),
    "Gelu": ("y = com.microsoft.Gelu(x)", "float[2,3] x", 1e-4),
    "QuickGelu": ("y = com.microsoft.QuickGelu(x)", "float[2,3] x", 1e-4),
    "FusedConv": ('y = com.microsoft.FusedConv<activation = "LeakyRelu", activation_params = [0.2]>(x, f)', "float[1,3,5,6] x", 1e-4),
    "FusedGemm": ('y = com.microsoft.FusedGemm<activation = "Relu", transB = 1>(x, g)', "float[2,3] x", 1e-4),
    "FusedMatMul": ("y = com.microsoft.FusedMatMul<alpha = 0.5, transB = 1>(x, x)", "float[2,3] x", 1e-4),
    "windows apart": (
        "y, i = MaxPool<kernel_shape = [2, 3], dilations = [2, 1], pads = [1, 1, 0, 1], strides = [1, 2]>(x)",
        "float[2,3,6,7] x", 1e-6
    ),
    "places": ("y, i = MaxPool<kernel_shape = [3, 2], ceil_mode = 1, strides = [2, 2], storage_order = 1>(x)", "float[2,3,6,7] x", 1e-6),
    "mean apart": (
        "y = AveragePool<kernel_shape = [2, 2], dilations = [2, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
        "float[1,2,6,7] x", 1e-5
    ),
    "crop": (
        'y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 7.0>(x, roi, , size)',
        "float[1,1,4,5] x", 1e-4
    ),
    "antialias": ('y = Resize<mode = "linear", antialias = 1>(x, , , less)', "float[1,1,9,8] x", 1e-4),
    "ellipsis": ('y = Einsum<equation = "...ij,jk->...ik">(x, m)', "float[2,4,5,3] x", 1e-4),
    "lengths": ("y, h = GRU<hidden_size = 2, direction = \"bidirectional\">(x, gw, gr, , l)", "float[4,2,3] x", 1e-4),
    "repeats": ("s = Shape(x) y = Tile(x, s)", "float[n,m] x", 1e-6),
    "wrapped": ("c = Cast<to = 3>(x) d = Cast<to = 6>(c) y = Abs(d)", "int32[2,3] x", 0),
}  # fmt: skip
CONSTANTS = STORED | {
    "f": _f(4, 3, 2, 2),
    "g": _f(4, 3),
    "m": _f(3, 2),
    "roi": np.array([0, 0, 0.2, -0.1, 1, 1, 0.8, 1.3], np.float32),
    "size": np.array([1, 1, 3, 6]),
    "less": np.array([1, 1, 4, 5]),
    "gw": _f(2, 6, 3),
    "gr": _f(2, 6, 2),
    "l": np.array([4, 2], np.int32),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_onnx_runtime_does(name):
    body, inputs, bound = CASES[name]
    given = {key: array for key, array in CONSTANTS.items() if f" {key}," in body or f" {key})" in body}
    names = ["y", *(["i"] if "y, i" in body else ["h"] if "y, h" in body else [])]
    proto = model(
        body, inputs, ", ".join(f"float[*] {item}" for item in names), opset=19, initializers=given, imports=MICROSOFT
    )
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=item) for item in names)
    shape = [2 if size in "nm" else int(size) for size in inputs[inputs.index("[") + 1 : inputs.index("]")].split(",")]
    kind = inputs.partition("[")[0]
    x = _f(*shape) if kind == "float" else RNG.integers(0 if kind == "uint8" else -400, 250, shape)
    if name == "integers":
        x = np.abs(x) % 256
    feeds = {"x": x.astype(np.dtype(kind if kind != "float" else "float32"))}
    wanted = expected(proto, feeds)
    built = network_of(proto)
    found = outputs_of(built, feeds)
    for item, array in wanted.items():
        assert found[item].shape == array.shape
        scale = max(1.0, float(np.abs(array.astype(np.float64)).max()))
        difference = np.abs(found[item].astype(np.float64) - array.astype(np.float64)).max()
        assert difference <= bound * (scale if bound < STEP else 1), f"{item}: {difference}"
    assert not refusal(Made(built.builder, built.log, built.network), feeds)


def test_a_bytes_kernel_stays_stored():
    """So that TensorRT computes on integers: nothing decodes it on the way."""
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear<axis = 0>(k, ws, wz) y = Conv(d, w)"
    given: dict[str, Any] = STORED | {"s": _scale(), "z": np.array(0, np.int8)}
    used = {key: given[key] for key in ("s", "z", "k", "ws", "wz")}
    built = network_of(model(body, "float[1,3,5,6] x", "float[1,4,4,5] y", opset=18, initializers=used))
    kinds = [str(built.network.get_layer(place).type).rpartition(".")[2] for place in range(built.network.num_layers)]
    assert (1, 2) == (kinds.count("QUANTIZE"), kinds.count("DEQUANTIZE"))


@pytest.mark.parametrize("inner", [16, 32])
def test_packed_weights(inner):
    blocks = inner // 16
    given: dict[str, Any] = {
        "w": RNG.integers(0, 256, (3, blocks, 8)).astype(np.uint8),
        "s": RNG.uniform(0.1, 1, (3, blocks)).astype(np.float32),
    }
    body = f"y = com.microsoft.MatMulNBits<K = {inner}, N = 3, bits = 4, block_size = 16>(x, w, s)"
    proto = model(body, f"float[2,{inner}] x", "float[2,3] y", opset=21, initializers=given, imports=MICROSOFT)
    feeds = {"x": _f(2, inner)}
    built = network_of(proto)
    assert close(outputs_of(built, feeds)["y"], expected(proto, feeds)["y"])
    assert not refusal(Made(built.builder, built.log, built.network), feeds)


def test_doubles_are_told(caplog):
    proto = model("y = Add(x, x)", "double[2] x", "double[2] y", opset=18)
    network_of(proto)
    assert "2 values of double ('x' first) are kept as float: TensorRT has no double" in caplog.text


#: Passes of fusion for ONNX Runtime, and rules that make what only it has.
FUSIONS = {
    "fuse-bias-gelu": "fuse-transformer-ops",
    "fuse-conv-activation": "fuse-conv-activation",
    "fuse-embed-layer-norm": "fuse-transformer-ops",
    "fuse-operands-of-product": "fuse-transformer-ops",
    "fuse-skip-layer-norm": "fuse-skip-norms",
    "use-multi-head-attention": "fuse-microsoft-attention",
    "use-rotary-embedding": "fuse-microsoft-attention",
}


@pytest.mark.parametrize("rule", FUSIONS)
def test_what_is_fused_for_onnx_runtime_becomes_layers(rule):
    """A model that was optimized for ONNX Runtime can still be built for TensorRT."""
    for made in around(RULES[rule])[:4]:
        environment = Environment()
        fused = environment.lift(made.proto)
        environment.run_pipeline(
            fused, environment.pipeline(FUSIONS[rule], "O0"), environment.context(environment.backend("onnxruntime"))
        )
        built = network_of(fused)
        found = outputs_of(built, dict(made.feeds[0]))
        for item, array in expected(made.proto, made.feeds[0]).items():
            assert close(found[item], array, rtol=1e-3), item
