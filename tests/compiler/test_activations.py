"""Tensors are the same whichever way they are given out, and memory is kept."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import numpy as np
import onnx.parser
import pytest

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.calibration.activations import Activations
from graphopt.compiler.calibration.outputs import Extremes, Gated, Whole
from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.calibration.views import run_for_views
from graphopt.compiler.environment import Environment
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError
from graphopt.passes import CalibrationTable, Range

MIXED = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3] x, int64[k] row) => (float[k, 3] y, int64[m] where, bfloat16[n, 3] brain)
<float two = {2.0}>
{
    doubled = Mul(x, two)
    wide = Cast<to: int = 11>(doubled)
    root = Sqrt(wide)
    half = Cast<to: int = 10>(root)
    brain = Cast<to: int = 16>(half)
    some = NonZero(doubled)
    flat = Constant<value_ints: ints = [-1]>()
    where = Reshape(some, flat)
    chosen = Gather(doubled, row)
    single = ReduceMax<keepdims: int = 0>(doubled)
    y = Mul(chosen, single)
}
"""


def environment():
    return Environment(builtin_plugins(discover=False))


def feeds(*rows, n=6):
    return {"x": np.arange(3.0 * n, dtype=np.float32).reshape(n, 3), "row": np.array(rows, np.int64)}


def tensors(model, batches, **how):
    """Copies of all tensors, and the ways that were taken."""
    found = []
    with Activations(environment(), model, **how) as activations:
        for number, batch in enumerate(batches):
            found.append({name: np.array(array) for name, array in activations.run(batch, number)})
        ways = [type(way) for way in activations._ways]
    return found, ways


def same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype, name
        np.testing.assert_array_equal(one[name], two[name], name)


@pytest.mark.parametrize("memory", [0, 60, 100, 1000])
def test_slices_give_what_one_run_gives(memory):
    """Of any types, shapes that only a run tells, tensors without axes and empty ones, batches of other sizes."""
    model = environment().lift(onnx.parser.parse_model(MIXED))
    batches = [feeds(0, 2), feeds(1, 1, 4, n=9), feeds(n=2)]
    whole, ways = tensors(model, batches)
    assert [Whole] == ways
    assert {"x", "doubled", "wide", "root", "half", "brain", "chosen", "single", "y"} == whole[0].keys()
    assert {"chosen", "y"} == whole[0].keys() - whole[2].keys()
    sliced, ways = tensors(model, batches, memory=memory)
    assert [Gated] == ways or memory == 1000
    for one, two in zip(whole, sliced, strict=True):
        same(one, two)


def test_a_run_holds_no_more_than_it_may(monkeypatch):
    """Each slice is within the budget, and no run gives more than a slice."""
    images = digits_test()[0][:8]
    most: list[int] = []

    def watched(*args):
        found = run_for_views(*args)
        most.append(sum(np.asarray(array).nbytes for array in found.values()))
        return found

    monkeypatch.setattr("graphopt.compiler.calibration.activations.run_for_views", watched)
    ((found,), ways) = tensors(environment().lift(digits_model()), [{"image": images}], memory=70_000)
    assert [Gated] == ways
    assert max(most) <= 70_000
    assert len(most) > 3
    assert {"image", "logits"} < found.keys()


def test_extremes_are_those_of_the_whole_tensors(monkeypatch):
    monkeypatch.setattr("graphopt.compiler.calibration.activations._SMALL", 100)
    images = digits_test()[0][:8]
    model = environment().lift(digits_model())
    names = {value.name for value in model.graph.values()}
    ((whole,), _) = tensors(model, [{"image": images}])
    ((ends,), ways) = tensors(model, [{"image": images}], memory=0, extremes=names)
    assert [Extremes] == ways
    assert whole.keys() == ends.keys()
    for name, array in whole.items():
        assert (array.min(), array.max()) == (ends[name].min(), ends[name].max())
    assert {2} == {array.size for array in ends.values()}


