"""Whatever keeps an engine from running is one line: which file, what is wrong, what to do."""

from __future__ import annotations

import json

import pytest

from graphopt.errors import ExecutionError
from graphopt.passes import Lazy
from graphopt.runtime import RunOptions
from graphopt.runtime.runtimes import why_unavailable
from graphopt.runtime.tensorrt.driver import DRIVER_LIBRARIES, connect
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime
from tests.backends.tensorrt.library import needs_library
from tests.runtime.tensorrt.engines import Bench, write_engine

TEXT = "(float[2] x) => (float[2] y) { y = Neg (x) }"


def has_driver() -> bool:
    try:
        connect()
    except ExecutionError:
        return False
    return True


def refused(bench: Bench, path) -> str:
    with pytest.raises(ExecutionError) as caught:
        bench.runtime.open(path, RunOptions())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_library
@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"library": "tensorrt", "version": "10.13.0"}, "was built with tensorrt 10.13.0, here is tensorrt_rtx"),
        ({"version": "1.2.3"}, "was built with tensorrt_rtx 1.2.3, whose engines 1."),
        (
            {"capabilities": ["86", "120"]},
            "is compiled for compute capability 86, 120, a GPU that is none has 89; build it",
        ),
        ({"bytes": 10**9}, "is truncated: it has"),
        ({"bytes": 3}, "is another file: it has"),
        ({"sha256": "0" * 64}, "is not the engine of its manifest: its digest is another one"),
        ({"types": {"x": "float99"}}, "says that 'x' is of 'float99', which is no element type"),
        ({"types": []}, "is not understood: Expected `object`, got `array`"),
        ({"bytes": "many"}, "is not understood: Expected `int`, got `str`"),
    ],
)
def test_what_a_manifest_says_is_held_against_what_is_there(tmp_path, stated, reason):
    bench = Bench.new()
    assert reason in refused(bench, write_engine(bench.api, TEXT, tmp_path / "x.engine", **stated))


@needs_library
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty, expected an engine"),
        (b"PK\3\4" * 100, "does not load: it is no engine, or it is truncated; build it again here: graphopt build"),
        (b"vtrt" + bytes(200), "does not load with tensorrt_rtx"),
    ],
)
def test_files_that_are_no_engines(tmp_path, data, reason):
    path = tmp_path / "x.engine"
    path.write_bytes(data)
    assert reason in refused(Bench.new(), path)


@needs_library
def test_a_truncated_engine_with_nothing_beside_it(tmp_path):
    bench = Bench.new()
    path = write_engine(bench.api, TEXT, tmp_path / "x.engine")
    path.write_bytes(path.read_bytes()[:-100])
    path.with_name("x.engine.json").unlink()
    assert "does not load with tensorrt_rtx" in refused(bench, path)


@needs_library
def test_a_manifest_that_is_no_json_or_no_file(tmp_path):
    bench = Bench.new()
    path = write_engine(bench.api, TEXT, tmp_path / "x.engine")
    beside = path.with_name("x.engine.json")
    beside.write_text("{")
    assert "is not understood: Input data was truncated" in refused(bench, path)
    beside.unlink()
    beside.mkdir()
    assert "is no regular file" in refused(bench, path)


@needs_library
def test_more_in_a_manifest_is_no_harm(tmp_path):
    bench = Bench.new()
    path = write_engine(bench.api, TEXT, tmp_path / "x.engine", colour="blue", format=7)
    assert "blue" == json.loads(path.with_name("x.engine.json").read_text())["colour"]
    bench.runtime.open(path, RunOptions()).close()


def no_device():
    raise ExecutionError("there is no GPU: the NVIDIA driver finds no device")


def no_library():
    raise ExecutionError("no TensorRT library is installed: pip install it")


def test_what_lacks_is_told_before_anything_is_opened():
    bench = TensorRtRuntime(no_library, no_device)
    assert "no TensorRT library is installed: pip install it" == bench.available()
    bench = TensorRtRuntime(lambda: None, no_device)  # type: ignore[arg-type,return-value]  # not looked at
    assert "there is no GPU: the NVIDIA driver finds no device" == why_unavailable("tensorrt", bench)


@needs_library
def test_a_gpu_that_the_library_does_not_run_on():
    bench = Bench.new()
    assert bench.runtime.available() is None
    other = Bench.new()
    runtime = type(other.api.module.Runtime(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "deserialize_cuda_engine", lambda self, data: None)
        assert str(other.runtime.available()).startswith(
            f"{other.api.name} {other.api.version} does not run on this GPU"
        )


@pytest.mark.skipif(has_driver(), reason="there is a GPU")
def test_without_a_driver_there_is_one_line():
    with pytest.raises(ExecutionError, match=f"{DRIVER_LIBRARIES[0]} can't be loaded|no GPU|failed") as caught:
        connect()
    assert "\n" not in str(caught.value)


@needs_library
@pytest.mark.skipif(has_driver(), reason="there is a GPU")
def test_the_registered_runtime_says_what_lacks():
    stated = Lazy("graphopt.runtime.tensorrt.runtime:TensorRtRuntime", make=True)
    reason = why_unavailable("tensorrt", stated)
    assert reason is not None
    assert "NVIDIA driver" in reason
