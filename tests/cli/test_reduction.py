"""``graphopt reduce`` from the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli.application import app
from graphopt.data import digits_model
from graphopt.errors import ExecutionError

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())
HAS_MAX_POOL = "import sys; sys.exit(0 if b'MaxPool' in open(sys.argv[1], 'rb').read() else 1)"
CHECK = shlex.join([sys.executable, "-S", "-c", HAS_MAX_POOL, "{}"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files go there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str):
    """The command in this process."""
    return runner.invoke(app, ["reduce", *words])


@pytest.fixture
def chain(folder: Path) -> str:
    """A model small enough for a command as a check."""
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,4,4] x) => (float[1,1,2,2] y) '
    text = head + "{ a = Neg(x) b = MaxPool<kernel_shape=[3,3]>(a) y = Abs(b) }"
    path = folder / "chain.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return str(path)


def test_small_model_is_saved_and_shown_with_its_inputs(chain: str, folder: Path) -> None:
    """With the steps, the text of the model, and the command that shows the failure again."""
    shown = run(chain, "--check", CHECK, "-o", "small.onnx")
    assert 0 == shown.exit_code, shown.output
    assert {"chain.onnx", "small.onnx", "small.npz"} == {path.name for path in folder.iterdir()}
    assert ["MaxPool"] == [node.op_type for node in onnx.load("small.onnx").graph.node]
    for said in (
        "the command exits with 0: 3 nodes to 1,",
        "cut to inputs",
        "b = MaxPool <kernel_shape",
        "written: small.onnx, small.npz",
    ):
        assert said in shown.stdout
    again = shown.stdout.split("to see it again: ")[1].splitlines()[0]  # one line, to be copied
    assert 0 == subprocess.run(shlex.split(again), check=False).returncode


def test_default_name_is_that_of_the_model_in_this_folder(chain: str) -> None:
    """And what is there already stays, before any work."""
    assert 0 == run(chain, "--check", CHECK, "--quiet").exit_code
    assert Path("chain.reduced.onnx").is_file()
    shown = run(chain, "--check", "no-such-program")
    assert (2, True) == (shown.exit_code, "'chain.reduced.onnx' exists already" in shown.stderr)
    Path("chain.reduced.onnx").unlink()
    shown = run(chain, "--check", "no-such-program")
    assert (2, True) == (shown.exit_code, "'chain.reduced.npz' exists already" in shown.stderr)


def test_json_is_one_document(chain: str) -> None:
    """Files, steps and command."""
    shown = run(chain, "--check", CHECK, "--json")
    found = json.loads(shown.stdout)
    assert (3, 1, ["chain.reduced.onnx", "chain.reduced.npz"]) == (
        found["nodes_before"],
        found["nodes_after"],
        found["files"],
    )
    assert found["checks"] == 3 + sum(step["checks"] for step in found["steps"])
    assert found["command"].endswith("chain.reduced.onnx")


def test_interrupt_saves_what_there_is(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, files written."""

    def stop(search, shrinkers) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphopt.compiler.reducing.run_shrinkers", stop)
    shown = run(chain, "--check", CHECK, "-o", "small.onnx")
    assert 130 == shown.exit_code
    assert "interrupted: it fails all the same" in shown.stdout
    assert 3 == len(onnx.load("small.onnx").graph.node)


def test_other_end_of_a_command_can_be_the_failure(chain: str) -> None:
    """Here the tool fails with 1 on what has no MaxPool, so nodes go until one is left."""
    never = shlex.join([sys.executable, "-S", "-c", "raise SystemExit(5)"])
    assert 0 == run(chain, "--check", never, "--fails-with", "5", "--quiet", "-o", "small.onnx").exit_code
    assert 1 == len(onnx.load("small.onnx").graph.node)


def test_model_that_does_not_fail_is_one_line(chain: str) -> None:
    """With what the command did."""
    shown = run(chain, "--check", shlex.join([sys.executable, "-c", "print('all is well'); raise SystemExit(4)"]))
    assert 2 == shown.exit_code
    said = "the original does not fail: the command exits with 4 and says: all is well; a model fails when the command exits with 0"
    assert f"graphopt: {said}\n" == shown.stderr


def test_pipeline_that_does_what_it_should_is_one_line() -> None:
    """The passes of a text, and a level."""
    shown = run(MODEL, "--passes", "canonicalize")
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "the original does not fail on 4 sets of inputs" in shown.stderr


