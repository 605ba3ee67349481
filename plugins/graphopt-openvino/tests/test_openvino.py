"""Models in OpenVINO compute what they compute in ONNX Runtime, or are refused with the reason."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graphopt_openvino.interface import Interface
from graphopt_openvino.legalize import LegalizeOpenVino
from graphopt_openvino.support import reason_against

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.data import digits_model, digits_test
from graphopt.errors import ExecutionError, OutputError, UnsupportedOpError
from graphopt.ir import Constant, DType, GraphBuilder, SparseData

PLUGINS = builtin_plugins()
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed; pip install openvino"
)
X = np.array([[1.5, -2.0, 0.25], [0.0, 4.0, -1.0]], np.float32)


def built(build, *types, opset=17):
    """A model of inputs ``x0``, ``x1`` ... with dynamic first axis."""
    b = GraphBuilder(opset=opset)
    inputs = [b.input(f"x{index}", dtype, shape) for index, (dtype, shape) in enumerate(types)]
    found = build(b, *inputs)
    for index, value in enumerate(found if isinstance(found, list) else [found]):
        b.output(value, f"y{index}")
    return b.build()


def outputs(model, feeds, backend):
    with graphopt.Session(model, backend=backend, optimize=False, threads=1, plugins=PLUGINS) as session:
        return session.run(feeds)


def assert_same(model, feeds, rtol=1e-5):
    expected, found = outputs(model, feeds, "onnxruntime"), outputs(model, feeds, "openvino")
    assert list(expected) == list(found)
    for name, value in expected.items():
        assert (value.dtype, value.shape) == (found[name].dtype, found[name].shape), name
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-6)


# -- the digits classifier ----------------------------------------------------------------------------------------------------


@needs_openvino
def test_the_digits_are_told_as_well_as_in_onnx_runtime():
    images, labels = digits_test()
    feeds = {"image": images[:100]}
    expected = outputs(digits_model(), feeds, "onnxruntime")["logits"]
    found = outputs(digits_model(), feeds, "openvino")["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected.argmax(1) == labels[:100]).mean() == (found.argmax(1) == labels[:100]).mean()


@needs_openvino
def test_sparse_initializers_become_dense():
    """OpenVINO refuses a model that has some."""
    b = GraphBuilder(opset=17)
    weight = SparseData(Constant(np.array([2.0, -1.0], np.float32)), Constant(np.array([1, 5])), (3, 2))
    b.output(b.MatMul(b.input("x", DType.FLOAT, ["n", 3]), b.constant(Constant(weight))), "y")
    result = graphopt.optimize(b.build(), target="openvino", plugins=PLUGINS)
    assert "ok" == result.report.verdict.status


@needs_openvino
def test_the_optimized_model_is_checked_in_openvino_and_saved_as_two_files(tmp_path):
    result = graphopt.optimize(digits_model(), target="openvino", plugins=PLUGINS)
    assert ("ok", "openvino") == (result.report.verdict.status, result.report.verdict.runtime)
    files = result.save(tmp_path / "digits.xml")
    assert ["digits.xml", "digits.bin"] == [path.name for path in files]
    assert sorted(["digits.xml", "digits.bin"]) == sorted(path.name for path in tmp_path.iterdir())
    assert graphopt.compare(digits_model(), files[0], backend="openvino", plugins=PLUGINS).ok
    with graphopt.Session(files[0], backend="openvino", plugins=PLUGINS) as session:
        assert ["image: float[batch, 1, 8, 8]"] == [str(spec) for spec in session.inputs]
    with pytest.raises(OutputError, match="exists already"):
        result.save(tmp_path / "digits.xml")
    with pytest.raises(OutputError, match=r"does not end in '.xml'"):
        result.save(tmp_path / "digits.onnx")


# -- interface ----------------------------------------------------------------------------------------------------------------


@needs_openvino
def test_inputs_and_outputs_keep_names_and_order():
    """One input is an output, one is read by nobody, one output comes twice under two names, one is a constant."""

    def build(b, x, _, z):
        total = b.Add(x, z)
        return [total, b.Identity(x), b.Identity(total), b.Identity(np.array([1, 2], np.int64)), b.Neg(z)]

    shape = (DType.FLOAT, ("n", 3))
    assert_same(built(build, shape, shape, shape), {"x0": X, "x1": X[:1], "x2": X * 2})


@needs_openvino
def test_sizes_change_from_run_to_run_down_to_nothing():
    model = built(lambda b, x: [b.Relu(x), b.Shape(x)], (DType.FLOAT, ("n", "m")))
    for shape in ((2, 3), (5, 1), (0, 3), (1, 0)):
        assert_same(model, {"x0": np.ones(shape, np.float32)})


@needs_openvino
def test_arrays_that_are_views_or_read_only_are_fed_too():
    model = built(lambda b, x: b.Neg(x), (DType.FLOAT, (None, 2)))
    frozen = np.arange(4, dtype=np.float32).reshape(2, 2)
    frozen.setflags(write=False)
    for array in (frozen, np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::3]):
        assert_same(model, {"x0": array})


@needs_openvino
def test_scalars_have_no_axes():
    assert_same(built(lambda b, x: b.Mul(x, np.float32(3)), (DType.FLOAT, ())), {"x0": np.array(2, np.float32)})


@pytest.mark.parametrize("name", ["FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL"])
@needs_openvino
def test_element_types_pass_bit_for_bit(name):
    dtype = DType[name]
    model = built(lambda b, x: b.Transpose(x, perm=[1, 0]), (dtype, ("n", 3)), opset=21)
    feeds = {"x0": np.array([[0, 1, 3], [5, 1, 0]]).astype(dtype.numpy)}
    assert_same(model, feeds, rtol=0)


def test_the_interface_is_kept_as_text():
    spec = json.loads(Interface((), ()).to_text())
    assert {"inputs": [], "outputs": [], "positions": []} == spec
    with pytest.raises(ValueError, match="no interface"):
        Interface.from_text("{}")


# -- what is wrong is told ----------------------------------------------------------------------------------------------------


@needs_openvino
def test_wrong_feeds_are_told_with_the_input():
    model = built(lambda b, x: b.Neg(x), (DType.FLOAT, ("n", 3)))
    with graphopt.Session(model, backend="openvino", plugins=PLUGINS) as session:
        with pytest.raises(ExecutionError, match="input 'x0' is missing"):
            session.run({})
        with pytest.raises(ExecutionError, match="input 'x0' is an array of double, expected float"):
            session.run({"x0": X.astype(np.float64)})
        with pytest.raises(ExecutionError, match="input 'x0' does not fit"):
            session.run({"x0": np.zeros((2, 4), np.float32)})


@needs_openvino
def test_whole_numbers_that_openvino_would_cut_off_are_refused():
    model = built(lambda b, x: b.Add(x, np.array(1, np.int64)), (DType.INT64, ("n",)))
    with (
        graphopt.Session(model, backend="openvino", plugins=PLUGINS) as session,
        pytest.raises(
            ExecutionError, match="input 'x0' has the number 1099511627776, and OpenVINO computes with 32 bits"
        ),
    ):
        session.run({"x0": np.array([1 << 40], np.int64)})
    large = built(lambda b, x: b.Add(x, np.array(1 << 40, np.int64)), (DType.INT64, ("n",)))
    with pytest.raises(UnsupportedOpError, match="computes with 32 bits on the processor"):
        graphopt.Session(large, backend="openvino", plugins=PLUGINS)


@pytest.mark.parametrize(
    ("build", "types", "reason"),
    [
        (lambda b, x: b.Neg(x), [(DType.DOUBLE, ("n",))], "computes double in float32"),
        (lambda b, x: b.Det(x), [(DType.FLOAT, (2, 2))], "has no Det"),
        (lambda b, x: b.Neg(x), [(DType.FLOAT, None)], "needs to know how many axes"),
        (lambda b, x: b.Identity(x), [(DType.STRING, ("n",))], "does not compute with string"),
        (lambda b, x: b.BitShift(x, x, direction="LEFT"), [(DType.UINT8, ("n",))], "shifts"),
        (lambda b, x: b.Round(b.Sub(np.float32(0), b.Div(x, x))), [(DType.FLOAT, ("n",))], "the reciprocal"),
        (lambda b, x: b.Cast(x, to=DType.FLOAT8E5M2), [(DType.FLOAT, ("n",))], "does not compute with float8e5m2"),
        (
            lambda b, x: b.MaxPool(x, kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1),
            [(DType.FLOAT, (1, 1, 2, 2))],
            "a last window that lies in the padding",
        ),
    ],
)
@needs_openvino
def test_what_openvino_lacks_or_gets_wrong_is_refused_with_the_reason(build, types, reason):
    with pytest.raises(UnsupportedOpError, match=reason):
        graphopt.Session(built(build, *types, opset=21), backend="openvino", plugins=PLUGINS)


@needs_openvino
def test_files_that_are_broken_are_told(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("<net/>", encoding="utf-8")
    with pytest.raises(ExecutionError, match="OpenVINO does not load"):
        graphopt.Session(path, backend="openvino", plugins=PLUGINS)


def test_supported_nodes_have_no_reason_against_them():
    model = graphopt.lift(digits_model())
    assert {None} == {reason_against(node) for node in model.graph.nodes}


# -- corrections --------------------------------------------------------------------------------------------------------------


@needs_openvino
def test_equal_numbers_stay_in_order_in_top_k():
    model = built(lambda b, x: list(b.TopK(x, np.array([3], np.int64), outputs=2)), (DType.FLOAT, (None, 5)))
    assert_same(model, {"x0": np.array([[2, 1, 2, 2, 0]], np.float32)})


@needs_openvino
def test_a_box_whose_overlap_equals_the_threshold_is_kept():
    def build(b, boxes, scores):
        limits = np.array([3], np.int64), np.array([0.5], np.float32), np.array([0.0], np.float32)
        return b.NonMaxSuppression(boxes, scores, *limits)

    model = built(build, (DType.FLOAT, (1, 2, 4)), (DType.FLOAT, (1, 1, 2)))
    boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, 0.5]]], np.float32)
    assert_same(model, {"x0": boxes, "x1": np.array([[[0.9, 0.8]]], np.float32)})


@needs_openvino
def test_operators_of_scikit_learn_are_spelled_in_others():
    def build(b, x):
        scaled = b.op("ai.onnx.ml::Scaler", x, offset=[1.0, 2.0, 3.0], scale=[2.0, 0.5, 1.0])
        chosen = b.op("ai.onnx.ml::ArrayFeatureExtractor", scaled, np.array([2, 0], np.int64))
        row = b.op("ai.onnx.ml::ArrayFeatureExtractor", np.array([7, 8, 9], np.int64), np.array([[1], [2]], np.int64))
        return [b.op("ai.onnx.ml::Binarizer", scaled, threshold=0.25), chosen, row]

    assert_same(built(build, (DType.FLOAT, (None, 3))), {"x0": X})


def test_legalizing_twice_changes_nothing():
    model = built(lambda b, x: b.op("ai.onnx.ml::Binarizer", x, threshold=0.25), (DType.FLOAT, (None, 3)))
    manager = graphopt.PassManager([LegalizeOpenVino()])
    assert manager.run(model).changed
    assert not graphopt.PassManager([LegalizeOpenVino()]).run(model).changed


# -- the package --------------------------------------------------------------------------------------------------------------


@needs_openvino
def test_openvino_reports_nothing_and_leaves_nothing_behind(tmp_path):
    """Its telemetry would write an identifier into the home folder."""
    code = "import sys; from graphopt_openvino.silent import core; core(); print('openvino_telemetry' in sys.modules)"
    environment = {**os.environ, "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
    assert [] == list(Path(tmp_path).iterdir())


def test_the_backend_is_listed():
    (row,) = (row for row in PLUGINS.describe("backends") if row["name"] == "openvino")
    assert ("openvino", True) == (row["owner"], row["runs"])
