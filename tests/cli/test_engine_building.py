"""``graphopt build``."""

from __future__ import annotations

import json
import subprocess
import sys

import onnx
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model
from tests.backends.tensorrt.library import API, needs_library

runner = CliRunner(env={"COLUMNS": "200"})
MODEL = str(digits_model())


@needs_library
def test_an_engine_is_built_with_a_manifest_beside_it(tmp_path):
    made = tmp_path / "digits.engine"
    done = runner.invoke(app, ["build", MODEL, "-o", str(made), "--json", "--no-check", "--dim", "batch=1,4,8"])
    assert 0 == done.exit_code, done.stderr
    told = json.loads(done.stdout)
    manifest = json.loads((tmp_path / "digits.engine.json").read_text())
    assert made.stat().st_size == told["bytes"] == manifest["bytes"]
    assert (API.name, "fp32") == (manifest["library"], manifest["precision"])
    assert [str(made), f"{made}.json"] == told["files"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--sm", "eight"], "--sm 'eight' is not understood; expected compute capabilities"),
        (["--dim", "batch"], "dimension 'batch' is not understood; expected NAME=MIN,USUAL,MAX"),
        (["--precision", "fp64"], "precision is 'fp64', expected one of fp32, fp16, bf16"),
        (["--target", "onnx"], "target is 'onnx', engines are built for: tensorrt, tensorrt-rtx"),
        (["--precision", "int8"], "precision int8 needs examples to quantize with; bring some: --data images.npz"),
        (["--data", "x.npz"], "data is for precision int8, and precision is fp32; leave one of them out"),
        (["--memory", "WORKSPACE=much"], "--memory 'WORKSPACE=much' is not understood; expected POOL=SIZE"),
        (["--memory", "WORKSPACE=0"], "is not understood; expected POOL=SIZE"),
        (["--profile", "image:1x2,3"], "profile 'image:1x2,3' is not understood"),
        (["--values", "image"], "is not understood; expected NAME:MIN,USUAL,MAX"),
        (["--refit", "no.engine"], "'no.engine' has no manifest beside it"),
        (["--refit", "no.engine", "--sm", "86"], "--refit keeps how the engine was built, and --sm says otherwise"),
        (["--timing-cache", MODEL], f"--timing-cache and MODEL are the same file, {MODEL!r}; name another one"),
        (["--timing-cache", "/"], "'/' is a folder, expected the path of a file"),
        (["--profile-data", "no.npz", "--no-check"], "inputs 'no.npz' cannot be read: No such file or directory"),
    ],
)
def test_bad_options(tmp_path, options, reason):
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), *options])
    assert 2 == done.exit_code
    assert reason in done.stderr
    assert [] == list(tmp_path.iterdir())


@needs_library
def test_a_profile_of_an_input_that_is_not_there(tmp_path):
    done = runner.invoke(
        app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check", "--profile", "nothing:1x64"]
    )
    assert 2 == done.exit_code
    assert "the model has no input 'nothing'; it takes: image" in done.stderr


@needs_library
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "input 'image' (batch) has sizes that are not fixed; state them: --dim batch=MIN,USUAL,MAX"),
        (["--dim", "batch=1", "--sm", "77"], "knows no compute capability '77'; it knows: 75, 80, 86, 89"),
        (["--dim", "batch=1", "--timing-cache", "CACHE"], "leave --timing-cache out"),
        (["--dim", "bach=1"], "the model has no dimension 'bach' to state sizes of; it has: batch"),
        (["--dim", "batch=4,2,1"], "are not in order: expected the smallest, the usual and the largest"),
    ],
)
def test_what_can_not_be_built_is_one_line_and_leaves_no_file(tmp_path, options, reason):
    options = [str(tmp_path / "cache") if item == "CACHE" else item for item in options]
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check", *options])
    assert 2 == done.exit_code
    assert reason in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["x.engine", "x.engine.json"])
def test_files_that_are_there_are_kept(tmp_path, there):
    (tmp_path / there).write_text("mine")
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check", "--dim", "batch=1"])
    assert 2 == done.exit_code
    assert f"{str(tmp_path / there)!r} exists already" in done.stderr
    assert ["mine"] == [path.read_text() for path in tmp_path.iterdir()]


