"""Weights of layers are stored as integers: what is spelled, its numbers, and what is left alone."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from graphopt.backends.onnxruntime.targets import CPU
from graphopt.ir import Constant, DType, GraphBuilder, Quantization
from graphopt.numerics import Lossy
from graphopt.passes import PassContext
from graphopt.target import Target
from graphopt.transforms.quantization.parameters import dequantized
from graphopt.transforms.quantization.weight_only import QuantizeWeights, balanced, rounded_weights
from tests.transforms.harness import assert_untouched, model, transform
from tests.transforms.quantization.numeric import constants_of, normal, results, sqnr

STEP = QuantizeWeights()
FOUR = QuantizeWeights(dtype="int4")


def optimized_ops(proto):
    """Operators of the graph that ONNX Runtime makes."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.optimized_model_filepath = os.path.join(folder, "made.onnx")
        options.log_severity_level = 4
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}


def by_hand(weights, dtype, axis, block=0, **options):
    """The weights that the integers stand for."""
    return np.asarray(dequantized(*rounded_weights(weights, dtype, axis=axis, block=block, **options)), np.float64)


@pytest.mark.parametrize(
    ("step", "dtype", "block", "opset"),
    [
        (STEP, DType.INT8, 0, 13),
        (QuantizeWeights(dtype="uint8"), DType.UINT8, 0, 13),
        (QuantizeWeights(block=16), DType.INT8, 16, 21),
        (FOUR, DType.INT4, 32, 21),
        (QuantizeWeights(dtype="uint4", symmetric=False), DType.UINT4, 32, 21),
        (QuantizeWeights(dtype="int4", block=0), DType.INT4, 0, 21),
        (QuantizeWeights(dtype="int4", block=8, symmetric=False), DType.INT4, 8, 23),
    ],
)
@pytest.mark.parametrize(
    "body", ["y = MatMul(x, w)", "y = Gemm<alpha = 0.5>(x, w, b)", "y = Gemm<transB = 1>(x, v, b)"]
)
def test_products(step, dtype, block, opset, body):
    w, b = normal(40, 12), normal(12, seed=1)
    constants = {"w": w, "v": w.T.copy(), "b": b}
    used = {name: array for name, array in constants.items() if f" {name}" in body}
    outcome = transform(model(body, "float[3,40] x", initializers=used, opset=opset), step)
    assert (
        {"store-product-weights": 1},
        ["DequantizeLinear", body.split()[2].partition("(")[0].partition("<")[0]],
    ) == (
        outcome.applied,
        outcome.ops,
    )
    stored = by_hand(
        w.T if "v" in used else w, dtype, (0 if block else 1) ^ ("v" in used), block, symmetric=step.symmetric
    )
    x = normal(3, 40, seed=2)
    expected = x.astype(np.float64) @ (stored.T if "v" in used else stored)
    expected = expected * (0.5 if "alpha" in body else 1) + (b if "b" in used else 0)
    (found,) = results(outcome.after, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("body", "inputs", "shape", "axis"),
    [
        ("y = Conv<pads = [1,1,1,1]>(x, w, b)", "float[2,3,8,8] x", (6, 3, 3, 3), 0),
        ("y = Conv<group = 3>(x, w)", "float[2,3,8,8] x", (6, 1, 3, 3), 0),
        ("y = ConvTranspose(x, w)", "float[2,3,8,8] x", (3, 6, 3, 3), 1),
        ("y = Conv(x, w)", "float[2,3,8] x", (6, 3, 1), 0),
    ],
)
def test_convolutions(body, inputs, shape, axis):
    w, b = normal(*shape), normal(6, seed=1)
    proto = model(body, inputs, initializers={"w": w, **({"b": b} if "b)" in body else {})})
    outcome = transform(proto, STEP)
    assert {"store-conv-weights": 1} == outcome.applied
    x = normal(*(2, 3, 8, 8)[: len(shape)], seed=2)
    _stored, how = rounded_weights(w, DType.INT8, axis=axis)
    kernel = tuple(range(2, w.ndim))
    stored = balanced(w, how, kernel) if w.shape[2:] != (1,) else _stored
    rounded = np.asarray(dequantized(stored, how), np.float32)
    same = model(body, inputs, initializers={"w": rounded, **({"b": b} if "b)" in body else {})})
    (expected,), (found,) = results(same, {"x": x}), results(outcome.after, {"x": x})
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert_untouched(proto, FOUR)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("shape", [(20, 6), (20, 2, 3)])
def test_tables(dtype, symmetric, shape):
    """Only the rows that are looked up become floats; negative places count from the end."""
    table = normal(*shape)
    proto = model("y = Gather(w, i)", "int64[2,n] i", initializers={"w": table})
    outcome = transform(proto, QuantizeWeights(dtype=dtype, symmetric=symmetric))
    assert {"store-table": 1} == outcome.applied
    assert "DequantizeLinear" not in outcome.ops
    places = np.array([[0, 19, -1], [5, -20, 7]])
    (found,) = results(outcome.after, {"i": places})
    expected = by_hand(table, DType[dtype.upper()], 0, symmetric=symmetric)[places]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_tables_of_four_bits_where_the_target_has_the_kernel(dtype, symmetric):
    table = normal(20, 64)
    step = QuantizeWeights(dtype=dtype, symmetric=symmetric)
    proto = model("y = Gather(w, i)", "int64[2,n] i", initializers={"w": table})
    outcome = transform(proto, step, target=CPU)
    assert ["com.microsoft::GatherBlockQuantized"] == outcome.ops
    places = np.array([[0, 19, -1], [5, -20, 7]])
    (found,) = results(outcome.after, {"i": places})
    expected = by_hand(table, DType[dtype.upper()], 1, 32, symmetric=symmetric)[places]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert_untouched(proto, step)


