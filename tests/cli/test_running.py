"""``graphopt run`` and ``graphopt bench`` run models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.data import digits_model, digits_test

runner = CliRunner(env={"COLUMNS": "160"})
MODEL = str(digits_model())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three test images as inputs."""
    np.savez(tmp_path / "images.npz", image=digits_test()[0][:3])
    return tmp_path / "images.npz"


def test_outputs_are_those_of_onnxruntime(images: Path, tmp_path: Path) -> None:
    """What is saved is what a session gives."""
    out = tmp_path / "out.npz"
    shown = runner.invoke(app, ["run", MODEL, "--inputs", str(images), "-o", str(out), "-q"])
    assert (0, "", "") == (shown.exit_code, shown.stdout, shown.stderr)
    [expected] = ort.InferenceSession(MODEL).run(None, {"image": digits_test()[0][:3]})
    np.testing.assert_allclose(np.load(out)["logits"], expected, rtol=1e-5, atol=1e-5)


def test_runtimes_agree(images: Path, tmp_path: Path) -> None:
    """ONNX Runtime and the reference give the same numbers."""
    found = []
    for name in ("onnxruntime", "reference"):
        out = tmp_path / f"{name}.npz"
        assert (
            0
            == runner.invoke(app, ["run", MODEL, "--inputs", str(images), "--runtime", name, "-o", str(out)]).exit_code
        )
        found.append(np.load(out)["logits"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_generated_inputs_follow_seed_and_sizes(tmp_path: Path) -> None:
    """The same seed gives the same inputs, which can be saved; a size can be chosen."""

    def drawn(seed: int, batch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        path = tmp_path / f"in{seed}-{batch}.npz"
        command = ["run", MODEL, "--seed", str(seed), "--dim", f"batch={batch}", "--save-inputs", str(path), "-q", "-f"]
        assert 0 == runner.invoke(app, command).exit_code
        found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.load(path)["image"]
        return found

    first = drawn(1, 5)
    assert (5, 1, 8, 8) == first.shape
    assert np.array_equal(first, drawn(1, 5))
    assert not np.array_equal(first, drawn(2, 5))


def test_json_summarizes_tensors(images: Path) -> None:
    """Type, shape and range of each tensor."""
    found = json.loads(runner.invoke(app, ["run", MODEL, "--inputs", str(images), "--json"]).stdout)
    [output], [image] = found["outputs"], found["inputs"]
    assert ("logits", "float32", [3, 10]) == (output["name"], output["dtype"], output["shape"])
    assert (0.0, 16.0) == (image["minimum"], image["maximum"])


def test_wrong_inputs_are_one_line(images: Path, tmp_path: Path) -> None:
    """A missing input, a file that is none, a size that the model does not have, a runtime that nobody knows."""
    np.savez(tmp_path / "other.npz", picture=np.zeros(3, np.float32))
    for arguments, expected in (
        (["--inputs", str(tmp_path / "other.npz")], "'image'"),
        (["--inputs", MODEL], "cannot be read"),
        (["--dim", "seq=3"], "has no dynamic size 'seq'; it has: batch"),
        (["--runtime", "tensorflow"], "there are: onnxruntime, reference"),
        (["-o", str(images)], "images.npz"),
    ):
        shown = runner.invoke(app, ["run", MODEL, *arguments])
        assert (2, "") == (shown.exit_code, shown.stdout), arguments
        assert 1 == shown.stderr.count("\n")
        assert expected in shown.stderr


def test_bench_measures_models_in_turns(tmp_path: Path) -> None:
    """Each model has as many runs as asked, the second is compared with the first."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(digits_model().read_bytes())
    command = ["bench", MODEL, str(copy), "--repeats", "7", "--warmup", "1", "--dim", "batch=2"]
    found = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    first, second = found["models"]
    assert (7, 7) == (first["runs"], second["runs"])
    assert first["best"] <= first["median"] <= first["p90"] <= first["p99"]
    assert first["against_first"] is None
    assert 0.1 < second["against_first"]["speedup"] < 10
    shown = runner.invoke(app, command)
    assert 0 == shown.exit_code
    assert "copy.onnx" in shown.stdout
    alone = json.loads(runner.invoke(app, ["bench", MODEL, "--seconds", "0.05", "--json"]).stdout)
    assert 5 <= alone["models"][0]["runs"]


def test_bench_refuses_a_model_named_twice() -> None:
    """One name in the table can't stand for two."""
    shown = runner.invoke(app, ["bench", MODEL, MODEL])
    assert 2 == shown.exit_code
    assert "named twice" in shown.stderr
