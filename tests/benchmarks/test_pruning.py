"""The benchmark of pruning: what is counted, drawn and told is right; no other tool is needed for that."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import graphopt
from benchmarks import pruning, pruning_zoo
from benchmarks.pruning_costs import flops_of_model, sparsity_of
from benchmarks.pruning_plot import plot
from benchmarks.pruning_tools import PRUNERS, lines_of
from benchmarks.pruning_tools import main as run_tool
from benchmarks.quantization_cases import write_case
from graphopt.data import digits_model, digits_test


@pytest.fixture
def case(tmp_path):
    """The digits that ship with graphopt."""
    images, labels = digits_test()
    calibrate, test = {"image": images[:64]}, {"image": images[64:264]}
    write_case(tmp_path / "digits", digits_model(), calibrate, test, labels=labels[64:264], batch=8)
    return tmp_path / "digits"


def run(case, tool, amount):
    target, result = case / "made.onnx", case / "result.json"
    assert 0 == run_tool([tool, str(amount), str(case), str(target), str(result)])
    return target, json.loads(result.read_text(encoding="utf-8"))


def test_the_baseline_zeroes_what_is_asked_for(case):
    made, told = run(case, "numpy magnitude", 0.6)
    assert "ok" == told["status"]
    assert 0.6 == pytest.approx(sparsity_of(made), abs=0.01)
    assert told["peak_bytes"] > 0
    assert 10 == lines_of(PRUNERS["numpy magnitude"].function)


def test_a_tool_that_fails_is_a_result(case):
    (case / "model.onnx").write_bytes(b"no model")
    _made, told = run(case, "numpy magnitude", 0.5)
    assert "exception" == told["status"]
    assert told["reason"].startswith("DecodeError: ")


def test_operations_are_counted_as_the_budget_counts_them(case):
    made = graphopt.optimize(case / "model.onnx", pipeline="O1,prune-channels{flops=0.7}", check=False)
    whole = flops_of_model(graphopt.optimize(case / "model.onnx", level="O1", check=False).proto)
    assert 0.4 * whole < flops_of_model(made.proto) <= 0.7 * whole


def test_rows_of_a_case(case, monkeypatch):
    monkeypatch.setitem(pruning.AMOUNTS, "digits", {"zeros": (0.5,)})
    rows = pruning.measure_case(case, ["numpy magnitude"], threads=1, seconds=0.1, limit_s=60)
    assert ["original", "original again", "numpy magnitude"] == [row.tool for row in rows]
    assert [1.0, 1.0, 1.0] == [row.flops for row in rows]
    assert all(row.speed for row in rows)
    assert 0.5 == pytest.approx(rows[2].zeros, abs=0.01)
    before, after = rows[0].accuracy, rows[2].accuracy
    assert before is not None
    assert after is not None
    assert before >= after > 0.2


def test_each_model_of_a_folder(tmp_path, capsys):
    (tmp_path / "a.onnx").write_bytes(digits_model().read_bytes())
    (tmp_path / "b.onnx").write_bytes(b"no model")
    assert 0 == pruning_zoo.measure([tmp_path], None, 0.3, tmp_path / "record.json")
    first, second = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["results"]["rows"]
    assert ("runs", 2) == (first["status"], first["open"])
    assert first["promised"] == pytest.approx(first["left"])
    assert first["left"] < 0.9
    assert {"it is an axis of an output"} <= {why.split(" (")[0] for why in first["frozen"]}
    assert second["status"].startswith("refused: ")
    assert "runs" in capsys.readouterr().out


def test_curves():
    shared: dict[str, Any] = {"case": "net", "accuracy": None}
    rows: list[dict[str, Any]] = [
        {**shared, "tool": "original", "flops": 1.0, "agreement": 1.0},
        {**shared, "tool": "graphopt", "flops": 0.8, "agreement": 0.9},
        {**shared, "tool": "graphopt", "flops": 0.5, "agreement": 0.7},
        {**shared, "tool": "onnxsim", "flops": None, "agreement": None},
    ]
    drawn = ET.fromstring(plot(rows))
    lines = [item for item in drawn.iter() if item.tag.endswith("polyline")]
    places = [[tuple(map(float, place.split(","))) for place in line.attrib["points"].split()] for line in lines]
    assert [3] == [len(item) for item in places]
    across, down = np.array(places[0]).T
    assert (np.diff(across) > 0).all()
    assert (np.diff(down) < 0).all()
