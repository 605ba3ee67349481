"""Sizes that an engine is built for: smallest, usual and largest shape of each input with sizes that are not known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.backends.tensorrt.protocols import Network
from graphopt.errors import ExecutionError

__all__ = ["InputRange", "parse_profile", "ranges_of"]

_SHAPE: Final = re.compile(r"\d+(x\d+)*")
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputRange:
    """Shapes of one input.

    Attributes:
        least: the smallest.
        usual: the one that the engine is made fast for.
        most: the largest.
    """

    least: Shape
    usual: Shape
    most: Shape

    def __post_init__(self) -> None:
        ranks = {len(self.least), len(self.usual), len(self.most)}
        if len(ranks) != 1 or not all(
            low <= middle <= high for low, middle, high in zip(self.least, self.usual, self.most, strict=True)
        ):
            raise ExecutionError(
                f"shapes {_text(self.least)}, {_text(self.usual)}, {_text(self.most)} are not in order: "
                "expected the smallest, the usual and the largest, of one number of axes"
            )


def _text(shape: Shape) -> str:
    return "x".join(str(size) for size in shape)


def parse_profile(text: str) -> tuple[str, InputRange]:
    """An input with its shapes, from ``NAME:MIN,USUAL,MAX`` or ``NAME:SHAPE``.

    Raises:
        ExecutionError: if it is not of that form.

    Example:
        >>> parse_profile("x:1x3x224x224,4x3x224x224,8x3x224x224")[1].usual
        (4, 3, 224, 224)
    """
    name, colon, rest = text.rpartition(":")
    parts = rest.split(",")
    if not colon or not name or len(parts) not in (1, 3) or not all(_SHAPE.fullmatch(part) for part in parts):
        raise ExecutionError(
            f"profile {text!r} is not understood; expected NAME:MIN,USUAL,MAX, such as x:1x3x224x224,4x3x224x224,8x3x224x224"
        )
    shapes = [tuple(int(size) for size in part.split("x")) for part in parts]
    return name, InputRange(*(shapes if len(shapes) == 3 else shapes * 3))


def ranges_of(
    network: Network, stated: Mapping[str, InputRange], sizes: Mapping[str, Sequence[int]]
) -> dict[str, InputRange]:
    """Shapes of the inputs that need some.

    Args:
        network: it.
        stated: by input.
        sizes: smallest, usual and largest size by name of a dimension, for inputs that have no shapes stated.

    Raises:
        ExecutionError: if an input has a size that nobody states, or a shape that does not fit.
    """
    found: dict[str, InputRange] = {}
    inputs = {network.get_input(place).name: network.get_input(place) for place in range(network.num_inputs)}
    for name in stated:
        if name not in inputs:
            raise ExecutionError(f"the model has no input {name!r}; it takes: {', '.join(inputs)}")
    for name, tensor in inputs.items():
        shape = tuple(tensor.shape)
        if name in stated:
            _check_fit(name, shape, stated[name])
            found[name] = stated[name]
        elif -1 in shape:
            dims = [str(tensor.get_dimension_name(axis) or "") for axis in range(len(shape))]
            lacking = [
                dim or f"axis {axis}"
                for axis, (dim, size) in enumerate(zip(dims, shape, strict=True))
                if size == -1 and dim not in sizes
            ]
            if lacking:
                raise ExecutionError(
                    f"input {name!r} has sizes that are not fixed ({', '.join(lacking)}); "
                    f"state its shapes: --profile {name}:MIN,USUAL,MAX"
                )
            each = [
                [sizes[dim][place] if size == -1 else size for dim, size in zip(dims, shape, strict=True)]
                for place in range(3)
            ]
            found[name] = InputRange(*(tuple(item) for item in each))
    return found


def _check_fit(name: str, shape: Shape, stated: InputRange) -> None:
    for given in (stated.least, stated.most):
        if len(given) != len(shape) or any(size not in (-1, other) for size, other in zip(shape, given, strict=True)):
            raise ExecutionError(
                f"input {name!r} has the shape {_text(tuple(shape)).replace('-1', '?')}, which "
                f"{_text(given)} of the profile does not fit"
            )
