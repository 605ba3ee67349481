"""IR to ONNX files, atomically, with weights streamed from where they are.

A small model is one file. Weights go to a data file beside it (``NAME.onnx.data``) when asked for, and by themselves when the model would
be larger than protobuf allows. Neither way are the weights ever in memory together.

Source: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from google.protobuf.message import EncodeError
from onnx import ModelProto, StringStringEntryProto, TensorProto

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.errors import ModelError, OutputError
from graphopt.ir import Constant, DType, Graph, Model, Value
from graphopt.serde import constant_to_proto, emit_model, tensor_header
from graphopt.serde.wire import MARK_BYTES, SplicedTensor, mark, new_token, splice_tensors

__all__ = ["LARGEST_FILE", "save"]

logger = logging.getLogger(__name__)

#: Bytes that one protobuf message may have.
LARGEST_FILE = (1 << 31) - 1
#: Subgraphs inside each other that protobuf reads.
_DEEPEST = 31
_EXTERNAL_FROM = 1024
_STREAM_FROM = 1 << 14
_PAGE, _PAGE_FROM, _LINE = 4096, 1 << 16, 64


def save(
    model: Model,
    path: str | os.PathLike[str],
    *,
    external_data: bool | None = None,
    force: bool = False,
    lineage: bool = True,
    limit: int = LARGEST_FILE,
) -> list[Path]:
    """Write a model file; it appears whole or not at all.

    Args:
        model: what to write; it may have been read from the very files that are replaced.
        path: the model file. External data goes to the same name with ``.data`` added.
        external_data: whether weights go to a file of their own; ``None`` lets the size decide.
        force: whether files that are there may be replaced.
        lineage: whether nodes that a rewrite made say what they came from.
        limit: bytes from which on weights must be external.

    Returns:
        The files written: the model, and its data file if there is one.

    Raises:
        OutputError: if the files exist, or cannot be written.
        ModelError: if the weights cannot be read any more.
    """
    target = check_output(Path(path), force=force)
    _warn_of_depth(model)
    if external_data is not True:
        inline = _InlineWeights()
        light = _serialize(emit_model(model, lineage=lineage, place=inline.place))
        size = limit + 1 if light is None else len(light) + inline.nbytes
        if light is not None and size <= limit:
            with new_files([target]) as (file,):
                _write(file, splice_tensors(light, inline.tensors))
            return [target]
        if external_data is False:
            raise OutputError(
                f"{str(path)!r} would have {size} bytes, one file may have {limit}; allow external data (--external-data)"
            )
        logger.info("weights go to an external data file: one file may have %d bytes", limit)
    return _save_external(model, target, force=force, lineage=lineage)


def _save_external(model: Model, target: Path, *, force: bool, lineage: bool) -> list[Path]:
    data_target = check_output(target.with_name(target.name + ".data"), force=force)
    external = _ExternalWeights(data_target.name)
    light = _serialize(emit_model(model, lineage=lineage, place=external.place))
    if light is None:
        raise OutputError(
            f"{str(target)!r} would be larger than 2 GiB even without its weights, which ONNX can't store"
        )
    if not external.constants:
        with new_files([target]) as (file,):
            file.write(light)
        return [target]
    with new_files([data_target, target]) as (data_file, file):
        _write(data_file, external.chunks())
        file.write(light)
    return [target, data_target]


def _warn_of_depth(model: Model) -> None:
    """Say so when no reader of ONNX files will read the model again: protobuf nests messages 100 deep, which is about 31 subgraphs."""
    depths: dict[Graph, int] = {}
    for graph in model.graphs():
        around = None if graph.parent is None else graph.parent.graph
        depths[graph] = 0 if around is None else depths.get(around, 0) + 1
    deepest = max(depths.values())
    if deepest > _DEEPEST:
        logger.warning(
            "the model nests %d subgraphs inside each other, and what reads ONNX files with protobuf takes about %d; flatten it",
            deepest,
            _DEEPEST,
        )


def _write(file: BinaryIO, pieces: Iterator[bytes | memoryview]) -> None:
    for piece in pieces:
        file.write(piece)


def _serialize(proto: ModelProto) -> bytes | None:
    """The bytes of a model; ``None`` when they are more than protobuf writes."""
    try:
        content = proto.SerializeToString()
    except (EncodeError, ValueError) as err:
        if proto.graph.ByteSize() > LARGEST_FILE // 2:
            return None
        raise ModelError(
            f"the model can't be written as protobuf ({err}); its subgraphs may be nested too deep"
        ) from err
    return content if len(content) <= LARGEST_FILE else None


class _InlineWeights:
    """Puts marks in the place of large weights of the main graph, whose bytes are streamed in later."""

    def __init__(self) -> None:
        self.tensors: dict[bytes, SplicedTensor] = {}
        self.nbytes = 0
        self._token = new_token()

    def place(self, value: Value) -> TensorProto:
        """The message of an initializer, with a mark or its bytes."""
        constant = cast("Constant", value.const)
        graph = value.graph
        nested = graph is None or graph.parent is not None
        if nested or constant.dtype is DType.STRING or constant.nbytes < _STREAM_FROM or _keeps_numbers(constant):
            return constant_to_proto(constant, value.name, keep_external=False)
        proto = tensor_header(constant, value.name)
        proto.raw_data = stand_in = mark(self._token, len(self.tensors))
        self.tensors[stand_in] = SplicedTensor(proto.SerializeToString(), constant.nbytes, constant.data.chunks)
        self.nbytes += constant.nbytes - MARK_BYTES + 16
        return proto


def _keeps_numbers(constant: Constant) -> bool:
    """Whether the file it was read from has the numbers one by one (``float_data`` and the like): they stay in that form."""
    origin = constant.origin
    return (
        isinstance(origin, TensorProto)
        and not origin.HasField("raw_data")
        and origin.data_location != TensorProto.EXTERNAL
        and getattr(constant.data, "proto", None) is origin
    )


class _ExternalWeights:
    """Gives weights of 1 KiB and more a place in the data file."""

    def __init__(self, location: str) -> None:
        self.constants: list[tuple[int, Constant]] = []
        self._location = location
        self._end = 0

    def place(self, value: Value) -> TensorProto:
        """The message of an initializer, with where its bytes are."""
        constant = cast("Constant", value.const)
        size = constant.nbytes
        if constant.dtype is DType.STRING or size < _EXTERNAL_FROM:
            return constant_to_proto(constant, value.name, keep_external=False)
        align = _PAGE if size >= _PAGE_FROM else _LINE
        offset = -(-self._end // align) * align
        self.constants.append((offset, constant))
        self._end = offset + size
        proto = tensor_header(constant, value.name)
        proto.data_location = TensorProto.EXTERNAL
        entries = {"location": self._location, "offset": str(offset), "length": str(size)}
        proto.external_data.extend(
            [StringStringEntryProto(key=key, value=entry) for key, entry in entries.items()],
        )
        return proto

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes of the data file, piece by piece."""
        end = 0
        for offset, constant in self.constants:
            yield bytes(offset - end)
            yield from constant.data.chunks()
            end = offset + constant.nbytes
