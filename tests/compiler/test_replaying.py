"""What a reproducer folder shows, shown again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.compiler import bisect, optimize, replay
from graphopt.errors import ModelError, PassError, PipelineError
from graphopt.passes import RewritePass
from graphopt.verify import Verdict, write_reproducer
from tests.compiler import planting


def written(tmp_path: Path, name: str, **options: Any) -> Path:
    """The folder that a bisection leaves."""
    found = bisect(planting.chain(), pipeline=name, plugins=planting.plugins(), reproducer=tmp_path / "case", **options)
    assert "graphopt replay ." == found.command
    return Path(found.reproducer)


@pytest.mark.parametrize("name", ["wrong-rule", "invalid-rule", "raising-rule", "silent-pass", "broken-graph"])
def test_a_failure_shows_again_and_goes_when_it_is_mended(name, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The same kind, for the same reason; nothing when the pass is right."""
    folder = written(tmp_path, name)
    again = replay(folder, plugins=planting.plugins())
    assert again.again
    assert again.recorded == again.kind
    assert () == again.warnings

    class Mended(RewritePass):
        """Does the right thing."""

        rules = (planting.eliminate_double_neg,)

    Mended.name = name
    mended = replay(folder, plugins=planting.plugins(Mended))
    assert (False, None) == (mended.again, mended.kind)


def test_the_record_says_what_was_used(tmp_path):
    """Pipeline, seed, tolerance, what was left out, plugins and versions."""
    folder = written(tmp_path, "wrong-rule,wrong-pattern", seed=7, rtol=1e-3, disabled=["exp-to-abs"], samples=2)
    record = json.loads((folder / "reproducer.json").read_text("utf-8"))
    assert ("wrong-rule,wrong-pattern", 7, 1e-3, 2, ["exp-to-abs"], "onnxruntime") == tuple(
        record[name] for name in ("pipeline", "seed", "rtol", "samples", "disabled", "target")
    )
    assert {"number": 2, "pass": "wrong-rule", "rule": "drop-sqrt", "site": "d"} == record["application"]
    assert {"name": "acme", "package": "acme 1.2", "api": None} in record["plugins"]
    assert {"graphopt", "onnx", "onnxruntime", "numpy", "python"} <= set(record["versions"])
    assert {"README", "inputs.npz", "optimized.onnx", "original.onnx", "reproducer.json"} == {
        path.name for path in folder.iterdir()
    }
    onnx.checker.check_model(folder / "optimized.onnx")
    assert replay(folder, plugins=planting.plugins()).again


def test_other_versions_and_plugins_are_told(tmp_path):
    """Each in a warning; the replay goes on."""
    folder = written(tmp_path, "wrong-rule")
    path = folder / "reproducer.json"
    record = json.loads(path.read_text("utf-8"))
    record["versions"] |= {"onnx": "0.1", "lost": "1"}
    record["plugins"] = [{"name": "acme", "package": "acme 0.9"}, {"name": "gone"}]
    path.write_text(json.dumps(record), encoding="utf-8")
    warnings = replay(folder, plugins=planting.plugins()).warnings
    assert f"onnx is {onnx.__version__}, was 0.1" in warnings
    assert "lost is not installed, was 1" in warnings
    assert any("plugin 'acme' is acme 1.2" in text and "acme 0.9" in text for text in warnings)
    assert "plugin 'gone' (of a program) is not there" in warnings
    assert any("'builtin' was not there" in text for text in warnings)


def test_a_plugin_that_is_not_installed_is_named(tmp_path):
    """With its version, where a pass of the pipeline is unknown without it."""
    folder = written(tmp_path, "wrong-rule")
    with pytest.raises(
        PipelineError, match=r"unknown pass 'wrong-rule'.*; plugin 'acme' is not in use here.*: install acme 1\.2$"
    ):
        replay(folder)
    path = folder / "reproducer.json"
    record = json.loads(path.read_text("utf-8"))
    record["plugins"] = [{"name": "own"}]
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"plugin 'own' .*: a program brought it, run graphopt\.replay there$"):
        replay(folder)


def test_a_failed_pass_of_graphopt_is_replayed_from_the_model_before_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The folder that watching the passes leaves has the same form."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr("graphopt.transforms.shape_folding.FoldShapes.run", broken)
        with pytest.raises(PassError):
            optimize(planting.chain(), pipeline="canonicalize,fold-shapes", reproducer=tmp_path / "case")
        again = replay(tmp_path / "case")
        assert (True, "exception", "exception") == (again.again, again.recorded, again.kind)
        assert "no such luck" in again.reason
    assert not replay(tmp_path / "case").again


