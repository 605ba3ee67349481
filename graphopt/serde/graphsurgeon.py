"""onnx-graphsurgeon graphs to IR and back, through protobufs: existing graphsurgeon scripts and graphopt passes work on one model.

What ``gs.Graph`` has no place for (doc strings and metadata of nodes, say) does not survive a stay there; what would come back wrong is
refused on the way in. Source: https://github.com/NVIDIA/TensorRT/tree/main/tools/onnx-graphsurgeon
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from onnx import TensorProto

from graphopt.errors import ModelError
from graphopt.ir import Attribute, AttributeKind, Model, SequenceType, SparseTensorType, TensorType, Type, Value
from graphopt.serde.emit import emit_model
from graphopt.serde.lift import lift_model
from graphopt.serde.tensors import constant_to_proto

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["from_graphsurgeon", "is_graphsurgeon", "to_graphsurgeon"]

_KINDS = frozenset(
    {
        AttributeKind.FLOAT,
        AttributeKind.INT,
        AttributeKind.STRING,
        AttributeKind.TENSOR,
        AttributeKind.GRAPH,
        AttributeKind.FLOATS,
        AttributeKind.INTS,
        AttributeKind.STRINGS,
    }
)


def is_graphsurgeon(source: object) -> TypeGuard[gs.Graph]:
    """Whether something is a ``gs.Graph``; does not import graphsurgeon to find out."""
    module = sys.modules.get("onnx_graphsurgeon")
    return module is not None and isinstance(source, module.Graph)


def from_graphsurgeon(graph: gs.Graph, *, like: Model | None = None) -> Model:
    """The IR of a graphsurgeon graph.

    Args:
        graph: not changed; constants keep referring to its arrays.
        like: a model that it came from: gives what ``gs.Graph`` can't hold about a model as a whole (metadata, doc, version).

    Raises:
        ModelError: if graphsurgeon can't export it, or the result is no valid model.
    """
    import onnx_graphsurgeon as gs  # lazily: only users of graphsurgeon need it

    try:
        proto = gs.export_onnx(graph, do_type_check=False)
    except (gs.util.exception.OnnxGraphSurgeonException, TypeError, ValueError, AttributeError) as err:
        raise ModelError(f"graphsurgeon can't export the graph {graph.name!r}: {err}; fix the graph") from err
    model = lift_model(proto)
    if like is not None:
        model.domain, model.model_version, model.doc = like.domain, like.model_version, like.doc
        model.metadata, model.source = dict(like.metadata), like.source
    return model


def to_graphsurgeon(model: Model) -> gs.Graph:
    """The model as a graphsurgeon graph.

    Args:
        model: not changed.

    Raises:
        ModelError: if graphsurgeon would lose something that the model computes with.

    Example:
        >>> from graphopt.ir import GraphBuilder
        >>> b = GraphBuilder(opset=17)
        >>> _ = b.output(b.Relu(b.input("x")), "y")
        >>> [node.op for node in to_graphsurgeon(b.model).nodes]
        ['Relu']
    """
    import onnx_graphsurgeon as gs  # lazily: only users of graphsurgeon need it

    _check_attributes(model)
    _check_types(model)
    return gs.import_onnx(emit_model(model, place=_inline))


def _inline(value: Value) -> TensorProto:
    assert value.const is not None, "an initializer has constant data"
    return constant_to_proto(value.const, value.name, keep_external=False)


def _check_attributes(model: Model) -> None:
    for graph in model.graphs():
        for node in graph.nodes:
            for name, attribute in node.attributes.items():
                if attribute.kind not in _KINDS or _has_bytes(attribute):
                    raise ModelError(
                        f"node {node.name!r} ({node.op}): graphsurgeon can't hold attribute {name!r} of kind "
                        f"{attribute.kind.name}; leave graphsurgeon out for this model"
                    )
    for function in model.functions.values():
        if function.overload:
            raise ModelError(
                f"function {function.name!r}: graphsurgeon can't tell overloads apart; leave graphsurgeon out for this model"
            )


def _has_bytes(attribute: Attribute) -> bool:
    items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
    return any(isinstance(item, bytes) for item in items)


def _check_types(model: Model) -> None:
    for graph in model.graphs():
        for value in graph.values():
            if value.declared and value.type is not None and not _can_hold(value.type):
                raise ModelError(
                    f"value {value.name!r}: graphsurgeon can't hold the type {value.type}; leave graphsurgeon out for this model"
                )


def _can_hold(value_type: Type) -> bool:
    if isinstance(value_type, SequenceType):
        return isinstance(value_type.element, TensorType)
    return isinstance(value_type, TensorType | SparseTensorType)
