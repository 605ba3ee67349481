"""The benchmark of engines: both ways on a small model, one that can't be built, and the ratios."""

from __future__ import annotations

import json

import onnx

from benchmarks import tensorrt_build
from graphopt.data import digits_model
from tests.backends.tensorrt.library import needs_library

REFUSED = '<ir_version: 8, opset_import: ["": 17]> g (string[2] x) => (string[2] y) { y = Identity(x) }'


@needs_library
def test_engines_of_both_makers_are_measured(tmp_path):
    record, refused = tmp_path / "record.json", tmp_path / "refused.onnx"
    onnx.save(onnx.parser.parse_model(REFUSED), refused)
    arguments = [str(digits_model()), str(refused), "--repeats", "1", "--megabytes", "0", "--json", str(record)]
    assert 0 == tensorrt_build.main(arguments)
    found = json.loads(record.read_text())["results"]["models"]
    digits = found[digits_model().stem]
    assert {"lower_over_parse", "build", "peak", "peak_above_imports", "engine_bytes"} == set(
        digits["graphopt_over_parser"]
    )
    assert all(ratio > 0 for ratio in digits["graphopt_over_parser"].values())
    assert digits["makers"]["graphopt"]["layers"] > 5
    assert digits["makers"]["parser"]["peak_bytes"]["median"] > digits["makers"]["parser"]["imports_bytes"]["median"]
    assert {} == found["refused"]["graphopt_over_parser"]
    assert "input 'x' is of strings" in found["refused"]["makers"]["graphopt"]["failed"]
