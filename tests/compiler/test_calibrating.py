"""Ranges of the tensors of a model, from data that streams through it."""

from __future__ import annotations

import types
import weakref

import numpy as np
import onnx.parser
import pytest

import graphopt
from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError, ExecutionError, PipelineError, PluginError
from graphopt.passes import CalibrationTable, Range
from graphopt.runtime import Feeds
from graphopt.target import QuantizationScheme

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3] x, int64[n] row) => (float[n, 3] y)
<float one = {1.0}>
{
    shifted = Add(x, one)
    wide = Cast<to: int = 11>(shifted)
    root = Sqrt(wide)
    half = Cast<to: int = 10>(root)
    whole = Cast<to: int = 7>(half)
    kept = Gather(shifted, row)
    y = Neg(kept)
}
"""


def model():
    return onnx.parser.parse_model(MODEL)


def batch(*numbers):
    return {"x": np.array([numbers], np.float32), "row": np.array([0], np.int64)}


def plugins_with(kind, name="own"):
    item = types.SimpleNamespace(graphopt_calibrators=hookimpl(lambda: {name: kind}))
    item.graphopt_calibrators.__name__ = "graphopt_calibrators"
    found = builtin_plugins(discover=False)
    found.register(item, name="vendor")
    return found


def test_every_float_tensor_has_its_range():
    """Inputs, inner tensors and outputs of any float type; integers and constants have none."""
    table = graphopt.calibrate(model(), [batch(0, 3, 8), batch(15, 3, 8)])
    expected = {
        "x": Range(0, 15),
        "shifted": Range(1, 16),
        "wide": Range(1, 16),
        "root": Range(1, 4),
        "half": Range(1, 4),
        "kept": Range(1, 16),
        "y": Range(-16, -1),
    }
    assert (expected, 2, "min-max", {}) == (dict(table.ranges), table.batches, table.calibrator, table.options)
    table.check_model(graphopt.lift(model()))


def test_the_model_is_not_changed():
    ir = graphopt.lift(model())
    graphopt.calibrate(ir, [batch(0, 1, 2)])
    assert ["y"] == [value.name for value in ir.graph.outputs]
    assert graphopt.lower(ir, target="onnx").graph == graphopt.lower(graphopt.lift(model()), target="onnx").graph


def test_batches_may_have_any_size_and_empty_ones_say_nothing():
    sizes: list[Feeds] = [{"x": np.full((n, 3), n, np.float32), "row": np.arange(n, dtype=np.int64)} for n in (3, 1, 0)]
    table = graphopt.calibrate(model(), sizes)
    assert (Range(1, 3), 3) == (table["x"], table.batches)
    nothing = graphopt.calibrate(model(), sizes[2:])
    assert (1, {}) == (nothing.batches, dict(nothing.ranges))


def test_no_batch_is_kept():
    """Each is gone before the next but one is asked for, and so are the tensors that calibrators were shown."""
    alive = []

    class Watch(graphopt.passes.Calibrator):
        def __init__(self):
            self.count = 0

        def observe(self, array):
            self.count += array.size
            alive.append(weakref.ref(array))

        def merge(self, other):
            self.count += other.count

        def range(self):
            return Range(0.0, float(self.count))

        def state(self):
            return {"count": self.count}

        @classmethod
        def from_state(cls, state):
            raise NotImplementedError

    def feeds():
        for number in range(5):
            assert len([item for item in alive if item() is not None]) <= 2, "the last batch at most"
            yield batch(number, 1, 2)

    table = graphopt.calibrate(model(), feeds(), calibrator="own", plugins=plugins_with(Watch))
    assert 15.0 == table["x"].high


def test_a_run_can_be_resumed_and_runs_be_merged():
    """Two runs, one after the other or side by side, are one run on the union; the table goes through a file in between."""
    first, second = batch(0, 3, 8), batch(15, 3, 8)
    both = graphopt.calibrate(model(), [first, second])
    one, two = (graphopt.calibrate(model(), [item]) for item in (first, second))
    assert both == graphopt.calibrate(model(), [second], resume=one)
    assert both == graphopt.merge_calibrations(one, two) == graphopt.merge_calibrations(two, one)


def test_a_resumed_run_goes_through_a_file(tmp_path):
    one = CalibrationTable.load(graphopt.calibrate(model(), [batch(0, 3, 8)]).save(tmp_path / "one.json"))
    assert Range(0, 15) == graphopt.calibrate(model(), [batch(15, 1, 1)], resume=one)["x"]


def test_a_trained_model_is_calibrated():
    images, _ = digits_test()
    table = graphopt.calibrate(digits_model(), ({"image": images[at : at + 60]} for at in range(0, 360, 60)))
    assert (6, Range(0.0, 16.0)) == (table.batches, table["image"])
    with graphopt.Session(digits_model(), optimize=False) as session:
        logits = session.run({"image": images})["logits"]
    assert isinstance(logits, np.ndarray)
    found = np.array([table["logits"].low, table["logits"].high])
    np.testing.assert_allclose(found, np.array([logits.min(), logits.max()]), rtol=1e-5)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ([], "there is no batch to calibrate with; bring at least one"),
        (
            ["x"],
            "batch 0 is a str, expected arrays by name of the input, such as {'x': array}; put a single batch into",
        ),
        ([{"x": batch(1, 1, 1)["x"]}], "batch 0: input 'row' is missing; found 'x', add an array for it"),
        ([batch(1, 1, 1) | {"z": 1}], "batch 0: the model has no input 'z'; it takes 'x', 'row'"),
        ([batch(1, 1, 1), batch(1, 1)], "batch 1: input 'x' has size 2 along axis 1, expected 3 as in float[n, 3]"),
        ([batch(1, 1, 1) | {"x": np.zeros(3, np.float32)}], "batch 0: input 'x' has shape [3], expected float[n, 3]"),
        ([batch(1, 1, 1) | {"row": np.array([0.5])}], "batch 0: input 'row' has elements of float64, expected int64"),
        ([batch(1, 1, np.nan)], "batch 0: input 'x' has NaN (1 of 3 numbers); clean the data"),
        (
            [batch(1, 1, 1), batch(1, np.inf, -np.inf)],
            "batch 1: input 'x' has infinity (2 of 3 numbers); clean the data",
        ),
        ([batch(-5, 1, 1)], "batch 0: tensor 'root' has NaN (1 of 3 numbers); leave this batch out"),
    ],
)
def test_data_that_does_not_fit_is_one_clear_line(feeds, message):
    with pytest.raises(CalibrationError) as caught:
        graphopt.calibrate(model(), feeds)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_calibrator_has_a_suggestion():
    with pytest.raises(
        PipelineError, match=r"unknown calibrator 'minmax'; did you mean 'min-max'\? known calibrators: graphopt list"
    ):
        graphopt.calibrate(model(), [batch(1, 1, 1)], calibrator="minmax")


def test_an_unknown_option_is_refused_before_the_model_is_read():
    with pytest.raises(CalibrationError, match="calibrator 'min-max' has no option 'bins'; options: none"):
        graphopt.calibrate("no such file.onnx", [], options={"bins": 3})


def test_a_model_without_floats_has_nothing_to_calibrate():
    whole = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (int64[n] x) => (int64[n] y) { y = Neg(x) }'
    )
    with pytest.raises(CalibrationError, match="the model has no float tensor, so there is nothing to calibrate"):
        graphopt.calibrate(whole, [{"x": np.array([1])}])


def test_a_model_that_does_not_run_is_one_line():
    """It is named as the user knows it, not by the file that was made of it."""
    unknown = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "nope": 1]> g (float[n] x) => (float[n] y) { y = nope.Nope(x) }'
    )
    with pytest.raises(ExecutionError, match=r"^ONNX Runtime does not load the model: .*Nope") as caught:
        graphopt.calibrate(unknown, [{"x": np.zeros(1, np.float32)}])
    assert "graphopt-calibrate" not in str(caught.value)


def test_tables_that_do_not_belong_together_are_refused():
    one = graphopt.calibrate(model(), [batch(1, 1, 1)])
    other = graphopt.calibrate(digits_model(), [{"image": digits_test()[0][:1]}])
    with pytest.raises(CalibrationError, match="the calibration table is of a model with fingerprint"):
        graphopt.calibrate(model(), [batch(1, 1, 1)], resume=other)
    with pytest.raises(CalibrationError, match=r"calibration tables of two models, .* can't be merged"):
        graphopt.merge_calibrations(one, other)


class Broken:
    """Keeps the form of a calibrator; what it does depends on its option."""

    def __init__(self, fault="none"):
        if fault == "init":
            raise ValueError("fault may not be 'init'")
        self.fault = fault

    def observe(self, array):
        if self.fault == "observe":
            raise KeyError("bin")

    def merge(self, other):
        raise RuntimeError("no")

    def range(self):
        return Range(1.0, 0.0) if self.fault == "order" else (0, 1) if self.fault == "kind" else Range(0.0, 1.0)

    def state(self):
        if self.fault == "state":
            raise KeyError("x")
        return {}

    @classmethod
    def from_state(cls, state):
        raise IndexError("x")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("init", CalibrationError, "calibrator 'own': fault may not be 'init'"),
        (
            "observe",
            PluginError,
            "calibrator 'own' of plugin 'vendor' failed in observe of tensor 'x': KeyError: 'bin'",
        ),
        ("order", PluginError, "failed in range of tensor 'x': ValueError: the range is 1.0 to 0.0"),
        ("kind", PluginError, "calibrator 'own' of plugin 'vendor' gave (0, 1) for tensor 'x', expected a Range"),
        ("state", PluginError, "failed in state of tensor 'x': KeyError: 'x'"),
    ],
)
def test_a_calibrator_that_fails_names_its_plugin(fault, error, message):
    with pytest.raises(error) as caught:
        graphopt.calibrate(
            model(), [batch(1, 1, 1)], calibrator="own", options={"fault": fault}, plugins=plugins_with(Broken)
        )
    assert message in str(caught.value)


def test_merging_with_a_calibrator_that_fails_is_told():
    plugins = plugins_with(Broken)
    table = graphopt.calibrate(model(), [batch(1, 1, 1)], calibrator="own", plugins=plugins)
    with pytest.raises(CalibrationError, match="has a state of tensor 'x' that 'own' can't read: IndexError: x"):
        graphopt.merge_calibrations(table, table, plugins=plugins)
    with pytest.raises(
        CalibrationError, match=r"the calibration table is by 'own' with options \{\}, expected 'min-max'"
    ):
        graphopt.calibrate(model(), [batch(1, 1, 1)], resume=table, plugins=plugins)


@pytest.mark.parametrize("kind", [3, dict, Broken()])
def test_what_is_no_calibrator_names_its_plugin(kind):
    with pytest.raises(PluginError, match=r"calibrator 'own' of plugin 'vendor' is .*, expected a class with observe,"):
        graphopt.calibrate(model(), [batch(1, 1, 1)], calibrator="own", plugins=plugins_with(kind))


def test_built_in_calibrators_are_listed():
    rows = {str(row["name"]): row for row in builtin_plugins(discover=False).describe("calibrators")}
    assert ["auto", "entropy", "min-max", "moving-average", "mse", "percentile"] == sorted(rows)
    assert {"builtin"} == {row["owner"] for row in rows.values()}
    assert str(rows["min-max"]["doc"]).startswith("The smallest and the largest number")


def test_calibrators_are_told_how_numbers_are_stored():
    """Those that have such options, where the caller does not say it; the table keeps what was used."""
    scheme = QuantizationScheme("own", activation="int16", symmetric_activations=True)
    batches = [batch(1, 2, 3)]
    told = {"bits": 16, "symmetric": True}
    assert told == graphopt.calibrate(model(), batches, calibrator="mse", scheme=scheme).options
    stated = graphopt.calibrate(model(), batches, calibrator="mse", options={"bits": 4}, scheme=scheme)
    assert {"bits": 4, "symmetric": True} == stated.options
    assert {} == graphopt.calibrate(model(), batches, scheme=scheme).options
    assert 2 == graphopt.calibrate(model(), batches, calibrator="mse", resume=stated).batches


def test_only_wanted_tensors_are_in_the_table():
    assert {"wide", "y"} == graphopt.calibrate(
        model(), [batch(1, 2, 3)], only=["wide", "y", "row", "none"]
    ).ranges.keys()


def test_observed_numbers_and_clipped_shares_are_in_the_table(tmp_path):
    numbers = np.linspace(0, 100, 999, dtype=np.float32).reshape(333, 3)
    feeds: Feeds = {"x": numbers, "row": np.zeros(1, np.int64)}
    table = graphopt.calibrate(model(), [feeds], calibrator="percentile", options={"percentile": 90.0})
    assert Range(0.0, 100.0) == table.observed["x"]
    assert 0.1 == pytest.approx(table.clipped["x"], abs=0.01)
    assert table == CalibrationTable.load(table.save(tmp_path / "table.json"))


def test_a_table_prepared_otherwise_is_refused():
    one = graphopt.calibrate(digits_model(), digits_test()[0][:10], prepare="O1")
    with pytest.raises(CalibrationError, match="is of a model prepared by 'O1', expected 'O2'; use the same"):
        graphopt.calibrate(digits_model(), digits_test()[0][:10], prepare="O2", resume=one)
    other = graphopt.calibrate(digits_model(), digits_test()[0][:10])
    with pytest.raises(CalibrationError, match="prepared by 'O1' and by '' can't be merged; prepare it alike"):
        graphopt.merge_calibrations(one, other)
    assert "O1" == graphopt.merge_calibrations(one, one).prepare


def test_a_run_stops_when_it_is_told_to():
    """After the batch that it is at."""
    table = graphopt.calibrate(model(), [batch(1, 2, 3), batch(7, 7, 7)], stop=lambda: True)
    assert (1, Range(1, 3)) == (table.batches, table["x"])
