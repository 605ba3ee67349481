"""Types of values: graphopt's own symbolic inference, and for operators that it has no function for, ONNX's for a single node.

ONNX's inference is given a node with the types and small constants that it reads; sizes that are expressions go there and come back
under short names. It is not asked about nodes that it is known to read otherwise than runtimes do. Operators that plugins registered
with a function for types take part in the same way, and those with named axes only get a shape from these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import onnx
from onnx import NodeProto, TensorProto, TypeProto

from graphopt.analysis.shape_inference import ShapeFunction, SymbolicTypes
from graphopt.ir import (
    Dim,
    Node,
    OptionalType,
    SequenceType,
    SymbolicDim,
    TensorType,
    Type,
    constant_of,
)
from graphopt.serde import attribute_to_proto, constant_to_proto, type_from_proto, type_to_proto

__all__ = ["OnnxRules", "OnnxTypes"]

logger = logging.getLogger(__name__)

#: Constants up to this many bytes are shown to inference: it follows shapes, not weights.
_SHOWN_BYTES = 2048
#: Operators that ONNX's inference reads otherwise than their specification: it counts all frequencies of a one-sided STFT.
_MISREAD = frozenset({"STFT"})


@lru_cache(maxsize=4096)
def _schema(domain: str, op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        found: onnx.defs.OpSchema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    return found if found.has_type_and_shape_inference_function else None


class OnnxTypes(SymbolicTypes):
    """Finds types; implements :class:`graphopt.passes.ModelTypes`.

    Args:
        more: shape functions of plugins' operators, by ``domain::Name``.
    """

    def __init__(self, more: Mapping[str, ShapeFunction] | None = None) -> None:
        super().__init__(OnnxRules(), more)


class OnnxRules:
    """ONNX's shape inference, asked about one node at a time."""

    def knows(self, node: Node) -> bool:
        """Whether ``onnx`` has inference for the operator of a node."""
        version = node.opset
        return version is not None and _schema(node.domain, node.op_type, version) is not None

    def infer_node(self, node: Node) -> Sequence[Type | None]:
        """Types of a node's outputs from those of its inputs; ``None`` where nothing can be said."""
        nothing: list[Type | None] = [None] * len(node.outputs)
        version = node.opset
        owner = node.graph.owner if node.graph is not None else None
        if version is None or owner is None or node.subgraphs or node.has_references or node.op in _MISREAD:
            return nothing
        schema = _schema(node.domain, node.op_type, version)
        if schema is None:
            return nothing
        proto = NodeProto(op_type=node.op_type, domain=node.domain)
        types: dict[str, TypeProto] = {}
        data: dict[str, TensorProto] = {}
        names = _Names()
        for index, value in enumerate(node.inputs):
            name = "" if value is None else f"i{index}"
            proto.input.append(name)
            if value is None:
                continue
            if value.type is None:
                return nothing
            types[name] = type_to_proto(names.hidden(value.type))
            constant = constant_of(value)
            if constant is not None and constant.nbytes <= _SHOWN_BYTES:
                data[name] = constant_to_proto(constant, name)
        proto.output.extend([f"o{index}" for index in range(len(node.outputs))])
        for name, attribute in node.attributes.items():
            proto.attribute.append(attribute_to_proto(name, attribute))
        imports = [
            onnx.OperatorSetIdProto(domain=domain, version=number) for domain, number in owner.opset_imports.items()
        ]
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as err:
            logger.debug("types of %s: %s", node, err)
            return nothing
        return [names.shown(type_from_proto(found[name])) if name in found else None for name in proto.output]


class _Names:
    """Short names for the expressions that the types of one node have."""

    def __init__(self) -> None:
        self._names: dict[SymbolicDim, SymbolicDim] = {}
        self._meant: dict[SymbolicDim, SymbolicDim] = {}

    def hidden(self, found: Type | None) -> Type | None:
        """A type with short names in the place of expressions."""
        return _with_dims(found, self._hide)

    def shown(self, found: Type | None) -> Type | None:
        """A type with the expressions that short names stand for; other names are made up, and mean nothing."""
        return _with_dims(found, lambda dim: self._meant.get(dim) if isinstance(dim, SymbolicDim) else dim)

    def _hide(self, dim: Dim) -> Dim:
        if not isinstance(dim, SymbolicDim):
            return dim
        name = self._names.get(dim)
        if name is None:
            name = self._names[dim] = SymbolicDim(f"d{len(self._names)}")
            self._meant[name] = dim
        return name


def _with_dims(found: Type | None, change: Callable[[Dim], Dim]) -> Type | None:
    match found:
        case TensorType(dtype=dtype, shape=shape) if shape is not None:
            return TensorType(dtype, tuple(map(change, shape)))
        case SequenceType(element=element):
            return SequenceType(_with_dims(element, change))
        case OptionalType(element=element):
            return OptionalType(_with_dims(element, change))
        case _:
            return found
