"""What statements about the sizes of inputs make of a model's own dimensions.

Statements that contradict each other, or the model, are errors that name both. A dimension that has a name is the same wherever the name
stands, so a statement about one axis is one about all; one whose name is a sum or product of others follows from theirs.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.errors import PipelineError
from graphopt.ir import Dim, Model, SymbolicDim, TensorType, Value, symbol_of_axis
from graphopt.passes import suggestion
from graphopt.transforms.input_sizes import (
    AXIS_NAME,
    LARGEST,
    InputSizes,
    Size,
    check_number,
    is_name,
    is_number,
    is_range,
    range_of,
)

__all__ = ["Resolved", "resolve"]

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(slots=True)
class Resolved:
    """What statements mean for one model.

    Attributes:
        sizes: by dimension of the model that has a name, what it is to be.
        axes: by input and axis, what an axis without a name is to be.
        ranks: by input whose rank the model leaves open, its shape.
        limits: ranges of dimensions that stay dynamic; axes without a name are called ``input.axis``.
        bounded: dimensions of the model that stay dynamic within a range, by name.
        bounded_axes: by input and axis, axes without a name that do.
    """

    sizes: dict[str, Dim] = field(default_factory=dict)
    axes: dict[tuple[str, int], Dim] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    limits: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    bounded: dict[str, Dim] = field(default_factory=dict)
    bounded_axes: dict[tuple[str, int], Dim] = field(default_factory=dict)


def resolve(stated: InputSizes, model: Model) -> Resolved:
    """What statements mean for a model.

    Args:
        stated: the statements.
        model: has the inputs; not changed.

    Raises:
        PipelineError: if an input or dimension is not there, or a statement contradicts the model or another one.
    """
    return _Resolver(stated, model).resolve()


class _Resolver:
    def __init__(self, stated: InputSizes, model: Model) -> None:
        self.stated = stated
        self.inputs: dict[str, Value] = {value.name: value for value in model.graph.inputs if not value.is_constant}
        self.names = set(_names(self.inputs.values()))
        self.found = Resolved()
        self.renamed: dict[str, str] = {}
        self.numbers: dict[str, tuple[int, str]] = {}
        self.ranges: dict[str, tuple[int, int | None, str]] = {}

    def resolve(self) -> Resolved:
        for name, sizes in self.stated.shapes.items():
            self._shape(name, tuple(sizes))
        unnamed = {AXIS_NAME.format(*place): place for place in _unnamed(self.inputs.values())}
        known = {*self.names, *self.renamed.values()}
        for name, size in self.stated.dims.items():
            where = f"dimension {name!r}"
            if name in unnamed and name not in known:
                self.found.axes[unnamed[name]] = SymbolicDim(name)
            elif name not in known:
                listed = ", ".join(sorted({*known, *unnamed})) or "none, all sizes are fixed"
                raise PipelineError(
                    f"no input has a {where}{suggestion(name, known) or ';'} dimensions that can be set: {listed}"
                )
            self._state(name, size, where)
        self._follow()
        return self._finish()

    def _shape(self, name: str, sizes: tuple[Size, ...]) -> None:
        value = self.inputs.get(name)
        if value is None:
            known = ", ".join(map(repr, self.inputs)) or "none"
            raise PipelineError(
                f"the model has no input {name!r}{suggestion(name, self.inputs) or ';'} inputs: {known}"
            )
        where = f"input {name!r}"
        if not isinstance(value.type, TensorType):
            raise PipelineError(f"{where} is {value.type}, which has no shape of its own; leave it out")
        declared: Sequence[Dim] | None = value.type.shape
        if declared is None:
            self.found.ranks[name] = len(sizes)
            declared = (None,) * len(sizes)
        if len(declared) != len(sizes):
            shown = ",".join(map(str, sizes)) or "no axes"
            raise PipelineError(
                f"{where}: shape {shown} has {len(sizes)} axes, expected {len(declared)} as in {value.type}"
            )
        for axis, (dim, size) in enumerate(zip(declared, sizes, strict=True)):
            self._axis(value, axis, dim, size)

    def _axis(self, value: Value, axis: int, dim: Dim, size: Size) -> None:
        where = f"axis {axis} of input {value.name!r}"
        if isinstance(dim, int):
            self._fixed(where, dim, size, value)
            return
        name = dim.name if isinstance(dim, SymbolicDim) else None
        if name is None:
            name = AXIS_NAME.format(value.name, axis)
            self.found.axes[value.name, axis] = SymbolicDim(name)
        self._state(name, size, where)

    def _fixed(self, where: str, dim: int, size: Size, value: Value) -> None:
        """See that a statement says what the model does."""
        if isinstance(size, int):
            check_number(size, where)
            if size == dim:
                return
        elif is_range(size):
            low, high = range_of(size, where)
            if low <= dim and (high is None or dim <= high):
                return
        raise PipelineError(
            f"{where} is {size}, expected {dim}: the model fixes it in {value.type}; state {dim}, or leave it out"
        )

    def _state(self, name: str, size: Size, where: str) -> None:
        """A named dimension, or an axis under its made-up name, is of a size."""
        if isinstance(size, int):
            check_number(size, where)
            self._number(name, size, where)
        elif is_range(size):
            low, high = range_of(size, where)
            if low == high:
                self._number(name, low, where)
            else:
                self._limit(name, low, high, where)
        elif is_number(size):  # too many digits for a number
            raise PipelineError(f"{where}: size {size:.40} is too large; expected 0 to {LARGEST}")
        elif not is_name(size):
            raise PipelineError(
                f"{where}: {size!r:.80} is no name for a dimension, nor a number or range; choose another one"
            )
        elif size != name:
            other = self.renamed.setdefault(name, size)
            if other != size:
                raise PipelineError(f"{where} is called {size!r}, and {other!r} in another statement; state one name")

    def _number(self, name: str, size: int, where: str) -> None:
        known, said = self.numbers.setdefault(name, (size, where))
        if known != size:
            raise PipelineError(
                f"{where} is {size}, but {said} says {known}, and both are dimension {name!r}; state one size"
            )

    def _limit(self, name: str, low: int, high: int | None, where: str) -> None:
        known = self.ranges.get(name)
        if known is not None:
            low = max(low, known[0])
            high = known[1] if high is None else high if known[1] is None else min(high, known[1])
            if high is not None and low > high:
                raise PipelineError(
                    f"{where} has no size that {known[2]} allows, and both are dimension {name!r}; state one range"
                )
        self.ranges[name] = (low, high, where)

    def _follow(self) -> None:
        """What is said of a new name is said of those that got it; expressions over numbers are numbers."""
        for name, new in self.renamed.items():
            if new in self.renamed and self.renamed[new] != new:
                raise PipelineError(
                    f"dimension {name!r} is called {new!r}, which is called {self.renamed[new]!r}; state the last name"
                )
        classes = {name: self.renamed.get(name, name) for name in (*self.names, *self.renamed)}
        for name in [item for item in self.numbers if classes.get(item, item) != item]:
            self._number(classes[name], *self.numbers[name])
        for name in [item for item in self.ranges if classes.get(item, item) != item]:
            self._limit(classes[name], *self.ranges[name])
        for name, new in classes.items():
            if new in self.numbers:
                self.numbers.setdefault(name, self.numbers[new])
        for name in self.names:
            size = _evaluate(name, {item: number for item, (number, _) in self.numbers.items()})
            if size is not None:
                where = f"dimension {name!r}, from what is stated of the others,"
                check_number(size, where)
                self._number(name, size, where)

    def _finish(self) -> Resolved:
        found = self.found
        for name, (number, where) in self.numbers.items():
            found.sizes[name] = number
            low, high, said = self.ranges.get(name) or (0, None, "")
            if number < low or (high is not None and number > high):
                raise PipelineError(
                    f"{where} is {number}, outside of {low}..{'' if high is None else high} that {said} says; state one of them"
                )
        for name, new in self.renamed.items():
            found.sizes.setdefault(name, SymbolicDim(new, *self.ranges.get(new, (0, None))[:2]))
        found.limits = {
            name: (low, high)
            for name, (low, high, _) in self.ranges.items()
            if name not in self.numbers and name not in self.renamed
        }
        found.bounded = {name: SymbolicDim(name, *limit) for name, limit in found.limits.items()}
        for place, dim in found.axes.items():
            made_up = dim.name if isinstance(dim, SymbolicDim) else None
            found.axes[place] = None if made_up is None else found.sizes.pop(made_up, None)
            if made_up in found.limits:
                found.bounded_axes[place] = symbol_of_axis(*place, *found.limits[made_up])
        return found


def _names(values: Iterable[Value]) -> Iterator[str]:
    """Names of dimensions of inputs."""
    for value in values:
        for dim in value.type.shape or () if isinstance(value.type, TensorType) else ():
            if isinstance(dim, SymbolicDim) and dim.name is not None:
                yield dim.name


def _unnamed(values: Iterable[Value]) -> Iterator[tuple[str, int]]:
    """Inputs and axes whose dimensions have no name."""
    for value in values:
        for axis, dim in enumerate(value.type.shape or () if isinstance(value.type, TensorType) else ()):
            if dim is None or (isinstance(dim, SymbolicDim) and dim.name is None):
                yield value.name, axis


def _evaluate(text: str, sizes: Mapping[str, int]) -> int | None:
    """The number that a name stands for that is an expression over dimensions of known size, ``None`` for any other name."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return None if isinstance(tree, ast.Name) else _value(tree, sizes)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError):
        return None


def _value(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    if isinstance(tree, ast.Name):
        return sizes[tree.id]
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](_value(tree.left, sizes), _value(tree.right, sizes))
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    raise ValueError("not an expression over sizes")
