"""Inputs from .npz files."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.errors import ExecutionError
from graphopt.ir import DType, OptionalType, SequenceType, SymbolicDim, TensorType
from graphopt.runtime import ValueSpec
from graphopt.verify import check_inputs, load_inputs, save_inputs

X = ValueSpec("x", TensorType(DType.FLOAT, (SymbolicDim("n"), 3)))
SPECS = [X]


def array(value: object) -> Any:
    assert isinstance(value, np.ndarray)
    return value


def sequence(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


def test_what_fits_is_taken(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((2, 3), np.float32))
    assert (2, 3) == array(load_inputs(tmp_path / "x.npz", SPECS)["x"]).shape


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float16])
def test_numbers_are_converted_where_nothing_is_lost(dtype):
    found = array(check_inputs({"x": np.ones((2, 3), dtype)}, SPECS)["x"])
    assert np.float32 == found.dtype


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input 'x' is missing; found nothing, add an array for it"),
        ({"x": np.ones((1, 3), np.float32), "z": np.ones(1)}, "the model has no input 'z'; it takes 'x'"),
        ({"x": np.ones(3, np.float32)}, r"has shape \[3\], expected float\[n, 3\], which has 2 axes"),
        ({"x": np.ones((1, 4), np.float32)}, r"has size 4 along axis 1, expected 3 as in float\[n, 3\]"),
        ({"x": np.full((1, 3), 0.1)}, "has elements of float64, expected float; convert them"),
        ({"x": np.full((1, 3), "a")}, "has elements of <U1, expected float; convert them"),
        ({"x": [np.ones((1, 3), np.float32)]}, r"is no single array, expected float\[n, 3\]"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(ExecutionError, match=message):
        check_inputs(given, SPECS)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage"])
def test_files_that_are_no_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ExecutionError, match=r"x\.npz' cannot be read: .*expected an \.npz file"):
        load_inputs(tmp_path / "x.npz", SPECS)
    with pytest.raises(ExecutionError, match="No such file"):
        load_inputs(tmp_path / "none.npz", SPECS)


def test_text_is_not_called_a_pickle(tmp_path):
    """By numpy, which would say how to load that."""
    (tmp_path / "x.npz").write_bytes(b"hi")
    with pytest.raises(ExecutionError, match=r"it is no archive of arrays; expected an \.npz file"):
        load_inputs(tmp_path / "x.npz", SPECS)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], object))
    with pytest.raises(ExecutionError, match="cannot be read"):
        load_inputs(tmp_path / "x.npz", SPECS)
    np.save(tmp_path / "y.npy", np.ones(3))
    with pytest.raises(ExecutionError, match="cannot be read"):
        load_inputs(tmp_path / "y.npy", SPECS)


@pytest.mark.parametrize(
    "kind",
    [
        np.float16,
        np.float64,
        np.int8,
        np.uint64,
        np.bool_,
        np.complex64,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.int4,
    ],
)
def test_each_element_type_survives_a_file(tmp_path, kind):
    value = np.array([[0, 1, 3]]).astype(kind)
    spec = ValueSpec("a/b", TensorType(DType.from_numpy(value.dtype), (1, 3)))
    save_inputs(tmp_path / "x", {"a/b": value})
    found = array(load_inputs(tmp_path / "x", [spec])["a/b"])
    assert (value.dtype, value.tobytes()) == (found.dtype, found.tobytes())


def test_texts_sequences_and_optionals_survive_a_file(tmp_path):
    texts = ValueSpec("t", TensorType(DType.STRING, (SymbolicDim("n"),)))
    several = ValueSpec("s", SequenceType(TensorType(DType.FLOAT, None)))
    maybe = ValueSpec("o", OptionalType(TensorType(DType.FLOAT, None)))
    feeds: Any = {
        "t": np.array(["a", b"b", "ß"], object),
        "s": [np.ones(2, np.float32), np.zeros((1, 1), np.float32)],
        "o": None,
    }
    save_inputs(tmp_path / "x.npz", feeds)
    found = load_inputs(tmp_path / "x.npz", [texts, several, maybe])
    assert ["a", "b", "ß"] == array(found["t"]).tolist()
    assert [(2,), (1, 1)] == [array(item).shape for item in sequence(found["s"])]
    assert found["o"] is None
    with pytest.raises(ExecutionError, match="is one array, expected a sequence"):
        check_inputs({"s": np.ones(1, np.float32)}, [several])


def test_maps_have_no_place_in_a_file(tmp_path):
    with pytest.raises(ExecutionError, match="input 'm' is a map"):
        save_inputs(tmp_path / "x.npz", {"m": {"a": 1.0}})


def _archive(path: Path, header: bytes, *, flags: int = 0, method: int | None = None) -> Path:
    """An archive with one member ``x.npy``, whose directory may claim encryption or another compression."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header)
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")
    content[6] |= flags
    content[entry + 8] |= flags
    if method is not None:
        content[8] = content[entry + 10] = method
    path.write_bytes(content)
    return path


def _header(shape: tuple[int, ...]) -> bytes:
    found = io.BytesIO()
    np.lib.format.write_array_header_1_0(found, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return found.getvalue()


@pytest.mark.parametrize(
    ("header", "flags", "method", "reason"),
    [
        pytest.param(_header((10**9, 10**3)), 0, None, "is to have 4000000000000 bytes", id="more-than-there-is"),
        pytest.param(_header((10**30,)), 0, None, "is to have", id="more-than-int64"),
        pytest.param(b"\x93NUMPY\x01\x00\x10\x00{{{{[[[[((((garb  \n", 0, None, "", id="header-broken"),
        pytest.param(b"hello", 0, None, "", id="no-array"),
        pytest.param(_header((1,)) + bytes(4), 1, None, "encrypted", id="encrypted"),
        pytest.param(_header((1,)) + bytes(4), 0, 99, "compression", id="unknown-compression"),
    ],
)
def test_damaged_archives_are_one_error(
    header: bytes, flags: int, method: int | None, reason: str, tmp_path: Path
) -> None:
    """Whatever is wrong inside, before memory is asked for."""
    path = _archive(tmp_path / "x.npz", header, flags=flags, method=method)
    with pytest.raises(ExecutionError, match=f"inputs .* cannot be read: .*{reason}"):
        load_inputs(path, [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    """Reading one may wait forever."""
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(ExecutionError, match="it is no regular file"):
        load_inputs(tmp_path / "x.npz", [])