MODULE = """
from graphopt import RewritePass, any_, op, rewrite
from pathlib import Path

Path("imported").touch()


@rewrite(op.Exp(any_("x")))
def exp_to_neg(m, rw):
    return rw.new("Neg", m["x"])


class ExpToNeg(RewritePass):
    "Wrong."
    name = "local-pass"
    rules = (exp_to_neg,)


number = 3
"""


def local(tmp_path: Path, place: str, pipeline: str) -> Path:
    """A folder about a pass or rule that no plugin registers."""
    (tmp_path / "local_passes.py").write_text(MODULE, encoding="utf-8")
    verdict = Verdict(
        "failed", "other numbers", failing_feeds={"x": np.ones((1, 4), np.float32)}, failure="wrong-numbers"
    )
    made = write_reproducer(
        tmp_path / "case",
        original=planting.chain(),
        optimized=None,
        verdict=verdict,
        pipeline=pipeline,
        imports=[place],
    )
    assert "graphopt replay . --trust" == made.command
    return made.folder


@pytest.mark.parametrize(
    ("place", "pipeline"),
    [
        ("local_passes:ExpToNeg", "local-pass"),
        ("local_passes.py:ExpToNeg", "local-pass"),
        ("local_passes.py:exp_to_neg", "exp-to-neg"),
    ],
)
def test_code_that_a_folder_names_is_imported_only_when_it_is_trusted(place, pipeline, tmp_path, monkeypatch):
    """By module or by file; nothing is imported before."""
    folder = local(tmp_path, place, pipeline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="--trust"):
        replay(folder)
    assert not (tmp_path / "imported").exists()
    assert replay(folder, trust=True).kind == "wrong-numbers"
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("local_passes.py:number", "neither a pass class nor a rule"),
        ("local_passes.py:none", "can't be imported: AttributeError"),
        ("none.py:Pass", "can't be imported: FileNotFoundError"),
        ("no_such_module:Pass", "can't be imported: ModuleNotFoundError"),
        ("nothing", "can't be imported"),
    ],
)
def test_what_cannot_be_imported_is_said(place, expected, tmp_path, monkeypatch):
    folder = local(tmp_path, place, "local-pass")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=expected):
        replay(folder, trust=True)


def test_a_model_that_stayed_where_it_was_must_be_named(tmp_path):
    """Nothing outside of the folder is read unasked."""
    model = planting.parse_model(planting.HEAD + "{ a = Add(x, w) b = Exp(a) y = Relu(b) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    plugins = planting.plugins()
    found = bisect(tmp_path / "m.onnx", pipeline="wrong-pattern", plugins=plugins, reproducer=tmp_path / "case")
    assert f"graphopt replay . --model {tmp_path / 'm.onnx'}" == found.command
    with pytest.raises(ModelError, match="give its path with --model"):
        replay(tmp_path / "case", plugins=planting.plugins())
    assert replay(tmp_path / "case", model=tmp_path / "m.onnx", plugins=planting.plugins()).again


def test_kinds_that_no_replay_shows_are_refused(tmp_path):
    """A folder of another tool may be about anything."""
    folder = written(tmp_path, "wrong-rule")
    path = folder / "reproducer.json"
    path.write_text(path.read_text("utf-8").replace('"kind": "wrong-numbers"', '"kind": "too slow"'), encoding="utf-8")
    with pytest.raises(ModelError, match="is about 'too slow'"):
        replay(folder, plugins=planting.plugins())


def test_a_pass_that_is_not_there_any_more_is_an_error(tmp_path):
    folder = written(tmp_path, "wrong-rule")
    with pytest.raises(PipelineError, match="wrong-rule"):
        replay(folder)


CRASHING = """
import os
import signal

from graphopt.rewriting import any_, op, rewrite


@rewrite(op.Sqrt(any_("x")))
def end_it_all(m, rw):
    os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_pass_that_ends_the_process_ends_another_one(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """This one says so."""
    (tmp_path / "crashing.py").write_text(CRASHING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    onnx.save(planting.chain(), tmp_path / "chain.onnx")
    made = write_reproducer(
        tmp_path / "case",
        original=tmp_path / "chain.onnx",
        optimized=None,
        verdict=None,
        pipeline="end-it-all",
        kind="crash",
        imports=["crashing.py:end_it_all"],
    )
    found = replay(made.folder, trust=True)
    assert (True, "crash", "crash") == (found.again, found.recorded, found.kind)
    assert "it ends the process: SIGSEGV" == found.reason
    with pytest.raises(PipelineError, match="--trust"):
        replay(made.folder)
