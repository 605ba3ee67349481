"""Weights of kernels are rounded so that their sums stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import Constant, DType, GraphBuilder, Quantization
from graphopt.passes import PassContext
from graphopt.transforms.quantization.parameters import dequantized, quantized, weight_quantization
from graphopt.transforms.quantization.weight_only import RoundWeights, balanced
from tests.transforms.harness import PROPERTY
from tests.transforms.quantization.numeric import normal

STEP = RoundWeights()


@PROPERTY
@given(
    channels=st.integers(1, 5),
    size=st.integers(1, 30),
    dtype=st.sampled_from([DType.INT8, DType.UINT8, DType.INT4]),
    symmetric=st.booleans(),
    reduce_range=st.booleans(),
    seed=st.integers(0, 50),
)
def test_sums_err_by_half_a_step_and_numbers_by_less_than_one(channels, size, dtype, symmetric, reduce_range, seed):
    """And no number leaves the range that rounding to nearest has."""
    weights = normal(channels, size, seed=seed)
    how = weight_quantization(weights, dtype, axis=0, symmetric=symmetric, reduce_range=reduce_range)
    found = balanced(weights, how, (1,))
    near = quantized(weights, how, symmetric=symmetric, reduce_range=reduce_range).astype(int)
    step = how.scale.numpy().astype(np.float64)
    error = np.asarray(dequantized(found, how), np.float64) - weights
    assert (np.abs(error) <= step[:, None] * 1.001).all()
    assert near.min() <= found.astype(int).min() <= found.astype(int).max() <= near.max()
    free = (found.astype(int) > near.min()) & (found.astype(int) < near.max())
    assert (np.abs(error.sum(1)) <= step * 0.51)[free.all(1)].all()
    before = np.abs((np.asarray(dequantized(near.astype(dtype.numpy), how), np.float64) - weights).sum(1))
    assert (np.abs(error.sum(1)) <= before + 1e-4 * step).all()


def layer(op: str, weights, *, axis: int | None = 0, block: int = 0):
    """A graph of one layer whose weight has parameters, and the weight."""
    b = GraphBuilder(21)
    x = b.input("x", DType.FLOAT, None)
    w = b.constant(weights, "w")
    if block:
        shape = [size if at != axis else -(-size // block) for at, size in enumerate(weights.shape)]
        w.quantization = Quantization(
            DType.INT8, Constant(np.full(shape, 0.1, np.float32)), Constant(np.zeros(shape, np.int8)), axis, block
        )
    else:
        w.quantization = weight_quantization(weights, DType.INT8, axis=axis)
    b.output(b.op(op, x, w, name="layer"), "y")
    return b.build().graph, w


@pytest.mark.parametrize(("op", "axis"), [("Conv", 0), ("ConvTranspose", 1), ("Conv", None)])
def test_kernels_keep_their_sums(op, axis):
    weights = normal(6, 4, 3, 3)
    graph, value = layer(op, weights, axis=axis)
    assert {"weights": 1} == STEP.run(graph, PassContext()).stats
    assert value.const is not None and value.quantization is not None  # noqa: PT018 - both are there
    found = value.const.numpy()
    stored = quantized(found, value.quantization)
    assert (np.asarray(dequantized(stored, value.quantization)).astype(np.float32) == found).all(), (
        "it stands on the grid"
    )
    step = float(np.max(value.quantization.scale.numpy().astype(np.float64)))
    sums = np.abs((found.astype(np.float64) - weights).sum((2, 3)))
    nearest = np.asarray(dequantized(quantized(weights, value.quantization), value.quantization), np.float64)
    assert sums.max() <= 0.51 * step < np.abs((nearest - weights).sum((2, 3))).max()
    assert not STEP.run(graph, PassContext()).changed


@pytest.mark.parametrize(
    ("op", "shape", "options", "step"),
    [
        ("Conv", (6, 4, 1, 1), {}, STEP),
        ("MatMul", (8, 4), {}, STEP),
        ("Conv", (6, 4, 3, 3), {"axis": 1, "block": 2}, STEP),
        ("Conv", (6, 4, 3, 3), {"axis": 2}, STEP),
        ("Conv", (6, 4, 3, 3), {}, RoundWeights(exclude=("layer",))),
        ("Conv", (6, 4, 3, 3), {}, RoundWeights(include=("op:Gemm",))),
    ],
)
def test_what_stays(op, shape, options, step):
    weights = normal(*shape)
    graph, value = layer(op, weights, **options)
    assert not step.run(graph, PassContext()).changed
    assert value.const is not None
    assert (weights == value.const.numpy()).all()


def test_weights_without_parameters_stay():
    graph, value = layer("Conv", normal(6, 4, 3, 3))
    value.quantization = None
    assert not STEP.run(graph, PassContext()).changed
