"""Protobuf's wire format, as far as big tensors are concerned: cut them out before parsing, splice them in while writing.

A model file is read in two steps. :func:`cut_tensors` walks over the fields of the file and gives a copy without the large ``raw_data`` of
the main graph's initializers, each replaced by a mark; protobuf parses that copy. Writing is the reverse: protobuf serializes a model
with marks, and :func:`splice_tensors` puts the bytes in while they stream by. Neither ever holds the weights.

Source: https://protobuf.dev/programming-guides/encoding/ ; field numbers from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from graphopt.ir.storage import BytesInMemory, ByteSource

__all__ = [
    "MARK_BYTES",
    "CutModel",
    "SplicedTensor",
    "cut_tensors",
    "fields",
    "mark",
    "new_token",
    "splice_tensors",
    "varint",
]

MARK_BYTES = 24
_CUT_FROM = 1 << 14
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_GRAPH_TAG, _INITIALIZER_TAG, _RAW_DATA_TAG = b"\x3a", b"\x2a", b"\x4a"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WINDOW, _LONGEST_HEADER = 1 << 15, 20
Buffer = bytes | memoryview


class WireError(Exception):
    """The bytes are no protobuf message."""


def new_token() -> bytes:
    """The part that all marks of one file share: random, so that no file can contain it."""
    return os.urandom(16)


def mark(token: bytes, index: int) -> bytes:
    """What stands in the place of the ``index``-th tensor's bytes."""
    return token + index.to_bytes(8, "little")


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read_varint(buffer: Buffer, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise WireError("a number is too long")


def fields(source: ByteSource, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, first byte of the field, first byte of its content, and the byte after it.

    Reads small windows, so contents that are skipped are not even touched.

    Args:
        source: what the message is in.
        start: first byte of the message.
        end: the byte after it.

    Raises:
        WireError: if a field is broken or ends after ``end``.
    """
    window: Buffer = b""
    base = at = start  # of the window, and of the next byte
    try:
        while at < end:
            if at - base + _LONGEST_HEADER > len(window):
                window, base = source.view(at, min(_WINDOW, end - at)), at
            begin, at = at, at - base
            tag = window[at]
            at += 1
            if tag > 127:
                tag, at = _read_varint(window, at - 1)
            kind = tag & 7
            if kind == _BYTES:
                length = window[at]
                at += 1
                if length > 127:
                    length, at = _read_varint(window, at - 1)
                content, at = at + base, at + base + length
            elif kind == _VARINT:
                content = at + base
                while window[at] > 127:
                    at += 1
                at += 1 + base
            elif kind == _FIXED64:
                content, at = at + base, at + base + 8
            elif kind == _FIXED32:
                content, at = at + base, at + base + 4
            else:
                raise WireError(f"field at byte {begin} has kind {kind}, which ONNX does not use")
            if at > end:
                raise WireError(
                    f"field at byte {begin} goes on to byte {at}, expected it to end at {end} at the latest"
                )
            yield tag >> 3, begin, content, at
    except IndexError:
        raise WireError(f"ends at byte {end} in the middle of a field") from None


@dataclass(frozen=True, slots=True)
class CutModel:
    """A model without its large tensors.

    Attributes:
        light: what protobuf is to parse.
        parts: where in the file the bytes are (first byte, length), by the mark that stands for them.
    """

    light: bytes
    parts: dict[bytes, tuple[int, int]]


def cut_tensors(source: ByteSource) -> CutModel | None:
    """Cut large ``raw_data`` out of the initializers of the main graph.

    Args:
        source: a model file.

    Returns:
        The model without them; ``None`` when nothing is worth cutting, or the file is unusual in any way.
    """
    try:
        graphs = [
            (begin, start, end) for number, begin, start, end in fields(source, 0, source.size) if number == _GRAPH
        ]
        if len(graphs) != 1:
            return None
        graph_begin, graph_start, graph_end = graphs[0]
        cuts = list(_cuts(source, graph_start, graph_end))
    except WireError:
        return None
    if not cuts:
        return None
    token, parts, pieces, done = new_token(), {}, [], graph_start
    for index, (tensor, raw, start, end, tensor_end) in enumerate(cuts):
        stand_in = mark(token, index)
        parts[stand_in] = start, end - start
        head, tail = source.read(tensor[1], raw), source.read(end, tensor_end)
        content = head + _RAW_DATA_TAG + varint(MARK_BYTES) + stand_in + tail
        pieces += [source.read(done, tensor[0]), _INITIALIZER_TAG, varint(len(content)), content]
        done = tensor_end
    pieces.append(source.read(done, graph_end))
    length = sum(map(len, pieces))
    light = b"".join(
        [source.read(0, graph_begin), _GRAPH_TAG, varint(length), *pieces, source.read(graph_end, source.size)],
    )
    return CutModel(light, parts)


def _cuts(source: ByteSource, start: int, end: int) -> Iterator[tuple[tuple[int, int], int, int, int, int]]:
    """For each tensor to cut: where its field and its content start, where raw_data starts, its content, and the tensor's end."""
    for number, begin, content, tensor_end in fields(source, start, end):
        if number != _INITIALIZER or tensor_end - content < _CUT_FROM:
            continue
        raw = [field for field in fields(source, content, tensor_end) if field[0] == _RAW_DATA]
        if len(raw) == 1 and raw[0][3] - raw[0][2] >= _CUT_FROM:
            _, raw_begin, raw_start, raw_end = raw[0]
            yield (begin, content), raw_begin, raw_start, raw_end, tensor_end


@dataclass(frozen=True, slots=True)
class SplicedTensor:
    """Bytes to be put in the place of a mark.

    Attributes:
        message: the serialized tensor that has the mark as its ``raw_data``.
        length: bytes of data.
        chunks: gives them in pieces.
    """

    message: bytes
    length: int
    chunks: Callable[[], Iterable[Buffer]]


def splice_tensors(light: bytes, tensors: Mapping[bytes, SplicedTensor]) -> Iterator[Buffer]:
    """The bytes of a model file, piece by piece, with each mark replaced by the tensor's bytes.

    Args:
        light: a serialized model whose main graph has initializers with marks.
        tensors: what the marks stand for, in the order of the file.

    Raises:
        WireError: if a mark is not where it is expected.
    """
    if not tensors:
        yield light
        return
    _, graph_begin, graph_start, graph_end = next(
        found for found in fields(BytesInMemory(light), 0, len(light)) if found[0] == _GRAPH
    )
    plan: list[tuple[int, int, bytes, SplicedTensor]] = []
    growth, at = 0, graph_start
    for stand_in, tensor in tensors.items():
        inside = tensor.message.index(stand_in)
        found = light.find(stand_in, at, graph_end)
        begin = found - inside - len(varint(len(tensor.message))) - 1
        if found < 0 or light[begin : begin + 1] != _INITIALIZER_TAG or light[found - 2 : found - 1] != _RAW_DATA_TAG:
            raise WireError("an initializer is not where it was written")
        raw_header = _RAW_DATA_TAG + varint(tensor.length)
        length = len(tensor.message) - 2 - MARK_BYTES + len(raw_header) + tensor.length
        head = _INITIALIZER_TAG + varint(length) + tensor.message[: inside - 2] + raw_header
        end = found + MARK_BYTES
        plan.append((begin, end, head, tensor))
        growth += len(head) + tensor.length - (end - begin)
        at = end
    yield light[:graph_begin]
    yield _GRAPH_TAG + varint(graph_end - graph_start + growth)
    done = graph_start
    for begin, end, head, tensor in plan:
        yield light[done:begin]
        yield head
        yield from tensor.chunks()
        done = end
    yield light[done:]
