"""Attributes of nodes: ``AttributeProto`` to IR attributes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from onnx import AttributeProto, GraphProto

from graphopt.errors import ModelError
from graphopt.ir import Attribute, AttributeKind, AttributeValue, Constant, Graph, Type
from graphopt.serde.tensors import (
    TensorStorage,
    constant_from_proto,
    constant_to_proto,
    sparse_from_proto,
    sparse_to_proto,
)
from graphopt.serde.text import checked_name, readable
from graphopt.serde.types import type_from_proto, type_to_proto

__all__ = ["GraphFromProto", "GraphToProto", "attribute_from_proto", "attribute_to_proto"]

GraphFromProto = Callable[[GraphProto, str], Graph]
GraphToProto = Callable[[Graph], GraphProto]
_KINDS = {int(kind): kind for kind in AttributeKind}
#: Fields of AttributeProto that hold a value, by the kind that they mean where a file before IR version 2 does not state it.
_FIELDS = {
    "f": AttributeKind.FLOAT,
    "i": AttributeKind.INT,
    "s": AttributeKind.STRING,
    "t": AttributeKind.TENSOR,
    "g": AttributeKind.GRAPH,
    "sparse_tensor": AttributeKind.SPARSE_TENSOR,
    "tp": AttributeKind.TYPE_PROTO,
    "floats": AttributeKind.FLOATS,
    "ints": AttributeKind.INTS,
    "strings": AttributeKind.STRINGS,
    "tensors": AttributeKind.TENSORS,
    "graphs": AttributeKind.GRAPHS,
    "sparse_tensors": AttributeKind.SPARSE_TENSORS,
    "type_protos": AttributeKind.TYPE_PROTOS,
}
_INT, _FLOAT, _INTS, _STRING = AttributeKind.INT, AttributeKind.FLOAT, AttributeKind.INTS, AttributeKind.STRING


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def attribute_from_proto(
    proto: AttributeProto,
    lift_graph: GraphFromProto | None = None,
    storage: TensorStorage | None = None,
    where: str = "",
) -> Attribute:
    """The attribute that a message states.

    Args:
        proto: the message; constants keep parts of it as their origin.
        lift_graph: lifts a subgraph, given its message and what it is.
        storage: where bytes of tensors outside the message are.
        where: what has this attribute, for errors.

    Raises:
        ModelError: if its kind is unknown or its value is broken.
    """
    kind = _KINDS.get(proto.type)
    if kind is None:
        raise ModelError(f"{where}: attribute {proto.name!r} has kind {proto.type}, expected 1 to 14; fix the model")
    doc = readable(proto.doc_string)
    if proto.ref_attr_name:
        return Attribute(kind, None, checked_name(proto.ref_attr_name, where), doc)
    if kind is _INT:
        return Attribute(kind, proto.i, "", doc)
    if kind is _INTS:
        return Attribute(kind, tuple(proto.ints), "", doc)
    if kind is _FLOAT:
        return Attribute(kind, proto.f, "", doc)
    if kind is _STRING:
        return Attribute(kind, _text(proto.s), "", doc)
    if kind is AttributeKind.UNDEFINED:
        kind = _kind_of(proto, where)
    return Attribute(kind, _value(proto, kind, lift_graph, storage, where), "", doc)


def _kind_of(proto: AttributeProto, where: str) -> AttributeKind:
    found = [kind for name, kind in _FIELDS.items() if any(field.name == name for field, _ in proto.ListFields())]
    if len(found) != 1:
        raise ModelError(f"{where}: attribute {proto.name!r} holds {len(found)} values, expected one; fix the model")
    return found[0]


def _value(
    proto: AttributeProto,
    kind: AttributeKind,
    lift_graph: GraphFromProto | None,
    storage: TensorStorage | None,
    where: str,
) -> AttributeValue:
    place = f"{where}: attribute {proto.name!r}"
    match kind:
        case AttributeKind.INT:
            return proto.i
        case AttributeKind.FLOAT:
            return proto.f
        case AttributeKind.STRING:
            return _text(proto.s)
        case AttributeKind.INTS:
            return tuple(proto.ints)
        case AttributeKind.FLOATS:
            return tuple(proto.floats)
        case AttributeKind.STRINGS:
            return tuple([_text(item) for item in proto.strings])
        case AttributeKind.TENSOR:
            return constant_from_proto(proto.t, storage, place)
        case AttributeKind.TENSORS:
            return tuple([constant_from_proto(item, storage, place) for item in proto.tensors])
        case AttributeKind.SPARSE_TENSOR:
            return sparse_from_proto(proto.sparse_tensor, storage, place)
        case AttributeKind.SPARSE_TENSORS:
            return tuple([sparse_from_proto(item, storage, place) for item in proto.sparse_tensors])
        case AttributeKind.TYPE_PROTO:
            return type_from_proto(proto.tp, place)
        case AttributeKind.TYPE_PROTOS:
            return tuple([cast("Type", type_from_proto(item, place)) for item in proto.type_protos])
        case _:
            if lift_graph is None:
                raise ModelError(f"{place} holds a graph, which is not possible here; fix the model")
            if kind is AttributeKind.GRAPH:
                return lift_graph(proto.g, place)
            return tuple([lift_graph(item, place) for item in proto.graphs])


def attribute_to_proto(
    name: str, attribute: Attribute, emit_graph: GraphToProto | None = None, into: AttributeProto | None = None
) -> AttributeProto:
    """The message for an attribute.

    Args:
        name: name of the attribute.
        attribute: what it holds.
        emit_graph: gives the message of a subgraph.
        into: an empty message to fill; a new one when ``None``.
    """
    proto = AttributeProto() if into is None else into
    proto.name = name
    kind, value = attribute.kind, attribute.value
    proto.type = int(kind)  # type: ignore[assignment]  # the stubs want the enum type, protobuf takes its number
    if attribute.doc:
        proto.doc_string = attribute.doc
    if attribute.ref:
        proto.ref_attr_name = attribute.ref
        return proto
    match kind:
        case AttributeKind.INT:
            proto.i = cast("int", value)
        case AttributeKind.FLOAT:
            proto.f = cast("float", value)
        case AttributeKind.STRING:
            proto.s = _bytes(value)
        case AttributeKind.INTS:
            proto.ints.extend(cast("tuple[int, ...]", value))
        case AttributeKind.FLOATS:
            proto.floats.extend(cast("tuple[float, ...]", value))
        case AttributeKind.STRINGS:
            proto.strings.extend([_bytes(item) for item in cast("tuple[str | bytes, ...]", value)])
        case AttributeKind.TENSOR:
            constant = cast("Constant", value)
            proto.t.CopyFrom(constant_to_proto(constant, _tensor_name(constant)))
        case AttributeKind.TENSORS:
            items = cast("tuple[Constant, ...]", value)
            proto.tensors.extend([constant_to_proto(item, _tensor_name(item)) for item in items])
        case AttributeKind.SPARSE_TENSOR:
            proto.sparse_tensor.CopyFrom(
                sparse_to_proto(cast("Constant", value), _tensor_name(cast("Constant", value)))
            )
        case AttributeKind.SPARSE_TENSORS:
            items = cast("tuple[Constant, ...]", value)
            proto.sparse_tensors.extend([sparse_to_proto(item, _tensor_name(item)) for item in items])
        case AttributeKind.TYPE_PROTO:
            proto.tp.CopyFrom(type_to_proto(cast("Type | None", value)))
        case AttributeKind.TYPE_PROTOS:
            proto.type_protos.extend([type_to_proto(item) for item in cast("tuple[Type, ...]", value)])
        case AttributeKind.GRAPH | AttributeKind.GRAPHS:
            assert emit_graph is not None, f"attribute {name!r} holds a graph"
            if kind is AttributeKind.GRAPH:
                proto.g.CopyFrom(emit_graph(cast("Graph", value)))
            else:
                proto.graphs.extend([emit_graph(item) for item in cast("tuple[Graph, ...]", value)])
        case AttributeKind.UNDEFINED:
            pass
    return proto


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _tensor_name(constant: Constant) -> str:
    origin = constant.origin
    values = getattr(origin, "values", origin)
    name = getattr(values, "name", "")
    return name if isinstance(name, str) else ""
