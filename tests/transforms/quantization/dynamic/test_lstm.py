"""LSTMs become quantized ones where the target has the kernel, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.backends.onnxruntime.targets import CPU
from graphopt.ir import Array, DType, GraphBuilder
from graphopt.passes import PassContext
from graphopt.transforms.quantization.dynamic import QuantizeDynamic, why_not_dynamic
from tests.transforms.harness import assert_untouched, model, transform
from tests.transforms.quantization.numeric import Floats, normal, results

STEP = QuantizeDynamic()
STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 12, 8


def weights(*shape: int, seed: int = 0) -> Floats:
    return normal(*shape, seed=seed, size=0.3)


def lstm(directions: int = 1, attributes: str = "", extra: str = "") -> tuple[ModelProto, dict[str, Array | Floats]]:
    """An LSTM with everything that it can have but peepholes, and what to feed it."""
    kind = "bidirectional" if directions == 2 else "reverse"
    constants = {
        "w": weights(directions, 4 * HIDDEN, INPUTS),
        "r": weights(directions, 4 * HIDDEN, HIDDEN, seed=1),
        "b": weights(directions, 8 * HIDDEN, seed=2),
        "p": weights(directions, 3 * HIDDEN, seed=3),
    }
    body = f'y, h, c = LSTM<hidden_size = {HIDDEN}, direction = "{kind}"{attributes}>(x, w, r, b, n, h0, c0{extra})'
    states = f"float[{directions},{BATCH},{HIDDEN}]"
    proto = model(
        body,
        f"float[s,{BATCH},{INPUTS}] x, int32[{BATCH}] n, {states} h0, {states} c0",
        "float[*] y, float[*] h, float[*] c",
        initializers={name: array for name, array in constants.items() if name in "wrb" or name in extra},
    )
    feeds: dict[str, Array | Floats] = {
        "x": normal(STEPS, BATCH, INPUTS, seed=4),
        "n": np.array([STEPS, STEPS - 2], np.int32),
        "h0": weights(directions, BATCH, HIDDEN, seed=5),
        "c0": weights(directions, BATCH, HIDDEN, seed=6),
    }
    return proto, feeds


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("step", [STEP, QuantizeDynamic(per_channel=False), QuantizeDynamic(symmetric=False)])
@pytest.mark.parametrize(("attributes", "extra"), [("", ""), (", clip = 1.5, input_forget = 0", ", p")])
def test_outputs_are_near_those_of_floats(directions, step, attributes, extra):
    proto, feeds = lstm(directions, attributes, extra)
    outcome = transform(proto, step, target=CPU)
    assert (["com.microsoft::DynamicQuantizeLSTM"], {"quantize-lstm": 1}) == (outcome.ops, outcome.applied)
    for expected, found in zip(results(proto, feeds), results(outcome.after, feeds), strict=True):
        assert expected.shape == found.shape
        assert np.abs(expected - found).max() < 0.04 * np.abs(expected).max()


def test_outputs_that_nobody_reads_and_sizes_that_nobody_states():
    constants = {"w": weights(1, 4 * HIDDEN, INPUTS), "r": weights(1, 4 * HIDDEN, HIDDEN)}
    stated, proto = (
        model(f"_, h = LSTM{size}(x, w, r)", f"float[s,b,{INPUTS}] x", "float[*] h", initializers=constants)
        for size in (f"<hidden_size = {HIDDEN}>", "")
    )
    outcome = transform(proto, STEP, target=CPU)
    (node,) = outcome.ir.graph.nodes
    assert (HIDDEN, [1, "b", HIDDEN]) == (
        node.int_attr("hidden_size"),
        [_plain(dim) for dim in node.outputs[1].shape or ()],
    )
    feeds = {"x": normal(STEPS, BATCH, INPUTS)}
    np.testing.assert_allclose(results(outcome.after, feeds)[0], results(stated, feeds)[0], atol=0.02)


def _plain(dim: object) -> object:
    return dim if isinstance(dim, int) else str(dim)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("y = LSTM<hidden_size = 8, layout = 1>(x, w, r)", "float[2,5,12] x"),
        ("y = LSTM<hidden_size = 8>(x, v, r)", "float[5,2,12] x, float[1,32,12] v"),
        ("y = LSTM<hidden_size = 8>(x, w, v)", "float[5,2,12] x, float[1,32,8] v"),
        ("y = LSTM<hidden_size = 8>(x, w, n)", "float[5,2,12] x"),
        ("y = LSTM<hidden_size = 8>(x, hw, hr)", "float16[5,2,12] x"),
        ("y = GRU<hidden_size = 8>(x, g, q)", "float[5,2,12] x"),
        ("y = RNN<hidden_size = 32>(x, w, q2)", "float[5,2,12] x"),
    ],
)
def test_left_alone(body, inputs):
    constants = {
        "w": weights(1, 32, 12),
        "r": weights(1, 32, 8),
        "g": weights(1, 24, 12),
        "q": weights(1, 24, 8),
        "q2": weights(1, 32, 32),
        "n": np.full((1, 32, 8), np.nan, np.float32),
        "hw": weights(1, 32, 12).astype(np.float16),
        "hr": weights(1, 32, 8).astype(np.float16),
    }
    read = body.partition("(")[2].rstrip(")").split(", ")
    used = {name: array for name, array in constants.items() if name in read}
    proto = model(body, inputs, "float16[a,b,c,d] y" if "16" in inputs else "float[a,b,c,d] y", initializers=used)
    assert_untouched(proto, STEP)
    assert {} == transform(proto, STEP, target=CPU).applied


def test_any_runtime_keeps_the_standard_operator():
    assert {} == transform(lstm()[0], STEP).applied


def test_reasons_for_reports():
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [5, 2, 12])
    gru = b.node("GRU", x, normal(1, 24, 12), normal(1, 24, 8), hidden_size=8)
    conv = b.node("Conv", x, weights(4, 2, 1))
    relu = b.node("Relu", x)
    free = b.node("MatMul", x, x)
    assert "ONNX Runtime has no quantized kernel for GRU" == why_not_dynamic(gru, CPU)
    assert "a convolution that quantizes" in why_not_dynamic(conv, CPU)
    assert "Relu has no weight to multiply by" == why_not_dynamic(relu, CPU)
    assert "the second factor is not constant" == why_not_dynamic(free, CPU)


def test_layers_may_be_left_out():
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [5, 2, INPUTS])
    b.output(b.LSTM(x, normal(1, 32, INPUTS), normal(1, 32, HIDDEN), hidden_size=HIDDEN, name="rnn"))
    made = b.build()
    assert not QuantizeDynamic(exclude=("rnn",)).run(made.graph, PassContext(target=CPU)).changed
    assert not QuantizeDynamic(least_gain=1.5).run(made.graph, PassContext(target=CPU)).changed
    assert QuantizeDynamic(least_gain=1.0).run(made.graph, PassContext(target=CPU)).changed
