"""Folders that show a failure again."""

from __future__ import annotations

import json
import shlex

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from graphopt.errors import OutputError
from graphopt.rewriting import Application
from graphopt.runtime import OrtRunner
from graphopt.verify import check_equivalence, load_inputs, write_reproducer
from graphopt.verify.reproducer_record import read_record

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) '
GOOD, BAD = parse_model(HEAD + "{ y = Neg(x) }"), parse_model(HEAD + "{ y = Abs(x) }")


def test_a_folder_shows_the_failure_again(tmp_path):
    verdict = check_equivalence(GOOD, BAD)
    application = Application(3, "canonicalize", "neg-to-abs", "y")
    made = write_reproducer(
        tmp_path / "deep" / "case",
        original=GOOD.SerializeToString(),
        optimized=BAD,
        verdict=verdict,
        pipeline="canonicalize,fixpoint(fuse{a=1})",
        application=application,
        options={"--target": "onnxruntime"},
    )
    assert tmp_path / "deep" / "case" == made.folder
    assert {"README", "inputs.npz", "optimized.onnx", "original.onnx", "reproducer.json"} == {
        path.name for path in made.folder.iterdir()
    }
    assert [
        *("graphopt", "optimize", "original.onnx", "-o", "again.onnx", "--passes", "canonicalize,fixpoint(fuse{a=1})"),
        *("--inputs", "inputs.npz", "--opt-bisect-limit=3", "--target", "onnxruntime", "--seed", "0"),
    ] == shlex.split(read_record(made.folder).optimize)
    assert "graphopt replay ." == made.command
    record = json.loads((made.folder / "reproducer.json").read_text("utf-8"))
    assert (1, "wrong-numbers", "graphopt replay .") == (record["format"], record["kind"], record["command"])
    assert ("neg-to-abs", "failed") == (record["application"]["rule"], record["verdict"]["status"])
    assert {"graphopt", "onnx", "onnxruntime", "python"} <= set(record["versions"])
    with OrtRunner(made.folder / "original.onnx") as runner:
        feeds = load_inputs(made.folder / "inputs.npz", runner.inputs)
    again = check_equivalence(made.folder / "original.onnx", made.folder / "optimized.onnx", inputs=feeds)
    assert "failed" == again.status


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
    verdict = check_equivalence(GOOD, BAD)
    folders = [
        write_reproducer(tmp_path / "case", original=GOOD, optimized=None, verdict=verdict, pipeline="p").folder.name
        for _ in range(3)
    ]
    assert ["case", "case-2", "case-3"] == folders
    assert sorted(folders) == sorted(path.name for path in tmp_path.iterdir())


def test_a_model_with_data_in_other_files_stays_where_it_is(tmp_path):
    big = parse_model(HEAD + "{ y = Add(x, w) }")
    big.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "w"))
    onnx.save(big, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    verdict = check_equivalence(tmp_path / "m.onnx", BAD)
    made = write_reproducer(
        tmp_path / "case", original=tmp_path / "m.onnx", optimized=BAD, verdict=verdict, pipeline="p"
    )
    assert not (made.folder / "original.onnx").exists()
    assert str(tmp_path / "m.onnx") in made.command


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    verdict = check_equivalence(GOOD, BAD)
    with pytest.raises(OutputError, match="cannot be written"):
        write_reproducer(tmp_path / "file" / "case", original=GOOD, optimized=BAD, verdict=verdict, pipeline="p")
    with pytest.raises(OutputError, match="cannot be written"):
        write_reproducer(tmp_path / "case", original=tmp_path / "none", optimized=BAD, verdict=verdict, pipeline="p")
    assert ["file"] == [path.name for path in tmp_path.iterdir()]
