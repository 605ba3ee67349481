"""Model files and bytes to ``ModelProto`` without their large weights, and from there to IR."""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from graphopt.errors import ModelError
from graphopt.frontends.onnx.diagnosis import why_unreadable
from graphopt.frontends.onnx.text import TEXT_SUFFIXES, parse_text
from graphopt.ir import Model
from graphopt.ir.storage import BytesInFile, BytesInMemory, ByteSource
from graphopt.serde import TensorStorage, lift_model
from graphopt.serde.wire import cut_tensors

__all__ = ["lift_bytes", "lift_file"]

_LARGEST_FILE = (1 << 31) - 1
_CUT_FROM = 1 << 18
#: Smaller files are read once instead of piece by piece.
_READ_AT_ONCE = 1 << 22


def lift_file(path: Path) -> Model:
    """The IR of a model file; large weights stay in the file.

    Args:
        path: binary, or in a text form that its suffix names (``.textproto``, ``.onnxtxt``, ...).

    Raises:
        ModelError: if it is no readable model; the message starts with the path.
        UnsafePathError: if external data is outside its folder.
    """
    if os.path.isdir(path):
        raise ModelError(f"{str(path)!r} is a folder, expected the model file in it; give its path")
    try:
        file = BytesInFile(path)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else str(err)
        raise ModelError(f"{str(path)!r} cannot be read: {reason}; check the path") from err
    if file.size > _LARGEST_FILE:
        raise ModelError(
            f"{str(path)!r} has {file.size} bytes, but protobuf reads no more than 2 GiB; "
            "keep the weights in external data files"
        )
    try:
        if path.suffix.lower() in TEXT_SUFFIXES:
            model = lift_model(parse_text(file.read(0, file.size), path.suffix.lower()), base_dir=path.parent)
        else:
            model = _lift_binary(file, path.parent, path.suffix.lower())
    except ModelError as err:
        raise type(err)(f"{str(path)!r}: {err}") from err
    model.source = str(path)
    return model


def lift_bytes(content: bytes | bytearray | memoryview, folder: Path | None = None) -> Model:
    """The IR of a model in memory; large weights stay where they are, so the bytes must not change any more.

    Args:
        content: a binary model file.
        folder: folder of external data.

    Raises:
        ModelError: if it is no readable model.
    """
    return _lift_binary(BytesInMemory(content), folder, "")


def _lift_binary(source: ByteSource, folder: Path | None, suffix: str) -> Model:
    at_once = source
    if isinstance(source, BytesInFile) and source.size <= _READ_AT_ONCE:
        at_once = BytesInMemory(source.read(0, source.size))
    cut = cut_tensors(at_once) if source.size >= _CUT_FROM else None
    proto = None if cut is None else _parse(cut.light)
    if proto is None:
        cut, proto = None, _parse(at_once.read(0, source.size))
    if proto is None or not proto.HasField("graph"):
        raise ModelError(why_unreadable(source, suffix))
    return lift_model(proto, storage=TensorStorage(folder, source, {} if cut is None else cut.parts))


def _parse(content: bytes) -> ModelProto | None:
    try:
        proto: ModelProto = ModelProto.FromString(content)
        return proto
    except DecodeError:
        return None
