"""What a file says about values: their names, types, texts and annotations, as it was said where it still holds."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorAnnotation, ValueInfoProto

from graphopt.ir import Graph, MapType, OptionalType, SequenceType, TensorType, Type, Value
from graphopt.serde.origins import GraphOrigin, ValueInfoOrigin, properties_from_proto, properties_to_proto
from graphopt.serde.text import readable
from graphopt.serde.types import type_to_proto

__all__ = ["statements", "tensor_annotations", "value_infos"]


def _statement(value: Value, known: ValueInfoProto | None = None) -> ValueInfoProto:
    proto = ValueInfoProto()
    proto.name = value.name
    if value.type is not None:
        proto.type.CopyFrom(type_to_proto(value.type, known.type if known is not None else None))
    if known is not None and value.origin is not known:  # two statements about one value: each keeps its own text
        if known.doc_string:
            proto.doc_string = readable(known.doc_string)
        proto.metadata_props.extend(known.metadata_props)
        return proto
    if value.doc:
        proto.doc_string = value.doc
    proto.metadata_props.extend(properties_to_proto(value.metadata))
    return proto


def statements(values: Sequence[Value], known: list[ValueInfoOrigin]) -> list[ValueInfoProto]:
    """What is said about inputs or outputs: unchanged where name and type are those of the file."""
    found = []
    by_name: dict[str, ValueInfoOrigin] | None = None
    for index, value in enumerate(values):
        stated = known[index] if index < len(known) else None
        if stated is None or stated[1].name != value.name:
            if by_name is None:
                by_name = {item[1].name: item for item in known}
            stated = by_name.get(value.name)
        found.append(_statement(value) if stated is None else _restatement(value, stated))
    return found


def _restatement(value: Value, stated: ValueInfoOrigin) -> ValueInfoProto:
    value_type, info = stated
    return info if _is_as_stated(value, value_type, info) else _statement(value, info)


def _is_as_stated(value: Value, value_type: Type | None, info: ValueInfoProto) -> bool:
    """Whether a statement still holds; more that inference found since then does not change what the file promises."""
    return (
        _agree(value.type, value_type)
        and value.name == info.name
        and (value.origin is not info or (value.doc == info.doc_string and _has_its_metadata(value, info)))
    )


def _has_its_metadata(value: Value, info: ValueInfoProto) -> bool:
    if not info.metadata_props:
        return not value.metadata
    return properties_from_proto(info.metadata_props) == (value.metadata or {})


def _agree(now: Type | None, stated: Type | None) -> bool:
    if now is None or stated is None or now == stated:
        return True
    if isinstance(now, TensorType) and isinstance(stated, TensorType):
        return now.dtype == stated.dtype
    if isinstance(now, SequenceType | OptionalType) and type(now) is type(stated):
        return _agree(now.element, stated.element)
    if isinstance(now, MapType) and isinstance(stated, MapType):
        return now.key == stated.key and _agree(now.value, stated.value)
    return False


def _confirmed(stated: Type | None, now: Type | None) -> Type | None:
    """What is left of a statement about an inner value: not the numbers that inference does not find.

    They may be left over from before the inputs were made dynamic. Runtimes plan memory by them, and fail where two values share it.
    """
    if not isinstance(stated, TensorType) or not isinstance(now, TensorType):
        return stated
    if now is stated or stated.shape is None or now.dtype != stated.dtype:
        return stated
    if now.shape is None or len(now.shape) != len(stated.shape):
        kept = None
    else:
        pairs = zip(stated.shape, now.shape, strict=True)
        kept = tuple(None if isinstance(dim, int) and dim != found else dim for dim, found in pairs)
    return stated if kept == stated.shape else TensorType(stated.dtype, kept)


def _with_type(info: ValueInfoProto, now: Type | None) -> ValueInfoProto:
    proto = ValueInfoProto()
    proto.CopyFrom(info)
    proto.type.CopyFrom(type_to_proto(now, info.type))
    return proto


def value_infos(graph: Graph, declared: list[Value], origin: GraphOrigin) -> list[ValueInfoProto]:
    """What is said about the values inside: first what the file said, then what is declared besides."""
    found = []
    stated: set[str] = set()
    if origin.infos:
        by_name = {value.name: value for value in (*graph.inputs, *graph.initializers(), *declared)}
        for item in origin.infos:
            name = item[1].name
            value = by_name.get(name)
            if value is not None:
                stated.add(name)
                left = _confirmed(item[0], value.type)
                found.append(_restatement(value, item) if left is item[0] else _with_type(item[1], left))
            elif name in origin.strays:
                found.append(item[1])
    found.extend(
        [
            _statement(value)
            for value in declared
            if value.name not in stated and not value.graph_outputs and value.type is not None and value.name
        ]
    )
    return found


def tensor_annotations(graph: Graph, origin: GraphOrigin) -> list[TensorAnnotation]:
    """The quantization annotations of the values that are there now."""
    if not origin.annotations:
        return []
    found = []
    there = {value.name: value.annotation for value in graph.values() if value.annotation is not None}
    for annotation in origin.annotations:
        name = annotation.tensor_name
        now = there.pop(name, None)
        if name in origin.strays or now == properties_from_proto(annotation.quant_parameter_tensor_names):
            found.append(annotation)
        elif now is not None:
            found.append(_annotation(name, now))
    return found + [_annotation(name, parameters) for name, parameters in there.items()]


def _annotation(name: str, parameters: dict[str, str]) -> TensorAnnotation:
    return TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=properties_to_proto(parameters))
