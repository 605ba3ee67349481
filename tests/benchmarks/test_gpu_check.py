"""The check for whoever has a GPU, run dry: on a device that is none."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from benchmarks.gpu_check import main
from benchmarks.gpu_models import check_model
from graphopt.data import digits_model, digits_test
from graphopt.errors import ExecutionError
from tests.backends.tensorrt.library import needs_library


@needs_library
def test_a_dry_run(tmp_path, capsys):
    np.savez(tmp_path / f"{digits_model().stem}.npz", image=digits_test()[0][:2])
    record = tmp_path / "record.json"
    options = ["--inputs", str(tmp_path), "--fake", "--seconds", "0.01", "--precisions", "fp32", "--json", str(record)]
    assert 0 == main([str(digits_model()), *options])
    assert "engine for 86,89: ok" in capsys.readouterr().out
    found = json.loads(record.read_text())
    assert found["settings"]["fake"] is True
    [row] = found["results"]["models"]
    assert ("ok", ["tensorrt"]) == (row["status"], row["parts"])
    assert row["error"] < 1e-5
    assert {"graphopt", "OnnxParser"} <= set(row["milliseconds"])
    assert {"graphopt", "OnnxParser"} == set(row["device_milliseconds"])
    assert {"ONNX Runtime, CUDA", "torch.compile"} <= set(row["absent"])


@needs_library
def test_a_difference_and_a_failure_are_told(tmp_path, monkeypatch):
    from benchmarks import gpu_check
    from graphopt.testing.tensorrt import fake_library as device

    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2,2] x) => (float[2,2] y) { a = MatMul (x, x) b = Exp (a) y = Neg (b) }'
    path = tmp_path / "small.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    feeds = {"x": np.eye(2, dtype=np.float32)}
    evaluate = device.evaluate  # type: ignore[attr-defined]  # as the device knows it
    monkeypatch.setattr(device, "evaluate", lambda *args: {name: array + 1 for name, array in evaluate(*args).items()})
    found = check_model(path, feeds, "fp32", gpu_check.find_gpu(fake=True), seconds=1.0)
    assert ("different", {}) == (found.status, found.milliseconds), "what is wrong is not timed"
    broken = check_model(tmp_path / "none.onnx", feeds, "fp32", gpu_check.find_gpu(fake=True), seconds=1.0)
    assert "failed" == broken.status
    assert "No such file" in broken.reason


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    def away(*, fake: bool) -> None:
        raise ExecutionError("there is no NVIDIA driver")

    monkeypatch.setattr("benchmarks.gpu_check.find_gpu", away)
    assert 2 == main(["models"])
    assert "gpu_check: there is no NVIDIA driver\n" == capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@needs_library
def test_smaller_numbers(tmp_path, precision):
    from benchmarks import gpu_check

    found = check_model(
        digits_model(), {"image": digits_test()[0][:8]}, precision, gpu_check.find_gpu(fake=True), seconds=0
    )
    assert "ok" == found.status, found.reason
    assert found.error is not None
    assert 1e-6 < found.error
