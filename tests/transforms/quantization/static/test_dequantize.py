"""Models that came quantized are made floats, and tidied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from graphopt.compiler.environment import Environment
from graphopt.passes import PassContext, Pipeline
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.quantization.static import CleanQdq, Dequantize, FuseIntegerProducts, QdqToQoperator
from tests.transforms.harness import PROPERTY, assert_untouched, model, run, transform
from tests.transforms.quantization.static.nets import conv_nets
from tests.transforms.quantization.static.quantizing import (
    context,
    environment,
    feeds_of,
    quantized_model,
    run_optimized,
)
from tests.transforms.quantization.static.test_generated import resembles
from tests.transforms.quantization.static.test_placement import CONV, picture

BYTES: dict[str, Any] = {"s": np.float32(0.05), "z": np.uint8(100), "o": np.float32(0.1), "n": np.uint8(0)}
FEW = settings(PROPERTY, max_examples=max(1, PROPERTY.max_examples // 4))


def through(proto, *steps):
    lifted = lift_model(proto)
    ctx = context(None)
    for step in steps:
        ctx.types.infer_model(lifted)
        step.run(lifted.graph, ctx)
    return emit_model(lifted, lineage=False)


def ops(proto):
    return [node.op_type for node in proto.graph.node]


@FEW
@given(conv_nets())
def test_a_quantized_net_is_what_it_was_but_for_rounded_weights(proto):
    feeds = feeds_of(proto)
    for form in ((), (FuseIntegerProducts(), QdqToQoperator())):
        after = through(quantized_model(proto, feeds=feeds), *form, Dequantize())
        assert not {op for op in ops(after) if "Quantize" in op or "QLinear" in op or op == "QGemm"}
        for feed in feeds:
            resembles(run(proto, feed), run(after, feed))


def test_an_activation_that_integers_implied_comes_back():
    """As quantizers leave it out."""
    proto = model(
        f"q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(wq, s, zw) c = {CONV}(d, w) "
        "e = QuantizeLinear(c, o, n) y = DequantizeLinear(e, o, n)",
        "float[1,4,6,6] x",
        opset=17,
        initializers={**BYTES, "wq": np.arange(-72, 72).reshape(4, 4, 3, 3).astype(np.int8), "zw": np.int8(0)},
    )
    after = through(proto, Dequantize())
    assert ["Conv", "Clip"] == ops(after)
    for feed in feeds_of(proto):
        resembles(run(proto, feed), run(after, feed))
        assert 0 == run(after, feed)[0].min()


@pytest.mark.parametrize("before", ["Relu", "Sigmoid", "Abs"])
def test_no_clip_behind_what_is_never_negative(before):
    proto = model(
        f"h = {before}(x) q = QuantizeLinear(h, s, n) d = DequantizeLinear(q, s, n) y = Neg(d)",
        opset=17,
        initializers=BYTES,
    )
    assert [before, "Neg"] == ops(through(proto, Dequantize()))


def test_to_quantize_again_is_to_dequantize_first():
    """And nothing is left of the first quantization but the rounding of weights."""
    proto = picture(f"a = {CONV}(x, w, b) r = Relu(a) y = {CONV}(r, w)")
    feeds = feeds_of(proto)
    once = quantized_model(proto, feeds=feeds)
    again = quantized_model(through(once, Dequantize()), feeds=feeds)
    assert sorted(ops(once)) == sorted("Relu" if op == "Clip" else op for op in ops(again))
    for feed in feeds:
        resembles(run_optimized(once, feed), run_optimized(again, feed))


def test_a_model_without_integers_is_left_alone():
    for step in (Dequantize(), CleanQdq()):
        assert_untouched(picture(f"a = {CONV}(x, w, b) r = Relu(a) y = {CONV}(r, w)"), step)


def test_scales_that_are_computed_stay():
    body = "h = Abs(t) q = QuantizeLinear(x, h, z) y = DequantizeLinear(q, h, z)"
    assert_untouched(model(body, "float[2,3] x, float t", opset=17, initializers={"z": np.uint8(0)}), Dequantize())


@pytest.mark.parametrize("target", ["onnx", "onnxruntime-cpu"])
def test_what_this_tool_made_needs_no_tidying(target):
    """Never made worse: a second look at a good model finds nothing."""
    proto = picture(
        f"a = {CONV}(x, w, b) r = Relu(a) m = MaxPool<kernel_shape = [2, 2]>(r) c = {CONV}(m, w) y = Add(m, c)"
    )
    after = quantized_model(proto, target=target)
    lifted = lift_model(after)
    ctx = context(None, target)
    ctx.types.infer_model(lifted)
    assert not CleanQdq().run(lifted.graph, ctx).changed


def test_islands_and_repeated_pairs_go():
    pair = "{1}q = QuantizeLinear({0}, s, z) {1} = DequantizeLinear({1}q, s, z) "
    twice = model(
        f"{pair.format('x', 'a')}{pair.format('a', 'b')}y = MatMul(b, v)",
        "float[2,3] x",
        opset=17,
        initializers={**BYTES, "v": np.eye(3, dtype=np.float32)},
    )
    outcome = transform(twice, CleanQdq())
    assert {"drop-requantization": 1} == outcome.applied
    for feed in feeds_of(twice):
        np.testing.assert_array_equal(run(twice, feed)[0], run(outcome.after, feed)[0])
    island = model(f"h = Erf(x) {pair.format('h', 'a')}y = Neg(a)", "float[2,3] x", opset=17, initializers=BYTES)
    assert {"drop-islands": 1} == transform(island, CleanQdq()).applied


def test_pairs_beside_integers_are_no_islands():
    pair = "{1}q = QuantizeLinear({0}, s, z) {1} = DequantizeLinear({1}q, s, z) "
    body = f"h = Tanh(x) {pair.format('h', 'a')}y = MatMul(a, v)"
    proto = model(body, "float[2,3] x", opset=17, initializers={**BYTES, "v": np.eye(3, dtype=np.float32)})
    assert_untouched(proto, CleanQdq())


def test_the_passes_are_found_by_name():
    known: Environment = environment()
    built = Pipeline.from_text(
        "clean-qdq,dequantize,assign-quantization{per_channel=false},insert-qdq{fuse=false}", known.plugins.passes
    )
    assert "insert-qdq{fuse=false}" in str(built)
    assert isinstance(context(None), PassContext)
