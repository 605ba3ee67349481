"""The run over generated models tells apart what tools do to them, and draws the same ones each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from benchmarks import generated
from benchmarks.tools import TOOLS, Tool
from graphopt.testing import GeneratedModel

MODEL = GeneratedModel(
    parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[3] x) => (float[3] y) { t = Neg(x) y = Exp(t) }'),
    ({"x": np.array([0.5, -1, 2], np.float32)},),
)


def _saves(change):
    def tool(source: str, target: str) -> None:
        model = onnx.load(source)
        change(model)
        onnx.save(model, target)

    return tool


def _fails(source: str, target: str) -> None:
    raise RuntimeError("no such thing")


def _set_op(index: int, op: str):
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[index].op_type = op

    return change


def _rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[1].output[0] = "z"


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("right", _saves(lambda model: None)),
        ("wrong", _saves(_set_op(0, "Abs"))),
        ("invalid", _saves(_set_op(0, "Nothing"))),
        ("interface", _saves(_rename_output)),
        ("exception", _fails),
    ],
)
def test_results_are_told_apart(kind, function, tmp_path, monkeypatch):
    monkeypatch.setitem(TOOLS, "it", Tool((), function, "onnx"))
    found, reason = generated.check(MODEL, "it", tmp_path)
    assert kind == found, reason


def test_the_same_models_are_drawn_each_time_and_few_in_vain():
    first, facts = generated.draw(40)
    second, _ = generated.draw(40)
    assert [model.proto for model in first] == [model.proto for model in second]
    assert facts["rejected_share"] < 0.05
    assert facts["operators"] >= 60


def test_the_committed_record_has_no_failure_of_ours():
    path = Path(generated.__file__).parent / "results" / "generated.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    counts = record["results"]["graphopt O2"]["counts"]
    assert record["settings"]["models"] == 2000
    assert {"right": 2000} == {kind: count for kind, count in counts.items() if count}
    assert record["results"]["drawing"]["rejected_share"] < 0.05