def test_tables_that_stay():
    table = {"w": normal(20, 64)}
    for body in ("y = Gather<axis = 1>(w, i)", "t = Transpose(w) a = Gather(w, i) y = MatMul(a, t)"):
        assert_untouched(model(body, "int64[n] i", initializers=table), STEP)
    assert_untouched(model("y = Gather(x, i)", "float[4,4] x, int64[n] i"), STEP)
    assert_untouched(model("y = Gather(w, i)", "int64[n] i", initializers={"w": normal(20)}), STEP)
    for block in (8, 24):
        outcome = transform(
            model("y = Gather(w, i)", "int64[n] i", initializers=table),
            QuantizeWeights(dtype="int4", block=block),
            target=CPU,
        )
        assert {} == outcome.applied


def test_a_shared_weight_is_stored_once():
    """By all products that read it the same way, also in a branch of its own."""
    body = "a = MatMul(x, w) b = MatMul(x, w) y = Add(a, b)"
    outcome = transform(model(body, "float[3,8] x", initializers={"w": normal(8, 4)}), STEP)
    assert ["DequantizeLinear", "MatMul", "MatMul", "Add"] == outcome.ops
    first, second = "t () => (float[3,4] p) { p = MatMul(x, w) }", "e () => (float[3,4] q) { q = MatMul(x, w) }"
    proto = model(
        f"y = If (c) <then_branch = {first}, else_branch = {second}>",
        "float[3,8] x, bool c",
        "float[3,4] y",
        initializers={"w": normal(8, 4)},
    )
    outcome = transform(proto, STEP)
    assert {"store-product-weights": 2} == outcome.applied
    x = normal(3, 8, seed=1)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 35


def test_halves():
    """Scales are halves too, from opset 19 on."""
    w = normal(32, 8).astype(np.float16)
    proto = model("y = MatMul(x, w)", "float16[3,32] x", "float16[3,8] y", initializers={"w": w}, opset=19)
    outcome = transform(proto, STEP)
    assert {"store-product-weights": 1} == outcome.applied
    x = normal(3, 32, seed=1).astype(np.float16)
    assert sqnr(results(proto, {"x": x})[0], results(outcome.after, {"x": x})[0]) > 38
    assert_untouched(
        model("y = MatMul(x, w)", "float16[3,32] x", "float16[3,8] y", initializers={"w": w}, opset=18), STEP
    )


