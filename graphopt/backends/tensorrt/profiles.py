"""Sizes that an engine is built for: smallest, usual and largest shape of each input with sizes that are not known, by profile.

An input whose numbers are a shape (TensorRT calls it a shape tensor) has ranges of its values instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from graphopt.errors import ExecutionError

__all__ = ["InputRange", "Profile", "parse_profile", "parse_sizes", "profiles_of"]

_NUMBERS: Final = re.compile(r"-?\d+(x-?\d+)*")
_SIZES: Final = re.compile(r"\d+(?P<mark>[,:])\d+(?P=mark)\d+|\d+")
Shape = tuple[int, ...]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class InputRange:
    """Shapes of one input, or values of one that holds a shape.

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

    def __str__(self) -> str:
        return ",".join(_text(shape) for shape in (self.least, self.usual, self.most))


@dataclass(frozen=True)
class Profile:
    """What one profile says.

    Attributes:
        shapes: by input.
        values: of inputs that hold a shape, by input.
        sizes: smallest, usual and largest size by name of a dimension, for inputs that have no shapes here.
        is_seen: whether shapes and values were seen in data, not stated: ``sizes`` go before them, and values that no shape is
            computed from do not matter.
    """

    shapes: Mapping[str, InputRange] = field(default_factory=dict)
    values: Mapping[str, InputRange] = field(default_factory=dict)
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    is_seen: bool = False

    def with_sizes(self, sizes: Mapping[str, Sequence[int]]) -> Profile:
        """The same with sizes of dimensions that it says nothing of."""
        return replace(self, sizes={**sizes, **self.sizes})


def _text(shape: Shape) -> str:
    return "x".join(str(size) for size in shape)


def parse_profile(text: str) -> tuple[str, InputRange]:
    """An input with its shapes or values, from ``NAME:MIN,USUAL,MAX`` or ``NAME:SHAPE``.

    Raises:
        ExecutionError: if it is not of that form.

    Example:
        >>> parse_profile("x:1x3x224x224,4x3x224x224,8x3x224x224")[1].usual
        (4, 3, 224, 224)
    """
    name, colon, rest = text.rpartition(":")
    parts = rest.split(",")
    if not colon or not name or len(parts) not in (1, 3) or not all(_NUMBERS.fullmatch(part) for part in parts):
        raise ExecutionError(
            f"profile {text!r} is not understood; expected NAME:MIN,USUAL,MAX, such as x:1x3x224x224,4x3x224x224,8x3x224x224"
        )
    shapes = [tuple(int(size) for size in part.split("x")) for part in parts]
    return name, InputRange(*(shapes if len(shapes) == 3 else shapes * 3))


def parse_sizes(text: str) -> tuple[str, Shape]:
    """A dimension with its smallest, usual and largest size, from ``NAME=MIN,USUAL,MAX``; colons do as well.

    Raises:
        ExecutionError: if it is not of that form.

    Example:
        >>> parse_sizes("batch=1,4,8"), parse_sizes("seq=1:128:512"), parse_sizes("batch=2")
        (('batch', (1, 4, 8)), ('seq', (1, 128, 512)), ('batch', (2, 2, 2)))
    """
    name, equals, rest = text.rpartition("=")
    if not equals or not name or not _SIZES.fullmatch(rest):
        raise ExecutionError(f"dimension {text!r} is not understood; expected NAME=MIN,USUAL,MAX, such as batch=1,4,8")
    sizes = tuple(int(size) for size in re.split("[,:]", rest))
    return name, sizes if len(sizes) == 3 else sizes * 3


def profiles_of(
    shapes: Sequence[tuple[str, InputRange]],
    values: Sequence[tuple[str, InputRange]],
    sizes: Sequence[tuple[str, Shape]],
) -> list[Profile]:
    """Profiles from what was stated one after the other.

    What is said again of the same input or dimension is for a further profile; what is said less often holds in those too.

    Example:
        >>> made = profiles_of([], [], [("batch", (1, 1, 1)), ("batch", (2, 4, 8)), ("seq", (1, 64, 128))])
        >>> [dict(item.sizes) for item in made]
        [{'batch': (1, 1, 1), 'seq': (1, 64, 128)}, {'batch': (2, 4, 8), 'seq': (1, 64, 128)}]
    """
    by_shape, by_value, by_size = _rounds(shapes), _rounds(values), _rounds(sizes)
    found: list[Profile] = []
    for place in range(max(len(by_shape), len(by_value), len(by_size))):
        before = found[-1] if found else Profile()
        found.append(
            Profile(
                {**before.shapes, **_at(by_shape, place)},
                {**before.values, **_at(by_value, place)},
                {**before.sizes, **_at(by_size, place)},
            )
        )
    return found


def _at(rounds: Sequence[Mapping[str, _Item]], place: int) -> Mapping[str, _Item]:
    return rounds[place] if place < len(rounds) else {}


def _rounds(stated: Sequence[tuple[str, _Item]]) -> list[dict[str, _Item]]:
    """What was stated for the first time by name, for the second time, and so on."""
    found: list[dict[str, _Item]] = []
    for name, item in stated:
        place = next((place for place, given in enumerate(found) if name not in given), None)
        if place is None:
            found.append({name: item})
        else:
            found[place][name] = item
    return found
