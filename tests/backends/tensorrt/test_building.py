"""Engines: options, what the library refuses in one line each, an interrupt, memory that does not suffice."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.building import EngineOptions, build_engine, build_with_layers
from graphopt.backends.tensorrt.failures import not_built
from graphopt.backends.tensorrt.progress import Cancelable, monitor_of
from graphopt.data import digits_model
from graphopt.errors import ExecutionError
from tests.backends.tensorrt.library import API, needs_library, network_of

HEAD = '<ir_version: 8, opset_import: ["": 17]> '
SMALL = HEAD + "small (float[4,16] x) => (float[4,16] y) { a = Relu(x) b = Add(a, a) y = Softmax(b) }"


def small():
    return network_of(onnx.parser.parse_model(SMALL))


def digits():
    return network_of(str(digits_model()))


SIZES = {"batch": (1, 4, 8)}


@needs_library
def test_options_of_the_builder():
    options = EngineOptions(
        ["86", "89"], weight_streaming=True, sparse=True, level=1, memory={"WORKSPACE": 1 << 30}, sizes=SIZES
    )
    made = build_with_layers(digits(), options)
    assert len(made.data) > 1000
    assert made.timing_cache is None
    assert bytes(made.data[:4]) == build_engine(digits(), EngineOptions(sizes=SIZES))[:4]


@needs_library
@pytest.mark.skipif(API is not None and not API.is_rtx, reason="what TensorRT-RTX refuses without a GPU")
@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"refittable": True}, "are compiled by a GPU's driver: build where there is one, or leave --refittable out"),
        ({"version_compatible": True}, "does not come with this one: leave --version-compatible out"),
        (
            {"memory": {"WORKSPACE": 1 << 10}},
            "the workspace is too small: raise --memory WORKSPACE=SIZE, or leave it out",
        ),
        ({"memory": {"HEAP": 1}}, "knows no memory 'HEAP'; it knows: WORKSPACE"),
        (
            {"timing_cache": b""},
            "measures nothing while it builds, so there is no timing cache to keep; leave --timing-cache out",
        ),
        ({"capabilities": ["77"]}, "knows no compute capability '77'; it knows: 75, 80, 86"),
    ],
)
def test_what_the_library_refuses_is_said_with_what_to_do(stated, reason):
    with pytest.raises(ExecutionError) as caught:
        build_with_layers(digits(), EngineOptions(sizes=SIZES, **stated))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_library
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Unexpected exception std::bad_alloc In compileGraph",
            "there is not enough memory to build an engine of 'net' (Unexpected",
        ),
        (
            "Error Code 2: OutOfMemory (Requested size was 12 bytes.)",
            "free memory, build for fewer sizes, or on another machine",
        ),
        ("HW-specific datatypes: fp8_e4m3", "float8 needs compute capability 89 or more: --sm 89"),
        ("CUDA initialization failure with error: 35", "it needs a GPU and its driver"),
        ("", "builds no engine of 'net': it does not say why"),
    ],
)
def test_what_libraries_say_and_what_it_means(said, reason):
    assert reason in str(not_built(API, "net", said, refittable=False))


@needs_library
def test_memory_that_python_does_not_get():
    built = digits()

    def refuse(*_):
        raise MemoryError

    built.builder = SimpleNamespace(
        build_serialized_network=refuse,
        create_builder_config=built.builder.create_builder_config,
        create_optimization_profile=built.builder.create_optimization_profile,
    )
    with pytest.raises(
        ExecutionError, match="there is not enough memory to build an engine of 'digits_cnn'; free memory"
    ):
        build_engine(built, EngineOptions(sizes=SIZES))


@needs_library
def test_steps_are_told_with_their_phases():
    told: list[str] = []
    build_engine(small(), EngineOptions(), progress=told.append)
    assert any(text.startswith("building engine ") and " of " in text for text in told)


@needs_library
def test_an_interrupt_cancels_the_build_and_leaves_a_library_that_builds():
    told: list[str] = []

    def interrupt(text):
        if not told:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.5)  # the thread that waits looks up five times a second
        told.append(text)

    with pytest.raises(KeyboardInterrupt):
        build_engine(digits(), EngineOptions(sizes=SIZES), progress=interrupt)
    all_steps: list[str] = []
    build_engine(digits(), EngineOptions(sizes=SIZES), progress=all_steps.append)
    assert len(told) < len(all_steps), "it was stopped on the way"


@needs_library
def test_a_build_in_another_thread():
    made = []
    thread = threading.Thread(target=lambda: made.append(build_engine(small(), EngineOptions())))
    thread.start()
    thread.join()
    assert len(made[0]) > 1000


def test_a_call_gives_what_it_gives_and_raises_what_it_raises():
    assert 3 == Cancelable().run(lambda: 3)
    with pytest.raises(ZeroDivisionError):
        Cancelable().run(lambda: 1 // 0)


def test_a_call_is_waited_for_when_it_is_interrupted():
    work = Cancelable()
    ends: list[bool] = []

    def call():
        signal.raise_signal(signal.SIGINT)
        while not work.is_canceled():
            time.sleep(0.001)
        ends.append(True)

    with pytest.raises(KeyboardInterrupt):
        work.run(call)
    assert [True] == ends


def test_a_library_without_a_monitor_and_one_that_skips_the_start_of_phases():
    assert monitor_of(SimpleNamespace(), None, lambda: False) is None
    module = SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {"__init__": lambda self: None}))
    told: list[str] = []
    answers = itertools.chain([False], itertools.repeat(True))
    monitor = monitor_of(module, told.append, lambda: next(answers))
    assert monitor.step_complete("Timing", 0)
    assert not monitor.step_complete("Timing", 1)
    monitor.phase_finish("Timing")
    monitor.phase_finish("Timing")
    assert ["timing 100 %", "timing 100 %"] == told


@needs_library
def test_a_library_that_makes_no_builder_says_why_and_where_one_is_made():
    def refuse(_):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    members = {name: getattr(API.module, name) for name in ("INetworkDefinition", "ILogger", "ITimingCache")}
    classic = Api(SimpleNamespace(__name__="tensorrt", __version__="10.13", Builder=refuse, **members))
    assert (False, True) == (classic.is_rtx, classic.has_timing_cache)
    with pytest.raises(ExecutionError) as caught:
        classic.builder(classic.log())
    assert "tensorrt 10.13 makes no builder: pybind11::init()" in str(caught.value)
    assert "it needs a GPU and its driver, TensorRT-RTX builds without: pip install graphopt[tensorrt-rtx]" in str(
        caught.value
    )


@needs_library
def test_a_timing_cache_is_given_and_taken_where_the_library_has_one():
    """The calls of a classic library, which builds on a GPU only, recorded around one that is there."""
    cache = SimpleNamespace(serialize=lambda: b"measured")
    given = []

    class Config:
        def __init__(self, real):
            object.__setattr__(self, "real", real)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __setattr__(self, name, value):
            setattr(self.real, name, value)

        def create_timing_cache(self, content):
            given.append(content)
            return None if content == b"broken" else cache

        def set_timing_cache(self, item, *, ignore_mismatch):
            assert item is cache
            return not ignore_mismatch

        def get_timing_cache(self):
            return cache

    built = small()
    real = built.builder
    built.api = Api(API.module)
    built.api.has_timing_cache = True
    built.builder = SimpleNamespace(
        create_builder_config=lambda: Config(real.create_builder_config()),
        build_serialized_network=lambda network, config: real.build_serialized_network(network, config.real),
    )
    assert b"measured" == build_with_layers(built, EngineOptions(timing_cache=b"before")).timing_cache
    assert [b"before"] == given
    with pytest.raises(ExecutionError, match=r"the timing cache is not one of .* remove the file, and it is made anew"):
        build_with_layers(built, EngineOptions(timing_cache=b"broken"))


@needs_library
def test_fp8_is_refused_for_a_device_without_it():
    text = """<ir_version: 10, opset_import: ["": 19]> eight (float[4,16] x) => (float[4,8] y)
    <float s = {0.5}, float8e4m3fn z = {0}, float[16,8] w>
    {
      q = QuantizeLinear(x, s, z)
      d = DequantizeLinear(q, s, z)
      v = QuantizeLinear(w, s, z)
      e = DequantizeLinear(v, s, z)
      y = MatMul(d, e)
    }"""
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:], model.graph.value_info[:]
    for name, array in (
        ("s", np.float32(0.5)),
        ("w", np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)),
    ):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    model.graph.initializer.append(onnx.helper.make_tensor("z", onnx.TensorProto.FLOAT8E4M3FN, (), [0.0]))
    built = network_of(model)
    assert len(build_with_layers(built, EngineOptions(["89"])).data) > 1000
    with pytest.raises(ExecutionError, match="float8 needs compute capability 89 or more: --sm 89"):
        build_with_layers(network_of(model), EngineOptions(["86"]))


@needs_library
@pytest.mark.parametrize("wanted", [True, False])
def test_float32_is_what_it_says_unless_less_is_asked_for(wanted):
    built = small()
    seen = []
    real = built.builder.build_serialized_network

    def build(network, config):
        seen.append(config.get_flag(API.module.BuilderFlag.TF32))
        return real(network, config)

    built.builder = SimpleNamespace(
        build_serialized_network=build, create_builder_config=built.builder.create_builder_config
    )
    build_engine(built, EngineOptions(tf32=wanted))
    assert [wanted] == seen
