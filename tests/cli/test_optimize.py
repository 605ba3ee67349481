"""``graphopt optimize`` runs what is asked for, says what happened, and saves it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import app
from graphopt.data import digits_model
from graphopt.errors import VerificationError
from graphopt.ir import Value
from graphopt.passes import Pass, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Match, Rewriter, any_, op, rewrite

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


def optimized(*arguments: str, check: bool = False) -> dict[str, Any]:
    """The JSON report of a run that goes well."""
    command = ["optimize", MODEL, *arguments, "--json", *(() if check else ("--no-check",))]
    shown = runner.invoke(app, command)
    assert (0, "") == (shown.exit_code, shown.stderr)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def refused(*arguments: str) -> str:
    """The one line of a run that ends with exit code 2."""
    shown = runner.invoke(app, ["optimize", *arguments])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert shown.stderr.startswith("graphopt: ")
    assert 1 == shown.stderr.count("\n")
    return shown.stderr


def test_report_and_file_agree(tmp_path: Path) -> None:
    """The file that is saved has the nodes that the report tells of, and passes the checker."""
    path = tmp_path / "fast.onnx"
    report = optimized("-o", str(path))
    saved = onnx.load(path)
    onnx.checker.check_model(saved)
    assert [str(path)] == report["files"]
    assert len(onnx.load(MODEL).graph.node) == report["nodes_before"]
    assert len(saved.graph.node) == report["nodes_after"] < report["nodes_before"]
    assert ("O2", "onnxruntime") == (report["level"], report["target"])
    assert [] != [record["pass"] for record in report["passes"] if record["changed"]]


def test_table_says_what_passes_did(tmp_path: Path) -> None:
    """People read nodes before and after, each pass that did something, and where the result is."""
    shown = runner.invoke(app, ["optimize", MODEL, "-o", str(tmp_path / "fast.onnx"), "--no-check"])
    assert 0 == shown.exit_code
    assert "constants-to-initializers" in shown.stdout
    assert f"nodes     {len(onnx.load(MODEL).graph.node)} -> " in shown.stdout
    assert f"saved: {tmp_path / 'fast.onnx'}" in shown.stdout


def test_quiet_writes_nothing(tmp_path: Path) -> None:
    """Only the file is made."""
    shown = runner.invoke(app, ["optimize", MODEL, "-o", str(tmp_path / "fast.onnx"), "--no-check", "-q"])
    assert (0, "", "") == (shown.exit_code, shown.stdout, shown.stderr)
    assert (tmp_path / "fast.onnx").exists()


def test_without_output_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report alone leaves no file."""
    monkeypatch.chdir(tmp_path)
    assert [] == optimized()["files"]
    assert [] == list(tmp_path.iterdir())


def test_level_passes_and_file_say_what_to_run(tmp_path: Path) -> None:
    """A level, pipeline text, or a TOML file with options; ``--set`` on top."""
    assert [] == optimized("--level", "O0")["passes"]
    assert "eliminate-dead-code" == optimized("--passes", "eliminate-dead-code")["pipeline"]
    file = tmp_path / "pipeline.toml"
    file.write_text(
        'passes = ["deduplicate-constants"]\ntarget = "onnx"\n[options.deduplicate-constants]\nmin_outer_bytes = 7\n'
    )
    found = optimized("--pipeline", str(file))
    assert ("deduplicate-constants{min_outer_bytes=7}", "onnx") == (found["pipeline"], found["target"])
    found = optimized("--pipeline", str(file), "--set", "deduplicate-constants.min_outer_bytes=8")
    assert "deduplicate-constants{min_outer_bytes=8}" == found["pipeline"]


