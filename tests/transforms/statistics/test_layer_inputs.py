"""Rows of a layer's input times rows of its weights are what the layer computes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.rewriting import NoMatch
from graphopt.serde import lift_model
from graphopt.transforms.fusion.linear import as_float64
from graphopt.transforms.statistics import Gram, LayerInput, LayerMean, read_layer
from tests.transforms.harness import PROPERTY, model, run

Floats = npt.NDArray[np.float32]


def layer(proto: ModelProto) -> LayerInput:
    """The view on the first node of a model."""
    node = next(iter(lift_model(proto).graph.nodes))
    found = read_layer(node)
    assert isinstance(found, LayerInput), found
    return found


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ModelProto, Floats]:
    """A model of one Conv without bias, and an input."""
    spatial = draw(st.integers(1, 3))
    numbers = lambda low, high, count=spatial: draw(st.lists(st.integers(low, high), min_size=count, max_size=count))  # noqa: E731
    group = draw(st.sampled_from([1, 2, 3]))
    each, out = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, strides, dilations = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    sizes = [(k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilations, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    how = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes = (
        f"group={group}, strides={strides}, dilations={dilations if how in ('NOTSET', 'VALID') else [1] * spatial}"
    )
    attributes += f", pads={numbers(0, 2, 2 * spatial)}" if how == "NOTSET" else f', auto_pad="{how}"'
    x = rng.normal(size=(2, group * each, *sizes)).astype(np.float32)
    weights = rng.normal(size=(group * out, each, *kernel)).astype(np.float32)
    shape = ",".join(map(str, x.shape))
    proto = model(f"y = Conv<{attributes}>(x, w)", f"float[{shape}] x", initializers={"w": weights})
    return proto, x


@PROPERTY
@given(convolutions())
def test_windows_times_weights_are_the_convolution(case: tuple[ModelProto, Floats]) -> None:
    """For pads, strides, dilations and groups of any kind."""
    proto, x = case
    view = layer(proto)
    expected = run(proto, {"x": x})[0].astype(np.float64)
    rows = view.rows(x, 10**6).astype(np.float64)
    weight = as_float64(view.weight)
    found = rows @ view.matrix(weight).astype(np.float64).swapaxes(1, 2)  # [groups, rows, channels]
    places = found.transpose(1, 0, 2).reshape(x.shape[0], -1, expected.shape[1]).swapaxes(1, 2).reshape(expected.shape)
    np.testing.assert_allclose(places, expected, rtol=0, atol=1e-4)
    count, mean = view.mean(x)
    assert count == rows.shape[1]
    np.testing.assert_allclose(mean, rows.mean(axis=1), rtol=0, atol=1e-5)
    assert np.array_equal(view.weights(view.matrix(weight)), weight)


@pytest.mark.parametrize(
    ("body", "shape", "weights"),
    [
        ("y = MatMul(x, w)", (2, 3, 4), (4, 5)),
        ("y = Gemm(x, w)", (3, 4), (4, 5)),
        ("y = Gemm<transB=1>(x, w)", (3, 4), (5, 4)),
        ("y = Gemm<transA=1>(x, w)", (4, 3), (4, 5)),
    ],
)
def test_rows_times_weights_are_the_product(body: str, shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    """MatMul with any leading axes, and each orientation of Gemm."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape).astype(np.float32), rng.normal(size=weights).astype(np.float32)
    proto = model(body, f"float{list(shape)} x", initializers={"w": w})
    view = layer(proto)
    rows, matrix = view.rows(x, 100).astype(np.float64), view.matrix(w).astype(np.float64)
    np.testing.assert_allclose(
        (rows @ matrix.swapaxes(1, 2))[0], run(proto, {"x": x})[0].astype(np.float64).reshape(-1, 5), atol=1e-5
    )
    np.testing.assert_allclose(view.mean(x)[1], rows.mean(axis=1), atol=1e-6)
    assert np.array_equal(view.weights(matrix), w)


def test_few_rows_are_spread_and_other_ones_each_time() -> None:
    """A limit takes rows at equal distances; the next batch has others."""
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    view = layer(model("y = MatMul(x, w)", "float[20,2] x", initializers={"w": np.eye(2, dtype=np.float32)}))
    assert view.rows(x, 4)[0, :, 0].tolist() == [0.0, 10.0, 20.0, 30.0]
    assert view.rows(x, 4, turn=1)[0, :, 0].tolist() == [6.0, 16.0, 26.0, 36.0]


@pytest.mark.parametrize(
    ("body", "weights", "reason"),
    [
        ("y = Relu(x)", np.zeros((2, 2), np.float32), "no linear layer"),
        ("y = MatMul(w, x)", np.zeros((2, 3), np.float32), "not constant"),
        ("y = MatMul(x, w)", np.zeros((4, 3, 2), np.float32), "shape"),
        ("v = MatMul(w, w)\ny = Add(v, x)", np.zeros((3, 3), np.float32), "nothing but constants"),
    ],
)
def test_other_nodes_are_no_layers(body: str, weights: Floats, reason: str) -> None:
    """Operators, places of constants and ranks."""
    proto = model(body, "float[3,3] x", initializers={"w": weights})
    found = read_layer(next(iter(lift_model(proto).graph.nodes)))
    assert isinstance(found, NoMatch)
    assert reason in str(found)


@PROPERTY
@given(st.integers(0, 99), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 4))
def test_gram_and_mean_of_parts_are_those_of_the_whole(seed: int, sizes: list[int], cut: int) -> None:
    """Merged observers are one that has seen everything."""
    rng = np.random.default_rng(seed)
    view = layer(model("y = MatMul(x, w)", "float[N,3] x", initializers={"w": np.eye(3, dtype=np.float32)}))
    batches = [rng.normal(1, 2, (size, 3)).astype(np.float32) for size in sizes]
    grams, means = (Gram(view), Gram(view)), (LayerMean(view), LayerMean(view))
    for at, batch in enumerate(batches):
        grams[at < cut].observe(batch)
        means[at < cut].observe(batch)
    grams[0].merge(grams[1])
    means[0].merge(means[1])
    everything = np.concatenate(batches).astype(np.float64)
    np.testing.assert_allclose(grams[0].moments[0], everything.T @ everything / len(everything), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grams[0].mean[0], everything.mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(means[0].mean[0], everything.mean(axis=0), rtol=0, atol=1e-6)


def test_gram_looks_at_fewer_batches_when_it_has_seen_enough() -> None:
    """Time does not grow with the data for ever."""
    view = layer(model("y = MatMul(x, w)", "float[N,1] x", initializers={"w": np.ones((1, 1), np.float32)}))
    seen = Gram(view)
    for _ in range(32):
        seen.observe(np.ones((2048, 1), np.float32))
    assert seen.count == 24 * 2048  # the first 16, then every other
