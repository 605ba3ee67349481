"""Model files: read without their weights, and a clear line for what is none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import json_format, text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from graphopt.errors import ModelError
from graphopt.frontends import Frontend
from graphopt.frontends.onnx import OnnxFrontend, Source, lift
from graphopt.serde import emit_model, lift_model
from tests.serde.file_models import chain_model, nested_model, rich_model, simple_model

_SIZE = 100_000


def large_model() -> onnx.ModelProto:
    """A model with 400 KB of weights."""
    array = np.arange(_SIZE, dtype=np.float32)
    weights = [numpy_helper.from_array(array, "large"), numpy_helper.from_array(array[:10], "small")]
    return simple_model([helper.make_node("Identity", ["x"], ["y"], name="n")], weights)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the large model."""
    found = tmp_path / "model.onnx"
    found.write_bytes(large_model().SerializeToString())
    return found


@pytest.mark.parametrize("source", ["path", "text", "bytes", "bytearray", "memoryview", "proto"])
def test_every_source_gives_the_same_model(path: Path, source: str):
    content = path.read_bytes()
    given: Source = {
        "path": path,
        "text": str(path),
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "proto": large_model(),
    }[source]  # type: ignore[assignment]  # the values have different types
    model = lift(given)
    assert emit_model(model) == large_model()
    assert model.source == (str(path) if source in ("path", "text") else "")
    assert OnnxFrontend().accepts(given)
    assert OnnxFrontend().lift(given).node_count == 1


def test_the_frontend_is_a_frontend_and_refuses_other_things():
    assert isinstance(OnnxFrontend(), Frontend)
    assert not OnnxFrontend().accepts(3)
    with pytest.raises(ModelError, match="can't be read from int, expected a path, bytes or ModelProto"):
        OnnxFrontend().lift(3)


def test_weights_stay_in_the_file_which_stays_open(path: Path):
    model = lift(path)
    path.unlink()
    large, small = (value.const for value in model.graph.initializers())
    assert large is not None
    assert small is not None
    assert large.numpy()[-1] == _SIZE - 1
    assert sum(map(len, large.data.chunks())) == large.nbytes == 4 * _SIZE
    assert small.numpy().tolist() == list(range(10))


def test_a_file_that_was_cut_meanwhile_is_an_error_not_a_crash(path: Path):
    constant = lift(path).graph.initializers()[0].const
    assert constant is not None
    os.truncate(path, 1000)
    for read in (constant.numpy, constant.digest):
        with pytest.raises(ModelError, match=r"changed since it was read .*; read the model again"):
            read()


def test_large_weights_of_every_size_are_what_the_file_has(tmp_path: Path):
    arrays = [
        np.arange(size, dtype=dtype) for size in (4096, 16_385, 70_000) for dtype in (np.int8, np.float16, np.int64)
    ]
    weights = [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(arrays)]
    path = tmp_path / "m.onnx"
    path.write_bytes(simple_model([helper.make_node("Identity", ["x"], ["y"])], weights).SerializeToString())
    for value, array in zip(lift(path).graph.initializers(), arrays, strict=True):
        assert value.const is not None
        np.testing.assert_array_equal(value.const.numpy(), array)
        assert b"".join(value.const.data.chunks()) == array.tobytes()


@pytest.mark.parametrize("suffix", [".textproto", ".pbtxt", ".json", ".onnxtxt"])
def test_text_forms(tmp_path: Path, suffix: str):
    model = simple_model([helper.make_node("Relu", ["x"], ["y"], name="n")])
    text = {
        ".json": json_format.MessageToJson,
        ".onnxtxt": onnx.printer.to_text,
    }.get(suffix, text_format.MessageToString)(model)
    path = tmp_path / f"model{suffix}"
    path.write_text(text, encoding="utf-8")
    assert [node.op for node in lift(path).graph.nodes] == ["Relu"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"", "is empty, expected an ONNX model"),
        ("m.onnx", b"ir_version: 8\n", "is text, expected a binary ONNX model; name protobuf text .textproto"),
        ("m.onnx", b"PK\x03\x04rest", "is a zip archive"),
        ("m.onnx", b"\x1f\x8brest", "is compressed with gzip; unpack it first"),
        ("m.onnx", b"<html>", "is a web page or XML"),
        (
            "m.onnx",
            b"version https://git-lfs.github.com/spec/v1",
            "is a Git LFS pointer, not the model; run git lfs pull",
        ),
        ("m.onnx", b"\x1c\x00\x00\x00TFL3rest", "is a TensorFlow Lite model"),
        ("m.onnx", b"\x1c\x00\x00\x00ORTMrest", "is in ONNX Runtime's own format"),
        ("m.pt", b"\x80\x02rest", "is a Python pickle"),
        ("m.h5", b"\x89HDF\r\n", "is an HDF5 file"),
        ("m.bin", b"\x08\x07", r"is not an ONNX model \(the name ends in .bin, expected .onnx\)"),
        ("m.onnx", b"\x08\x07", "is not an ONNX model; check that this is the right file"),
        ("m.onnx", b"\x0b\xff\xff", "is not a complete ONNX model .*kind 3"),
        ("m.textproto", b"nonsense: 3", r"cannot be read as \.textproto: .*nonsense"),
        ("m.json", b"{", r"cannot be read as \.json"),
        ("m.onnxtxt", b"<", "cannot be read as ONNX text"),
        ("m.textproto", b"\xff\xfe", r"is not text, although its name ends in \.textproto"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        lift(path)
    assert str(caught.value).startswith(repr(str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", [3, 30, 1000, 399_999, -1])
def test_a_file_that_ends_early(path: Path, end: int):
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(
        ModelError, match=r"is not a complete ONNX model .*; it may be cut short or damaged|is not an ONNX model"
    ):
        lift(path)


def test_places_that_are_no_files(tmp_path: Path):
    for place, message in (
        (tmp_path, "is a folder, expected the model file in it"),
        (tmp_path / "nothing.onnx", "cannot be read: No such file or directory; check the path"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / "nothing\0.onnx", "cannot be read: .*null"),
    ):
        with pytest.raises(ModelError, match=message):
            lift(place)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="is no regular file"):
        lift(tmp_path / "pipe.onnx")


def test_a_file_above_two_gib_without_external_data(tmp_path: Path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 5)
    with pytest.raises(
        ModelError, match="has 2147483653 bytes, but protobuf reads no more than 2 GiB; keep the weights in ext"
    ):
        lift(path)


def test_subgraphs_nested_deeper_than_protobuf_reads(tmp_path: Path):
    path = tmp_path / "deep.onnx"
    for depth, refused in ((31, False), (32, True), (200, True)):
        path.write_bytes(nested_model(depth).SerializeToString())
        if refused:
            with pytest.raises(
                ModelError, match=f"nests {depth} subgraphs inside each other, protobuf .* allows about 31"
            ):
                lift(path)
        else:
            assert lift(path).node_count == 2 * depth + 1


def test_errors_inside_a_file_name_it(tmp_path: Path):
    model = chain_model(3)
    model.graph.node[1].input[0] = "ghost"
    path = tmp_path / "broken.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"broken\.onnx': node 'n1'"):
        lift(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_bytes_give_a_model_or_one_of_our_errors(data):
    """Whatever bytes of a model are flipped, added or left out."""
    content = bytearray(rich_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 900) | st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "add"])):
            case "set":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 9))]
            case _:
                content[place:place] = data.draw(st.binary(max_size=5))
    try:
        model = lift(bytes(content))
    except ModelError:
        return
    lift_model(emit_model(model))
