"""The driver's calls, made to a library in C that stands for it: arguments arrive as they should, failures are one line."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt.driver import DriverCuda
from graphopt.testing.tensorrt.fake_library import fake_api
from tests.backends.tensorrt.library import needs_library
from tests.runtime.tensorrt.engines import Bench

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="no C compiler: the driver that stands for CUDA's can't be made"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    made = tmp_path_factory.mktemp("driver") / "libcuda.so"
    source = Path(__file__).with_name("libcuda.c")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", str(made), str(source)], check=True)
    return ctypes.CDLL(str(made))


def device(library: ctypes.CDLL, *, devices: int = 1, fail_at: int = -1, number: int = 0) -> DriverCuda:
    library.fake_reset(devices, fail_at)
    return DriverCuda(library, number)


def test_a_device(library):
    cuda = device(library, devices=2, number=1)
    assert ("Fake 41", "121") == (cuda.name, cuda.capability)


def test_copies_there_and_back(library):
    cuda = device(library)
    cuda.enter()
    stream = cuda.stream()
    given = np.arange(1000, dtype=np.int64)
    address = cuda.allocate(given.nbytes)
    cuda.to_device(address, given, stream)
    found = np.zeros_like(given)
    cuda.to_host(found, address, stream)
    cuda.wait(stream)
    np.testing.assert_array_equal(given, found)
    empty = np.zeros(0, np.float32)
    nothing = cuda.allocate(0)
    cuda.to_device(nothing, empty, stream)
    cuda.to_host(empty, nothing, stream)
    for item in (address, nothing):
        cuda.free(item)
    cuda.end_stream(stream)
    assert 0 == library.fake_held()


def test_graphs(library):
    cuda = device(library)
    stream = cuda.stream()
    graph = cuda.capture(stream, lambda: True)
    assert graph is not None
    cuda.launch(graph, stream)
    cuda.end_graph(graph)
    assert cuda.capture(stream, lambda: False) is None
    with pytest.raises(ZeroDivisionError):
        cuda.capture(stream, lambda: bool(1 // 0))
    assert cuda.capture(stream, lambda: True) is not None, "the stream no longer captures"
    assert 1 == library.fake_launches()


def test_times_between_events(library):
    cuda = device(library)
    stream = cuda.stream()
    assert 0.5 == cuda.milliseconds(cuda.event(stream), cuda.event(stream))


@pytest.mark.parametrize(
    ("devices", "number", "reason"),
    [
        (0, 0, "there is no GPU: the NVIDIA driver finds no device"),
        (1, 1, "there is no GPU 1: the NVIDIA driver finds 1"),
    ],
)
def test_devices_that_there_are_not(library, devices, number, reason):
    with pytest.raises(ExecutionError, match=reason):
        device(library, devices=devices, number=number)


@pytest.mark.parametrize("fail_at", range(9))
def test_a_failing_call_is_named(library, fail_at):
    with pytest.raises(ExecutionError, match=r"^CUDA's cu\w+ failed: CUDA_ERROR_OUT_OF_MEMORY, out of memory$"):
        device(library, fail_at=fail_at).allocate(10)
    device(library, fail_at=9).allocate(10)  # there are no more calls


def test_a_graph_that_the_driver_refuses_is_none(library):
    for fail_at in range(10):
        cuda = device(library)
        stream = cuda.stream()
        library.fake_reset(1, fail_at)
        try:
            graph = cuda.capture(stream, lambda: True)
        except ExecutionError:
            assert 0 == fail_at, "the beginning of the capture is told, what follows is done without"
            continue
        if graph is None:
            assert 0 == library.fake_held()


def test_a_driver_without_a_call(library):
    class Old:
        cuInit = library.cuInit  # noqa: N815  the driver's name

    with pytest.raises(ExecutionError, match="the NVIDIA driver has no cuGetErrorName; update it"):
        DriverCuda(Old())  # type: ignore[arg-type]  # what is looked at is there


@needs_library
def test_an_engine_runs_through_the_driver(library, tmp_path):
    """All calls that a run makes, with the streams and addresses that the driver gave; everything is given back."""
    bench = Bench(fake_api(), device(library))
    text = "(float[n, 2] x) => (float[n, 2] y, float[n, 2] z) { y = Neg (x) z = Exp (x) }"
    with bench.opened(text, tmp_path, sizes={"n": (1, 2, 500)}) as runner:
        for count in (1, 500, 3):
            x = np.linspace(-1, 1, 2 * count, dtype=np.float32).reshape(count, 2)
            found = runner.run({"x": x})
            np.testing.assert_array_equal(-x, found["y"])
            np.testing.assert_allclose(found["z"], np.exp(x), rtol=1e-6)
        assert 0 < runner.run_again()
    assert 0 == library.fake_held()
