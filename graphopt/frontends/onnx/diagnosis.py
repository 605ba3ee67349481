"""Why bytes are no ONNX model, in words: what they are instead, or where they break."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir.storage import ByteSource
from graphopt.serde.wire import WireError, fields

__all__ = ["why_unreadable"]

_MAGIC = (
    (b"PK\x03\x04", "a zip archive (PyTorch's .pt, .npz or a saved bundle); export the model to ONNX first"),
    (b"\x89HDF", "an HDF5 file (Keras); convert it with tf2onnx first"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x80\x02", "a Python pickle; export the model to ONNX first"),
    (b"\x80\x03", "a Python pickle; export the model to ONNX first"),
    (b"\x80\x04", "a Python pickle; export the model to ONNX first"),
    (b"\x80\x05", "a Python pickle; export the model to ONNX first"),
    (b"\x93NUMPY", "a numpy array, not a model; give the model's file"),
    (b"\x7fELF", "a program, not a model; give the model's file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the model; run git lfs pull"),
    (b"<", "a web page or XML (an OpenVINO model's .xml, say), not an ONNX model; download the file itself"),
)
_MAGIC_AT_4 = (
    (b"TFL3", "a TensorFlow Lite model; convert it with tf2onnx first"),
    (b"ORTM", "in ONNX Runtime's own format (.ort); give the ONNX model that it was made from"),
)
_NESTED = {("model", 7): "graph", ("model", 25): "function", ("graph", 1): "node", ("function", 7): "node"}
_NESTED |= {("node", 5): "attribute", ("attribute", 6): "graph", ("attribute", 11): "graph"}
_DEEPEST = 31
_LOOK = 4096
_TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 13}


def why_unreadable(source: ByteSource, suffix: str) -> str:
    """One line: what is wrong with bytes that protobuf refuses or that hold no graph, and what to do.

    Args:
        source: the bytes.
        suffix: of the file, in lower case, ``""`` when there is none.
    """
    if source.size == 0:
        return "is empty, expected an ONNX model; write or download it again"
    start = source.read(0, min(_LOOK, source.size))
    for magic, what in _MAGIC:
        if start.startswith(magic):
            return f"is {what}"
    for magic, what in _MAGIC_AT_4:
        if start[4:8] == magic:
            return f"is {what}"
    if all(byte in _TEXT_BYTES for byte in start):
        return "is text, expected a binary ONNX model; name protobuf text .textproto, ONNX text .onnxtxt, JSON .json"
    subgraphs, problem = _walk(source)
    if problem:
        return f"is not a complete ONNX model ({problem}); it may be cut short or damaged: write or download it again"
    if subgraphs > _DEEPEST:
        return (
            f"nests {subgraphs} subgraphs inside each other, protobuf (and every runtime that reads ONNX with it) allows about "
            f"{_DEEPEST}; flatten the model"
        )
    named = "" if suffix in ("", ".onnx") else f" (the name ends in {suffix}, expected .onnx)"
    return f"is not an ONNX model{named}; check that this is the right file"


def _walk(source: ByteSource) -> tuple[int, str]:
    """How many subgraphs are inside each other, and the first thing that is broken."""
    deepest = 0
    stack: list[tuple[str, Iterator[tuple[int, int, int, int]]]] = [("model", fields(source, 0, source.size))]
    while stack:
        kind, found = stack[-1]
        try:
            field = next(found, None)
        except WireError as err:
            return deepest, str(err)
        if field is None:
            stack.pop()
            continue
        number, _, start, end = field
        inner = _NESTED.get((kind, number))
        if inner is not None:
            stack.append((inner, fields(source, start, end)))
            deepest = max(deepest, len(stack) // 3 - 1)  # each subgraph is in an attribute of a node
    return deepest, ""
