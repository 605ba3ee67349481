"""Models as text, and reproducers."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pytest

from graphopt.errors import PassError
from graphopt.ir import parse_model, print_model
from graphopt.passes import PassManager, PrintIR, Reproducer, installed_versions
from tests.passes.sample_passes import DropOne, EliminateDoubleNeg, Tune, chain, ops


@dataclass(frozen=True)
class FailLate(Tune):
    """Fails after an edit."""

    def run(self, graph, ctx):
        next(iter(graph.nodes)).set_op("Abs")
        raise ValueError("boom")


PASSES = [EliminateDoubleNeg(), Tune(), DropOne()]


@pytest.mark.parametrize(
    ("when", "files"),
    [
        ("all", ["000_input.txt", "001_eliminate-double-neg.txt", "002_tune.txt", "003_drop-one.txt"]),
        ("change", ["000_input.txt", "001_eliminate-double-neg.txt", "003_drop-one.txt"]),
    ],
)
def test_models_are_written_after_passes(tmp_path, when, files):
    PassManager(PASSES, [PrintIR(when, folder=tmp_path / "ir")]).run(chain("Relu", "Neg", "Neg", "Abs"))
    assert files == sorted(path.name for path in (tmp_path / "ir").iterdir())
    text = (tmp_path / "ir" / "001_eliminate-double-neg.txt").read_text(encoding="utf-8")
    assert ["Relu", "Abs"] == ops(parse_model(text))


def test_models_are_written_to_a_stream_with_titles():
    stream = io.StringIO()
    PassManager([Tune(count=1)], [PrintIR(stream=stream)]).run(chain("Relu"))
    titles = [line for line in stream.getvalue().splitlines() if line.startswith("# ")]
    assert ["# before all passes", "# after tune{count=1} (no change)"] == titles


def test_the_model_of_a_failed_pass_is_written(tmp_path):
    with pytest.raises(PassError):
        PassManager([FailLate()], [PrintIR(folder=tmp_path)]).run(chain("Relu"))
    assert ["Abs"] == ops(parse_model((tmp_path / "001_tune_failed.txt").read_text(encoding="utf-8")))


def save(model, path):
    path.write_text(print_model(model, weights="inline"), encoding="utf-8")


def test_a_reproducer_has_the_model_before_the_failed_pass(tmp_path):
    folder = tmp_path / "with space"
    with pytest.raises(PassError) as caught:
        PassManager([*PASSES, FailLate(count=7)], [Reproducer(folder, save)]).run(
            chain("Relu", "Neg", "Neg", "Abs", "Relu")
        )
    assert ["Abs", "Relu"] == ops(parse_model((folder / "model.onnx").read_text(encoding="utf-8")))
    assert "eliminate-double-neg,tune,drop-one,tune{count=7}\n" == (folder / "pipeline.txt").read_text(encoding="utf-8")
    command = f"graphopt optimize '{folder}/model.onnx' -o replayed.onnx --passes 'tune{{count=7}}' --verify-each"
    assert [f"replay it with: {command}"] == caught.value.__notes__
    assert ["tune{count=7}", command] == (folder / "replay.txt").read_text(encoding="utf-8").splitlines()[:2]
    assert installed_versions() == json.loads((folder / "versions.json").read_text(encoding="utf-8"))


def test_a_reproducer_that_can_t_be_saved_does_not_hide_the_failure(tmp_path):
    def full(model, path):
        raise OSError("disk full")

    with pytest.raises(PassError, match="boom") as caught:
        PassManager([FailLate()], [Reproducer(tmp_path, full)]).run(chain("Relu"))
    assert ["the model before the pass can't be written: OSError: disk full"] == caught.value.__notes__


def test_nothing_is_written_when_nothing_fails(tmp_path):
    PassManager(PASSES, [Reproducer(tmp_path / "r", save)]).run(chain("Relu", "Abs"))
    assert not (tmp_path / "r").exists()


def test_versions_leave_out_what_is_not_installed():
    assert {"python", "system", "numpy"} == set(installed_versions(("numpy", "no-such-package")))
