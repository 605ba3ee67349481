"""Numbers of weights and inputs become simple."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from graphopt.ir import Model
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction.shrinkers import SimplifyInputs, SimplifyWeights
from tests.verify.reduction.searching import FAILS, has_ops, model_of, numbers, searched

MODEL = (
    "g (float[2] x) => (float[2] y) <float[2] w = {0.3, 2.6}, float[2] v = {7.5, -8.5}> { a = Mul(x, w) y = Add(a, v) }"
)


def _weights(model: Model) -> dict[str, list[float]]:
    return {value.name: value.const.numpy().tolist() for value in model.graph.initializers() if value.const is not None}


def test_weights_become_zero_where_nothing_needs_them(tmp_path: Path) -> None:
    """All of them at once."""
    search = searched(tmp_path, model_of(MODEL), SimplifyWeights(), has_ops("Mul"), [{"x": numbers(2)}])
    assert ({"w": [0, 0], "v": [0, 0]}, 1) == (_weights(search.case.model), search.checks)


@pytest.mark.parametrize(
    ("needed", "simple"),
    [
        (lambda w: bool((w != 0).any()), [1, 1]),
        (lambda w: bool(w[0] != w[1]), [0, 2]),
        (lambda w: bool(w[0] != w[1] and (w > 0).all()), [1, 2]),
        (lambda w: bool(abs(w[0] - 0.3) < 1e-6), [pytest.approx(0.3), pytest.approx(2.6)]),
    ],
    ids=["ones", "rounded", "counted", "as they were"],
)
def test_weights_take_the_simplest_form_that_fails(tmp_path: Path, needed, simple: list[float]) -> None:
    """Zeros, ones, small integers near by, or 1, 2, 3; other weights are zero."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if needed(np.array(_weights(model)["w"])) else None

    search = searched(tmp_path, model_of(MODEL), SimplifyWeights(), check, [{"x": numbers(2)}])
    assert {"w": simple, "v": [0, 0]} == _weights(search.case.model)


def test_small_integer_constants_are_left_alone(tmp_path: Path) -> None:
    """They are shapes and axes."""
    text = "g (float[2] x) => (float[1,2] y) <int64[2] s = {1,2}> { y = Reshape(x, s) }"
    search = searched(tmp_path, model_of(text), SimplifyWeights(), has_ops("Reshape"), [{"x": numbers(2)}])
    assert ({"s": [1, 2]}, 0) == (_weights(search.case.model), search.checks)


def test_inputs_become_simple_one_by_one(tmp_path: Path) -> None:
    """One is needed as it is, one becomes zero; truth values and texts stay."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if np.asarray(samples[0]["x"]).tolist() == [7.25, 8.25] else None

    text = """g (float[2] x, float[2] z, bool c, string[1] t) => (float[2] y, bool d, string[1] u) {
        y = Add(x, z) d = Not(c) u = Identity(t) }"""
    feeds = {"x": numbers(2, start=7.25), "z": numbers(2), "c": np.array(True), "t": np.array(["text"], object)}
    sample = searched(tmp_path, model_of(text), SimplifyInputs(), check, [feeds]).case.samples[0]
    assert ([7.25, 8.25], [0, 0], True, ["text"]) == (
        np.asarray(sample["x"]).tolist(),
        np.asarray(sample["z"]).tolist(),
        bool(sample["c"]),
        np.asarray(sample["t"]).tolist(),
    )
