"""``graphopt torch names|export|import`` by files: what they write is whole, and what is wrong is one line."""

import numpy as np
import pytest
from typer.testing import CliRunner

import graphopt
from graphopt.cli import app
from graphopt.compiler import PlanRecorder
from graphopt.serde import emit_model


def run(*arguments):
    """Exit code and what was said."""
    shown = CliRunner().invoke(app, ["torch", *map(str, arguments)])
    return shown.exit_code, shown.stdout, shown.stderr


@pytest.fixture
def files(sample, tmp_path):
    """A model, its parameters, a pruned model and its plan."""
    recorder = PlanRecorder()
    model = sample.exported(sample.STATE)
    (tmp_path / "model.onnx").write_bytes(emit_model(model).SerializeToString())
    np.savez(tmp_path / "state.npz", **sample.STATE)
    passes = "O2,prune-channels{ratio=0.5,round_to=1}"
    pruned = graphopt.optimize(model, pipeline=passes, check=False, instrumentations=[recorder])
    pruned.save(tmp_path / "pruned.onnx")
    recorder.plan.save(tmp_path / "plan.json")
    return tmp_path


def outputs(sample, path):
    with graphopt.Session(path, optimize=False, threads=1) as session:
        return session.run(sample.images())["y"]


def test_weights_go_out_and_come_back_by_files(sample, files):
    plan = ("--plan", files / "plan.json")
    code, out, _ = run("names", files / "model.onnx", files / "state.npz", "-o", files / "names.json", *plan)
    assert (0, "7 weights are parameters, 1 of them with a BatchNormalization folded in") == (code, out.splitlines()[0])
    names = ("--names", files / "names.json")
    code, out, _ = run("export", files / "pruned.onnx", files / "state.npz", *names, *plan, "-o", files / "small.npz")
    assert (0, "11 parameters written") == (code, out[:21])
    assert (4, 8, 3, 3) == np.load(files / "small.npz")["conv.weight"].shape
    code, out, _ = run("import", files / "pruned.onnx", files / "small.npz", *names, "-o", files / "tuned.onnx")
    assert (0, "7 weights written") == (code, out[:17])
    np.testing.assert_allclose(
        outputs(sample, files / "pruned.onnx"), outputs(sample, files / "tuned.onnx"), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["names", "none.onnx", "state.npz", "-o", "n.json"], "none.onnx"),
        (["names", "model.onnx", "none.npz", "-o", "n.json"], "cannot be read: No such file"),
        (["names", "model.onnx", "model.onnx", "-o", "n.json"], "is not understood"),
        (["names", "model.onnx", "state.npz", "-o", "state.npz"], "exists already"),
        (["names", "model.onnx", "state.npz", "--plan", "state.npz", "-o", "n.json"], "pruning plan"),
        (["import", "model.onnx", "state.npz", "--names", "state.npz", "-o", "t.onnx"], "is not understood"),
        (["import", "model.onnx", "state.npz", "--names", "none.json", "-o", "t.onnx"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(arguments, line, files, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    code, out, err = run(*arguments)
    assert (2, "") == (code, out)
    assert line in err
    assert 1 == len(err.strip().splitlines())
    assert before == sorted(files.iterdir())