@pytest.mark.parametrize(
    ("body", "inputs", "opset", "step"),
    [
        ("y = MatMul(x, w)", "float[3,8] x", 12, STEP),  # no scales for channels yet
        ("y = MatMul(x, w)", "float[3,8] x", 20, FOUR),
        ("y = MatMul(x, w)", "float[3,8] x", 20, QuantizeWeights(block=16)),
        ("y = MatMul(x, w)", "float[3,8] x, float[8,4] w", 21, STEP),
        ("y = MatMul(x, v)", "float[3,8] x, float[8,4] v", 21, STEP),
        ("y = MatMul(x, n)", "float[3,8] x", 21, STEP),
        ("y = MatMul(x, d)", "double[3,8] x", 21, STEP),
        ("y = MatMul(x, t)", "float[3,8] x", 21, STEP),
        ("y = MatMul(w, x)", "float[4,8] x", 21, STEP),
        ("y = MatMul(x, w)", "float[3,8] x", 21, QuantizeWeights(include=("op:Conv",))),
        ("y = MatMul(x, w)", "float[3,8] x", 21, QuantizeWeights(exclude=("y",))),
        ("y = Conv(x, v)", "float[1,2,3] x, float[2,2,1] v", 21, STEP),
    ],
)
def test_left_alone(body, inputs, opset, step):
    w = normal(8, 4)
    constants = {"w": w, "n": np.where(w > 1, np.float32(np.inf), w), "d": w.astype(np.float64), "t": normal(1, 8, 4)}
    read = body.partition("(")[2].rstrip(")").split(", ")
    used = {name: array for name, array in constants.items() if name in read}
    assert_untouched(model(body, inputs, initializers=used, opset=opset), step)


def test_targets_without_the_operator():
    proto = model("y = MatMul(x, w)", "float[3,8] x", initializers={"w": normal(8, 4)})
    assert {} == transform(proto, STEP, target=Target("bare", unsupported=frozenset({"DequantizeLinear"}))).applied


@pytest.mark.parametrize("dtype", [DType.INT4, DType.UINT8])
def test_parameters_that_a_weight_has_already_are_kept(dtype):
    """Whatever the pass is told: the numbers stand on that grid."""
    grid = np.random.default_rng(0).integers(0, 8, (8, 4))
    scale, zero = np.array([[0.5], [0.25]], np.float32), np.full((2, 1), 3, dtype.numpy)
    spread = np.broadcast_to(scale, (2, 4))
    how = Quantization(dtype, Constant(np.array(spread)), Constant(np.broadcast_to(zero, (2, 4)).copy()), 0, 4)
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [2, 8])
    w = b.constant(((grid - 3) * np.repeat(spread, 4, axis=0)).astype(np.float32), "w")
    w.quantization = how
    b.output(b.MatMul(x, w), "y", DType.FLOAT, [2, 4])
    made = b.build()
    assert STEP.run(made.graph, PassContext()).changed
    (weight,) = [item for item in constants_of(made, dtype) if item.shape == (8, 4)]
    assert (grid == weight.numpy().astype(int)).all()
    (node,) = [node for node in made.graph.nodes if node.op == "DequantizeLinear"]
    assert (0, 4) == (node.int_attr("axis"), node.int_attr("block_size"))


def test_it_is_declared_lossy():
    assert isinstance(STEP.declared_numerics, Lossy)


@pytest.mark.parametrize(("step", "version"), [(STEP, 9), (FOUR, 10)])
def test_files_of_four_bits_have_a_version_that_knows_them(step, version):
    proto = model("y = MatMul(x, w)", "float[3,8] x", initializers={"w": normal(8, 4)}, opset=21, ir_version=9)
    assert version == transform(proto, step).after.ir_version


def test_integers_that_are_cast_and_scaled_are_kept():
    """By products and by tables, without rounding them a second time."""
    rng = np.random.default_rng(0)
    q, t = rng.integers(-127, 128, (8, 4), np.int8), rng.integers(-127, 128, (20, 8), np.int8)
    body = "e = Cast<to = 1>(t) g = Mul(e, r) x = Gather(g, i) f = Cast<to = 1>(q) w = Mul(f, s) y = MatMul(x, w)"
    constants = {"q": q, "t": t, "s": np.abs(normal(1, 4)), "r": np.abs(normal(20, 1))}
    proto = model(body, "int64[3] i", initializers=constants)
    outcome = transform(proto, STEP)
    assert {"store-product-weights": 1, "store-table": 1} == outcome.applied
    assert ["DequantizeLinear", "Gather", "Cast", "Gather", "Mul", "MatMul"] == outcome.ops
    feeds = {"i": np.array([0, 7, -1])}
    np.testing.assert_allclose(results(outcome.after, feeds)[0], results(proto, feeds)[0], rtol=1e-5, atol=1e-3)
    assert sorted([q.tolist(), t.tolist()]) == sorted(
        item.numpy().tolist() for item in constants_of(outcome.ir, DType.INT8)
    )


