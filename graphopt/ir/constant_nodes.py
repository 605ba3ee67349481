"""What Constant nodes give, and values that are constant by one or otherwise."""

from __future__ import annotations

import numpy as np

from graphopt.ir.constant import Constant
from graphopt.ir.node import Node
from graphopt.ir.types import DType
from graphopt.ir.value import Value

__all__ = ["constant_of", "constant_of_node", "integer_of"]


def constant_of_node(node: Node) -> Constant | None:
    """What a Constant node gives; ``None`` for other operators, sparse values, and references to attributes of a function."""
    if node.op != "Constant" or len(node.attributes) != 1:
        return None
    ((name, attribute),) = node.attributes.items()
    value = attribute.value
    if attribute.ref or value is None:
        return None
    match name:
        case "value":
            return value if isinstance(value, Constant) and not value.is_sparse else None
        case "value_float" | "value_floats":
            return Constant(np.array(value, np.float32))
        case "value_int" | "value_ints":
            return Constant(np.array(value, np.int64))
        case "value_string" | "value_strings":
            return Constant(np.array(value, object))
        case _:
            return None


def constant_of(value: Value | None) -> Constant | None:
    """The constant that a value is, or that its Constant node gives; ``None`` for anything else, an input with a default too."""
    if value is None:
        return None
    if value.producer is not None:
        return constant_of_node(value.producer)
    return value.const if value.is_constant else None


def integer_of(value: Value | None) -> int | None:
    """The number that a constant of one integer or boolean holds, ``None`` for any other value."""
    constant = constant_of(value)
    if constant is None or constant.size != 1 or not (constant.dtype.is_integer or constant.dtype is DType.BOOL):
        return None
    return int(constant.numpy().reshape(()).item())
