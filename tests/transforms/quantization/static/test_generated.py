"""Drawn networks go through both passes: what is promised to be on integers is, and the numbers are those of the round trips."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.builtin_plugin import builtin_plugins
from graphopt.errors import CalibrationError
from graphopt.runtime.integer_kernels import integer_layers
from graphopt.serde import emit_model, lift_model
from graphopt.testing.strategies.bulk import sampled_matching
from graphopt.transforms.quantization.static import FuseIntegerProducts, QdqToQoperator
from tests.transforms.harness import PROPERTY, run
from tests.transforms.quantization.static.nets import conv_nets, product_nets
from tests.transforms.quantization.static.quantizing import (
    assigned,
    context,
    feeds_of,
    forms,
    quantized_model,
    run_optimized,
)

FEW = settings(PROPERTY, max_examples=max(1, PROPERTY.max_examples // 3))
FEWER = settings(PROPERTY, max_examples=max(1, PROPERTY.max_examples // 8))
NETS = st.one_of(conv_nets(), product_nets())
SIZES = {"n": 2, "m": 3}


def close(expected, actual, steps=0.05):
    """Agreement within a part of the largest number: rounding differs by a step here and there, and errors add up."""
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=steps * float(np.abs(a).max(initial=1e-3)))


@pytest.mark.parametrize("rule", ["fuse-conv-activation", "fuse-matmul-add"])
def test_models_of_the_kit_keep_their_meaning(rule):
    """Whatever is around a layer, both ways of ONNX Runtime agree."""
    found = builtin_plugins(discover=False).passes
    rules = {item.name: item for name in found for item in getattr(found.find(name), "rules", ())}
    changed = 0
    for made in sampled_matching(rules[rule], 6, seed=3):
        if not all(
            np.isfinite(array).all() for feed in made.feeds for array in feed.values() if array.dtype.kind == "f"
        ):
            continue
        try:
            after = quantized_model(made.proto, feeds=made.feeds)
        except CalibrationError:  # something inside is not finite
            continue
        changed += any(node.op_type == "QuantizeLinear" for node in after.graph.node)
        close(run(after, made.feeds[0]), run_optimized(after, made.feeds[0]))
    assert changed


def fused(proto, *more):
    """The model with ONNX Runtime's products of integers that give floats."""
    lifted = lift_model(proto)
    ctx = context(None)
    ctx.types.infer_model(lifted)
    for step in (FuseIntegerProducts(), *more):
        step.run(lifted.graph, ctx)
    return emit_model(lifted, lineage=False)


def resembles(expected, actual):
    """What is left of 8 bits after a few layers; normalization of small numbers makes small errors large."""
    for a, b in zip(expected, actual, strict=True):
        assert np.linalg.norm(b - a) <= 0.4 * np.linalg.norm(a) + 1e-3


@FEW
@given(NETS)
def test_both_ways_of_onnx_runtime_agree_and_are_near_the_floats(proto):
    feeds = feeds_of(proto, sizes=SIZES)
    after = quantized_model(proto, feeds=feeds)
    for feed in feeds:
        plain = run(after, feed)
        close(plain, run_optimized(after, feed))
        resembles(run(proto, feed), plain)


@FEWER
@given(NETS)
def test_what_is_planned_is_what_runs(proto):
    """Each node that is planned on integers has an integer kernel in the graph that ONNX Runtime makes."""
    planned = forms(proto)
    after = fused(quantized_model(proto, feeds=feeds_of(proto, sizes=SIZES)))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx.save(after, path)
        found = {item.layer: item for item in integer_layers(path)}
    lacking = [item for name, item in found.items() if planned.get(name) == "static" and not item.integer]
    assert [] == lacking, onnx.printer.to_text(proto)


@FEW
@given(NETS, st.sampled_from(("onnx", "tensorrt")))
def test_models_for_other_targets_are_near_the_floats(proto, target):
    feeds = feeds_of(proto, sizes=SIZES)
    after = quantized_model(proto, target=target, feeds=feeds)
    for feed in feeds:
        resembles(run(proto, feed), run(after, feed))
    if target == "tensorrt":
        zeros = [item for item in after.graph.initializer if item.name.endswith("zero_point")]
        assert not any(onnx.numpy_helper.to_array(item).any() for item in zeros)
        assert onnx.TensorProto.INT32 not in {item.data_type for item in after.graph.initializer}, "biases stay floats"


@FEW
@given(NETS)
def test_the_older_form_gives_the_same_within_steps(proto):
    feeds = feeds_of(proto, sizes=SIZES)
    after = quantized_model(proto, feeds=feeds)
    older = fused(after, QdqToQoperator())
    for feed in feeds:
        close(run(after, feed), run(older, feed))


@FEW
@given(NETS)
def test_a_model_whose_ranges_are_known_is_noted_in_the_same_way_again(proto):
    """Notes are a function of the model and the data."""
    feeds = feeds_of(proto, sizes=SIZES)
    one, other = (assigned(proto, feeds=feeds)[0] for _ in range(2))
    notes = [{value.name: str(value.quantization) for value in item.graph.values()} for item in (one, other)]
    assert [name for name, text in notes[0].items() if text != "None"] == [
        name for name, text in notes[1].items() if text != "None"
    ]