@needs_library
def test_layers_of_an_engine_are_listed_and_inspected(tmp_path):
    made = tmp_path / "x.engine"
    arguments = [
        "build",
        MODEL,
        "-o",
        str(made),
        "--no-check",
        "--dim",
        "batch=1",
        "--dim",
        "batch=4:8:16",
        "--sm",
        "86,89",
    ]
    done = runner.invoke(app, [*arguments, "--layers"])
    assert 0 == done.exit_code, done.stderr
    assert "/conv2/Conv" in done.stdout
    assert "float32" in done.stdout
    assert "image 4x1x8x8, 8x1x8x8, 16x1x8x8" in done.stdout
    shown = runner.invoke(app, ["inspect", str(made)])
    assert 0 == shown.exit_code, shown.stderr
    assert "/conv2/Conv" in shown.stdout
    told = json.loads(runner.invoke(app, ["inspect", str(made), "--json"]).stdout)
    assert "/conv2/Conv" in [name for layer in told["engine"] for name in layer["nodes"]]
    assert (["86", "89"], "the manifest") == (told["capabilities"], told["told_by"])
    again = runner.invoke(app, [*arguments, "--force", "--quiet"])
    assert (0, "") == (again.exit_code, again.stdout)


@needs_library
def test_an_engine_that_is_none_is_one_line(tmp_path):
    path = tmp_path / "x.engine"
    path.write_bytes(b"")
    done = runner.invoke(app, ["inspect", str(path)])
    assert (2, 1) == (done.exit_code, len(done.stderr.splitlines()))
    assert "is empty, expected an engine" in done.stderr


@needs_library
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "g (float[5000] x) => (float[n] y, int64[m] i) <int64[1] k = {4000}> { y, i = TopK(x, k) }",
            "TensorRT takes 3840 at most",
        ),
        (
            "g (string[2] x) => (string[2] y) { y = Identity(x) }",
            "input 'x' is of strings, which TensorRT does not have",
        ),
        (
            "g (complex64[2] x) => (complex64[2] y) { y = Identity(x) }",
            "input 'x' is of complex64, which TensorRT does not have",
        ),
    ],
)
def test_what_tensorrt_does_not_take_is_one_line(tmp_path, text, reason):
    onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> ' + text), tmp_path / "x.onnx")
    done = runner.invoke(app, ["build", str(tmp_path / "x.onnx"), "-o", str(tmp_path / "x.engine"), "--no-check"])
    assert 2 == done.exit_code
    assert reason in done.stderr
    assert (1, ["x.onnx"]) == (len(done.stderr.splitlines()), [path.name for path in tmp_path.iterdir()])


@needs_library
@pytest.mark.skipif(API is not None and not API.is_rtx, reason="what TensorRT-RTX refuses without a GPU")
def test_what_the_library_prints_by_itself_is_not_seen(tmp_path):
    arguments = ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check", "--dim", "batch=1", "--refittable"]
    command = [sys.executable, "-m", "graphopt", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # with a driver it builds
        assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
        assert "are compiled by a GPU's driver" in done.stderr


def test_python_writes_to_stderr_while_libraries_do_not():
    code = """
import os, sys
from graphopt.cli.library_noise import without_library_noise
os.write(2, b"before\\n")
with without_library_noise():
    os.write(2, b"noise\\n")
    print("said", file=sys.stderr)
os.write(2, b"after\\n")
print("end", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ["before", "said", "after", "end"] == done.stderr.split()


@needs_library
def test_empty_tensors_build(tmp_path):
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[0,3] x) => (float[0,3] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "x.onnx")
    done = runner.invoke(app, ["build", str(tmp_path / "x.onnx"), "-o", str(tmp_path / "x.engine")])
    assert 0 == done.exit_code, done.stderr


def test_without_a_library_the_line_that_installs_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHOPT_TENSORRT", "no_such_library")
    done = runner.invoke(app, ["build", MODEL, "-o", str(tmp_path / "x.engine"), "--no-check"])
    assert 2 == done.exit_code
    assert "no TensorRT library is installed" in done.stderr
    assert "pip install graphopt[tensorrt-rtx]" in done.stderr