def test_command_to_see_it_again_is_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short, on one line however long."""
    monkeypatch.setattr("graphopt.compiler.reducing.PipelineCheck.__call__", lambda *words: "wrong-numbers")
    monkeypatch.setattr("graphopt.compiler.reducing.run_shrinkers", lambda *words: None)
    long = ",".join(["O2", *["canonicalize"] * 20])
    shown = run(MODEL, "--passes", long, "--target", "onnx", "-o", "small.onnx")
    said = shown.stdout.rstrip().splitlines()[-1]
    assert f"to see it again: graphopt optimize small.onnx --passes {long} --target onnx" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--check", "x", "--passes", "canonicalize"], "--check and --passes each say what fails; state one of them"),
        (["--passes", "canonicalize", "--level", "O1"], "--level and --passes each say what to run"),
        (["--fails-with", "crash"], "state the command with --check"),
        (["--check", "x", "--reproducer", "dir"], "--reproducer replays a pipeline"),
        (["--timeout", "0"], "--timeout is 0 s, expected more than 0"),
        (["--timeout", "inf"], "--timeout is inf s, expected more than 0 and at most"),
        (["--timeout", "1e30"], "expected more than 0 and at most"),
        (["--check", "x", "--fails-with", "often"], "expected an exit code from 0 to 255, crash or timeout"),
        (["--check", "'open"], "is not understood"),
        (["--passes", "canonicalise"], "canonicalise"),
        (["--pipeline", "nowhere.toml"], "nowhere.toml"),
        (["--inputs", "nowhere.npz"], "cannot be read"),
        (["--seeds", "0"], "--seeds"),
        (["--seeds", "100000000"], "less than or equal to 1000"),
        (["-o", "nowhere/small.onnx"], "does not exist"),
        (["--reproducer", MODEL], "is a file, expected a folder"),
        (["--reproducer", f"{MODEL}/x"], "cannot be written: Not a directory"),
    ],
)
def test_bad_usage_is_one_line(words: list[str], said: str) -> None:
    """Exit code 2."""
    shown = run(MODEL, *words)
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert said in shown.stderr


def test_model_that_is_not_there_is_one_line() -> None:
    """As for all commands."""
    shown = run("nowhere.onnx", "--check", "true")
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))


def test_reproducer_is_written_for_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the small model, its inputs and the pipeline; the text says where."""

    class Failing:
        """A check of a pipeline that finds wrong numbers where there is a MatMul."""

        def __init__(self, pipeline, **options) -> None:
            self.pipeline = pipeline

        def __call__(self, model, samples) -> str | None:
            return "wrong-numbers" if any(node.op == "MatMul" for node in model.graph.nodes) else None

        def close(self) -> None:
            """Nothing to end."""

    monkeypatch.setattr("graphopt.compiler.reducing.PipelineCheck", Failing)
    shown = run(MODEL, "--passes", "canonicalize", "-o", "small.onnx", "--reproducer", "again")
    assert 0 == shown.exit_code, shown.output
    assert "reproducer: again" in shown.stdout
    assert "to see it again: graphopt optimize small.onnx --passes canonicalize --inputs small.npz" in shown.stdout
    record = json.loads(Path("again/reproducer.json").read_text("utf-8"))
    assert ("canonicalize", "wrong-numbers") == (record["pipeline"], record["kind"])
    assert ["MatMul"] == [node.op_type for node in onnx.load("again/original.onnx").graph.node]


def test_pipeline_file_is_followed_as_in_optimize(folder: Path) -> None:
    """Its target and its inputs count; what can't be followed is refused."""
    (folder / "p.toml").write_text('passes = ["canonicalize"]\ntarget = "nowhere"\n', encoding="utf-8")
    shown = run(MODEL, "--pipeline", "p.toml")
    assert (2, True) == (shown.exit_code, "unknown target 'nowhere'" in shown.stderr)
    (folder / "p.toml").write_text('passes = ["canonicalize"]\n[inputs]\nfile = "none.npz"\n', encoding="utf-8")
    shown = run(MODEL, "--pipeline", "p.toml")
    assert (2, True) == (shown.exit_code, "none.npz' cannot be read" in shown.stderr)
    (folder / "p.toml").write_text('passes = ["canonicalize"]\n[check]\nrtol = 0.5\n', encoding="utf-8")
    shown = run(MODEL, "--pipeline", "p.toml")
    assert (2, True) == (shown.exit_code, "can't follow check.rtol" in shown.stderr)


def test_errors_of_the_search_are_one_line(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they are."""

    def fail(*words: object) -> None:
        raise ExecutionError("the disk of the child is gone")

    monkeypatch.setattr("graphopt.compiler.reducing.run_shrinkers", fail)
    shown = run(chain, "--check", CHECK)
    assert (2, "graphopt: the disk of the child is gone\n") == (shown.exit_code, shown.stderr)
