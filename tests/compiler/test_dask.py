"""Work on a real Dask cluster of this machine: models travel there, and results come back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import convert_model_to_external_data
from onnx.parser import parse_model

from graphopt.compiler import calibrate, calibrate_shards
from graphopt.compiler.executors import open_executor, shares_files
from graphopt.compiler.fleets.fleet import optimize_fleet
from graphopt.compiler.fleets.plan import FleetPlan
from graphopt.compiler.tuning.tuner import tune
from graphopt.data import digits_model, digits_test
from graphopt.errors import ExecutionError

distributed = pytest.importorskip("distributed")

HEAD = '<ir_version: 10, opset_import: ["": 17]>'


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with one worker, in a process of its own."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


def test_calls_run_on_a_worker(address: str) -> None:
    with open_executor(address) as executor:
        assert os.getpid() != executor.submit(os.getpid).result()
        assert not shares_files(executor)


def test_a_fleet_is_sent_there_and_back(address: str, tmp_path: Path) -> None:
    """The worker is given no path: it may be on another machine. A model whose weights can't travel is told."""
    models, out = tmp_path / "models", tmp_path / "out"
    models.mkdir()
    text = f"{HEAD} one (float[n] x) => (float[n] y) {{ a = Neg(x)  b = Neg(a)  y = Abs(b) }}"
    onnx.save(parse_model(text), models / "one.onnx")
    np.savez(models / "one.npz", x=np.ones(3, np.float32))
    (models / "bad.onnx").write_bytes(b"no model")
    proto = parse_model(f"{HEAD} far (float[300] x) => (float[300] y) {{ y = Add(x, w) }}")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(300, np.float32), "w"))
    convert_model_to_external_data(proto, location="far.bin", size_threshold=0)
    onnx.save(proto, models / "far.onnx")
    report = optimize_fleet([models], out, executor=address, inputs=models)
    assert ["failed", "failed", "done"] == [model.status for model in report.models]
    assert "weights in files beside it" in report.models[1].reason
    assert ["Abs"] == [node.op_type for node in onnx.load(out / "one.onnx").graph.node]
    assert "1 set of inputs" in str(report.models[2].summary["check"])
    with pytest.raises(ExecutionError, match="weights in files beside it"):
        tune(models / "far.onnx", executor=address)
    with pytest.raises(ExecutionError, match="weights in files beside it"):
        calibrate_shards(models / "far.onnx", [{"x": np.ones(300, np.float32)}], executor=address)
    again = optimize_fleet([models / "one.onnx"], out, executor=address, inputs=models)
    assert ["skipped"] == [model.status for model in again.models]


def test_what_another_machine_sent_replaces_nothing(address: str, tmp_path: Path) -> None:
    """A file that appeared in the meantime is kept."""
    text = f"{HEAD} one (float[n] x) => (float[n] y) {{ y = Abs(x) }}"
    onnx.save(parse_model(text), tmp_path / "one.onnx")
    out = tmp_path / "out"

    def begun(plan: FleetPlan) -> None:
        out.mkdir()
        (out / "one.onnx").write_bytes(b"precious")

    report = optimize_fleet([tmp_path / "one.onnx"], out, executor=address, check=False, begun=begun)
    assert ["failed"] == [model.status for model in report.models]
    assert b"precious" == (out / "one.onnx").read_bytes()


def test_a_model_is_tuned_on_a_worker(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and inputs travel with the trials; the worker measures in a child process of its own."""
    monkeypatch.setattr("graphopt.compiler.tuning.choices._LEVELS", ("O1", "O2"))
    monkeypatch.setattr("graphopt.compiler.tuning.choices._MOST_FUSIONS", 1)
    monkeypatch.setattr("graphopt.compiler.tuning.search.sessions", lambda incumbent, threads: [])
    tuned = tune(digits_model(), seconds=0.1, threads=[1], executor=address)
    tried = {record.candidate.name: record.outcome for record in tuned.trials}
    assert {"O1", "O2"} <= set(tried)
    assert "failed" not in tried.values()
    assert "wrong" not in tried.values()


def test_shards_of_calibration_are_worked_on_there(address: str) -> None:
    images = digits_test()[0]
    batches = [{"image": images[at : at + 20]} for at in range(0, 100, 20)]
    found = calibrate_shards(digits_model(), batches, executor=address, shard=2)
    assert calibrate(digits_model(), batches).ranges == found.ranges
