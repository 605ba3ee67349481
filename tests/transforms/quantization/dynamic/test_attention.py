"""ONNX Runtime's Attention becomes QAttention where the target has it."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.backends.onnxruntime.targets import CPU
from graphopt.ir import Array
from graphopt.transforms.quantization.dynamic import QuantizeDynamic, why_not_dynamic
from tests.transforms.harness import assert_untouched, model, transform
from tests.transforms.quantization.numeric import normal, results, sqnr

STEP = QuantizeDynamic()
WIDTH, HEADS, LENGTH = 16, 2, 5
CONSTANTS = {"w": normal(WIDTH, 3 * WIDTH, size=0.3), "b": normal(3 * WIDTH, seed=1)}
IMPORTS = ', "com.microsoft" : 1'


def attention(inputs: str = "x, w, b", stated: str = "", extra: str = "", outputs: str = "y"):
    """A model of one Attention."""
    return model(
        f"{outputs} = com.microsoft.Attention<num_heads = {HEADS}{stated}>({inputs})",
        f"float[2,{LENGTH},{WIDTH}] x{extra}",
        f"float[2,{LENGTH},{WIDTH}] y",
        initializers={name: item for name, item in CONSTANTS.items() if name in inputs.split(", ")},
        imports=IMPORTS,
        opset=17,
    )


@pytest.mark.parametrize("step", [STEP, QuantizeDynamic(per_channel=False), QuantizeDynamic(symmetric=False)])
@pytest.mark.parametrize("stated", ["", ", unidirectional = 1", ", scale = 0.2", ", mask_filter_value = -1000.0"])
def test_outputs_are_near_those_of_floats(step, stated):
    proto = attention(stated=stated)
    outcome = transform(proto, step, target=CPU)
    assert (["DynamicQuantizeLinear", "com.microsoft::QAttention"], {"quantize-attention": 1}) == (
        outcome.ops,
        outcome.applied,
    )
    feeds = {"x": normal(2, LENGTH, WIDTH, seed=2)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 28


@pytest.mark.parametrize("mask", [np.array([5, 3]), np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])])
def test_masks(mask):
    proto = attention("x, w, b, m", extra=f", int32[{','.join(map(str, mask.shape))}] m")
    outcome = transform(proto, STEP, target=CPU)
    feeds: dict[str, Array] = {"x": normal(2, LENGTH, WIDTH, seed=2), "m": mask.astype(np.int32)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 30


def test_a_past_is_read_and_a_present_is_given():
    """As decoders do that keep keys and values."""
    state = f"float[2,2,{HEADS},3,{WIDTH // HEADS}] p"
    proto = model(
        f"y, q = com.microsoft.Attention<num_heads = {HEADS}, unidirectional = 1>(x, w, b, , p)",
        f"float[2,{LENGTH},{WIDTH}] x, {state}",
        f"float[2,{LENGTH},{WIDTH}] y, float[2,2,{HEADS},{LENGTH + 3},{WIDTH // HEADS}] q",
        initializers=CONSTANTS,
        imports=IMPORTS,
        opset=17,
    )
    outcome = transform(proto, STEP, target=CPU)
    feeds = {"x": normal(2, LENGTH, WIDTH, seed=2), "p": normal(2, 2, HEADS, 3, WIDTH // HEADS, seed=3)}
    for expected, found in zip(results(proto, feeds), results(outcome.after, feeds), strict=True):
        assert sqnr(expected, found) > 30


def test_an_activation_is_quantized_once_for_all_that_read_it():
    proto = model(
        f"a = com.microsoft.Attention<num_heads = {HEADS}>(x, w, b) c = MatMul(x, v) y = Add(a, c)",
        f"float[2,{LENGTH},{WIDTH}] x",
        f"float[2,{LENGTH},{WIDTH}] y",
        initializers={**CONSTANTS, "v": normal(WIDTH, WIDTH)},
        imports=IMPORTS,
        opset=17,
    )
    outcome = transform(proto, STEP, target=CPU)
    assert {"quantize-attention": 1, "quantize-product": 1} == outcome.applied
    assert 1 == outcome.ops.count("DynamicQuantizeLinear")


@pytest.mark.parametrize(
    ("inputs", "stated", "extra"),
    [
        ("x, v, b", "", f", float[{WIDTH},{3 * WIDTH}] v"),
        ("x, w, v", "", f", float[{3 * WIDTH}] v"),
        ("x, w, b, , , s", "", f", float[2,{HEADS},{LENGTH},{LENGTH}] s"),
        ("x, w, b", ", do_rotary = 1", ""),
        ("x, w, b", f", qkv_hidden_sizes = [{WIDTH}, {WIDTH}, {WIDTH}]", ""),
    ],
)
def test_left_alone(inputs, stated, extra):
    proto = attention(inputs, stated, extra)
    assert {} == transform(proto, STEP, target=CPU).applied


def test_reasons_for_reports():
    (node,) = transform(
        attention("x, w, b, , , s", extra=f", float[2,{HEADS},{LENGTH},{LENGTH}] s"), STEP, target=CPU
    ).ir.graph.nodes
    assert "QAttention takes no bias of scores and no length of the past" == why_not_dynamic(node, CPU)


def test_any_runtime_keeps_what_it_has():
    assert_untouched(attention(), STEP)
