"""ONNX Runtime behind the runner protocol."""

from __future__ import annotations

import gc
import resource
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.ir import DType, MapType, OptionalType, SequenceType, SymbolicDim, TensorType
from graphopt.runtime import Datum, Feeds, OrtRunner, Runner
from graphopt.runtime.ort_values import parse_type

HEAD = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 1]>'


def y_of(runner: Runner, feeds: Feeds) -> Any:
    return runner.run(feeds)["y"]


def model(body: str) -> ModelProto:
    return parse_model(HEAD + body)


def identity(dtype: int) -> ModelProto:
    info = [helper.make_tensor_value_info(name, dtype, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", info[:1], info[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_path_bytes_and_message_give_the_same(tmp_path):
    proto = model("g (float[n, 2] x) => (float[n, 2] y) { y = Neg(x) }")
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    x = np.array([[1, -2]], np.float32)
    for source in (path, str(path), proto.SerializeToString(), proto):
        with OrtRunner(source) as runner:
            assert isinstance(runner, Runner)
            assert runner.inputs[0].type == TensorType(DType.FLOAT, (SymbolicDim("n"), 2))
            assert [[-1.0, 2.0]] == y_of(runner, {"x": x}).tolist()


def test_initializer_that_is_an_input_can_be_overridden():
    proto = model("g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }")
    with OrtRunner(proto) as runner:
        assert ["x"] == [spec.name for spec in runner.inputs]
        assert ["w"] == [spec.name for spec in runner.overridable]
        assert [6.0] == y_of(runner, {"x": np.array([3], np.float32)}).tolist()
        assert [15.0] == y_of(runner, {"x": np.array([3], np.float32), "w": np.array([5], np.float32)}).tolist()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
        (TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
        (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_element_types_pass_through(dtype, kind):
    x = np.array([0, 1, 3]).astype(kind)
    with OrtRunner(identity(dtype)) as runner:
        y = y_of(runner, {"x": x})
    assert x.dtype == y.dtype
    assert x.tobytes() == y.tobytes()


def test_int4_is_packed_and_unpacked():
    head = '<ir_version: 10, opset_import: ["": 21]>'
    down = parse_model(head + f"g (float[n] x) => (int4[n] y) {{ y = Cast<to={TensorProto.INT4}>(x) }}")
    up = parse_model(head + f"g (int4[n] x) => (float[n] y) {{ y = Cast<to={TensorProto.FLOAT}>(x) }}")
    x = np.array([-8, 3, 7], np.float32)
    with OrtRunner(down) as runner:
        narrow = y_of(runner, {"x": x})
    assert np.dtype(ml_dtypes.int4) == narrow.dtype
    with OrtRunner(up) as runner:
        assert x.tolist() == y_of(runner, {"x": narrow}).tolist()
    with OrtRunner(up) as runner:
        assert (0,) == y_of(runner, {"x": narrow[:0]}).shape


def test_sequences_optionals_maps_and_texts():
    two: list[Datum] = [np.ones((1, 2), np.float32), np.zeros((3, 2), np.float32)]
    with OrtRunner(model("g (seq(float[n, 2]) x) => (float[m, 2] y) { y = ConcatFromSequence<axis=0>(x) }")) as runner:
        assert runner.inputs[0].type == SequenceType(TensorType(DType.FLOAT))
        assert (4, 2) == y_of(runner, {"x": two}).shape
    with OrtRunner(model("g (optional(float[n]) x) => (bool y) { y = OptionalHasElement(x) }")) as runner:
        assert isinstance(runner.inputs[0].type, OptionalType)
        assert [False, True] == [bool(y_of(runner, {"x": x})) for x in (None, np.ones(2, np.float32))]
    body = "g (float[n, 2] x) => (seq(map(int64, float)) y) { y = ai.onnx.ml.ZipMap<classlabels_int64s=[3, 4]>(x) }"
    with OrtRunner(model(body)) as runner:
        assert runner.outputs[0].type == SequenceType(MapType(DType.INT64, TensorType(DType.FLOAT)))
        assert [{3: 1.0, 4: 1.0}] == y_of(runner, {"x": two[0]})
    with OrtRunner(identity(TensorProto.STRING)) as runner:
        assert ["a", "ß"] == y_of(runner, {"x": np.array(["a", "ß"], object)}).tolist()


def test_missing_and_unknown_inputs_are_named():
    with OrtRunner(model("g (float[n] x) => (float[n] y) { y = Neg(x) }")) as runner:
        with pytest.raises(ExecutionError, match="input 'x' is missing; the model takes: x"):
            runner.run({})
        with pytest.raises(ExecutionError, match="no input 'z'; it takes: x"):
            runner.run({"x": np.ones(1, np.float32), "z": np.ones(1, np.float32)})
        with pytest.raises(ExecutionError, match=r"failed to run the model: .*[Uu]nexpected"):
            runner.run({"x": np.ones(1, np.int64)})


@pytest.mark.parametrize("size", [0, 7, 300])
def test_garbage_is_one_line(size):
    with pytest.raises(ExecutionError) as caught:
        OrtRunner(bytes(range(256)) * (size // 256) + bytes([255]) * (size % 256))
    assert 1 == len(str(caught.value).splitlines())
    assert "ONNX Runtime does not load the model" in str(caught.value)


def test_missing_file_and_unknown_operator(tmp_path):
    with pytest.raises(ExecutionError, match="is no file"):
        OrtRunner(tmp_path / "none.onnx")
    with pytest.raises(ExecutionError, match=r"does not load the model: .*NoSuchOp"):
        OrtRunner(model("g (float[n] x) => (float[n] y) { y = NoSuchOp(x) }"))


def test_versions_that_are_too_new_get_a_hint():
    proto = model("g (float[n] x) => (float[n] y) { y = Neg(x) }")
    proto.ir_version = 999
    with pytest.raises(ExecutionError, match="lower the IR version"):
        OrtRunner(proto)
    proto.ir_version = 8
    proto.opset_import[0].version = 999
    with pytest.raises(ExecutionError, match="convert the model to an older opset"):
        OrtRunner(proto)


def test_external_data_of_a_model_in_memory(tmp_path):
    proto = model("g (float[n, 300] x) => (float[n, 300] y) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.full(300, 2, np.float32), "w"))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    bare = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with OrtRunner(bare, folder=tmp_path) as runner:
        assert 3.0 == y_of(runner, {"x": np.ones((1, 300), np.float32)}).max()
    with OrtRunner(tmp_path / "m.onnx") as runner:
        assert 3.0 == y_of(runner, {"x": np.ones((1, 300), np.float32)}).max()


def test_closed_runner_gives_its_memory_back(tmp_path):
    proto = model("g (float[n] x) => (float[n] y) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(8_000_000, np.float32), "w"))
    onnx.save(proto, tmp_path / "m.onnx")
    del proto
    peaks = []
    for _ in range(6):
        runner = OrtRunner(tmp_path / "m.onnx")
        session = weakref.ref(runner.session)
        runner.close()
        with pytest.raises(ExecutionError, match="is closed"):
            runner.run({"x": np.ones(1, np.float32)})
        del runner
        gc.collect()
        assert session() is None
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[0] < 24_000  # KiB; the weights alone are 31,250 a session


def test_a_failing_run_prints_nothing(capfd):
    runner = OrtRunner(model("g (float[n] x, float[m] z) => (float[k] y) { y = Add(x, z) }"))
    with pytest.raises(ExecutionError, match="failed to run"):
        runner.run({"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)})
    assert ("", "") == capfd.readouterr()


def test_optimizer_levels():
    proto = model("g (float[n] x) => (float[n] y) { t = Identity(x) y = Neg(t) }")
    for optimize in (True, False, "basic", "extended"):
        with OrtRunner(proto, optimize=optimize, threads=1, low_memory=False) as runner:
            assert [-1.0] == y_of(runner, {"x": np.ones(1, np.float32)}).tolist()
    with pytest.raises(ValueError, match="unknown optimization level 'most'"):
        OrtRunner(proto, optimize="most")  # type: ignore[arg-type]  # that is the point


def test_types_that_nobody_knows_are_none():
    assert parse_type("tensor(quaternion)", []) is None
    assert parse_type("opaque(x)", []) is None
    assert parse_type("seq(tensor(int8))", []) == SequenceType(TensorType(DType.INT8))
