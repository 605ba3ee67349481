"""Several models in one go: resumed, told apart, and none stops the others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.external_data_helper import convert_model_to_external_data
from onnx.parser import parse_model

from graphopt.compiler.fleets import work as fleet_work
from graphopt.compiler.fleets.fleet import FleetModel, FleetReport, optimize_fleet
from graphopt.compiler.fleets.job import FleetJob, JobResult, run_job
from graphopt.compiler.fleets.manifest import MANIFEST
from graphopt.errors import ModelError, OutputError, PipelineError, VerificationError

HEAD = '<ir_version: 10, opset_import: ["": 17]>'
MANIFEST_OF = "graphopt-manifest.json"


def small(name: str) -> ModelProto:
    """A model with something to do: two negations cancel."""
    return parse_model(f"{HEAD} {name} (float[n] x) => (float[n] y) {{ a = Neg(x)  b = Neg(a)  y = Abs(b) }}")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with two models, one of them in a folder of its own."""
    folder = tmp_path / "models"
    (folder / "inner").mkdir(parents=True)
    onnx.save(small("one"), folder / "one.onnx")
    onnx.save(small("two"), folder / "inner" / "two.onnx")
    return folder


def optimized(*paths: Path, output: Path | None, **more: object) -> FleetReport:
    settings: dict[str, object] = {"executor": "threads", "jobs": 1, "check": False} | more
    return optimize_fleet(paths, output, **settings)  # type: ignore[arg-type]  # named one by one above


def ends(report: FleetReport) -> list[str]:
    return [model.status for model in report.models]