def test_file_says_whether_to_check_and_with_what(tmp_path: Path) -> None:
    """``[check]`` and ``[inputs]`` hold; what the check can't follow is refused."""
    file = tmp_path / "pipeline.toml"
    file.write_text("[check]\nenabled = false\n")
    assert optimized("--pipeline", str(file), "--level", "O1", check=True)["verdict"] is None
    np.savez(tmp_path / "in.npz", image=np.zeros((2, 1, 8, 8), np.float32))
    file.write_text('level = "O1"\n[inputs]\nfile = "in.npz"\n')
    verdict = optimized("--pipeline", str(file), check=True)["verdict"]
    assert ["user"] == [sample["kind"] for sample in verdict["samples"]]
    file.write_text("[check]\nrtol = 0.5\n")
    assert "can't follow check.rtol" in refused(MODEL, "--pipeline", str(file))


def test_disabled_passes_and_rules_do_not_run() -> None:
    """A pass is gone from the pipeline, a rule is not applied."""
    both = "constants-to-initializers,fold-shapes"
    assert "constants-to-initializers" == optimized("--passes", both, "--disable", "fold-shapes")["pipeline"]
    stats = optimized("--passes", both, "--disable", "fold-reshape-target")["passes"][1]["stats"]
    assert "fold-reshape-target" not in stats


def test_explain_names_candidates_and_reasons() -> None:
    """Each refused candidate has a reason; a node can be picked."""
    found = optimized("--explain", "fold-reshape-target")["explained"]
    assert ["Reshape"] == [refusal["op"] for refusal in found]
    assert found[0]["reason"]
    assert found == optimized("--explain", f"fold-reshape-target@{found[0]['node']}")["explained"]
    assert [] == optimized("--explain", "fold-reshape-target@elsewhere")["explained"]
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check", "--explain", "fold-reshape-target"])
    assert found[0]["reason"] in shown.stdout


def test_instrumentation_leaves_stdout_alone(tmp_path: Path) -> None:
    """IR goes to stderr or to files; statistics and times are in the report."""
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check", "--json", "--print-ir-after-change"])
    assert 0 == shown.exit_code
    assert json.loads(shown.stdout)["nodes_after"]
    assert "fold-shapes" in shown.stderr
    optimized("--print-ir-after-all", "--print-ir-dir", str(tmp_path / "ir"))
    assert len(list((tmp_path / "ir").iterdir())) > 3
    record = optimized("--pass-statistics", "--verify-each")["passes"][0]
    assert record["peak_bytes"] >= 0
    assert len(record["constant_bytes"]) == 2
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check", "--time-passes", "--pass-statistics"])
    assert "(lift)" in shown.stdout
    assert "more memory" in shown.stdout


def test_bisect_limit_stops_after_n_rewrites() -> None:
    """With a limit of 0 nothing changes, with 1 one rewrite is applied."""
    for limit in (0, 1):
        report = optimized("--opt-bisect-limit", str(limit))
        assert limit == max([record["applications"][1] for record in report["passes"]], default=0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((MODEL, "--passes", "fold-shape"), "did you mean 'fold-shapes'?"),
        ((MODEL, "--passes", "fold-shapes,,"), "expected a pass name"),
        ((MODEL, "--passes", "deduplicate-constants{min=3}"), "has no option 'min'"),
        ((MODEL, "--set", "sparsity=3"), "expected pass.option=value"),
        ((MODEL, "--level", "O9"), "unknown level 'O9'"),
        ((MODEL, "--target", "onnxrunime"), "did you mean 'onnxruntime'?"),
        ((MODEL, "--disable", "fold-shape"), "did you mean 'fold-shapes'?"),
        ((MODEL, "--explain", "fold-reshape"), "did you mean 'fold-reshape-target'?"),
        ((MODEL, "--level", "O1", "--passes", "fold-shapes"), "--level and --passes each say what to run"),
        ((MODEL, "--pipeline", "/none.toml"), "'/none.toml' can't be read"),
        ((MODEL, "--no-plugin", "nobody"), "there is no plugin 'nobody' to leave out"),
        ((MODEL, "-o", "/no/such/folder/out.onnx"), "/no/such/folder"),
        (("/none.onnx",), "'/none.onnx' cannot be read"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], expected: str) -> None:
    """Each says what was found, and what there is."""
    assert expected in refused(*arguments)


