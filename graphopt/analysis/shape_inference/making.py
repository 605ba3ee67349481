"""Operators that make tensors: constants, fills, random numbers, windows."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, shape_at
from graphopt.ir import Constant, Dim, DType, Node, Shape, TensorType, Type

__all__ = ["FUNCTIONS"]

_KINDS = {
    "value_int": (DType.INT64, False),
    "value_ints": (DType.INT64, True),
    "value_float": (DType.FLOAT, False),
    "value_floats": (DType.FLOAT, True),
    "value_string": (DType.STRING, False),
    "value_strings": (DType.STRING, True),
}


def _constant(node: Node, _facts: Facts) -> Sequence[Type | None]:
    for name, attribute in node.attributes.items():
        value = attribute.value
        if isinstance(value, Constant):
            return (TensorType(value.dtype, value.shape),)
        if name in _KINDS:
            dtype, many = _KINDS[name]
            return (TensorType(dtype, (len(value),) if many and isinstance(value, tuple) else ()),)
    return (None,)


def _sizes(shape: Shape | None) -> Shape | None:
    """Entries as sizes: none of them is negative in a run."""
    return None if shape is None else tuple(None if isinstance(dim, int) and dim < 0 else dim for dim in shape)


def _constant_of_shape(node: Node, facts: Facts) -> Sequence[Type | None]:
    fill = node.attributes.get("value")
    dtype = fill.value.dtype if fill is not None and isinstance(fill.value, Constant) else DType.FLOAT
    return (TensorType(dtype, _sizes(facts.elements(node.input_at(0)))),)


def _random(node: Node, _facts: Facts) -> Sequence[Type | None]:
    dtype = node.attributes.get("dtype")
    shape = node.ints_attr("shape")
    return (
        TensorType(DType(dtype.value) if dtype is not None and isinstance(dtype.value, int) else DType.FLOAT, shape),
    )


def _multinomial(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), node.attributes.get("dtype")
    batch: Dim = shape[0] if shape else None
    kind = DType(dtype.value) if dtype is not None and isinstance(dtype.value, int) else DType.INT32
    return (TensorType(kind, (batch, node.int_attr("sample_size", 1))),)


def _window(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = node.attributes.get("output_datatype")
    size = facts.integers(node.input_at(0))
    kind = DType(dtype.value) if dtype is not None and isinstance(dtype.value, int) else DType.FLOAT
    known = size is not None and len(size.elements) == 1
    return (TensorType(kind, (size.elements[0] if size is not None and known else None,)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    **dict.fromkeys(("RandomNormal", "RandomUniform"), _random),
    "Multinomial": _multinomial,
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), _window),
}
