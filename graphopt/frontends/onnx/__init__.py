"""ONNX files, bytes and protobufs to IR.

Large weights of a file stay in the file, those of bytes in the bytes; nothing is read before somebody asks for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from graphopt.errors import ModelError
from graphopt.frontends.onnx.files import lift_bytes, lift_file
from graphopt.ir import Model
from graphopt.serde import lift_model

__all__ = ["OnnxFrontend", "Source", "lift"]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | ModelProto


def lift(source: Source, *, base_dir: str | os.PathLike[str] | None = None) -> Model:
    """The IR of an ONNX model.

    Args:
        source: path of a file, the bytes of one, or a ``ModelProto``, which must not change any more.
        base_dir: folder of external data, for bytes and protobufs; a file's own folder is used for a path.

    Raises:
        ModelError: if the model is broken, or cannot be kept.
        UnsafePathError: if external data is outside the folder of the model.
    """
    folder = None if base_dir is None else Path(base_dir)
    if isinstance(source, ModelProto):
        return lift_model(source, base_dir=folder)
    if isinstance(source, bytes | bytearray | memoryview):
        return lift_bytes(source, folder)
    if isinstance(source, str | os.PathLike):
        return lift_file(Path(source))
    raise ModelError(f"a model can't be read from {type(source).__name__}, expected a path, bytes or ModelProto")


@dataclass(frozen=True, slots=True)
class OnnxFrontend:
    """The frontend for ONNX models."""

    name: str = "onnx"

    def accepts(self, source: object) -> bool:
        """Whether this is a path, bytes or a ``ModelProto``."""
        return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview | ModelProto)

    def lift(self, source: object) -> Model:
        """The IR of the model; see :func:`lift`."""
        return lift(source)  # type: ignore[arg-type]  # lift refuses what accepts refuses
