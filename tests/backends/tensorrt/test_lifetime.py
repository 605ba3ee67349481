"""What TensorRT points to lives and stays as it is until an engine is built; arrays of every layout and type arrive as they are."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphopt.backends.tensorrt as package
from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.building import EngineOptions, build_engine
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.registry import Registry, builtin_converters
from graphopt.compiler.engines.building import build
from graphopt.compiler.environment import Environment
from graphopt.errors import ModelError
from graphopt.ir import Constant, DType
from graphopt.testing.tensorrt import evaluate
from tests.backends.tensorrt.library import API, close, needs_library, network_of, outputs_of

pytestmark = needs_library

HEAD = '<ir_version: 8, opset_import: ["": 17]> '


def product(weights):
    rows, columns = weights.shape
    text = f"product (float[2,{rows}] x) => (float[2,{columns}] y) <float[{rows},{columns}] w> {{ y = MatMul(x, w) }}"
    model = onnx.parser.parse_model(HEAD + text)
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return model


def emitter():
    assert API is not None
    log = API.log()
    builder = API.builder(log)
    network = API.network(builder)
    made = Emitter(API, log, network, Registry(builtin_converters()))
    return made, (builder, log)


def values(made, tensor):
    """What a constant tensor holds, read back from the network."""
    made.network.mark_output(made.out(made.network.add_identity(made.cast(tensor, DType.FLOAT))))
    return next(iter(evaluate(API, made.network, {}, stored=made.stored).values()))


def test_an_array_that_its_owner_writes_over_after_lowering():
    weights = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)
    kept = weights.copy()
    environment = Environment()
    model = environment.legalized(environment.lift(product(weights)), "tensorrt")
    [value] = [value for value in model.graph.initializers() if value.name == "w"]
    value.const = Constant(weights)
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend)
    built = backend.network(model, API)
    weights[:] = -1
    x = np.ones((2, 32), np.float32)
    assert close(outputs_of(built, {"x": x})["y"], x @ kept)


def test_an_engine_of_weights_that_were_dropped_is_the_engine_of_weights_that_were_kept():
    weights = np.random.default_rng(1).standard_normal((32, 64)).astype(np.float32)
    model = product(weights)
    kept = build_engine(network_of(model), EngineOptions(["86"]))
    built = network_of(product(weights))
    del model
    gc.collect()
    churn = [np.full((32, 64), -1, np.float32) for _ in range(200)]
    assert kept == build_engine(built, EngineOptions(["86"])), "no byte of the weights was lost"
    assert churn


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4])
def test_weights_that_are_handed_over_as_pointers_are_held(dtype):
    made, held = emitter()
    array = np.arange(-4, 4).astype(dtype)
    made.as_stored(array, DType.from_numpy(array.dtype))
    references = [item for item in made._keep if isinstance(item, np.ndarray)]
    address = {item.ctypes.data for item in references}
    del array
    gc.collect()
    weights = made.pointed(next(iter(made.stored)))
    assert weights.size == 8
    assert address, "the memory behind the pointer is somebody's"
    assert held


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 0, 3)])
def test_arrays_keep_their_number_of_axes(shape):
    made, held = emitter()
    tensor = made.constant(np.full(shape, 3, np.float32))
    assert shape == tuple(tensor.shape)
    assert held


LAYOUTS = {
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "of another byte order": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "at an odd address": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "plain": lambda a: a,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int16, np.uint8, np.bool_])
def test_arrays_of_any_layout_and_type(layout, dtype):
    made, held = emitter()
    array = np.arange(24).reshape(4, 6).astype(dtype)
    assert np.array_equal(values(made, made.constant(LAYOUTS[layout](array))), array.astype(np.float32))
    assert held


@given(writeable=st.booleans(), shared=st.booleans())
def test_what_nobody_can_write_to_is_not_copied(writeable, shared):
    made, _ = emitter()
    base = np.arange(200, dtype=np.float32)
    view = base.view()
    view.flags.writeable = writeable
    address = base.ctypes.data
    if not shared:
        del base
    made.weights(view, DType.FLOAT)
    kept = made._keep[-1]
    assert isinstance(kept, np.ndarray)
    assert (kept.ctypes.data == address) == (not writeable and not shared)
    assert np.array_equal(kept, np.arange(200))


def test_weights_are_given_by_the_calls_that_add_layers():
    """The setters of a layer keep nothing alive: what they are given is garbage before the engine is built."""
    sources = Path(str(package.__file__)).parent.rglob("*.py")
    setters = re.compile(r"\.(kernel|bias|weights|shift|scale|power) = ")
    assert [] == [path.name for path in sources if setters.search(path.read_text(encoding="utf-8"))]


def test_a_file_that_is_written_over_while_an_engine_is_built_is_noticed(tmp_path):
    path = tmp_path / "product.onnx"
    big = np.random.default_rng(2).standard_normal((1024, 1024)).astype(np.float32)
    onnx.save(product(big), path)

    def change(text):
        if text.startswith("building engine"):
            with path.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\0")
            os.utime(path, ns=(1, 1))

    with pytest.raises(ModelError, match="changed since it was read"):
        build(path, check=False, options=EngineOptions(["86"]), progress=change)
