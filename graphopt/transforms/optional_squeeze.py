"""An axis that is squeezed only if its size is 1, where every run with another size fails anyway.

``If(size of axis k of x == 1, Squeeze(x, k), x)`` is what scripted models make of ``x.squeeze(k)``. Its result has no rank, and nothing
after it has a known shape. Where the rank that ``x`` itself has leads to an error further down
(:func:`~graphopt.analysis.fails_with_rank`), the If gives ``Squeeze(x, k)`` in each run that succeeds, and in the others Squeeze fails
too, since the size is not 1: no run that failed before succeeds, and none that succeeded changes.
"""

from __future__ import annotations

from typing import cast

from graphopt.analysis import ShapeValues, fails_with_rank
from graphopt.ir import Graph, Node, Value, constant_of

__all__ = ["always_squeezes"]


def always_squeezes(node: Node) -> bool:
    """Whether an If squeezes an axis in each run that does not fail.

    Args:
        node: an If.
    """
    branches = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    condition = node.input_at(0)
    if condition is None or len(node.outputs) != 1 or any(item is None or item.ref for item in branches):
        return False
    squeezing, passing = (cast(Graph, item.value) for item in branches if item is not None)
    source = _passed(passing)
    axis = None if source is None else _squeezed_axis(squeezing, source)
    if source is None or source.rank is None or axis is None:
        return False
    return _tells_size_one(condition, source, axis) and fails_with_rank(node.output, source.rank)


def _passed(graph: Graph) -> Value | None:
    """The value that a branch gives out as it is."""
    nodes = list(graph.nodes)
    if len(graph.outputs) != 1 or len(nodes) > 1:
        return None
    if not nodes:
        return graph.outputs[0]
    return nodes[0].input_at(0) if nodes[0].op == "Identity" and nodes[0].output is graph.outputs[0] else None


def _squeezed_axis(graph: Graph, source: Value) -> int | None:
    """The one axis of a value that a branch squeezes, which is all that it does."""
    nodes = [node for node in graph.nodes if node.op != "Constant"]
    if len(nodes) != 1 or nodes[0].op != "Squeeze" or graph.outputs != [nodes[0].output]:
        return None
    (node,) = nodes
    if node.input_at(0) is not source:
        return None
    axes = node.ints_attr("axes") or _integers(node.input_at(1))
    if axes is None or len(axes) != 1 or source.rank is None or not -source.rank <= axes[0] < source.rank:
        return None
    return axes[0]


def _tells_size_one(condition: Value, source: Value, axis: int) -> bool:
    """Whether a value says that an axis of the source has size 1, by whatever way it learned the size."""
    node = condition.producer
    if node is None or node.op != "Equal":
        return False
    values = ShapeValues()
    size, one = (values.of(value) if value is not None else None for value in node.inputs)
    if one is None or one.numbers != (1,):
        size, one = one, size
    sizes = values.shape_of(source)
    if one is None or one.numbers != (1,) or size is None or len(size.elements) != 1 or sizes is None:
        return False
    return size.elements[0] is not None and size.elements[0] == sizes[axis]


def _integers(value: Value | None) -> tuple[int, ...] | None:
    """The numbers of a small constant, ``None`` for anything else."""
    constant = constant_of(value)
    if constant is None or not constant.dtype.is_integer or constant.size > 8:
        return None
    return tuple(int(item) for item in constant.numpy().reshape(-1))
