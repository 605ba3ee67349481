"""External data of tensors: where it is, and whether it may be read.

A model is a stranger's file, so what it refers to must be a regular file in its own folder or below, reached without a link that leads
out. Source: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from onnx import TensorProto

from graphopt.errors import ModelError, UnsafePathError
from graphopt.ir import DType
from graphopt.ir.storage import BytesInFile

if TYPE_CHECKING:
    from graphopt.serde.tensors import TensorStorage

__all__ = ["find_external_data", "safe_path"]

_MOST_OPEN_FILES = 64


def safe_path(folder: Path, location: str, where: str) -> Path:
    """The file that an external data location names.

    Args:
        folder: folder of the model file.
        location: as in the model file, relative to ``folder``.
        where: what refers to it, for errors.

    Raises:
        UnsafePathError: if the location is absolute, has ``..``, or leads out of the folder through a link.
        ModelError: if there is no such regular file.
    """
    if not location or "\0" in location:
        raise ModelError(f"{where}: external data location {location!r} names no file; fix the model")
    windows = PureWindowsPath(location)
    if PurePosixPath(location).is_absolute() or windows.is_absolute() or windows.drive or windows.root:
        raise UnsafePathError(
            f"{where}: external data location {location!r} is absolute, expected a path inside the model's folder; "
            "move the file there and fix the model"
        )
    if ".." in windows.parts:
        raise UnsafePathError(
            f"{where}: external data location {location!r} leaves the model's folder; move the file there and fix the model"
        )
    path = folder / location
    real_folder, real = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([real_folder, real]) != real_folder:
        raise UnsafePathError(
            f"{where}: external data {location!r} leads out of the model's folder through a link; put the file itself there"
        )
    if not os.path.exists(real):
        raise ModelError(f"{where}: external data file {str(path)!r} is missing; put it beside the model")
    if not os.path.isfile(real):
        raise ModelError(f"{where}: external data {str(path)!r} is no regular file; put the data file there")
    return Path(real)


def find_external_data(
    proto: TensorProto, storage: TensorStorage | None, expected: int, dtype: DType, where: str
) -> tuple[BytesInFile, int, int]:
    """The file, first byte and length of a tensor's external data, checked against the file's size.

    Args:
        proto: the tensor.
        storage: knows the folder of the model.
        expected: bytes that element type and shape need.
        dtype: element type.
        where: what this tensor is, for errors.

    Raises:
        ModelError: if the file is missing or short, or the entries are wrong.
        UnsafePathError: if the location leaves the folder of the model.
    """
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if dtype is DType.STRING:
        raise ModelError(f"{where}: strings can't be external data; fix the model")
    if storage is None or storage.folder is None:
        raise ModelError(
            f"{where}: has external data {location!r}, but the model came without a folder; lift the path of its file"
        )
    offset, length = (_number(entries, key, where) for key in ("offset", "length"))
    offset = offset or 0
    if length is not None and length != expected:
        raise ModelError(
            f"{where}: external data {location!r} has length {length}, expected {expected} for {dtype}{list(proto.dims)}; "
            "fix the model"
        )
    path = safe_path(storage.folder, location, where)
    file = storage.files.get(path)
    if file is None:
        try:
            file = storage.files[path] = BytesInFile(path, keep_open=len(storage.files) < _MOST_OPEN_FILES)
        except OSError as err:
            raise ModelError(f"{where}: external data {str(path)!r} cannot be read: {err.strerror}") from err
    if offset + expected > file.size:
        raise ModelError(
            f"{where}: external data {str(path)!r} has {file.size} bytes, expected at least {offset + expected}; "
            "put the whole file there"
        )
    return file, offset, expected


def _number(entries: dict[str, str], key: str, where: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{where}: external data {key} is {text!r}, expected a number of bytes; fix the model")
    return int(text)
