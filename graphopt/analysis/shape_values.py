"""The numbers in small integer tensors, as expressions over dimensions.

What a model computes to reshape, slice and expand (Shape, Gather, arithmetic, Concat, ...) is followed symbolically: each element is a
number, an expression over named sizes, or unknown. A size that type inference left unknown gets a symbol of its own that no other
size shares, so nothing is ever taken to be equal that might differ. Exact: integer semantics of the ONNX operators, division
truncating toward zero; what could overflow or round differently is unknown.

Answers stay right while a graph is rewritten, because a rewrite never changes what a value means; they are worked out on demand
and kept. Where all are numbers, they are followed through floating point too. Source: the operators' definitions,
https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphopt.analysis.float_sizes import FLOATS, float_numbers, truncated
from graphopt.analysis.integer_ops import EVALUATORS
from graphopt.analysis.integers import MAX_ELEMENTS, Integers
from graphopt.ir import Dim, DType, Node, SymbolicDim, Type, Value, fresh_dim, symbol_of_axis

__all__ = ["Integers", "ShapeValues"]

_INTEGER = frozenset(
    {DType.INT64, DType.INT32, DType.BOOL, DType.UINT8, DType.INT8, DType.INT16, DType.UINT16, DType.UINT32}
)
#: Narrower types that an axis fits in: none is taken to be longer than 2^31 - 1.
_HOLDS_SIZES = frozenset({DType.INT32, DType.UINT32})
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class _TooDeepError(Exception):
    """The chain is longer than is followed at once; nothing is remembered of it."""


def _symbol(value: Value, axis: int) -> SymbolicDim:
    """The symbol of an unknown size. Inputs of the model have one that is always the same: their sizes are what the caller gives."""
    if value.is_input and value.graph is not None and value.graph.parent is None:
        return symbol_of_axis(value.name, axis)
    return fresh_dim()


class ShapeValues:
    """Answers what is known of integer tensors and of sizes.

    Attributes:
        doubts: names of sizes of which a quotient would be known if they were never zero.
    """

    __slots__ = ("_dims", "_epoch", "_known", "_sizes", "doubts")

    def __init__(self) -> None:
        self._known: dict[Value, tuple[Integers | None, int]] = {}
        self._dims: dict[Value, tuple[Type | None, tuple[Dim, ...]]] = {}
        self._sizes: set[Dim] = set()
        self.doubts: set[str] = set()
        self._epoch = 0

    def at(self, epoch: int) -> ShapeValues:
        """This, with answers of earlier epochs worked out again unless they are all numbers: types may be better known now."""
        self._epoch = epoch
        return self

    def of(self, value: Value) -> Integers | None:
        """The elements of a small integer tensor, ``None`` when it is none or nothing is known."""
        try:
            return self._evaluate(value, 0)
        except _TooDeepError:
            return None

    def shape_of(self, value: Value) -> tuple[Dim, ...] | None:
        """Sizes of a tensor's axes, a symbol of its own where inference found nothing; ``None`` when the rank is unknown."""
        shape = value.shape
        if shape is None:
            return None
        kept = self._dims.get(value)
        if kept is not None and kept[0] is value.type:
            return kept[1]
        if None not in shape:
            return shape
        found = tuple(_symbol(value, axis) if dim is None else dim for axis, dim in enumerate(shape))
        self._dims[value] = value.type, found
        return found

    def assume(self, value: Value, integers: Integers | None) -> None:
        """Take the elements of a value as given, such as those of a function's input in one call."""
        self._known[value] = integers, self._epoch

    def forget(self, values: Iterable[Value]) -> None:
        """Forget what was found of some values, which are about to mean something else."""
        for value in values:
            self._known.pop(value, None)
            self._dims.pop(value, None)

    def refresh(self, value: Value) -> bool:
        """Work out the elements of a value again; whether other ones are known now."""
        old = self._known.pop(value, None)
        found = self.of(value)
        return found is not None and (old is None or found != old[0])

    def _evaluate(self, value: Value, depth: int) -> Integers | None:
        kept = self._known.get(value)
        if kept is not None and (kept[1] == self._epoch or (kept[0] is not None and kept[0].numbers is not None)):
            return kept[0]
        if depth > _MAX_DEPTH:
            raise _TooDeepError
        found = self._from_constant(value) if value.producer is None else self._from_node(value, value.producer, depth)
        self._known[value] = found, self._epoch
        return found

    @staticmethod
    def _from_constant(value: Value) -> Integers | None:
        constant = value.const if value.is_constant else None
        if constant is None or constant.dtype not in _INTEGER or constant.size > MAX_ELEMENTS or constant.is_sparse:
            return None
        return Integers(constant.shape, tuple(int(item) for item in constant.numpy().reshape(-1).tolist()))

    def _from_node(self, value: Value, node: Node, depth: int) -> Integers | None:
        evaluate = EVALUATORS.get(node.op)
        if evaluate is None or node.has_references:
            return None
        shape = value.shape
        if shape is not None and (
            len(shape) > 3 or math.prod(dim for dim in shape if isinstance(dim, int)) > MAX_ELEMENTS
        ):
            return None
        if node.op in ("Shape", "Size"):
            source = node.inputs[0]
            dims = None if source is None else self.shape_of(source)
            if dims is None:
                return None
            self._sizes.update(dims)
            return evaluate(node, value.index, [Integers((len(dims),), dims)])
        if node.op == "Cast" and (value.dtype is None or value.dtype not in _INTEGER):
            return None
        source = node.inputs[0] if node.op == "Cast" else None
        if source is not None and source.dtype in FLOATS:
            numbers = float_numbers(source, lambda item: self._evaluate(item, depth + 1), _MAX_DEPTH - depth)
            return None if numbers is None else evaluate(node, value.index, [truncated(numbers)])
        inputs: Sequence[Integers | None] = [
            None if item is None else self._evaluate(item, depth + 1) for item in node.inputs
        ]
        found = evaluate(node, value.index, inputs)
        if node.op in ("Div", "Mod") and inputs[0] is not None and (found is None or None in found.elements):
            self.doubts.update(*(dim.symbols() for dim in inputs[0].elements if isinstance(dim, SymbolicDim)))
        if (
            node.op == "Cast" and value.dtype in _HOLDS_SIZES and inputs[0] is not None
        ):  # whatever the expression, it is a size
            kept = [None] * len(inputs[0].elements) if found is None else found.elements
            pairs = zip(inputs[0].elements, kept, strict=True)
            return Integers(inputs[0].shape, tuple(item if item in self._sizes else fits for item, fits in pairs))
        return found
