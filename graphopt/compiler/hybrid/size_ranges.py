"""Sizes that the engine of a part is built for, worked out from those that are stated for the inputs of the whole model.

A value between two parts has a shape in terms of the model's dimensions, ``[batch, 2*tokens+1]``. Its smallest and largest sizes are those
at the ends of the ranges of these dimensions, its usual size that of usual ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.errors import ExecutionError
from graphopt.ir import Dim, Model, SymbolicDim, TensorType, Value

__all__ = ["SizeRanges", "refuse_open_inputs"]

#: Smallest, usual and largest size.
_Range = tuple[int, int, int]


class SizeRanges:
    """Ranges of dimensions by name, of one profile.

    Args:
        inputs: of the model.
        stated: shapes of values, of inputs above all, and sizes of dimensions.

    Raises:
        ExecutionError: if a shape does not fit its input, or contradicts another one.
    """

    def __init__(self, inputs: Sequence[Value], stated: Profile) -> None:
        self._stated = stated
        self._known: dict[str, _Range] = {}
        for name, sizes in stated.sizes.items():
            least, usual, most = sizes
            self._known[name] = (least, usual, most)
        for value in inputs:
            if value.name in stated.shapes and isinstance(value.type, TensorType) and value.type.shape is not None:
                self._learn(value.name, value.type.shape, stated.shapes[value.name])

    def profile(self, values: Sequence[Value]) -> Profile:
        """The profile of an engine that reads some values.

        Raises:
            ExecutionError: if a size is not fixed, and nobody states it.
        """
        shapes = {value.name: found for value in values if (found := self._of(value)) is not None}
        names = {value.name for value in values}
        return Profile(shapes, {name: item for name, item in self._stated.values.items() if name in names})

    def _learn(self, name: str, shape: Sequence[Dim], stated: InputRange) -> None:
        if len(shape) != len(stated.least):
            raise ExecutionError(f"input {name!r} has {len(shape)} axes, its profile has {len(stated.least)}")
        for size, *found in zip(shape, stated.least, stated.usual, stated.most, strict=True):
            symbol = size.name if isinstance(size, SymbolicDim) else None
            if symbol is None:
                continue
            least, usual, most = found
            if self._known.setdefault(symbol, (least, usual, most)) != (least, usual, most):
                told = ",".join(map(str, self._known[symbol]))
                raise ExecutionError(
                    f"input {name!r}: its profile says {least},{usual},{most} for {symbol!r}, which is {told} elsewhere"
                )

    def _of(self, value: Value) -> InputRange | None:
        """Shapes of a value that an engine reads, ``None`` when all of its sizes are fixed."""
        assert isinstance(value.type, TensorType), "engines are handed tensors"
        assert value.type.shape is not None, "of a known number of axes"
        if value.name in self._stated.shapes:
            return self._stated.shapes[value.name]
        if all(isinstance(size, int) for size in value.type.shape):
            return None
        symbols = sorted(
            {name for size in value.type.shape if isinstance(size, SymbolicDim) for name in size.symbols()}
        )
        lacking = [name for name in symbols if name not in self._known]
        if lacking:
            options = " ".join(f"--dim {name}=MIN,USUAL,MAX" for name in lacking)
            raise ExecutionError(
                f"{value.name!r} has sizes that are not fixed ({', '.join(lacking)}); state them for the engines: {options}"
            )
        ranges = [self._range(size) for size in value.type.shape]
        least, usual, most = (tuple(item[place] for item in ranges) for place in range(3))
        return InputRange(least, usual, most)

    def _range(self, size: Dim) -> _Range:
        if isinstance(size, int):
            return size, size, size
        assert size is not None, "a size that depends on data is not handed to an engine"
        symbols = sorted(size.symbols())
        ends = [{self._known[name][0], self._known[name][2]} for name in symbols]
        found = [size.evaluate(dict(zip(symbols, corner, strict=True))) for corner in itertools.product(*ends)]
        usual = size.evaluate({name: self._known[name][1] for name in symbols})
        return min(*found, usual), usual, max(*found, usual)


def refuse_open_inputs(model: Model, shapes: Mapping[str, Sequence[int | str]], profiles: Sequence[Profile]) -> None:
    """See that sizes of all inputs are stated.

    Args:
        model: it; not changed.
        shapes: names for sizes that have none, by input.
        profiles: what is stated.

    Raises:
        ExecutionError: naming the first input of which a size is not fixed and not stated, with the options that state it.
    """
    fed = []
    for value in model.graph.inputs:
        if value.is_constant or not isinstance(value.type, TensorType) or value.type.shape is None:
            continue
        names = shapes.get(value.name)
        made = Value(value.name)
        made.type = value.type if names is None else value.type.with_shape(tuple(map(_size, names)))
        fed.append(made)
    for stated in profiles:
        SizeRanges(fed, stated).profile(fed)


def _size(stated: int | str) -> Dim:
    return stated if isinstance(stated, int) else SymbolicDim(stated)
