"""Kernels that are compiled where an engine runs, kept beside it: from run to run, by a command, and never in the way."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from graphopt.backends.tensorrt.api import Api
from graphopt.compiler.engine_kernels import check_compiles_here, compile_kernels
from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt.kernel_cache import cache_beside
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime
from tests.backends.tensorrt.library import API, needs_library
from tests.runtime.tensorrt.engines import Bench, write_engine

pytestmark = needs_library

TEXT = "(float[n,3] x) => (float[n,3] y) { y = Relu(x) }"
PROFILE = [{"shapes": {"x": [[1, 3], [4, 3], [8, 3]]}}]


@pytest.fixture
def bench():
    return Bench.new()


@pytest.fixture
def engine(bench, tmp_path):
    return write_engine(bench.api, TEXT, tmp_path / "model.engine", sizes={"n": (1, 4, 8)})


def run(bench, engine, count):
    from graphopt.runtime import RunOptions

    with bench.runtime.open(engine, RunOptions()) as runner:
        x = np.full((count, 3), -1, np.float32)
        assert np.array_equal(runner.run({"x": x})["y"], np.zeros((count, 3)))


def test_kernels_for_the_usual_sizes_are_compiled_once_and_those_for_others_join_them(bench, engine):
    cache = compile_kernels(engine, PROFILE, bench.runtime, tell=lambda text: None)
    assert cache_beside(engine) == cache
    assert b"kernels ((4, 3),)" == cache.read_bytes()
    before = cache.stat().st_mtime_ns
    run(bench, engine, 4)
    assert before == cache.stat().st_mtime_ns, "nothing new, nothing written"
    run(bench, engine, 2)
    assert b"kernels ((4, 3),); ((2, 3),)" == cache.read_bytes()


def test_without_a_file_nothing_is_kept(bench, engine):
    run(bench, engine, 4)
    assert not cache_beside(engine).exists()


def test_a_cache_of_something_else_is_made_anew_and_told(bench, engine, caplog):
    cache = cache_beside(engine)
    cache.write_bytes(b"of another device")
    with caplog.at_level(logging.WARNING):
        run(bench, engine, 4)
    assert "is not for this library and device, kernels are compiled again" in caplog.text
    assert b"kernels ((4, 3),)" == cache.read_bytes()


def test_a_cache_that_can_not_be_written_is_told_and_the_engine_runs(bench, engine, caplog, monkeypatch):
    cache_beside(engine).touch()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graphopt.backends.onnx.atomic.os.fsync", refuse)
    with caplog.at_level(logging.WARNING):
        run(bench, engine, 4)
    assert "kernels are not kept" in caplog.text
    assert b"" == cache_beside(engine).read_bytes()


def test_inputs_that_hold_a_shape_are_fed_their_usual_values(bench, tmp_path):
    from graphopt.compiler import engine_kernels
    from graphopt.ir import DType, TensorType
    from graphopt.runtime.base import ValueSpec

    class Runner:
        inputs = (ValueSpec("x", TensorType(DType.FLOAT, (None, 12))), ValueSpec("s", TensorType(DType.INT64, (2,))))

    profile = {"shapes": {"x": [[1, 12], [2, 12], [3, 12]]}, "values": {"s": [[2, 6], [4, 6], [6, 6]]}}
    found = engine_kernels._feeds(Runner(), profile)  # type: ignore[arg-type]
    assert ((2, 12), [4, 6]) == (found["x"].shape, found["s"].tolist())


def test_what_does_not_compile_here(bench):
    classic = Api(API.module)
    classic.is_rtx = False
    with pytest.raises(
        ExecutionError, match="compiles kernels while it builds, and has no cache of them; --timing-cache"
    ):
        check_compiles_here(classic, bench.runtime)

    def no_driver():
        raise ExecutionError("no NVIDIA driver")

    with pytest.raises(
        ExecutionError,
        match="--runtime-cache compiles kernels for the GPU that is here: no NVIDIA driver, or leave it out",
    ):
        check_compiles_here(Api(API.module), TensorRtRuntime(lambda: API, no_driver))