def test_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    """The file that is there survives, byte for byte; --force replaces it."""
    path = tmp_path / "there.onnx"
    path.write_bytes(b"precious")
    assert "there.onnx" in refused(MODEL, "-o", str(path), "--no-check")
    assert b"precious" == path.read_bytes()
    optimized("-o", str(path), "--force")
    assert b"precious" != path.read_bytes()


def test_broken_model_leaves_no_output(tmp_path: Path) -> None:
    """Bad input is one line, and no file appears."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(Path(MODEL).read_bytes()[:5000])
    assert "broken.onnx" in refused(str(broken), "-o", str(tmp_path / "out.onnx"))
    assert [broken] == list(tmp_path.iterdir())


def test_external_data_is_written_beside(tmp_path: Path) -> None:
    """``--external-data`` puts weights into a second file."""
    path = tmp_path / "fast.onnx"
    files = optimized("-o", str(path), "--external-data")["files"]
    assert {path.name, f"{path.name}.data"} == {Path(file).name for file in files}
    assert len(onnx.load(path).graph.initializer) > 0


def test_a_failing_pass_is_named_and_can_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the pass and those before it; the folder has the model as it was, and the command."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("graphopt.transforms.shape_folding.FoldShapes.run", broken)
    line = refused(MODEL, "--passes", "constants-to-initializers,fold-shapes", "--reproducer", str(tmp_path / "again"))
    assert "pass 'fold-shapes': ZeroDivisionError: no such luck; passes already run: constants-to-initializers" in line
    assert {"model.onnx", "pipeline.txt", "replay.txt", "reproducer.json", "versions.json"} == {
        path.name for path in (tmp_path / "again").iterdir()
    }
    assert "--passes fold-shapes" in (tmp_path / "again" / "replay.txt").read_text()
    onnx.checker.check_model(tmp_path / "again" / "model.onnx")


def test_a_result_that_fails_its_check_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written."""

    def wrong(*_: object, **__: object) -> None:
        raise VerificationError("the result differs from the original: output 'logits'")

    monkeypatch.setattr("graphopt.compiler.optimize", wrong)
    shown = runner.invoke(app, ["optimize", MODEL, "-o", str(tmp_path / "out.onnx")])
    assert (1, "") == (shown.exit_code, shown.stdout)
    assert "graphopt: the result differs from the original: output 'logits'\n" == shown.stderr
    assert [] == list(tmp_path.iterdir())


@rewrite(op.Identity(any_("x")))
def negate_identity(m: Match, rw: Rewriter) -> Value:
    """Wrong on purpose."""
    return rw.new("Neg", m["x"])


class NegateIdentity(RewritePass):
    """Wrong on purpose."""

    name = "negate-identity"
    rules = (negate_identity,)


class WrongPlugin:
    """Brings a wrong pass."""

    @hookimpl
    def graphopt_passes(self) -> list[type[Pass]]:
        """The pass."""
        return [NegateIdentity]


def test_a_wrong_rewrite_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds it, the report says so, and what is saved is right."""

    def plugins(blocked: Sequence[str] = ()) -> PluginManager:
        found = builtin_plugins(blocked)
        found.register(WrongPlugin(), name="wrong")
        return found

    monkeypatch.setattr("graphopt.cli.optimize.builtin_plugins", plugins)
    path = tmp_path / "out.onnx"
    report = optimized("--passes", "eliminate-dead-code,negate-identity", "-o", str(path), check=True)
    assert "ok" == report["verdict"]["status"]
    assert ["negate-identity" in site for site in report["skipped"]] == [True]
    assert "Neg" not in {node.op_type for node in onnx.load(path).graph.node}
    shown = runner.invoke(app, ["optimize", MODEL, "--passes", "negate-identity"])
    assert 0 == shown.exit_code
    assert 1 == shown.stdout.count("left out, because the check failed with it: ")
    assert "negate-identity" in shown.stdout
