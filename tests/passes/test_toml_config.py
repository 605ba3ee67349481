"""Pipelines as TOML files."""

from __future__ import annotations

import os
import re

import pytest

from graphopt.errors import PipelineError
from graphopt.passes import CheckConfig, InputConfig, read_pipeline_file
from tests.passes.sample_passes import registry

REGISTRY = registry()


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "p.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_everything_is_read(write):
    found = read_pipeline_file(
        write("""
            passes = ["eliminate-double-neg", "tune{count=1}"]
            target = "onnxruntime"
            [options.tune]
            ratio = 0.25
            axes = [0, 1]
            [check]
            rtol = 1e-3
            samples = 2
            [inputs]
            file = "x.npz"
            dims = { batch = 4 }
            shapes = { x = [1, 3] }
        """)
    )
    assert "eliminate-double-neg,tune{ratio=0.25,count=1,axes=[0,1]}" == found.build(REGISTRY).to_text()
    assert "onnxruntime" == found.target
    assert CheckConfig(rtol=1e-3, samples=2) == found.check
    assert InputConfig("x.npz", {"x": [1, 3]}, {"batch": 4}) == found.inputs
    assert found.path.parent / "x.npz" == found.inputs_path


@pytest.mark.parametrize(
    ("text", "pipeline"),
    [
        ('level = "O2"', "eliminate-double-neg,fixpoint(drop-one,eliminate-double-neg)"),
        ('pipeline = "tune,fixpoint(drop-one)"', "tune,fixpoint(drop-one)"),
        ("passes = []", ""),
        ("[options.eliminate-double-neg]", "eliminate-double-neg"),
    ],
)
def test_one_of_three_forms_or_the_default(write, text, pipeline):
    assert pipeline == read_pipeline_file(write(text)).build(REGISTRY, default="O1").to_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("level = ", "is not TOML: Invalid value (at end of document)"),
        (b"\xff", "is not UTF-8 text: invalid start byte at byte 0"),
        ("levle = 'O1'", "the top level has no 'levle'; did you mean 'level'? it has: level, pipeline, passes"),
        ("[check]\nrtoll = 1", "section [check] has no 'rtoll'; did you mean 'rtol'? it has: enabled, rtol"),
        ("[inputs]\nsize = 1", "section [inputs] has no 'size'"),
        ("level = 1", "level: expected str | null, got int"),
        ("[check]\nrtol = -1", "check.rtol: expected float >= 0.0"),
        ("[check]\nenabled = 'no'", "check.enabled: expected bool, got str"),
        ("check = 1", "check: expected object, got int"),
        ("passes = 'tune'", "passes: expected array | null, got str"),
        ("[inputs.dims]\nbatch = 1.5", "inputs.dims[...]: expected int | str, got float"),
        ("opset = 0", "opset: expected int >= 1"),
        ("level = 'O1'\npasses = []", "states level and passes; state one of them"),
        ("passes = ['tune', 'tine']", "pipeline, line 2, column 1: unknown pass 'tine'; did you mean 'tune'?"),
        (
            "passes = ['tune']\n[options.tune]\nratio = 2",
            "option 'ratio' of pass 'tune' is 2, expected float >= 0, < 1",
        ),
        (
            "passes = ['tune']\n[options.drop-one]\n",
            "options are given for pass 'drop-one', which is not in the pipeline",
        ),
    ],
)
def test_a_wrong_file_gives_one_line(write, text, message):
    path = write(text)
    with pytest.raises(PipelineError, match=re.escape(message)) as caught:
        read_pipeline_file(path).build(REGISTRY)
    assert str(caught.value).startswith(f"pipeline file '{path}'")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PipelineError, match="can't be read: No such file or directory"):
        read_pipeline_file(tmp_path / "none.toml")


def test_a_pipe_is_refused_unread(tmp_path):
    """Reading one may wait forever."""
    os.mkfifo(tmp_path / "p.toml")
    with pytest.raises(PipelineError, match=r"p.toml' is no regular file; give the path of a TOML file"):
        read_pipeline_file(tmp_path / "p.toml")


def test_a_negative_seed_is_refused(write):
    """Random numbers have none."""
    with pytest.raises(PipelineError, match=r"check.seed: expected int >= 0"):
        read_pipeline_file(write("[check]\nseed = -1"))