def test_results_keep_their_places_and_the_manifest_tells_how_they_were_made(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = optimized(models, output=out, check=True)
    assert ["done", "done"] == ends(report)
    assert ["inner/two.onnx", "one.onnx"] == [model.name for model in report.models]
    assert ["Abs"] == [node.op_type for node in onnx.load(out / "inner" / "two.onnx").graph.node]
    entry = json.loads((out / MANIFEST).read_text())["models"]["one.onnx"]
    assert str(models / "one.onnx") == entry["source"]
    assert report.pipeline == entry["settings"]["pipeline"]
    assert {"graphopt", "onnx", "onnxruntime"} <= set(entry["versions"])
    assert ["one.onnx"] == list(entry["files"])
    assert (3, 1) == (entry["summary"]["nodes_before"], entry["summary"]["nodes_after"])
    assert {"one.onnx", "inner", MANIFEST} == {path.name for path in out.iterdir()}


def test_what_is_done_is_skipped(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    optimized(models, output=out)
    before = (out / "one.onnx").stat().st_mtime_ns
    report = optimized(models, output=out)
    assert ["skipped", "skipped"] == ends(report)
    assert 1 == report.models[0].summary["nodes_after"]
    assert before == (out / "one.onnx").stat().st_mtime_ns


@pytest.mark.parametrize("change", ["model", "pipeline", "result", "versions", "weights", "lost"])
def test_what_has_changed_is_made_again(
    change: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only when it may be replaced, and nothing else is touched."""
    out = tmp_path / "out"
    if change == "weights":
        proto = parse_model(f"{HEAD} one (float[300] x) => (float[300] y) {{ y = Add(x, w) }}")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(300, np.float32), "w"))
        convert_model_to_external_data(proto, location="one.bin", size_threshold=0)
        onnx.save(proto, models / "one.onnx")
    optimized(models, output=out)
    level = "O2"
    if change == "model":
        onnx.save(small("other"), models / "one.onnx")
    elif change == "pipeline":
        level = "O1"
    elif change == "result":
        (out / "one.onnx").write_bytes(b"mine")
    elif change == "versions":
        monkeypatch.setattr("graphopt.compiler.fleets.job.installed_versions", lambda packages: {"graphopt": "9.9"})
    elif change == "weights":
        (models / "one.bin").write_bytes(np.zeros(300, np.float32).tobytes())
    else:
        (out / "one.onnx").unlink()
        assert ["skipped", "done"] == ends(optimized(models, output=out))
        return
    kept = (out / "one.onnx").read_bytes()
    with pytest.raises(OutputError, match=r"--force"):
        optimized(models, output=out, level=level)
    assert kept == (out / "one.onnx").read_bytes()
    whole = change in ("pipeline", "versions")
    report = optimized(models, output=out, level=level, force=True)
    assert ["done" if whole else "skipped", "done"] == ends(report)


def test_a_strange_file_is_kept(models: Path, tmp_path: Path) -> None:
    """Told before any work."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.onnx").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        optimized(models, output=out)
    assert [out / "one.onnx"] == list(out.iterdir())
    assert b"precious" == (out / "one.onnx").read_bytes()


def test_names_that_clash_are_told_before_any_work(models: Path, tmp_path: Path) -> None:
    shutil.copy(models / "one.onnx", models / "inner" / "one.onnx")
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=r"would both be saved as 'one\.onnx'"):
        optimized(models / "one.onnx", models / "inner" / "one.onnx", output=out)
    with pytest.raises(OutputError, match="is a model that is to be optimized"):
        optimized(models, output=models, force=True)
    assert not out.exists()


def test_what_is_not_there_is_told(models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no such file or folder"):
        optimized(models, tmp_path / "none.onnx", output=None)
    with pytest.raises(ModelError, match=r"has no \.onnx file in it"):
        optimized(tmp_path / "empty", output=None)
    with pytest.raises(OutputError, match="is a file; several models need a folder"):
        optimized(models, output=models / "one.onnx")
    with pytest.raises(PipelineError, match="unknown level"):
        optimized(models, output=None, level="O9")
    (tmp_path / MANIFEST_OF).write_text("{")
    with pytest.raises(OutputError, match="is no manifest of graphopt"):
        optimized(models, output=tmp_path)
    (tmp_path / MANIFEST_OF).write_text('{"format": 7}')
    with pytest.raises(OutputError, match="has form 7, expected 1"):
        optimized(models, output=tmp_path)


def test_a_failure_does_not_stop_the_others(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is no part of the manifest, and is tried again."""
    (models / "bad.onnx").write_bytes(b"no model")
    out = tmp_path / "out"

    def judged(job: FleetJob) -> JobResult:
        if "two" in job.source:
            raise VerificationError("the result differs")
        if "three" in job.source:
            raise KeyError("a bug")
        return run_job(job)

    onnx.save(small("three"), models / "three.onnx")
    monkeypatch.setattr(fleet_work, "run_job", judged)
    heard: list[str] = []
    report = optimized(models, output=out, told=lambda model: heard.append(model.status))
    assert ["failed", "wrong", "done", "failed"] == ends(report)
    assert sorted(heard) == sorted(ends(report))
    assert "bad.onnx" in report.models[0].reason
    assert "the result differs" == report.models[1].reason
    assert "KeyError: 'a bug'" == report.models[3].reason
    assert ["one.onnx"] == list(json.loads((out / MANIFEST).read_text())["models"])
    monkeypatch.setattr(fleet_work, "run_job", run_job)
    assert ["failed", "done", "skipped", "done"] == ends(optimized(models, output=out))


def test_a_run_that_was_interrupted_goes_on(models: Path, tmp_path: Path) -> None:
    """What was made and not yet put in place is made again; no draft stays behind."""
    out = tmp_path / "out"

    def interrupt(model: FleetModel) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimized(models, output=out, told=interrupt)
    assert {"inner", MANIFEST} == {path.name for path in out.iterdir()}
    assert ["skipped", "done"] == ends(optimized(models, output=out))


def test_a_file_that_appears_meanwhile_is_kept(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"

    def slow(job: FleetJob) -> JobResult:
        result = run_job(job)
        (out / "one.onnx").write_bytes(b"precious")
        return result

    monkeypatch.setattr(fleet_work, "run_job", slow)
    report = optimized(models / "one.onnx", output=out)
    assert ["failed"] == ends(report)
    assert "exists already" in report.models[0].reason
    assert b"precious" == (out / "one.onnx").read_bytes()


def test_results_inside_of_the_folder_are_no_models(models: Path) -> None:
    out = models / "out"
    assert ["done", "done"] == ends(optimized(models, output=out))
    report = optimized(models, output=out)
    assert ["inner/two.onnx", "one.onnx"] == [model.name for model in report.models]


def test_results_of_other_versions_are_refused(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of a cluster may have others."""

    def elsewhere(job: FleetJob) -> JobResult:
        return replace(run_job(job), versions={"graphopt": "9.9"})

    monkeypatch.setattr(fleet_work, "run_job", elsewhere)
    report = optimized(models / "one.onnx", output=tmp_path / "out")
    assert ["failed"] == ends(report)
    assert "made by graphopt 9.9, here are graphopt" in report.models[0].reason
    assert not (tmp_path / "out" / "one.onnx").exists()


def test_a_folder_to_which_nothing_came_goes_again(models: Path, tmp_path: Path) -> None:
    (models / "one.onnx").write_bytes(b"no model")
    report = optimized(models / "one.onnx", output=tmp_path / "out")
    assert ["failed"] == ends(report)
    assert [models] == list(tmp_path.iterdir())


def test_inputs_come_from_one_file_or_from_a_folder(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str | None] = {}

    def noted(job: FleetJob) -> JobResult:
        seen[Path(job.source).stem] = job.inputs
        return JobResult({})

    monkeypatch.setattr(fleet_work, "run_job", noted)
    np.savez(models / "one.npz", x=np.zeros(3, np.float32))
    optimized(models, output=None, inputs=models)
    assert {"one": str(models / "one.npz"), "two": None} == seen
    optimized(models, output=None, inputs=models / "one.npz")
    assert str(models / "one.npz") == seen["two"]


def test_without_a_folder_only_the_report_is_made(models: Path, tmp_path: Path) -> None:
    report = optimized(models, output=None)
    assert (["done", "done"], "") == (ends(report), report.folder)
    assert [models] == list(tmp_path.iterdir())