def test_one_scale_for_a_whole_table():
    t = np.random.default_rng(0).integers(-127, 128, (20, 8), np.int8)
    proto = model(
        "e = Cast<to = 1>(t) g = Mul(e, r) y = Gather(g, i)",
        "int64[3] i",
        initializers={"t": t, "r": np.array(0.1, np.float32)},
    )
    outcome = transform(proto, STEP)
    assert {"store-table": 1} == outcome.applied
    feeds = {"i": np.array([0, 7, -1])}
    np.testing.assert_allclose(results(outcome.after, feeds)[0], results(proto, feeds)[0], rtol=1e-6)


def test_integers_of_eight_bits_become_ones_of_four_where_that_is_asked_for():
    q = np.random.default_rng(0).integers(-127, 128, (64, 4), np.int8)
    body = "f = Cast<to = 1>(q) w = Mul(f, s) y = MatMul(x, w)"
    proto = model(body, "float[3,64] x", initializers={"q": q, "s": np.abs(normal(1, 4))})
    outcome = transform(proto, FOUR)
    (weight,) = constants_of(outcome.ir, DType.INT4)
    assert (64, 4) == weight.shape
    feeds = {"x": normal(3, 64, seed=1)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 15


# -- spelled as products ------------------------------------------------------------------------------------------------------------

PRODUCT = QuantizeWeights(spelling="multiply")
WIDE = QuantizeWeights(spelling="multiply", dtype="int16")


@pytest.mark.parametrize("step", [PRODUCT, WIDE])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("body", "inputs", "shape"),
    [
        ("y = MatMul(x, w)", "float[3,40] x", (40, 12)),
        ("y = Gemm<transB = 1>(x, w)", "float[3,40] x", (12, 40)),
        ("y = Conv<pads = [1,1,1,1]>(x, w)", "float[2,3,8,8] x", (6, 3, 3, 3)),
        ("y = ConvTranspose(x, w)", "float[2,3,8,8] x", (3, 6, 3, 3)),
    ],
)
def test_a_product_in_the_place_of_dequantize(step, opset, body, inputs, shape):
    proto = model(body, inputs, initializers={"w": normal(*shape)}, opset=opset)
    outcome = transform(proto, step)
    assert ["Cast", "Mul", body.split()[2].partition("(")[0].partition("<")[0]] == outcome.ops
    feeds = {"x": normal(*((3, 40) if len(shape) == 2 else (2, 3, 8, 8)), seed=2)}
    found = sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0])
    assert found > (80 if step is WIDE else 35)
    assert_untouched(outcome.after, step)


def test_the_floats_are_those_of_dequantize():
    proto = model("y = MatMul(x, w)", "float[3,40] x", initializers={"w": normal(40, 12)})
    feeds = {"x": normal(3, 40, seed=2)}
    (product,), (decoded,) = (results(transform(proto, step).after, feeds) for step in (PRODUCT, STEP))
    np.testing.assert_array_equal(product, decoded)


def test_blocks_and_zero_points_stay_with_dequantize():
    for step in (
        QuantizeWeights(spelling="multiply", block=8),
        QuantizeWeights(spelling="multiply", dtype="uint8", symmetric=False),
    ):
        proto = model("y = MatMul(x, w)", "float[3,40] x", initializers={"w": normal(40, 12)}, opset=21)
        assert ["DequantizeLinear", "MatMul"] == transform(proto, step).ops


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_weights(op, direction):
    gates, count = (4 if op == "LSTM" else 3) * 8, 2 if direction == "bidirectional" else 1
    weights = {"w": normal(count, gates, 6), "r": normal(count, gates, 8, seed=1)}
    body = f'y = {op}<hidden_size = 8, direction = "{direction}">(x, w, r)'
    proto = model(body, "float[5,2,6] x", initializers=weights, opset=17)
    outcome = transform(proto, STEP)
    assert {"store-recurrent-weights": 1} == outcome.applied
    assert ["Cast", "Mul", "Cast", "Mul", op] == outcome.ops
    feeds = {"x": normal(5, 2, 6, seed=2)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 30
    assert_untouched(outcome.after, STEP)
    assert_untouched(proto, QuantizeWeights(dtype="uint8"))


def test_onnx_runtime_folds_the_product():
    """What it runs then is the layer alone, and no weight is decoded again and again."""
    proto = model("y = Conv(x, w)", "float[2,3,8,8] x", initializers={"w": normal(16, 3, 3, 3)})
    after = transform(proto, PRODUCT).after
    assert "Mul" not in optimized_ops(after)
    assert "DequantizeLinear" in optimized_ops(transform(proto, STEP).after)