def test_types_that_are_not_reduced_by_the_runtime_are_reduced_here():
    model = environment().lift(onnx.parser.parse_model(MIXED))
    names = {value.name for value in model.graph.values()}
    found, ways = tensors(model, [feeds(0, 2), feeds(n=2)], memory=0, extremes=names)
    assert [Extremes, Gated] == ways
    whole, _ = tensors(model, [feeds(0, 2)])
    assert {name: [array.min(), array.max()] for name, array in whole[0].items()} == {
        name: array.tolist() for name, array in found[0].items()
    }
    assert "y" not in found[1], "it is empty"


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize(
    ("number", "message"),
    [(-1.0, "NaN \\(1 of 6"), (3e38, "infinity \\(1 of 6")],
)
def test_numbers_that_are_none_are_found_in_any_way(memory, reduced, number, message):
    """ReduceMin and ReduceMax pass over NaN."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2, 3] x) => (float[2, 3] y)
    <float two = {2.0}> { twice = Mul(x, two) root = Sqrt(twice) y = Relu(root) }"""
    model = environment().lift(onnx.parser.parse_model(text))
    bad = np.ones((2, 3), np.float32)
    bad[1, 1] = number
    names = [value.name for value in model.graph.values()] if reduced else []
    good = {"x": np.ones((2, 3), np.float32)}
    with pytest.raises(CalibrationError, match=f"batch 1: tensor '(root|twice)' has {message} numbers"):
        tensors(model, [good, {"x": bad}], memory=memory, extremes=names)


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("kind", ["min-max", "mse"])
def test_masks_of_attention_have_no_range(memory, kind, caplog, tmp_path):
    """Minus infinity in an inner tensor is no fault of the data; what the tensor had before is forgotten."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n] x, bool[n] seen) => (float[n] y)
    <float never = {-inf}> { scores = Where(seen, x, never) y = Softmax<axis: int = 0>(scores) }"""
    model = onnx.parser.parse_model(text)
    numbers = np.ones(4, np.float32)
    batches = [{"x": numbers, "seen": np.arange(4) < count} for count in (4, 2, 3)]
    table = graphopt.calibrate(model, batches, calibrator=kind, memory=memory)
    assert ({"x", "y"}, ["scores"]) == (set(table.ranges), list(table.masked))
    one, two = (graphopt.calibrate(model, part, calibrator=kind, memory=memory) for part in (batches[:1], batches[1:]))
    assert {"x", "y", "scores"} == one.ranges.keys()
    assert table == graphopt.merge_calibrations(one, two) == graphopt.merge_calibrations(two, one)
    assert table == graphopt.calibrate(model, batches[:1], calibrator=kind, memory=memory, resume=two)
    assert table == CalibrationTable.load(table.save(tmp_path / "table.json"))
    assert "tensor 'scores' had minus infinity, as masks of attention do" in caplog.text
    source = Batches(environment(), lambda: iter(batches), calibrator=kind, memory=memory)
    assert {"y"} == source.ranges(environment().lift(model), ["y", "scores"]).keys()
    with pytest.raises(CalibrationError, match="batch 0: input 'x' has infinity"):
        graphopt.calibrate(model, [{"x": -numbers * np.inf, "seen": numbers > 0}], memory=memory)


def test_a_sum_that_is_too_large_is_no_infinity():
    """In the runtime and here."""
    model = environment().lift(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Identity(x) }'
        )
    )
    batch = {"x": np.array([3e38, 3e38, -1.0], np.float32)}
    for memory in (0, 1 << 20):
        ((found,), _) = tensors(model, [batch, batch][:1], memory=memory, extremes=["y"])
        assert (-1.0, np.float32(3e38)) == (found["y"].min(), found["y"].max())


