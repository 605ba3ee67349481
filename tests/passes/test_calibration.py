"""Ranges, and tables of them in memory and as files."""

from __future__ import annotations

import json
import math

import pytest

from graphopt.errors import CalibrationError, OutputError
from graphopt.ir import DType, GraphBuilder
from graphopt.passes import CalibrationTable, Range


def table():
    ranges = {"y": Range(-0.1, 0.30000000000000004), "x": Range(0.0, 1e-40)}
    states: dict[str, dict[str, object]] = {"y": {"counts": [1, 2]}, "x": {"counts": []}}
    return CalibrationTable("percentile", {"percentile": 99.9}, "ab" * 32, 7, ranges, states)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf), (-math.inf, 0.0)])
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(ValueError, match="expected two finite numbers in order of size"):
        Range(low, high)


def test_a_range_of_one_number_is_one():
    assert 3.0 == Range(-3.0, -3.0).magnitude


def test_a_table_is_the_same_after_a_file(tmp_path):
    """Every bit of every number."""
    path = table().save(tmp_path / "table.json")
    assert table() == CalibrationTable.load(path)


def test_a_file_is_text_that_people_can_edit(tmp_path):
    path = table().save(tmp_path / "table.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["tensors"]["x"]["high"] = 6
    path.write_text(json.dumps(document), encoding="utf-8")
    assert Range(0.0, 6.0) == CalibrationTable.load(path)["x"]


def test_a_file_is_replaced_only_when_told_to(tmp_path):
    path = table().save(tmp_path / "table.json")
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"exists already; choose another path, or allow it to be replaced"):
        table().save(path)
    table().save(path, force=True)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written: No such file or directory; choose another path"):
        table().save(tmp_path / "none" / "table.json")


def test_a_tensor_that_is_not_there_is_an_error():
    with pytest.raises(CalibrationError, match="the calibration table has no tensor 'z'; calibrate the model again"):
        table()["z"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("batches"), "missing required field `batches`"),
        (lambda found: found.update(batches="many"), "Expected `int`, got `str`"),
        (lambda found: found.update(scale=1), "unknown field `scale`"),
        (lambda found: found.update(format=2), "has format 2, expected 1; update graphopt"),
        (
            lambda found: found["tensors"]["x"].update(low=5),
            "tensor 'x': the range is 5.0 to 1e-40, expected two finite",
        ),
        (lambda found: found["tensors"]["x"].pop("state"), "missing required field `state`"),
    ],
)
def test_a_file_that_is_wrong_says_what(tmp_path, change, message):
    path = table().save(tmp_path / "table.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CalibrationError) as caught:
        CalibrationTable.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_table_is_one_line(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"is not understood: .*; calibrate the model again"):
        CalibrationTable.load(path)


def test_a_path_that_is_no_file_is_one_line(tmp_path):
    with pytest.raises(CalibrationError, match="is no regular file; give the path of a JSON file"):
        CalibrationTable.load(tmp_path)
    with pytest.raises(CalibrationError, match="cannot be read: No such file or directory; check the path"):
        CalibrationTable.load(tmp_path / "none.json")


def model(op="Relu", name="x"):
    b = GraphBuilder(opset=17)
    b.output(b.op(op, b.input(name, DType.FLOAT, ["n"])), "y")
    return b.build()


def test_a_table_belongs_to_one_model():
    found = CalibrationTable("min-max", {}, CalibrationTable.fingerprint(model()), 1, {}, {})
    found.check_model(model())
    for other in (model("Neg"), model(name="z")):
        with pytest.raises(CalibrationError, match="the calibration table is of a model with fingerprint"):
            found.check_model(other)
