"""``graphopt optimize`` with several models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
FAST = ("--no-check", "--executor", "threads", "--jobs", "1", "--level", "O1")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the same model twice."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(digits_model(), folder / name)
    return folder


def test_one_command_one_report(models: Path, tmp_path: Path) -> None:
    """A table for people, then JSON for machines of what is there already."""
    out = tmp_path / "out"
    shown = runner.invoke(app, ["optimize", str(models / "a.onnx"), str(models / "b.onnx"), "-o", str(out), *FAST])
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "2 models: 2 done" in shown.stdout
    shown = runner.invoke(app, ["optimize", str(models), "-o", str(out), *FAST, "--json"])
    found = json.loads(shown.stdout)
    assert (0, 2, 0) == (found["done"], found["skipped"], found["failed"])
    assert ["a.onnx", "b.onnx"] == [model["name"] for model in found["models"]]
    assert found["models"][0]["nodes_after"] < found["models"][0]["nodes_before"]


def test_one_model_goes_into_a_folder(models: Path, tmp_path: Path) -> None:
    """A pattern of the shell may match one only; the folder says what is meant."""
    shown = runner.invoke(app, ["optimize", str(models / "a.onnx"), "-o", f"{tmp_path / 'new'}/", *FAST, "-q"])
    assert (0, "", "") == (shown.exit_code, shown.stdout, shown.stderr)
    assert (tmp_path / "new" / "a.onnx").is_file()


@pytest.mark.parametrize(("status", "code"), [("failed", 2), ("wrong", 1)])
def test_exit_code_tells_the_worst(
    status: str, code: int, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 for a model that could not be optimized, else 1 for a result that failed its check; the others are saved."""
    from graphopt.compiler.fleets import job as fleet_job
    from graphopt.compiler.fleets import work as fleet_work
    from graphopt.errors import ModelError, VerificationError

    def judged(job: fleet_job.FleetJob) -> fleet_job.JobResult:
        if job.source.endswith("a.onnx"):
            raise (ModelError if status == "failed" else VerificationError)("no good")
        return fleet_job.run_job(job)

    monkeypatch.setattr(fleet_work, "run_job", judged)
    shown = runner.invoke(app, ["optimize", str(models), "-o", str(tmp_path / "out"), *FAST])
    assert code == shown.exit_code
    assert "a.onnx: no good" in shown.stdout
    assert (tmp_path / "out" / "b.onnx").is_file()
    shown = runner.invoke(app, ["optimize", str(models), "-o", str(tmp_path / "out"), *FAST, "--quiet"])
    assert (code, "") == (shown.exit_code, shown.stdout)
    assert f"graphopt: {models / 'a.onnx'}: no good\n" == shown.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("MODELS", "--explain", "eliminate-dropout"), "--explain is for one model"),
        (("MODELS", "--verify-each"), "--verify-each is for one model"),
        (("MODELS", "--opt-bisect-limit", "0"), "--opt-bisect-limit is for one model"),
        (
            ("MODELS", "--executor", "cloud"),
            "executor 'cloud' is not understood; expected processes, threads or dask://",
        ),
        (("MODELS", "--level", "O9"), "unknown level 'O9'"),
        (("MODELS", "--target", "onnxrunime"), "did you mean 'onnxruntime'?"),
        (("MODELS", "-o", "MODELS"), "is a model that is to be optimized; choose another folder"),
        (("ONE", "--jobs", "2"), "--jobs is for several models"),
        (("ONE", "--executor", "threads"), "--executor is for several models"),
        (("ONE", "/none.onnx"), "'/none.onnx' cannot be read: no such file or folder"),
        (("ONE", "ONE", "-o", "OUT"), "would both be saved as 'a.onnx'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], expected: str, models: Path, tmp_path: Path) -> None:
    """Before any work, with exit code 2."""
    places = {"MODELS": str(models), "ONE": str(models / "a.onnx"), "OUT": str(tmp_path / "out")}
    shown = runner.invoke(app, ["optimize", *(places.get(item, item) for item in arguments)])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert 1 == shown.stderr.count("\n")
    assert expected in shown.stderr
    assert [models] == list(tmp_path.iterdir())
