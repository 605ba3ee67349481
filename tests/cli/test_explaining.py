"""``optimize --explain`` and ``--remarks``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())


def optimized(*arguments: str) -> dict[str, Any]:
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check", "--json", *arguments])
    assert (0, "") == (shown.exit_code, shown.stderr)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def table(*arguments: str) -> str:
    shown = runner.invoke(app, ["optimize", MODEL, "--no-check", *arguments])
    assert (0, "") == (shown.exit_code, shown.stderr)
    return shown.stdout


def test_the_part_of_the_pattern_that_stopped_is_told() -> None:
    """With path, value, pattern and reason."""
    (first, *_) = optimized("--explain", "fold-pad-into-conv")["explained"]
    assert {
        "rule": "fold-pad-into-conv",
        "node": "/conv1/Conv",
        "op": "Conv",
        "where": "Conv.input[0] 'image'",
        "reason": "'image' is not produced by ('Pad',)",
    } == {key: first[key] for key in ("rule", "node", "op", "where", "reason")}
    assert first["part"].startswith("Pad(")
    shown = table("--explain", "fold-pad-into-conv")
    assert "looks for Conv" in shown
    assert "stopped at" in shown
    assert "Conv.input[0] 'image'" in shown


@pytest.mark.parametrize("node", ["/conv2/Conv", "/bn2/BatchNormalization", "bn2"])
def test_a_node_is_named_by_itself_its_output_or_what_it_came_from(node: str) -> None:
    """The batch normalization went into the convolution."""
    found = optimized("--explain", f"fold-scale-before-conv@{node}")["explained"]
    assert ["/conv2/Conv" in item["origins"] for item in found] == [True]


def test_a_node_that_was_no_candidate_is_told_why() -> None:
    """It is another operator, or not there."""
    assert "'/relu1/Relu' is a Relu, at which the rule does not begin" in table(
        "--explain", "fold-pad-into-conv@/relu1/Relu"
    )
    assert "no node of the result is or comes from 'nothing'" in table("--explain", "fold-pad-into-conv@nothing")


def test_remarks_list_what_was_made() -> None:
    """In order, with what each touched."""
    made = optimized("--remarks=made")["remarks"]["made"]
    assert list(range(1, 14)) == [item["number"] for item in made]
    folds = [item for item in made if item["rule"] == "fold-batch-norm"]
    assert 3 == len(folds)
    assert ("fuse-conv-batch-norm", "bn1", ["/bn1/BatchNormalization", "/conv1/Conv"], ["Conv"]) == (
        folds[0]["pass"],
        folds[0]["site"],
        folds[0]["origins"],
        [node["op"] for node in folds[0]["added"]],
    )
    shown = table("--remarks=made")
    assert "13 rewrites made" in shown
    assert "missed" not in shown


def test_remarks_list_what_was_missed() -> None:
    """By rule and reason, with examples; nodes that are gone do not count."""
    found = optimized("--remarks=missed")["remarks"]
    assert "made" not in found
    pads = next(item for item in found["missed"] if item["rule"] == "fold-pad-into-conv")
    assert (3, "... is not produced by ...", 3) == (pads["count"], pads["reason"], len(pads["examples"]))
    assert {"node": "/conv1/Conv", "reason": "'image' is not produced by ('Pad',)"} == pads["examples"][0]
    assert not any(item["rule"] == "fold-batch-norm" for item in found["missed"])


def test_remarks_alone_mean_all() -> None:
    """And anything else is refused."""
    assert {"made", "missed"} == set(optimized("--remarks")["remarks"])
    assert "kinds of rewrites missed" in table("--remarks")
    shown = runner.invoke(app, ["optimize", MODEL, "--remarks=some"])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert "expected one of: made, missed, all" in shown.stderr


@pytest.mark.parametrize(("option", "value"), [("--explain", "fold-batch-norm"), ("--remarks", "")])
def test_nothing_is_explained_in_silence(option: str, value: str) -> None:
    """A table that --quiet leaves out is refused; JSON is written all the same."""
    words = ["optimize", MODEL, "--quiet", f"{option}={value}" if value else option]
    shown = runner.invoke(app, words)
    assert (2, "", 1) == (shown.exit_code, shown.stdout, shown.stderr.count("\n"))
    assert f"{option} shows a table, and --quiet shows nothing" in shown.stderr
    assert 0 == runner.invoke(app, [*words, "--json"]).exit_code


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """The file is the same, byte by byte."""
    plain, looked = tmp_path / "plain.onnx", tmp_path / "looked.onnx"
    table("-o", str(plain))
    table("-o", str(looked), "--remarks", "--explain", "fold-batch-norm")
    assert plain.read_bytes() == looked.read_bytes()
    onnx.checker.check_model(looked)
