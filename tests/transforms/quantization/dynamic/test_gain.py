"""Estimates of gains: what was measured, at its corners."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder
from graphopt.transforms.quantization.dynamic import dynamic_gain, product_gain


@pytest.mark.parametrize(
    ("rows", "inner", "outer", "measured"),
    [
        (1, 384, 1536, 4.2),
        (1, 768, 3072, 4.4),
        (16, 1536, 384, 2.9),
        (128, 384, 384, 2.5),
        (128, 768, 3072, 3.1),
        (512, 384, 1536, 3.1),
        (512, 64, 64, 1.3),
        (197, 128, 64, 1.2),
        (128, 64, 192, 1.4),
        (256, 3072, 64, 1.2),
    ],
)
def test_what_gains(rows, inner, outer, measured):
    assert measured * 0.5 < product_gain(rows, inner, outer) < measured * 1.4


@pytest.mark.parametrize(
    ("rows", "inner", "outer"), [(1, 16, 16), (1, 64, 64), (197, 128, 16), (128, 192, 16), (64, 16, 16)]
)
def test_what_loses(rows, inner, outer):
    assert product_gain(rows, inner, outer) < 1


def test_sizes_are_read_from_types():
    b = GraphBuilder(21)
    w = b.constant(np.zeros((384, 1536), np.float32))
    known = b.node("MatMul", b.input("x", DType.FLOAT, [2, 64, 384]), w)
    unknown = b.node("MatMul", b.input("u", DType.FLOAT, ["n", 64, 384]), w)
    strange = b.node("MatMul", b.input("v"), w)
    assert product_gain(128, 384, 1536) == dynamic_gain(known) == dynamic_gain(unknown, rows=128)
    assert dynamic_gain(unknown) is None
    assert dynamic_gain(strange) is None
    assert dynamic_gain(b.node("Relu", b.graph.inputs[0])) is None


def test_projections_of_attention():
    b = GraphBuilder(17, imports={"com.microsoft": 1})
    x = b.input("x", DType.FLOAT, [1, 128, 384])
    weights = b.constant(np.zeros((384, 1152), np.float32)), b.constant(np.zeros(1152, np.float32))
    node = b.node("com.microsoft::Attention", x, *weights, num_heads=6)
    assert product_gain(128, 384, 1152) == dynamic_gain(node)
    free = b.node("com.microsoft::Attention", x, b.input("w"), weights[1], num_heads=6)
    assert dynamic_gain(free) is None


def test_recurrent_layers_by_their_state():
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, [5, 1, 4])
    node = b.node("LSTM", x, np.zeros((1, 800, 4), np.float32), np.zeros((1, 800, 200), np.float32), hidden_size=200)
    assert 2.0 == dynamic_gain(node)
    free = b.node("LSTM", x, np.zeros((1, 800, 4), np.float32), b.input("r"), hidden_size=200)
    assert dynamic_gain(free) is None
