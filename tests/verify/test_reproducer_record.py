"""What is read from a reproducer folder, whoever wrote it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from graphopt.errors import ModelError
from graphopt.verify.reproducer_record import FORMAT, NotedPlugin, ReproducerRecord, read_record

GOOD = {"format": FORMAT, "kind": "wrong-numbers", "original": "original.onnx", "pipeline": "O1"}


def folder(tmp_path: Path, record: object) -> Path:
    """A folder with a record, a model and inputs."""
    (tmp_path / "original.onnx").write_bytes(b"")
    (tmp_path / "inputs.npz").write_bytes(b"")
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / "reproducer.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_what_is_written_is_read_again(tmp_path):
    record = ReproducerRecord(
        format=FORMAT,
        original="original.onnx",
        inputs="inputs.npz",
        pipeline="O1",
        plugins=(NotedPlugin("acme", "acme 1", 1),),
    )
    assert record == read_record(folder(tmp_path, record.text()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"original": "../original.onnx"}, "names the file '../original.onnx'"),
        ({"original": "/etc/passwd"}, "names the file '/etc/passwd'"),
        ({"original": ".."}, "names the file '..'"),
        ({"original": "a\\b"}, "names the file"),
        ({"original": "a\0b"}, "names the file"),
        ({"original": "none.onnx"}, "'none.onnx' is missing"),
        ({"inputs": "../inputs.npz"}, "names the file '../inputs.npz'"),
        ({"inputs": "none.npz"}, "'none.npz' is missing"),
        ({"format": 2}, "is of format 2, this graphopt reads 1"),
        ({"format": "1"}, "Expected `int`, got `str`"),
        ({"pipeline": 3}, "Expected `str`, got `int`"),
        ({"pipeline": None}, "Expected `str`, got `null`"),
        ({"seed": -1}, "out of range"),
        ({"samples": 0}, "out of range"),
        ({"rtol": -1.0}, "out of range"),
        ({"imports": "os:system"}, "Expected `array`, got `str`"),
        ({"application": 5}, "Expected `object"),
        ({"plugins": [{}]}, "missing required field `name`"),
        ({"versions": {"onnx": 1}}, "Expected `str`, got `int`"),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused(change, expected, tmp_path):
    """In one line that says what is wrong."""
    with pytest.raises(ModelError) as caught:
        read_record(folder(tmp_path, GOOD | change))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", "[" * 100_000, '{"format": 1}', "\ufeff{}"])
def test_what_is_no_record_is_refused(text, tmp_path):
    with pytest.raises(ModelError, match=r"reproducer\.json"):
        read_record(folder(tmp_path, text))


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(ModelError, match="name a folder that graphopt wrote"):
        read_record(tmp_path)
    with pytest.raises(ModelError, match="can't be read"):
        read_record(tmp_path / "none")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    folder(tmp_path, GOOD)
    (tmp_path / "reproducer.json").write_bytes(b'{"format": 1, "pipeline": "\xff"}')
    with pytest.raises(ModelError, match="not what graphopt writes"):
        read_record(tmp_path)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"")
    inside = tmp_path / "case"
    inside.mkdir()
    folder(inside, GOOD)
    (inside / "original.onnx").unlink()
    os.symlink(tmp_path / "secret", inside / "original.onnx")
    with pytest.raises(ModelError, match="leads out of the folder"):
        read_record(inside)


def test_a_record_that_may_never_end_is_refused_unread(tmp_path):
    """A pipe, or a link to a device."""
    os.mkfifo(tmp_path / "reproducer.json")
    with pytest.raises(ModelError, match="is no regular file"):
        read_record(tmp_path)
    (tmp_path / "reproducer.json").unlink()
    os.symlink("/dev/zero", tmp_path / "reproducer.json")
    with pytest.raises(ModelError, match="is no regular file"):
        read_record(tmp_path)
