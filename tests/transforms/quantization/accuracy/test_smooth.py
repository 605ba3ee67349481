"""Outliers of activations go into weights; what a model computes stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError, PipelineError
from graphopt.passes import Pipeline
from graphopt.transforms.quantization.accuracy import SmoothActivations
from graphopt.transforms.quantization.static import AssignQuantization, InsertQdq
from tests.transforms.harness import model
from tests.transforms.quantization.accuracy.calibrated import Floats, batches, carried_out, distance, noise

#: Factors of the channels that a normalization gives: two of them are outliers.
LOUD = np.array([1, 1, 60, 1, 1, 1, -30, 1], np.float32)


def random(*shape: int, seed: int = 1) -> Floats:
    """Weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def attention() -> ModelProto:
    """Queries and keys of a normalized tensor, whose channels are of very different size."""
    return model(
        "n = LayerNormalization(x, g, b)\nq = MatMul(n, w)\nk = MatMul(n, v)\nt = Tanh(k)\ny = Mul(q, t)",
        "float[2,6,8] x",
        initializers={"g": LOUD, "b": random(8), "w": random(8, 4), "v": random(8, 4, seed=2)},
    )


def lone() -> ModelProto:
    """A product behind an activation that does not commute with scaling."""
    return model(
        "m = Mul(x, g)\nh = Gelu(m)\ny = MatMul(h, w)\nz = MatMul(h, v)",
        "float[2,6,8] x",
        "float[*] y, float[*] z",
        initializers={"g": LOUD, "w": random(8, 4), "v": random(8, 4, seed=2)},
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, "auto"])
def test_it_changes_no_output(alpha: Any) -> None:
    """Factor and term of the normalization are divided, all that reads it is multiplied."""
    proto, feeds = attention(), batches(2, 6, 8)
    made, [result] = carried_out(proto, feeds, SmoothActivations(alpha=alpha))
    assert result.stats["tensors"] == 1
    assert result.stats["layers"] == 2
    assert distance(proto, made, feeds) < 1e-5
    factors = next(value.array() for value in made.graph.initializers() if value.name == "g")
    assert not np.array_equal(factors, LOUD)  # type: ignore[arg-type]
    assert "Mul" not in [node.op for node in made.graph.nodes if node.name.endswith("smoothing")]


@pytest.mark.parametrize("alpha", [0.5, "auto"])
def test_a_quantized_model_is_nearer_to_the_original(alpha: Any) -> None:
    """The error of outputs falls to a half at most, and the statistics say that it falls."""
    proto, feeds = attention(), batches(2, 6, 8)
    plain, _ = carried_out(proto, feeds, AssignQuantization(), InsertQdq())
    made, [result, *_] = carried_out(proto, feeds, SmoothActivations(alpha=alpha), AssignQuantization(), InsertQdq())
    assert noise(proto, made, feeds) < noise(proto, plain, feeds) / 2
    assert result.stats["sqnr_after"] > result.stats["sqnr_before"]


def test_the_best_share_is_no_worse_than_any_other() -> None:
    """By what is reported."""
    proto, feeds = attention(), batches(2, 6, 8)
    found = {
        alpha: carried_out(proto, feeds, SmoothActivations(alpha=alpha))[1][0].stats["sqnr_after"]
        for alpha in ("auto", 0.3, 0.5, 0.8)
    }
    assert found["auto"] == max(found.values())


def test_a_product_before_takes_the_division() -> None:
    """The columns of a linear layer, through Relu."""
    proto = model(
        "h = Gemm(x, w, b)\nr = Relu(h)\ny = Gemm<transB=1>(r, v)",
        "float[40,8] x",
        initializers={"w": random(8, 8) * LOUD, "b": random(8), "v": random(4, 8)},
    )
    feeds = batches(40, 8)
    made, [result] = carried_out(proto, feeds, SmoothActivations())
    assert result.stats["tensors"] == 1
    assert distance(proto, made, feeds) < 1e-5


def test_a_mul_only_where_it_is_asked_for() -> None:
    """One for all who read the tensor."""
    proto, feeds = lone(), batches(2, 6, 8)
    _, [result] = carried_out(proto, feeds, SmoothActivations())
    assert not result.changed
    made, [result] = carried_out(proto, feeds, SmoothActivations(multiply=True))
    assert result.stats["multiplied"] == 1
    assert [node.op for node in made.graph.nodes].count("Mul") == 2
    assert distance(proto, made, feeds) < 1e-5
    plain, _ = carried_out(proto, feeds, AssignQuantization(), InsertQdq())
    made, _ = carried_out(
        proto, feeds, SmoothActivations(multiply=True, alpha="auto"), AssignQuantization(), InsertQdq()
    )
    assert noise(proto, made, feeds) < noise(proto, plain, feeds) / 2


def test_what_is_even_already_stays() -> None:
    """A second run finds nothing to gain; nor does the first on channels that are alike."""
    proto, feeds = attention(), batches(2, 6, 8)
    _, [_, again] = carried_out(proto, feeds, SmoothActivations(alpha="auto"), SmoothActivations(alpha="auto"))
    assert not again.changed
    zeros = [{"x": np.zeros((2, 6, 8), np.float32)}]
    still = model(
        "n = LayerNormalization(x, g)\ny = MatMul(n, w)", "float[2,6,8] x", initializers={"g": LOUD, "w": random(8, 4)}
    )
    _, [result] = carried_out(still, zeros, SmoothActivations())
    assert not result.changed


def test_exclude_data_and_options() -> None:
    """A tensor stays if one of its readers is to be left alone; wrong options are said."""
    _, [result] = carried_out(attention(), batches(2, 6, 8), SmoothActivations(exclude=("q",)))
    assert not result.changed
    with pytest.raises(CalibrationError, match="'smooth-activations' looks at data"):
        carried_out(attention(), None, SmoothActivations())
    with pytest.raises(PipelineError, match=r"alpha is 1\.5, expected a number from 0 to 1 or auto"):
        SmoothActivations(alpha=1.5)


@pytest.mark.parametrize("text", ["smooth-activations{alpha=auto}", "smooth-activations{alpha=0.3,multiply=true}"])
def test_options_come_from_text(text: str) -> None:
    """A share or a word."""
    registry = Environment().plugins.passes
    assert Pipeline.from_text(str(Pipeline.from_text(text, registry)), registry) == Pipeline.from_text(text, registry)
    with pytest.raises(PipelineError):
        Pipeline.from_text("smooth-activations{alpha=much}", registry)
