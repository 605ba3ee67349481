"""What a shape function may ask: shapes of values, and the numbers in small integer tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from graphopt.analysis.integers import Integers
from graphopt.analysis.shape_values import ShapeValues
from graphopt.ir import (
    Dim,
    DType,
    Model,
    Node,
    Shape,
    SymbolicDim,
    TensorType,
    Type,
    Value,
    is_nonnegative,
    lower_bound,
)

__all__ = ["Facts", "ShapeFunction", "dtype_at", "same_as_first", "shape_at", "tensor"]


def _runs_always(node: Node) -> bool:
    """Whether each run computes a node: not in a branch or loop, nor in a function, which may be called there."""
    graph = node.graph
    return (
        graph is not None
        and graph.parent is None
        and isinstance(graph.owner, Model)
        and any(v.is_used for v in node.outputs)
    )


class Facts:
    """What is known around a node while types are inferred.

    Attributes:
        values: follows the numbers in integer tensors.
        doubts: names of sizes of which more would be known if they were known not to be zero.
    """

    __slots__ = ("_positive", "_sizes", "doubts", "values")

    def __init__(self, values: ShapeValues, positive: Iterable[str] = ()) -> None:
        self.values = values
        self._sizes: set[Dim] = set()
        self._positive = set(positive)
        self.doubts: set[str] = set()

    @property
    def positive(self) -> frozenset[str]:
        """Names of sizes that are not zero in a run that does not fail."""
        return frozenset(self._positive)

    def note_sizes(self, node: Node, shape: Shape) -> None:
        """Sizes of a value that each run computes are not negative, whatever their expressions would allow."""
        if _runs_always(node):
            self._sizes.update(shape)

    def note_positive(self, node: Node, *dims: Dim) -> None:
        """A node fails if one of these is zero."""
        for dim in dims:
            if (
                isinstance(dim, SymbolicDim)
                and dim.name is not None
                and dim.name not in self._positive
                and _runs_always(node)
            ):
                self._positive.add(dim.name)

    def is_nonnegative(self, dim: Dim) -> bool:
        """Whether an expression can't be negative in a run that does not fail."""
        return is_nonnegative(dim) or dim in self._sizes

    def is_positive(self, dim: SymbolicDim) -> bool:
        """Whether an expression can't be zero, nor negative, in a run that does not fail; if not, the doubt is noted."""
        bound = lower_bound(dim, self._positive)
        if bound is not None and bound > 0:
            return True
        self.doubts |= dim.symbols()
        return False

    def shape(self, value: Value | None) -> Shape | None:
        """Sizes of a tensor, a symbol for each one that is not known; ``None`` when the rank is unknown or there is no tensor."""
        found = None if value is None else value.type
        if type(found) is not TensorType:
            return None
        shape = found.shape
        if shape is None or None not in shape:
            return shape
        assert value is not None
        return self.values.shape_of(value)

    def integers(self, value: Value | None) -> Integers | None:
        """The elements of a small integer tensor, ``None`` when nothing is known of them."""
        return None if value is None else self.values.of(value)

    def numbers(self, value: Value | None) -> tuple[int, ...] | None:
        """The elements of a small integer tensor if each is a number."""
        found = None if value is None else self.values.of(value)
        return None if found is None else found.numbers

    def elements(self, value: Value | None) -> tuple[Dim, ...] | None:
        """The elements of a small integer list, numbers, expressions or unknown; ``None`` when not even their count is known."""
        found = None if value is None else self.values.of(value)
        if found is not None and found.rank == 1:
            return found.elements
        shape = None if value is None else value.shape
        if shape is not None and len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= _MOST_AXES:
            return (None,) * shape[0]
        return None


#: Tensors with more axes are not met, and lists of sizes with more entries are none.
_MOST_AXES = 64

#: Gives the types of a node's outputs. ``None`` for an output, and for a size in a shape, says that nothing is known.
ShapeFunction = Callable[[Node, Facts], Sequence[Type | None]]


def tensor(dtype: DType | None, shape: Shape | None) -> TensorType | None:
    """A tensor type; ``None`` when neither element type nor rank is known."""
    if dtype is None:
        return None if shape is None else TensorType(DType.UNDEFINED, shape)
    return TensorType(dtype, shape)


def dtype_at(node: Node, index: int) -> DType | None:
    """Element type of an input, ``None`` when it is absent, unknown or no tensor."""
    inputs = node.inputs
    value = inputs[index] if index < len(inputs) else None
    return None if value is None else value.dtype


def shape_at(node: Node, facts: Facts, index: int) -> Shape | None:
    """Shape of an input, ``None`` when it is absent or its rank is unknown."""
    inputs = node.inputs
    return facts.shape(inputs[index]) if index < len(inputs) else None


def same_as_first(node: Node, facts: Facts) -> Sequence[Type | None]:
    """Element type and shape are those of the first input."""
    value = node.inputs[0]
    if value is None:
        return (None,)
    found = value.type
    if type(found) is TensorType and found.shape is not None and None in found.shape:
        return (TensorType(found.dtype, facts.shape(value)),)
    return (found,)
