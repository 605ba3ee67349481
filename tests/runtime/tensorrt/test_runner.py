"""Engines on a GPU that is none give what ONNX Runtime gives, for all shapes of their profiles, run after run."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import ExecutionError
from tests.backends.tensorrt.library import needs_library
from tests.runtime.tensorrt.engines import Bench

pytestmark = needs_library

SCORES = """(float[n, 3] x, float[3] w) => (float[n] y, float[n, 3] z)
{
  axes = Constant <value = int64[1] {1}> ()
  z = Mul (x, w)
  y = ReduceSum <keepdims = 0> (z, axes)
}"""
SIZES = {"n": (1, 2, 8)}
W = np.array([1, 10, 100], np.float32)


def rows(count: int) -> np.ndarray:
    return np.arange(3 * count, dtype=np.float32).reshape(count, 3)


@pytest.mark.parametrize("late_shapes", [False, True])
@pytest.mark.parametrize("optimize", [False, True])
def test_runs_of_all_shapes(tmp_path, late_shapes, optimize):
    bench = Bench.new(late_shapes=late_shapes)
    with bench.opened(SCORES, tmp_path, sizes=SIZES, optimize=optimize) as runner:
        assert ["x: float[?, 3]", "w: float[3]"] == [str(spec) for spec in runner.inputs]
        assert ["y", "z"] == [spec.name for spec in runner.outputs]
        for count in (2, 8, 1, 1, 1, 3):
            found = runner.run({"x": rows(count), "w": W})
            np.testing.assert_array_equal(rows(count) @ W, found["y"])
            np.testing.assert_array_equal(rows(count) * W, found["z"])
    assert ({}, set()) == (bench.cuda.held, bench.cuda.streams), "everything was given back"


def test_equal_runs_are_launched_as_a_graph(tmp_path):
    bench = Bench.new()
    bench.api.is_rtx = False  # which captures graphs itself
    with bench.opened(SCORES, tmp_path, sizes=SIZES, optimize=True) as runner:
        for seed in range(4):
            np.testing.assert_array_equal((rows(2) + seed) @ W, runner.run({"x": rows(2) + seed, "w": W})["y"])
        assert 3 == bench.cuda.launches
        np.testing.assert_array_equal(rows(5) @ W, runner.run({"x": rows(5), "w": W})["y"])
        assert (3, {}) == (bench.cuda.launches, bench.cuda.graphs), "another shape, another graph"
    with bench.opened(SCORES, tmp_path, sizes=SIZES) as runner:
        for _ in range(3):
            runner.run({"x": rows(2), "w": W})
    assert 3 == bench.cuda.launches, "not asked for"


def test_time_on_the_device(tmp_path):
    bench = Bench.new()
    with bench.opened(SCORES, tmp_path, sizes=SIZES) as runner:
        with pytest.raises(ExecutionError, match="nothing ran before; run the engine first"):
            runner.run_again()
        runner.run({"x": rows(2), "w": W})
        assert 0.0 == runner.run_again()


def test_arrays_that_the_caller_changes_later_are_no_danger(tmp_path):
    with Bench.new().opened(SCORES, tmp_path, sizes=SIZES) as runner:
        first = runner.run({"x": rows(2), "w": W})
        kept = first["z"].copy()
        runner.run({"x": rows(2) + 7, "w": W})
        np.testing.assert_array_equal(kept, first["z"])
        crooked = np.asfortranarray(rows(4))[::2]
        np.testing.assert_array_equal(rows(4)[::2] * W, runner.run({"x": crooked, "w": W})["z"])


@pytest.mark.parametrize(
    ("feeds", "reason"),
    [
        ({"x": rows(2)}, "input 'w' is missing"),
        ({"x": rows(2), "w": W, "v": W}, "the model has no input 'v'"),
        ({"x": rows(2).astype(np.float64), "w": W}, "input 'x' is of double, expected float"),
        ({"x": rows(2)[0], "w": W}, r"input 'x' has the shape 3, expected \?x3"),
        ({"x": rows(2)[:, :2], "w": W}, r"input 'x' has the shape 2x2, expected \?x3"),
        ({"x": [rows(2)], "w": W}, "input 'x' is a list, expected a tensor"),
        ({"x": rows(9), "w": W}, "'x' has the shape 9x3, the engine is built for 1x3 to 8x3; build it for more"),
        ({"x": rows(0), "w": W}, "'x' has the shape 0x3, the engine is built for 1x3 to 8x3"),
    ],
)
def test_feeds_that_do_not_fit(tmp_path, feeds, reason):
    with Bench.new().opened(SCORES, tmp_path, sizes=SIZES) as runner:
        with pytest.raises(ExecutionError, match=reason):
            runner.run(feeds)
        np.testing.assert_array_equal(rows(1) @ W, runner.run({"x": rows(1), "w": W})["y"])


def test_types_that_tensorrt_lacks_are_converted_or_refused(tmp_path):
    text = "(double[2] x, uint32[2] k) => (double[2] y, uint32[4] m) { y = Neg (x) m = Concat <axis = 0> (k, k) }"
    with Bench.new().opened(text, tmp_path) as runner:
        x, k = np.array([1.5, -2.0]), np.array([3, 4], np.uint32)
        found = runner.run({"x": x, "k": k})
        assert (np.float64, np.uint32) == (found["y"].dtype, found["m"].dtype)
        np.testing.assert_array_equal(-x, found["y"])
        np.testing.assert_array_equal(np.concatenate([k, k]), found["m"])


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    text = "(uint64[1] k) => (uint64[2] m) { m = Concat <axis = 0> (k, k) }"
    with (
        Bench.new().opened(text, tmp_path) as runner,
        pytest.raises(
            ExecutionError, match="input 'k' has numbers that do not fit in int64, which TensorRT has in place of"
        ),
    ):
        runner.run({"k": np.array([1 << 63], np.uint64)})


def test_scalars_and_empty_tensors(tmp_path):
    text = "(float x, float[0, 3] e) => (float y, float[0, 3] f) { y = Neg (x) f = Abs (e) }"
    with Bench.new().opened(text, tmp_path) as runner:
        found = runner.run({"x": np.array(2, np.float32), "e": np.zeros((0, 3), np.float32)})
        assert ((), (0, 3)) == (found["y"].shape, found["f"].shape)
        assert -2 == found["y"]


@pytest.mark.parametrize("late_shapes", [False, True])
def test_a_device_that_is_full(tmp_path, late_shapes):
    bench = Bench.new(late_shapes=late_shapes, limit=100)
    with bench.opened(SCORES, tmp_path, sizes=SIZES) as runner:
        runner.run({"x": rows(1), "w": W})
        with pytest.raises(ExecutionError, match="CUDA_ERROR_OUT_OF_MEMORY, out of memory"):
            runner.run({"x": rows(8), "w": W})


def test_a_closed_runner(tmp_path):
    runner = Bench.new().opened(SCORES, tmp_path, sizes=SIZES)
    runner.close()
    runner.close()
    with pytest.raises(ExecutionError, match="the runner is closed"):
        runner.run({"x": rows(1), "w": W})
