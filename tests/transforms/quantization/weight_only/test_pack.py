"""Stored weights are packed for MatMulNBits: the layout, and the numbers of both forms in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends.onnxruntime.targets import CPU
from graphopt.transforms.quantization.weight_only import PackMatmulNbits, QuantizeWeights
from graphopt.transforms.quantization.weight_only.nbits import pack_matrix
from tests.transforms.harness import PROPERTY, assert_untouched, model, transform
from tests.transforms.quantization.numeric import normal, results, sqnr

EXACT = PackMatmulNbits(accuracy_level=0)
NBITS = "com.microsoft::MatMulNBits"


@PROPERTY
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 9),
    dtype=st.sampled_from(["int8", "uint8", "int4", "uint4"]),
    block=st.sampled_from([0, 16, 32, 64]),
    symmetric=st.booleans(),
    transposed=st.booleans(),
    lead=st.sampled_from([(1,), (3,), (2, 3)]),
)
def test_both_forms_give_the_same_numbers(rows, columns, dtype, block, symmetric, transposed, lead):
    """Any size, also where the last block is short, columns are odd, and zero points are half a byte each."""
    w = normal(rows, columns)
    transposed = transposed and len(lead) == 1
    body = "y = Gemm<transB = 1, alpha = 2.0>(x, w)" if transposed else "y = MatMul(x, w)"
    shape = ",".join(map(str, (*lead, rows)))
    proto = model(body, f"float[{shape}] x", initializers={"w": w.T.copy() if transposed else w})
    stored = transform(proto, QuantizeWeights(dtype=dtype, block=block, symmetric=symmetric)).after
    packed = transform(stored, EXACT, target=CPU)
    assert [NBITS] == packed.ops
    x = normal(*lead, rows, seed=1)
    (expected,), (found,) = results(stored, {"x": x}), results(packed.after, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_integer_sums_are_near(dtype):
    """Activations are stored by 8 bits in blocks: 40 dB, whatever the weights have."""
    proto = model("y = MatMul(x, w)", "float[5,200] x", initializers={"w": normal(200, 40)})
    stored = transform(proto, QuantizeWeights(dtype=dtype)).after
    packed = transform(stored, PackMatmulNbits(), target=CPU)
    x = normal(5, 200, seed=1)
    (node,) = packed.ir.graph.nodes
    assert 4 == node.int_attr("accuracy_level")
    assert sqnr(results(stored, {"x": x})[0], results(packed.after, {"x": x})[0]) > 38


@pytest.mark.parametrize(
    ("body", "constants", "ops"),
    [
        ("a = MatMul(x, w) y = Add(a, b)", {"b": normal(6, seed=3)}, [NBITS]),
        ("a = MatMul(x, w) y = Add(b, a)", {"b": normal(6, seed=3)}, [NBITS]),
        ("y = Gemm<beta = 0.5>(x, w, b)", {"b": normal(1, 6, seed=3)}, [NBITS]),
        ("y = Gemm(x, w, b)", {"b": normal(seed=3)}, [NBITS]),
        ("a = MatMul(x, w) y = Add(a, b)", {"b": normal(5, 6, seed=3)}, [NBITS, "Add"]),
        (
            "a = MatMul(x, w) c = Add(a, b) d = Neg(a) y = Add(c, d)",
            {"b": normal(6, seed=3)},
            [NBITS, "Add", "Neg", "Add"],
        ),
        ("a = MatMul(x, w) c = Add(a, b) y = Add(c, b)", {"b": normal(6, seed=3)}, [NBITS, "Add"]),
    ],
)
def test_biases(body, constants, ops):
    proto = model(body, "float[5,32] x", initializers={"w": normal(32, 6), **constants})
    stored = transform(proto, QuantizeWeights()).after
    packed = transform(stored, EXACT, target=CPU)
    assert ops == packed.ops
    x = normal(5, 32, seed=1)
    np.testing.assert_allclose(results(packed.after, {"x": x})[0], results(stored, {"x": x})[0], atol=1e-4)


def test_halves():
    w = normal(32, 8).astype(np.float16)
    proto = model("y = MatMul(x, w)", "float16[3,32] x", "float16[3,8] y", initializers={"w": w})
    stored = transform(proto, QuantizeWeights(dtype="int4")).after
    packed = transform(stored, EXACT, target=CPU)
    assert [NBITS] == packed.ops
    x = normal(3, 32, seed=1).astype(np.float16)
    assert sqnr(results(stored, {"x": x})[0], results(packed.after, {"x": x})[0]) > 50


def test_layout():
    """Two numbers of 4 bits in a byte, the first in the low half; columns one after the other; padded with zero points."""
    numbers = np.arange(17 * 2).reshape(17, 2) % 16
    zeros = np.array([[1, 8], [2, 8]])
    packed = pack_matrix(numbers, np.ones((2, 2), np.float32), zeros, bits=4, block=16, is_signed=False)
    assert (2, 2, 8) == packed.weight.shape
    assert numbers[0, 0] | numbers[1, 0] << 4 == packed.weight[0, 0, 0]
    assert numbers[16, 1] | 8 << 4 == packed.weight[1, 1, 0]
    assert 2 | 2 << 4 == packed.weight[0, 1, 1]
    assert packed.zero_point is not None
    assert [[1 | 2 << 4], [8 | 8 << 4]] == packed.zero_point.tolist()


DQ = "d = DequantizeLinear<axis = 0, block_size = 16>(w, s) "


@pytest.mark.parametrize(
    ("body", "inputs", "constants"),
    [
        ("y = MatMul(x, w)", "float[3,32] x", {"w": normal(32, 4)}),
        ("d = DequantizeLinear(w, s) y = MatMul(x, d)", "float[3,32] x, float s", {"w": np.ones((32, 4), np.int8)}),
        ("d = DequantizeLinear(w, s) y = MatMul(x, d)", "float[3,32] x, int8[32,4] w", {"s": np.float32(1)}),
        (
            "d = DequantizeLinear(w, s) y = MatMul(x, d)",
            "float[3,32] x",
            {"w": np.ones((32, 4), np.int32), "s": np.float32(1)},
        ),
        (
            "d = DequantizeLinear(w, s) y = MatMul(x, d)",
            "float[32] x",
            {"w": np.ones((32, 4), np.int8), "s": np.float32(1)},
        ),
        (
            "d = DequantizeLinear(w, s) y = MatMul(d, x)",
            "float[4,3] x",
            {"w": np.ones((32, 4), np.int8), "s": np.float32(1)},
        ),
        (
            "d = DequantizeLinear<axis = 0>(w, s) y = MatMul(x, d)",
            "float[3,4] x",
            {"w": np.ones((4, 4), np.int8), "s": normal(4)},
        ),
        (
            "d = DequantizeLinear<axis = 0, block_size = 8>(w, s) y = MatMul(x, d)",
            "float[3,32] x",
            {"w": np.ones((32, 4), np.int8), "s": normal(4, 4)},
        ),
        (
            "d = DequantizeLinear<axis = 1, block_size = 16>(w, s) y = MatMul(x, d)",
            "float[3,4] x",
            {"w": np.ones((4, 32), np.int8), "s": normal(4, 2)},
        ),
        (
            DQ + "a = QuantizeLinear(x, t) b = DequantizeLinear(a, t) y = MatMul(b, d)",
            "float[3,32] x",
            {"w": np.ones((32, 4), np.int8), "s": normal(2, 4), "t": np.float32(0.1)},
        ),
        (DQ + "y = Gemm<transA = 1>(x, d)", "float[32,3] x", {"w": np.ones((32, 4), np.int8), "s": normal(2, 4)}),
        (DQ + "y = Gemm(x, d, c)", "float[3,32] x, float[4] c", {"w": np.ones((32, 4), np.int8), "s": normal(2, 4)}),
        (
            DQ + "y = Gemm(x, d, c)",
            "float[3,32] x",
            {"w": np.ones((32, 4), np.int8), "s": normal(2, 4), "c": normal(3, 1)},
        ),
    ],
)
def test_left_alone(body, inputs, constants):
    proto = model(body, inputs, initializers=constants)
    assert {} == transform(proto, PackMatmulNbits(), target=CPU).applied
    assert_untouched(proto, PackMatmulNbits())


def test_only_where_the_target_has_the_kernel_and_the_layer_is_meant():
    proto = model("y = MatMul(x, w)", "float[3,32] x", initializers={"w": normal(32, 8)})
    stored = transform(proto, QuantizeWeights()).after
    assert_untouched(stored, PackMatmulNbits())
    assert {} == transform(stored, PackMatmulNbits(exclude=("op:MatMul",)), target=CPU).applied
