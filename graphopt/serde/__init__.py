"""Conversions between ONNX protobufs and the IR, both ways; no files, no policy.

May import ``onnx``, ``graphopt.ir`` and ``graphopt.errors``.
"""

from __future__ import annotations

from graphopt.serde.attributes import attribute_from_proto, attribute_to_proto
from graphopt.serde.collector import collector_paused
from graphopt.serde.emit import LINEAGE_KEY, Place, emit_model, initializer_to_proto
from graphopt.serde.lift import lift_model
from graphopt.serde.tensors import (
    TensorStorage,
    constant_from_proto,
    constant_to_proto,
    sparse_from_proto,
    sparse_to_proto,
    tensor_header,
)
from graphopt.serde.types import dtype_from_proto, type_from_proto, type_to_proto

__all__ = [
    "LINEAGE_KEY",
    "Place",
    "TensorStorage",
    "attribute_from_proto",
    "attribute_to_proto",
    "collector_paused",
    "constant_from_proto",
    "constant_to_proto",
    "dtype_from_proto",
    "emit_model",
    "initializer_to_proto",
    "lift_model",
    "sparse_from_proto",
    "sparse_to_proto",
    "tensor_header",
    "type_from_proto",
    "type_to_proto",
]
