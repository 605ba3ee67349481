"""Types of values: ``TypeProto`` to IR types and back.

A dimension of -1 counts as unknown, as several exporters mean it. Source: https://onnx.ai/onnx/repo-docs/IR.html (tensor shapes).
"""

from __future__ import annotations

from onnx import TensorShapeProto, TypeProto

from graphopt.errors import ModelError
from graphopt.ir import (
    Dim,
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    Shape,
    SparseTensorType,
    SymbolicDim,
    TensorType,
    Type,
)
from graphopt.ir.dims import GENERATED_PREFIX
from graphopt.serde.text import checked_name

__all__ = ["MAX_ELEMENTS", "dtype_from_proto", "type_from_proto", "type_to_proto"]

#: No tensor has more elements; larger numbers come from broken files.
MAX_ELEMENTS = 1 << 62
#: What exporters write for a size that has no name. By the letter of the specification these are names, and equal; they are not meant so.
_NO_NAMES = frozenset({"?", "-1", "None", "none", "unk", "unknown"})
_DTYPES = {int(dtype): dtype for dtype in DType}


def dtype_from_proto(number: int, where: str) -> DType:
    """The element type of a ``TensorProto.DataType`` number.

    Args:
        number: as in the file.
        where: what has this type, for the error.

    Raises:
        ModelError: if no element type has this number.
    """
    found = _DTYPES.get(number)
    if found is None:
        raise ModelError(
            f"{where}: element type {number} is unknown, expected 0 to {max(_DTYPES)}; fix the model, or update graphopt"
        )
    return found


def type_from_proto(proto: TypeProto, where: str = "type") -> Type | None:
    """The type that a ``TypeProto`` states, ``None`` when it states nothing.

    Args:
        proto: the message.
        where: what has this type, for errors.

    Raises:
        ModelError: if the element type is unknown or a dimension is absurd.
    """
    match proto.WhichOneof("value"):
        case "tensor_type":
            tensor = proto.tensor_type
            dtype = dtype_from_proto(tensor.elem_type, where)
            return TensorType(dtype, _shape(tensor.shape, where) if tensor.HasField("shape") else None)
        case "sequence_type":
            return SequenceType(type_from_proto(proto.sequence_type.elem_type, where))
        case "optional_type":
            return OptionalType(type_from_proto(proto.optional_type.elem_type, where))
        case "map_type":
            key = dtype_from_proto(proto.map_type.key_type, where)
            return MapType(key, type_from_proto(proto.map_type.value_type, where))
        case "sparse_tensor_type":
            sparse = proto.sparse_tensor_type
            dtype = dtype_from_proto(sparse.elem_type, where)
            shape = _shape(sparse.shape, where) if sparse.HasField("shape") else None
            return SparseTensorType(TensorType(dtype, shape))
        case "opaque_type":
            return OpaqueType(proto.opaque_type.domain, proto.opaque_type.name)
        case _:
            return None


def _shape(proto: TensorShapeProto, where: str) -> Shape:
    dims: list[Dim] = []
    size = 1
    for dim in proto.dim:
        name = dim.dim_param
        if name and name not in _NO_NAMES and not name.startswith(GENERATED_PREFIX):
            dims.append(SymbolicDim(name if type(name) is str else checked_name(name, where)))
        elif not name and dim.HasField("dim_value"):
            number = dim.dim_value
            if number < -1:
                raise ModelError(f"{where}: dimension {len(dims)} is {number}, expected 0 or more; fix the model")
            dims.append(None if number == -1 else number)
            size *= number or 1
        else:
            dims.append(None)
    if size > MAX_ELEMENTS:
        raise ModelError(f"{where}: shape {dims} has more than 2**62 elements; fix the model")
    return tuple(dims)


def type_to_proto(value_type: Type | None, like: TypeProto | None = None) -> TypeProto:
    """The message for a type; an empty one for ``None``.

    Args:
        value_type: the type.
        like: what an earlier type of the same value was read from: its denotations are kept where they still fit.
    """
    proto = TypeProto()
    if isinstance(value_type, TensorType):
        tensor = proto.tensor_type
        tensor.elem_type = int(value_type.dtype)
        if value_type.shape is not None:
            _fill_shape(tensor.shape, value_type.shape)
        tensor.SetInParent()
    elif isinstance(value_type, SparseTensorType):
        sparse = proto.sparse_tensor_type
        sparse.elem_type = int(value_type.tensor.dtype)
        if value_type.tensor.shape is not None:
            _fill_shape(sparse.shape, value_type.tensor.shape)
        sparse.SetInParent()
    elif isinstance(value_type, SequenceType):
        proto.sequence_type.SetInParent()
        if value_type.element is not None:
            proto.sequence_type.elem_type.CopyFrom(type_to_proto(value_type.element))
    elif isinstance(value_type, OptionalType):
        proto.optional_type.SetInParent()
        if value_type.element is not None:
            proto.optional_type.elem_type.CopyFrom(type_to_proto(value_type.element))
    elif isinstance(value_type, MapType):
        proto.map_type.key_type = int(value_type.key)
        if value_type.value is not None:
            proto.map_type.value_type.CopyFrom(type_to_proto(value_type.value))
    elif isinstance(value_type, OpaqueType):
        proto.opaque_type.domain, proto.opaque_type.name = value_type.domain, value_type.name
        proto.opaque_type.SetInParent()
    if like is not None:
        _keep_denotations(proto, like)
    return proto


def _fill_shape(proto: TensorShapeProto, shape: Shape) -> None:
    proto.SetInParent()
    for dim in shape:
        added = proto.dim.add()
        if isinstance(dim, int):
            added.dim_value = dim
        elif dim is not None and not dim.is_generated:
            added.dim_param = str(dim)


def _keep_denotations(proto: TypeProto, like: TypeProto) -> None:
    if like.denotation:
        proto.denotation = like.denotation
    if proto.HasField("tensor_type") and like.HasField("tensor_type"):
        new, old = proto.tensor_type.shape.dim, like.tensor_type.shape.dim
        if len(new) == len(old):
            for dim, known in zip(new, old, strict=True):
                if known.denotation:
                    dim.denotation = known.denotation
