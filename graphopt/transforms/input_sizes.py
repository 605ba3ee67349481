"""What a user states of the sizes of a model's inputs, as text and as data.

``--set-dim batch=1`` and ``--input-shape x:1,3,224,224`` state numbers, names (``x:batch,3,224,224``) or ranges (``seq=1..512``, which
keep the dimension dynamic). What that means for a model: :mod:`graphopt.transforms.resolved_sizes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.errors import PipelineError

__all__ = [
    "AXIS_NAME",
    "LARGEST",
    "InputSizes",
    "Limits",
    "Size",
    "check_number",
    "is_name",
    "is_number",
    "is_range",
    "parse_dim",
    "parse_shape",
    "range_of",
]

#: A number, the name of a dimension, or a range ``"1..512"``.
Size = int | str
#: Smallest and largest size by dimension; ``None`` for no largest.
Limits = Mapping[str, tuple[int, int | None]]

#: How an axis without a name is called where sizes are listed.
AXIS_NAME: Final = "{}.{}"
#: Sizes that any tensor in memory has.
LARGEST: Final = (1 << 31) - 1
_NUMBER: Final = re.compile(r"[+-]?\d+\Z")
_RANGE: Final = re.compile(r"([+-]?\d{1,30})?\.\.([+-]?\d{1,30})?\Z")
_BAD_NAME: Final = re.compile(r"[\s,=:]|\A[\d.+?-]|\A\Z")


@dataclass(frozen=True, slots=True)
class InputSizes:
    """What is stated.

    Attributes:
        shapes: by input, a size for each axis.
        dims: by name of a dimension.
    """

    shapes: Mapping[str, Sequence[Size]] = field(default_factory=dict)
    dims: Mapping[str, Size] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.shapes or self.dims)


# -- text -------------------------------------------------------------------------------------------------------------------


def parse_dim(text: str) -> tuple[str, Size]:
    """``NAME=SIZE`` or ``NAME=FIRST..LAST``; everything before the last ``=`` is the name.

    Raises:
        PipelineError: if it is neither.

    Example:
        >>> parse_dim("batch=1"), parse_dim("seq=1..512")
        (('batch', 1), ('seq', '1..512'))
    """
    name, equals, size = text.rpartition("=")
    if not equals or not name or not (_NUMBER.match(size.strip()) or is_range(size.strip())):
        raise PipelineError(
            f"{text!r:.100} is not understood; expected NAME=SIZE or NAME=FIRST..LAST, such as batch=1 or seq=1..512"
        )
    return name, _size(size)


def parse_shape(text: str) -> tuple[str, tuple[Size, ...]]:
    """``INPUT:SIZE,SIZE,...``; everything before the last ``:`` is the name of the input.

    Raises:
        PipelineError: if it is not of that form.

    Example:
        >>> parse_shape("x:batch,3,224,224")
        ('x', ('batch', 3, 224, 224))
    """
    name, colon, rest = text.rpartition(":")
    sizes = [item.strip() for item in rest.split(",")] if rest.strip() else []
    if (
        not colon
        or not name
        or not all(_NUMBER.match(item) or is_range(item) or not _BAD_NAME.search(item) for item in sizes)
    ):
        raise PipelineError(
            f"{text!r:.100} is not understood; expected INPUT:SIZE,SIZE,... of numbers, names and ranges, such as x:batch,3,224,224"
        )
    return name, tuple(map(_size, sizes))


def _size(text: str) -> Size:
    text = text.strip()
    return int(text) if _NUMBER.match(text) and len(text) <= len(str(1 << 63)) + 1 else text


def is_number(size: str) -> bool:
    """Whether a text is a whole number, of however many digits."""
    return _NUMBER.match(size) is not None


def is_name(size: str) -> bool:
    """Whether a text can be the name of a dimension."""
    return _BAD_NAME.search(size) is None


def is_range(size: Size) -> bool:
    """Whether a size is a range, which may be open at one end."""
    return isinstance(size, str) and size != ".." and _RANGE.match(size) is not None


def range_of(size: str, where: str) -> tuple[int, int | None]:
    """First and last size of a range, ``None`` for no last.

    Args:
        size: its text.
        where: names it in errors.

    Raises:
        PipelineError: if it begins above its end, or at no size.
    """
    found = _RANGE.match(size)
    assert found is not None, "asked for ranges only"
    low, high = int(found[1] or 0), None if found[2] is None else int(found[2])
    for number in (low, high):
        check_number(number, where)
    if high is not None and low > high:
        raise PipelineError(f"{where}: range {size!r} begins above its end; expected {high}..{low}")
    return low, high


def check_number(number: int | None, where: str) -> None:
    """See that a number can be a size.

    Raises:
        PipelineError: if it is negative or too large.
    """
    if number is not None and not 0 <= number <= LARGEST:
        raise PipelineError(
            f"{where}: size {number} is {'negative' if number < 0 else 'too large'}; expected 0 to {LARGEST}"
        )
