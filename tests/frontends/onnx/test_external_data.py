"""External data: lazily, from inside the model's folder only, and checked when the model is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.errors import ModelError, UnsafePathError
from graphopt.frontends.onnx import lift
from graphopt.serde import emit_model
from tests.serde.file_models import simple_model

_ARRAY = np.arange(100, dtype=np.float32)


def external_model(
    entries: dict[str, str], dims: tuple[int, ...] = (100,), data_type: int = TensorProto.FLOAT
) -> ModelProto:
    """A model whose weight is said to be in another file."""
    tensor = TensorProto(name="w", dims=dims, data_type=data_type, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return simple_model([helper.make_node("Identity", ["x"], ["y"])], [tensor])


def saved(folder: Path, entries: dict[str, str], **fields: object) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(external_model(entries, **fields).SerializeToString())  # type: ignore[arg-type]  # passed on
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``w.bin``: eight other bytes, then the weight; and a file outside of it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "w.bin").write_bytes(bytes(8) + _ARRAY.tobytes())
    (inside / "sub").mkdir()
    (inside / "sub" / "w.bin").write_bytes(_ARRAY.tobytes())
    (tmp_path / "secret.bin").write_bytes(_ARRAY.tobytes())
    return inside


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "w.bin", "offset": "8", "length": "400"},
        {"location": "w.bin", "offset": "8"},
        {"location": "sub/w.bin", "checksum": "ignored"},
        {"location": "./sub/w.bin", "offset": "0"},
    ],
    ids=str,
)
def test_weights_are_where_the_model_says(folder: Path, entries: dict[str, str]):
    path = saved(folder, entries)
    model = lift(path)
    constant = model.graph.initializers()[0].const
    assert constant is not None
    np.testing.assert_array_equal(constant.numpy(), _ARRAY)
    assert b"".join(constant.data.chunks()) == _ARRAY.tobytes()
    assert emit_model(model) == external_model(entries)
    by_proto = lift(external_model(entries), base_dir=folder).graph.initializers()[0].const
    assert by_proto is not None
    assert by_proto.equals(constant)


def test_a_value_that_was_renamed_still_refers_to_its_data(folder: Path):
    model = lift(saved(folder, {"location": "w.bin", "offset": "8"}))
    model.graph.initializers()[0].name = "renamed"
    tensor = emit_model(model).graph.initializer[0]
    assert (tensor.name, tensor.data_location) == ("renamed", TensorProto.EXTERNAL)
    assert {entry.key: entry.value for entry in tensor.external_data} == {"location": "w.bin", "offset": "8"}


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "/etc/passwd", "C:\\secret.bin", "\\\\host\\x", "..\\secret.bin"],
)
def test_a_path_out_of_the_folder_is_refused(folder: Path, location: str):
    with pytest.raises(
        UnsafePathError, match=r"tensor 'w': external data location .* (is absolute|leaves the model's folder)"
    ):
        lift(saved(folder, {"location": location}))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, kind: str):
    if kind == "file":
        (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
        location = "link.bin"
    else:
        (folder / "up").symlink_to(folder.parent)
        location = "up/secret.bin"
    with pytest.raises(UnsafePathError, match="leads out of the model's folder through a link"):
        lift(saved(folder, {"location": location}))


def test_a_link_inside_the_folder_is_fine(folder: Path):
    (folder / "link.bin").symlink_to("sub/w.bin")
    constant = lift(saved(folder, {"location": "link.bin"})).graph.initializers()[0].const
    assert constant is not None
    np.testing.assert_array_equal(constant.numpy(), _ARRAY)


def test_a_model_behind_a_link_finds_its_data(folder: Path, tmp_path: Path):
    path = saved(folder, {"location": "sub/w.bin"})
    (tmp_path / "door").symlink_to(folder)
    assert lift(tmp_path / "door" / path.name).graph.initializers()[0].const is not None


def test_a_pipe_is_refused_at_once(folder: Path):
    os.mkfifo(folder / "pipe.bin")
    with pytest.raises(ModelError, match=r"pipe\.bin' is no regular file"):
        lift(saved(folder, {"location": "pipe.bin"}))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "external data location '' names no file"),
        ({"location": "gone.bin"}, "external data file .*gone.bin' is missing; put it beside the model"),
        ({"location": "sub"}, "is no regular file"),
        ({"location": "w.bin", "offset": "9"}, "has 408 bytes, expected at least 409"),
        ({"location": "w.bin", "offset": "-8"}, "external data offset is '-8', expected a number of bytes"),
        ({"location": "w.bin", "offset": "1e3"}, "external data offset is '1e3'"),
        ({"location": "w.bin", "offset": "9" * 30}, "external data offset is '999"),
        ({"location": "w.bin", "length": "399"}, r"has length 399, expected 400 for float\[100\]"),
        ({"location": "w\0.bin"}, "names no file"),
    ],
    ids=str,
)
def test_wrong_entries_are_refused(folder: Path, entries: dict[str, str], message: str):
    with pytest.raises(ModelError, match=message):
        lift(saved(folder, entries))


def test_absurd_shapes_and_strings_are_refused(folder: Path):
    with pytest.raises(ModelError, match="expected at least 1099511627776"):
        lift(saved(folder, {"location": "w.bin"}, dims=(1 << 38,)))
    with pytest.raises(ModelError, match="strings can't be external data"):
        lift(saved(folder, {"location": "w.bin"}, data_type=TensorProto.STRING))


def test_a_data_file_that_was_replaced_meanwhile_is_still_the_old_one(folder: Path):
    constant = lift(saved(folder, {"location": "sub/w.bin"})).graph.initializers()[0].const
    (folder / "new.bin").write_bytes(bytes(400))
    os.replace(folder / "new.bin", folder / "sub" / "w.bin")
    assert constant is not None
    np.testing.assert_array_equal(constant.numpy(), _ARRAY)


def test_hundreds_of_data_files(folder: Path):
    """Not all of them stay open; those that do not are recognised again."""
    tensors = []
    for index in range(200):
        (folder / f"{index}.bin").write_bytes(np.full(100, index, np.float32).tobytes())
        tensors.append(external_model({"location": f"{index}.bin"}).graph.initializer[0])
        tensors[-1].name = f"w{index}"
    path = folder / "m.onnx"
    path.write_bytes(simple_model([helper.make_node("Identity", ["x"], ["y"])], tensors).SerializeToString())
    before = len(os.listdir("/proc/self/fd"))
    constants = [value.const for value in lift(path).graph.initializers()]
    assert len(os.listdir("/proc/self/fd")) - before <= 64
    assert [int(c.numpy()[0]) for c in constants if c is not None] == list(range(200))
    (folder / "199.bin").write_bytes(b"")
    (folder / "198.bin").unlink()
    for index, message in ((199, "changed since it was read"), (198, "cannot be read any more")):
        constant = constants[index]
        assert constant is not None
        with pytest.raises(ModelError, match=message):
            constant.digest()


def test_models_that_onnx_saved(folder: Path):
    model = external_model({"location": "w.bin", "offset": "8"})
    onnx.load_external_data_for_model(model, str(folder))
    onnx.save(model, folder / "again.onnx", save_as_external_data=True, location="again.data", size_threshold=0)
    constant = lift(folder / "again.onnx").graph.initializers()[0].const
    assert constant is not None
    np.testing.assert_array_equal(constant.numpy(), _ARRAY)
