"""What lifting remembers, so that what nobody changed is written exactly as it was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    StringStringEntryProto,
    TensorAnnotation,
    ValueInfoProto,
)

from graphopt.ir import Attribute, Type
from graphopt.serde.text import readable

__all__ = [
    "GraphOrigin",
    "ModelOrigin",
    "NodeOrigin",
    "ValueInfoOrigin",
    "blanks_of",
    "properties_from_proto",
    "properties_to_proto",
    "state_blanks",
]

#: A statement about a value: the type that the value had after lifting, and the message.
ValueInfoOrigin = tuple[Type | None, ValueInfoProto]


class NodeOrigin:
    """The message of a node, and the attributes that were read from it (the very mapping: another one means a change)."""

    __slots__ = ("attributes", "proto")

    def __init__(self, proto: NodeProto, attributes: Mapping[str, Attribute]) -> None:
        self.proto = proto
        self.attributes = attributes


@dataclass(slots=True)
class GraphOrigin:
    """The messages of a graph or function about its values, in the order of the file; they find their values by name.

    It may be shared by copies of the graph, and never changes after lifting.

    Attributes:
        inputs: of ``GraphProto.input``.
        outputs: of ``GraphProto.output``.
        infos: of ``value_info``.
        annotations: of ``quantization_annotation``.
        strays: names in ``infos`` and ``annotations`` that the graph does not define.
        metadata: metadata properties.
        blanks: fields of the message that are stated and empty.
    """

    inputs: list[ValueInfoOrigin] = field(default_factory=list)
    outputs: list[ValueInfoOrigin] = field(default_factory=list)
    infos: list[ValueInfoOrigin] = field(default_factory=list)
    annotations: list[TensorAnnotation] = field(default_factory=list)
    strays: set[str] = field(default_factory=set)
    metadata: list[StringStringEntryProto] = field(default_factory=list)
    blanks: tuple[str, ...] = ()


@dataclass(slots=True)
class ModelOrigin:
    """The messages of a model, or of a function, that the IR has no object for.

    Attributes:
        opset_imports: as they were spelled (``ai.onnx``, repeated), with the version lifted.
        metadata: metadata properties.
        configurations: device configurations.
        blanks: fields of the message that are stated and empty.
    """

    opset_imports: list[OperatorSetIdProto] = field(default_factory=list)
    metadata: list[StringStringEntryProto] = field(default_factory=list)
    configurations: list[object] = field(default_factory=list)
    blanks: tuple[str, ...] = ()


def blanks_of(proto: ModelProto | GraphProto | FunctionProto, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the fields ``names`` that the message states although they are empty."""
    return tuple([name for name in names if not getattr(proto, name) and proto.HasField(name)])


def state_blanks(proto: ModelProto | GraphProto | FunctionProto, names: tuple[str, ...]) -> None:
    """State empty fields as a file did, unless they are not empty any more."""
    for name in names:
        setattr(proto, name, getattr(proto, name))


def properties_from_proto(entries: Iterable[StringStringEntryProto]) -> dict[str, str]:
    """The properties as a dictionary; of a key that is there twice, the last one counts."""
    return {readable(entry.key): readable(entry.value) for entry in entries}


def properties_to_proto(
    properties: Mapping[str, str] | None, known: list[StringStringEntryProto] | None = None
) -> list[StringStringEntryProto]:
    """The messages for properties: those they were read from when nothing changed.

    Args:
        properties: what is to be said.
        known: what was read.
    """
    if known and properties_from_proto(known) == (properties or {}):
        return known
    return [StringStringEntryProto(key=key, value=value) for key, value in (properties or {}).items()]
