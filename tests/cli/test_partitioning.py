"""``graphopt partition``."""

from __future__ import annotations

import json

import onnx
import onnxruntime as ort
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = """<ir_version: 8, opset_import: ["": 17]>
cut (float[4,4] x) => (float[4,4] y)
{
  c = Det (x)
  a = MatMul (x, x)
  b = Relu (a)
  d = Mul (b, c)
  e = Tanh (d)
  y = Add (e, x)
}"""


def saved(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


def test_the_cut_as_a_table_and_as_json(tmp_path):
    path = saved(tmp_path)
    shown = runner.invoke(app, ["partition", str(path)])
    assert 0 == shown.exit_code, shown.stderr
    assert "TensorRT has no layers for Det" in shown.stdout
    told = json.loads(runner.invoke(app, ["partition", str(path), "--json"]).stdout)
    assert ["onnxruntime", "tensorrt"] == [region["runs_in"] for region in told["regions"]]
    assert ["Det"] == [item["op"] for item in told["not_taken"]]


def test_parts_are_models(tmp_path):
    folder = tmp_path / "parts"
    done = runner.invoke(app, ["partition", str(saved(tmp_path)), "--parts", str(folder), "--json"])
    assert 0 == done.exit_code, done.stderr
    for path in sorted(folder.iterdir()):
        assert ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_outputs()
    again = runner.invoke(app, ["partition", str(digits_model()), "--parts", str(folder)])
    assert 2 == again.exit_code
    assert "exists already; name a folder that does not" in again.stderr


def test_an_unknown_target():
    done = runner.invoke(app, ["partition", str(digits_model()), "--target", "tensorr"])
    assert 2 == done.exit_code
    assert "did you mean 'tensorrt'?" in done.stderr
