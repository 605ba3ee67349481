"""What constants and nodes take in a file, in bytes: known exactly for constants, closely for nodes."""

from __future__ import annotations

from graphopt.ir import Constant, DType, Node, TensorType, Value

__all__ = ["constant_cost", "node_cost", "size_of"]

_PER_STRING = 16
#: Bytes of a name. Each counts alike: what is folded must not depend on what somebody called it.
_NAME = 8


def size_of(value: Value) -> int | None:
    """Bytes that a computed value would take as a constant, as far as its type says; ``None`` when it does not."""
    found = value.type
    if not isinstance(found, TensorType) or found.dtype == DType.UNDEFINED:
        return None
    shape = found.static_shape
    if shape is None:
        return None
    count = 1
    for size in shape:
        count *= size
    return count * _PER_STRING if found.dtype is DType.STRING else found.dtype.storage_bytes(count)


def constant_cost(nbytes: int, rank: int) -> int:
    """Bytes of an initializer: its numbers, type, dims and name, each with its tag and length."""
    return nbytes + 2 * rank + _NAME + 10


def node_cost(node: Node) -> int:
    """Bytes of a node, attributes and subgraphs included."""
    total = 6 + len(node.op_type) + len(node.domain) + _NAME + 2
    for value in node.inputs:
        total += 2 + (_NAME if value is not None else 0)
    total += len(node.outputs) * (2 + _NAME)
    for name, attribute in node.attributes.items():
        total += 8 + len(name)
        content = attribute.value
        for item in content if isinstance(content, tuple) else (content,):
            total += item.nbytes if isinstance(item, Constant) else len(item) if isinstance(item, str) else 4
    for graph in node.subgraphs:
        total += 8 + sum(node_cost(inner) for inner in graph.nodes)
        total += sum(constant_cost(v.const.nbytes, v.const.ndim) for v in graph.initializers() if v.const)
    return total
