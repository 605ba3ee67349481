"""Biases take back what rounding adds to means."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.errors import CalibrationError, PipelineError
from graphopt.ir import DType
from graphopt.serde import emit_model
from graphopt.transforms.quantization.accuracy import CorrectBiases
from graphopt.transforms.quantization.static import AssignQuantization, InsertQdq
from tests.transforms.harness import model, run
from tests.transforms.quantization.accuracy.calibrated import Floats, batches, carried_out, context

ASSIGN = AssignQuantization(activation="uint8", per_channel=False)


def random(*shape: int, seed: int = 1) -> Floats:
    """Weights; some channels are much smaller than others, so that rounding all with one scale moves their means."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * 10 ** rng.uniform(-2, 0, (shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)


def shift(proto: ModelProto, other: ModelProto, feeds: list[dict[str, Floats]], axis: int = 1) -> float:
    """Largest difference of the means of output channels."""
    gaps = [run(other, feed)[0].astype(np.float64) - run(proto, feed)[0].astype(np.float64) for feed in feeds]
    gap = np.concatenate(gaps)
    return float(np.abs(gap.mean(axis=tuple(at for at in range(gap.ndim) if at != axis))).max())


LAYERS = {
    "conv": ("y = Conv<pads=[1,1,1,1]>(x, w, b)", "float[2,6,8,8] x", {"w": random(4, 6, 3, 3), "b": random(4)}),
    "conv without": ("y = Conv(x, w)", "float[2,6,8,8] x", {"w": random(4, 6, 3, 3)}),
    "depthwise": ("y = Conv<group=6>(x, w, b)", "float[2,6,8,8] x", {"w": random(6, 1, 3, 3), "b": random(6)}),
    "gemm": (
        "y = Gemm<transB=1>(x, w, b)",
        "float[40,6] x",
        {"w": random(4, 6), "b": random(4)},
    ),
    "matmul": ("h = MatMul(x, w)\ny = Add(b, h)", "float[40,6] x", {"w": random(6, 4), "b": random(4)}),
    "two": (
        "h = Conv(x, w, b)\nr = Relu(h)\ny = Conv<pads=[1,1,1,1]>(r, w2, b2)",
        "float[2,6,8,8] x",
        {"w": random(8, 6, 1, 1), "b": random(8), "w2": random(4, 8, 3, 3, seed=2), "b2": random(4)},
    ),
}


@pytest.mark.parametrize("method", ["analytic", "measured"])
@pytest.mark.parametrize("kind", LAYERS)
def test_means_of_outputs_come_back(kind: str, method: str) -> None:
    """The largest shift of a channel shrinks; with one layer, to what rounding of the bias and the output leaves."""
    body, inputs, initializers = LAYERS[kind]
    proto = model(body, inputs, initializers=initializers)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    feeds = batches(*shape, count=5)
    plain, _ = carried_out(proto, feeds, ASSIGN, InsertQdq())
    made, [_, result, _] = carried_out(proto, feeds, ASSIGN, CorrectBiases(method=method), InsertQdq())
    before, after = shift(proto, emit_model(plain), feeds), shift(proto, emit_model(made), feeds)
    assert after < before / (2 if method == "measured" or kind != "two" else 1)
    assert result.stats["layers"] == (2 if kind == "two" else 1)
    assert result.stats["mean_shift"] >= 1
    assert [node.op for node in made.graph.nodes].count("DequantizeLinear") >= [
        node.op for node in plain.graph.nodes
    ].count("DequantizeLinear")


def test_a_new_bias_is_stored_as_integers() -> None:
    """The layer gets all that an integer kernel wants."""
    body, inputs, initializers = LAYERS["conv without"]
    proto = model(body, inputs, initializers=initializers)
    made, _ = carried_out(proto, batches(2, 6, 8, 8), ASSIGN, CorrectBiases())
    conv = next(node for node in made.graph.nodes if node.op == "Conv")
    bias = conv.inputs[2]
    assert bias is not None
    assert bias.quantization is not None
    assert bias.quantization.dtype is DType.INT32


