"""What Constant nodes give."""

from __future__ import annotations

import numpy as np

from graphopt.ir.constant import Constant
from graphopt.ir.node import Node

__all__ = ["constant_of_node"]


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
