"""Outlying columns are multiplied apart: which ones, that nothing else changes, and what it is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.errors import CalibrationError
from graphopt.ir import Array, Constant, DType, GraphBuilder, Model, Quantization
from graphopt.passes import Observer, PassContext, PassResult, Range
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.quantization.dynamic import QuantizeDynamic, SplitOutliers, outlying_columns
from graphopt.transforms.quantization.weight_only import QuantizeWeights
from tests.transforms.harness import model, run
from tests.transforms.quantization.numeric import Floats, constants_of, normal, results, sqnr

STEP = SplitOutliers()
WIDTH = 64


@dataclass
class Shown:
    """Shows what is fed; runs models by ONNX Runtime with these tensors as outputs."""

    batches: Sequence[Mapping[str, Array]]

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        for batch in self.batches:
            for name, observer in observers.items():
                observer.observe(batch[name])
        return len(self.batches)

    def ranges(self, model: Model, names: Sequence[str]) -> Mapping[str, Range]:
        return {}

    def forget(self, name: str) -> None:
        pass


def outlying(rows: int = 5, columns: Sequence[int] = (7, 40), size: float = 30, seed: int = 1) -> Floats:
    """Normal numbers, with a few columns that are far larger."""
    x = normal(rows, WIDTH, seed=seed)
    x[:, list(columns)] *= np.float32(size)
    return x


def split(proto, x: Floats, step: SplitOutliers = STEP) -> tuple[Model, PassResult]:
    """The model after one run of the pass; a second one changes nothing."""
    ir, types = lift_model(proto), OnnxTypes()
    types.infer_model(ir)
    ctx = PassContext(types=types, calibration=Shown([{"x": x}]))
    result = step.run(ir.graph, ctx)
    assert not step.run(ir.graph, ctx).changed
    return ir, result


@pytest.mark.parametrize(
    "body",
    ["y = MatMul(x, w)", "y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", "y = Gemm<transB = 1, alpha = 3.0>(x, v, b)"],
)
def test_numbers_stay(body):
    w = normal(WIDTH, 8)
    constants = {"w": w, "v": w.T.copy(), "b": normal(8, seed=2)}
    proto = model(body, f"float[5,{WIDTH}] x", initializers={k: a for k, a in constants.items() if f" {k}" in body})
    x = outlying()
    ir, result = split(proto, x)
    assert {"layers": 1, "columns": 2} == result.stats
    assert ["Mul", "Gather", body.split()[2].partition("(")[0].partition("<")[0], "MatMul", "Add"] == sorted(
        (node.op for node in ir.graph.nodes), key=["Mul", "Gather", "Gemm", "MatMul", "Add"].index
    )
    (expected,), (found,) = results(proto, {"x": x}), results(emit_model(ir), {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("a = MatMul(x, w) y = Add(a, b)", ["MatMul", "Add", "MatMul", "Add"]),
        ("a = MatMul(x, w) y = Add(b, a)", ["MatMul", "Add", "MatMul", "Add"]),
        ("a = MatMul(x, w) y = Add(a, a)", ["MatMul", "MatMul", "Add", "Add"]),
        ("a = MatMul(x, w) c = Add(a, b) y = Mul(a, c)", ["MatMul", "MatMul", "Add", "Add", "Mul"]),
    ],
)
def test_a_bias_stays_next_to_its_product(body, ops):
    """So that runtimes make one kernel of both."""
    proto = model(
        body,
        f"float[5,{WIDTH}] x",
        initializers={"w": normal(WIDTH, 8), **({"b": normal(8, seed=2)} if "b" in body else {})},
    )
    x = outlying()
    ir, result = split(proto, x)
    assert ({"layers": 1, "columns": 2}, ops) == (result.stats, [node.op for node in ir.graph.nodes][2:])
    (expected,), (found,) = results(proto, {"x": x}), results(emit_model(ir), {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 * float(np.abs(expected).max()))


def test_it_is_good_for_dynamic_products():
    """By ten and more decibels; the columns that were split off stay floats."""
    proto = model("y = MatMul(x, w)", f"float[5,{WIDTH}] x", initializers={"w": normal(WIDTH, 8)})
    x = outlying()
    (expected,) = results(proto, {"x": x})
    quality = []
    for steps in ([], [STEP]):
        ir, types = lift_model(proto), OnnxTypes()
        types.infer_model(ir)
        ctx = PassContext(types=types, calibration=Shown([{"x": x}]))
        for step in (*steps, QuantizeDynamic(), QuantizeWeights()):
            step.run(ir.graph, ctx)
        assert ["MatMul"] * len(steps) == [
            node.op for node in ir.graph.nodes if node.op in ("MatMul", "DequantizeLinear")
        ]
        rest = expected - x[:, [7, 40]].astype(np.float64) @ normal(WIDTH, 8)[[7, 40]]
        error = results(emit_model(ir), {"x": x})[0] - expected
        quality.append(sqnr(rest, rest + error))
    assert quality[1] > quality[0] + 10
    assert quality[1] > 35


def test_layers_that_read_one_activation_share_its_halves():
    body = "q = MatMul(x, w) k = MatMul(x, v) y = Add(q, k)"
    proto = model(body, f"float[5,{WIDTH}] x", initializers={"w": normal(WIDTH, 8), "v": normal(WIDTH, 8, seed=1)})
    ir, result = split(proto, outlying())
    ops = [node.op for node in ir.graph.nodes]
    assert ({"layers": 2, "columns": 4}, 1, 1, 4) == (
        result.stats,
        ops.count("Mul"),
        ops.count("Gather"),
        ops.count("MatMul"),
    )


@pytest.mark.parametrize(
    ("x", "step"),
    [
        (normal(5, WIDTH), STEP),
        (outlying(size=2), STEP),
        (outlying(columns=range(0, WIDTH, 4)), STEP),
        (outlying(), SplitOutliers(most=1)),
        (outlying(), SplitOutliers(least=40)),
        (outlying(), SplitOutliers(exclude=("op:MatMul",))),
        (np.zeros((5, WIDTH), np.float32), STEP),
    ],
)
def test_where_nothing_is_gained(x, step):
    proto = model("y = MatMul(x, w)", f"float[5,{WIDTH}] x", initializers={"w": normal(WIDTH, 8)})
    assert not split(proto, x, step)[1].changed


@pytest.mark.parametrize("body", ["y = MatMul(x, x)", "y = Relu(x)"])
def test_what_can_not_be_dynamic(body):
    assert not split(model(body, f"float[{WIDTH},{WIDTH}] x"), outlying(WIDTH))[1].changed


def test_data_is_needed():
    proto = model("y = MatMul(x, w)", f"float[5,{WIDTH}] x", initializers={"w": normal(WIDTH, 8)})
    with pytest.raises(CalibrationError, match="split-outliers: there is no data to see what 1 layers read"):
        STEP.run(lift_typed(proto).graph, PassContext(types=OnnxTypes()))
    assert not STEP.run(lift_typed(model("y = Relu(x)")).graph, PassContext(types=OnnxTypes())).changed


def lift_typed(proto) -> Model:
    ir = lift_model(proto)
    OnnxTypes().infer_model(ir)
    return ir


def test_stored_integers_stay_what_they_are():
    grid = np.random.default_rng(0).integers(-127, 128, (WIDTH, 4)).astype(np.int8)
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [5, WIDTH])
    w = b.constant(grid.astype(np.float32) * np.float32(0.25), "w")
    w.quantization = Quantization(DType.INT8, Constant(np.full(4, 0.25, np.float32)), Constant(np.zeros(4, np.int8)), 1)
    b.output(b.MatMul(x, w), "y", DType.FLOAT, [5, 4])
    made = b.build()
    OnnxTypes().infer_model(made)
    ctx = PassContext(types=OnnxTypes(), calibration=Shown([{"x": outlying()}]))
    assert STEP.run(made.graph, ctx).changed
    assert QuantizeDynamic().run(made.graph, ctx).changed
    (weight,) = constants_of(made, DType.INT8)
    grid[[7, 40]] = 0
    assert (grid == weight.numpy()).all()


def test_names_and_types_stay():
    proto = model("y = MatMul(x, w)", f"float[5,{WIDTH}] x", initializers={"w": normal(WIDTH, 8)})
    ir, _result = split(proto, outlying())
    assert ["y"] == [value.name for value in ir.graph.outputs]
    assert all(value.type is not None for node in ir.graph.nodes for value in node.outputs)
    assert (5, 8) == run(emit_model(ir), {"x": outlying()})[0].shape


@pytest.mark.parametrize(
    ("high", "most", "least", "expected"),
    [
        ([1, 1, 10, 1], 2, 6, [2]),
        ([1, 8, 10, 1], 2, 6, [1, 2]),
        ([1, 8, 10, 1], 1, 6, []),
        ([1, 1, 1, 1], 3, 1, []),
        ([0, 0, 5, 0], 2, 6, []),  # nothing is left of the others
        ([1, 1, 1.9, 1], 2, 6, []),
        ([1, 2.1, 10, 1], 3, 6, [1, 2]),
        ([1, 1.05, 10, 1], 3, 6, [2]),
    ],
)
def test_columns(high, most, least, expected):
    found, gain = outlying_columns(np.zeros(4), np.array(high, np.float64), most=most, least=least)
    assert expected == found
    assert (gain >= least) == bool(found)