@pytest.mark.parametrize(
    ("body", "initializers"),
    [
        ("y = MatMul(x, w)", {"w": random(6, 4)}),
        ("h = MatMul(x, w)\ny = Add(h, b)", {"w": random(6, 4), "b": random(40, 4)}),
        ("h = MatMul(x, w)\nr = Relu(h)\ny = Add(h, r)", {"w": random(6, 4)}),
        ("y = Gemm<alpha=2.0>(x, w, b)", {"w": random(6, 4), "b": random(4)}),
        ("y = Gemm<beta=0.0>(x, w, b)", {"w": random(6, 4), "b": random(4)}),
        ("y = Relu(x)", {}),
    ],
)
def test_layers_without_a_place_for_a_bias_stay(body: str, initializers: dict[str, Floats]) -> None:
    """Nothing is added to the product, or not one number for each channel."""
    proto = model(body, "float[40,6] x", initializers=initializers)
    _, [_, result] = carried_out(proto, batches(40, 6), ASSIGN, CorrectBiases())
    assert not result.changed


def test_a_bias_of_others_is_not_touched() -> None:
    """The layer reads a copy from then on."""
    proto = model(
        "h = Conv(x, w, b)\nr = Sin(b)\nc = Conv(x, w, r)\ny = Add(h, c)",
        "float[2,6,8,8] x",
        initializers={"w": random(4, 6, 1, 1), "b": random(4)},
    )
    made, _ = carried_out(proto, batches(2, 6, 8, 8), ASSIGN, CorrectBiases())
    sin = next(node for node in made.graph.nodes if node.op == "Sin")
    assert sin.inputs[0] is not None
    assert np.array_equal(sin.inputs[0].array(), LAYERS["conv"][2]["b"])  # type: ignore[arg-type]


def test_constant_data_and_dead_channels_are_safe() -> None:
    """Zeros as inputs and as weights."""
    weights = random(4, 6, 1, 1)
    weights[2] = 0
    proto = model("y = Conv(x, w, b)", "float[1,6,4,4] x", initializers={"w": weights, "b": random(4)})
    zeros = [{"x": np.zeros((1, 6, 4, 4), np.float32)}]
    made, _ = carried_out(proto, zeros, ASSIGN, CorrectBiases(), CorrectBiases(method="measured"), InsertQdq())
    assert shift(proto, emit_model(made), zeros) < 0.02


def test_few_runs_correct_layers_at_equal_distances() -> None:
    """The last one among them, so that outputs come back all the same."""
    body, inputs, initializers = LAYERS["two"]
    proto = model(body, inputs, initializers=initializers)
    feeds = batches(2, 6, 8, 8)
    plain, _ = carried_out(proto, feeds, ASSIGN, InsertQdq())
    made, [_, result, _] = carried_out(proto, feeds, ASSIGN, CorrectBiases(method="measured", runs=1), InsertQdq())
    assert result.stats["layers"] == 1
    assert shift(proto, emit_model(made), feeds) < shift(proto, emit_model(plain), feeds) / 2
    with pytest.raises(PipelineError, match="runs is 0, expected at least 1"):
        CorrectBiases(runs=0)


def test_include_no_data_and_a_wrong_method() -> None:
    """Options are held to."""
    body, inputs, initializers = LAYERS["two"]
    proto = model(body, inputs, initializers=initializers)
    _, [_, result] = carried_out(proto, batches(2, 6, 8, 8), ASSIGN, CorrectBiases(include=("y",)))
    assert result.stats["layers"] == 1
    with pytest.raises(PipelineError, match="method is 'guessed', expected one of analytic, measured"):
        CorrectBiases(method="guessed")
    noted, _ = carried_out(proto, batches(2, 6, 8, 8), ASSIGN)
    with pytest.raises(CalibrationError, match="'correct-biases' looks at data"):
        CorrectBiases().run(noted.graph, context(None))
