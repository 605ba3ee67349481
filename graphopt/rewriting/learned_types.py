"""Types learned after edits: a node whose inputs or attributes became better known may say more about its outputs, and so on downwards.

What is learned is types, and the numbers in small integer tensors: a better known shape says more through Shape, arithmetic and Concat to
the Reshape that reads them. A wave goes on only while it learns something, and what is learned is never less than what was known, so all
waves of a run together cost a few inferences a node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from graphopt.ir import Dim, DType, Node, SymbolicDim, TensorType, Type, Value

__all__ = ["NumberInference", "TypeInference", "is_complete", "join_types", "learn_types"]


class TypeInference(Protocol):
    """Finds the types of a node's outputs from those of its inputs."""

    def infer_node(self, node: Node) -> Sequence[Type | None]:
        """One type for each output, ``None`` where nothing can be said; never raises for a node it does not know."""


class NumberInference(Protocol):
    """Follows the numbers in small integer tensors; what finds types may have this method too."""

    def learn_numbers(self, node: Node) -> bool:
        """Whether more is known of the integers that a node gives than when they were last asked for."""


def is_complete(known: Type | None) -> bool:
    """Whether each size of a tensor has a number or a name of the model; other types say all there is to say."""
    if known is None:
        return False
    if not isinstance(known, TensorType):
        return True
    if known.dtype == DType.UNDEFINED or known.shape is None:
        return False
    return not any(dim is None or (isinstance(dim, SymbolicDim) and dim.is_generated) for dim in known.shape)


def join_types(known: Type | None, found: Type | None) -> Type | None:
    """A type that says what both say; where they contradict each other, what was known.

    Args:
        known: what was known before.
        found: what was found now.

    Example:
        >>> str(join_types(TensorType(DType.FLOAT, (None, 3)), TensorType(DType.FLOAT, (2, None))))
        'float[2, 3]'
    """
    if known is None or found is None:
        return found if known is None else known
    if not isinstance(known, TensorType) or not isinstance(found, TensorType):
        return known
    dtype = found.dtype if known.dtype == DType.UNDEFINED else known.dtype
    if known.dtype not in (found.dtype, DType.UNDEFINED) and found.dtype != DType.UNDEFINED:
        return known
    if known.shape is None or found.shape is None:
        shape = found.shape if known.shape is None else known.shape
    elif len(known.shape) != len(found.shape):
        return known
    else:
        shape = tuple(map(_better, known.shape, found.shape))
    return known if dtype == known.dtype and shape == known.shape else TensorType(dtype, shape)


def _better(known: Dim, found: Dim) -> Dim:
    if known is None or (isinstance(found, int) and not isinstance(known, int)):
        return found
    if type(known) is SymbolicDim and known.is_generated and type(found) is SymbolicDim and not found.is_generated:
        return found
    return known


def learn_types(inference: TypeInference, nodes: Iterable[Node]) -> list[Value]:
    """The values of which types or numbers became better known when they were inferred anew from some nodes on, downwards.

    Args:
        inference: finds types, and maybe numbers.
        nodes: what was edited.
    """
    learned: dict[Value, None] = {}
    # Asked for by name: isinstance of a protocol takes longer than most waves.
    learn_numbers: Callable[[Node], bool] | None = getattr(inference, "learn_numbers", None)
    todo = deque(nodes)
    waiting = set(todo)
    while todo:
        node = todo.popleft()
        waiting.discard(node)
        if node.graph is None:
            continue
        better: list[Value] = []
        if not all(is_complete(value.type) for value in node.outputs):
            for value, found in zip(node.outputs, inference.infer_node(node), strict=False):
                joined = join_types(value.type, found)
                if joined is not value.type:
                    value.type = joined
                    better.append(value)
        if learn_numbers is not None and learn_numbers(node):
            better = list(node.outputs)
        for value in better:
            learned[value] = None
            for user, _position in value._uses:
                if user not in waiting:
                    waiting.add(user)
                    todo.append(user)
    for value in learned:
        if value.producer is not None and value.producer.graph is not None:
            for listener in value.producer.graph.listeners:
                listener.value_learned(value)
    return list(learned)