def test_arrays_outlive_the_run_and_are_not_written_to():
    """What somebody keeps against the rules stays what it was; nobody can change what the runtime owns."""
    model = environment().lift(digits_model())
    with Activations(environment(), model) as activations:
        kept = [array for _, array in activations.run({"image": digits_test()[0][:4]}, 0)]
        before = [np.array(array) for array in kept]
        list(activations.run({"image": digits_test()[0][4:8]}, 1))
    for one, two in zip(kept, before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(not array.flags.writeable for array in kept)


def test_tensors_are_freed_one_by_one():
    model = environment().lift(digits_model())
    alive: list[weakref.ref[np.ndarray]] = []
    with Activations(environment(), model, memory=1 << 30) as activations:
        for _, array in activations.run({"image": digits_test()[0][:4]}, 0):
            alive.append(weakref.ref(array))
            del array
            assert len([item for item in alive if item() is not None]) <= 2  # the input is the caller's
    assert len(alive) > 5


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_sequences_may_be_inputs(memory):
    """Their elements have any shapes."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (seq(float[n]) s, int64 at) => (float[m] y)
    { one = SequenceAt(s, at) twice = Add(one, one) y = Neg(twice) }"""
    model = environment().lift(onnx.parser.parse_model(text))
    batch = {"s": [np.ones(3, np.float32), np.full(2, 4, np.float32)], "at": np.array(1)}
    ((found,), _) = tensors(model, [batch], memory=memory)
    assert [8.0, 8.0] == found["twice"].tolist()


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_inputs_may_be_of_any_type(memory):
    """Text, numbers of one byte or two, and views of other arrays."""
    text = """<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>
    g (string[n] s, float[n] x, int8[n] i, float16[n] h, bool[n] q) => (float[n] y)
    { v = ai.onnx.ml.LabelEncoder<keys_strings: strings = ["a", "b"], values_floats: floats = [1.5, 2.5]>(s)
      f = Cast<to: int = 1>(i) g = Cast<to: int = 1>(h) r = Cast<to: int = 1>(q) y = Sum(x, f, g, r, v) }"""
    model = environment().lift(onnx.parser.parse_model(text))
    ones = np.ones(2, np.float32)
    batch = {"s": np.array(["a", "b"]), "x": ones[::-1], "i": ones.astype(np.int8)}
    batch |= {"h": ones.astype(np.float16), "q": ones > 0}
    ((found,), _) = tensors(model, [batch], memory=memory)
    assert [5.5, 6.5] == found["y"].tolist()


def test_only_wanted_tensors_are_shown():
    model = environment().lift(digits_model())
    found, _ = tensors(model, [{"image": digits_test()[0][:4]}], only=["logits"])
    assert ["logits"] == list(found[0])


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_ranges_do_not_depend_on_memory(memory):
    """Of all calibrators, through what passes ask."""
    images = digits_test()[0][:40]
    model = environment().lift(digits_model())
    names = ["logits", *[node.outputs[0].name for node in model.graph.nodes if node.op == "Conv"]]

    def read():
        return iter([{"image": images[:20]}, {"image": images[20:]}])

    for kind in ("min-max", "moving-average", "percentile", "mse"):
        source = Batches(environment(), read, calibrator=kind, memory=memory)
        expected = graphopt.calibrate(digits_model(), read(), calibrator=kind)
        assert {name: expected[name] for name in names} == source.ranges(model, names)


def test_names_that_the_model_does_not_have_are_left_out():
    """Without a run if there are no others."""
    model = environment().lift(digits_model())
    runs: list[int] = []

    def read():
        runs.append(1)
        return iter([{"image": digits_test()[0][:4]}])

    source = Batches(environment(), read)
    assert {} == source.ranges(model, ["gone"])
    assert ["logits"] == list(source.ranges(model, ["gone", "logits"]))
    assert 1 == len(runs)


def test_constant_activations_have_a_range_of_one_number():
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y)
    <float zero = {0.0}> { nothing = Mul(x, zero) y = Add(nothing, x) }"""
    for kind in ("min-max", "moving-average", "percentile", "entropy", "mse", "auto"):
        batches = [{"x": np.ones(3, np.float32)}]
        assert Range(0.0, 0.0) == graphopt.calibrate(onnx.parser.parse_model(text), batches, calibrator=kind)["nothing"]
