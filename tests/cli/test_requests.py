"""``--set-dim``, ``--input-shape`` and ``--opset``, and the same in a pipeline file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


def optimized(tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], onnx.ModelProto]:
    """The JSON report of a run that goes well, and its result."""
    place = tmp_path / "made.onnx"
    shown = runner.invoke(app, ["optimize", MODEL, "-o", str(place), "--force", "--json", *arguments])
    assert (0, "") == (shown.exit_code, shown.stderr)
    return json.loads(shown.stdout), onnx.load(place)


def sizes(proto: onnx.ModelProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]


def test_dimensions_are_fixed_named_and_bounded(tmp_path: Path) -> None:
    assert ["batch", 1, 8, 8] == sizes(onnx.load(MODEL))
    report, made = optimized(tmp_path, "--set-dim", "batch=3")
    assert [3, 1, 8, 8] == sizes(made)
    assert ("O2", "ok") == (report["level"], report["verdict"]["status"])
    assert [{}] == [dict(item) for item in {tuple(sample["sizes"].items()) for sample in report["verdict"]["samples"]}]
    _report, made = optimized(tmp_path, "--input-shape", "image:n,1,8,8")
    assert ["n", 1, 8, 8] == sizes(made)
    report, made = optimized(tmp_path, "--set-dim", "batch=5..6")
    assert ["batch", 1, 8, 8] == sizes(made)
    assert {5, 6} >= {sample["sizes"]["batch"] for sample in report["verdict"]["samples"]}


def test_the_opset_is_raised(tmp_path: Path) -> None:
    assert 17 == onnx.load(MODEL).opset_import[0].version
    _report, made = optimized(tmp_path, "--opset", "21", "--level", "O1")
    assert 21 == made.opset_import[0].version
    _report, made = optimized(tmp_path, "--opset", "13", "--level", "O1")
    assert 17 == made.opset_import[0].version, "never lowered"


def test_a_pipeline_file_says_the_same_and_options_go_before_it(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(
        'level = "O1"\nopset = 20\n[inputs]\ndims = { batch = 3 }\nshapes = { image = ["batch", 1, 8, 8] }\n'
    )
    _report, made = optimized(tmp_path, "--pipeline", str(file))
    assert ([3, 1, 8, 8], 20) == (sizes(made), made.opset_import[0].version)
    _report, made = optimized(tmp_path, "--pipeline", str(file), "--set-dim", "batch=4", "--opset", "18")
    assert ([4, 1, 8, 8], 18) == (sizes(made), made.opset_import[0].version)
    shown = runner.invoke(app, ["bisect", MODEL, "--pipeline", str(file), "--json"])
    assert 0 == shown.exit_code
    assert json.loads(shown.stdout)["pipeline"].startswith(
        "set-input-shapes{shapes={image=[batch,1,8,8]},dims={batch=3}}"
    )


def test_several_models_get_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.onnx").write_bytes(Path(MODEL).read_bytes())
    models = [str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")]
    options = ["--executor", "threads", "--set-dim", "batch=2", "--opset", "20", "--quiet"]
    shown = runner.invoke(app, ["optimize", *models, "-o", str(tmp_path / "out"), *options])
    assert (0, "") == (shown.exit_code, shown.stdout)
    for name in ("a", "b"):
        made = onnx.load(tmp_path / "out" / f"{name}.onnx")
        assert ([2, 1, 8, 8], 20) == (sizes(made), made.opset_import[0].version)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set-dim", "batch"],
            "--set-dim 'batch' is not understood; expected NAME=SIZE or NAME=FIRST..LAST, such as",
        ),
        (
            ["--set-dim", "bach=1"],
            "no input has a dimension 'bach'; did you mean 'batch'? dimensions that can be set: batch",
        ),
        (["--set-dim", "batch=-1"], "dimension 'batch': size -1 is negative; expected 0 to 2147483647"),
        (["--set-dim", "batch=99999999999"], "dimension 'batch': size 99999999999 is too large; expected 0 to"),
        (["--set-dim", "batch=9..3"], "dimension 'batch': range '9..3' begins above its end; expected 3..9"),
        (["--set-dim", "batch=1", "--set-dim", "batch=2"], "--set-dim is given twice for 'batch', each time otherwise"),
        (
            ["--input-shape", "image"],
            "--input-shape 'image' is not understood; expected INPUT:SIZE,SIZE,... of numbers",
        ),
        (["--input-shape", "imag:1"], "the model has no input 'imag'; did you mean 'image'? inputs: 'image'"),
        (
            ["--input-shape", "image:1,8,8"],
            "input 'image': shape 1,8,8 has 3 axes, expected 4 as in float[batch, 1, 8, 8]",
        ),
        (["--input-shape", "image:1,3,8,8"], "axis 1 of input 'image' is 3, expected 1: the model fixes it in"),
        (
            ["--input-shape", "image:1,1,8,8", "--set-dim", "batch=2"],
            "dimension 'batch' is 2, but axis 0 of input 'image' says 1",
        ),
        (["--opset", "6"], "opset is 6, expected 7 or later; a model is never lowered"),
        (["--opset", "99"], "opset 99 is newer than opset"),
        (["--opset", "x"], "invalid value for '--opset'"),
    ],
)
def test_what_can_not_be_meant_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    place = tmp_path / "made.onnx"
    shown = runner.invoke(app, ["optimize", MODEL, "-o", str(place), *arguments])
    assert (2, "") == (shown.exit_code, shown.stdout)
    assert message.lower() in shown.stderr.lower()
    assert 1 == shown.stderr.count("\n")
    assert not place.exists()
