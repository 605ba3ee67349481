"""Masks as text: indices as ranges, which people can edit, and elements of weights as packed bits."""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PackedMask", "mask_of_ranges", "ranges_of_mask"]

_Mask = npt.NDArray[np.bool_]
_RANGE: Final = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
#: More indices than any axis of a weight has.
_MOST: Final = 1 << 28


def ranges_of_mask(kept: _Mask) -> str:
    """The indices that are true, ascending.

    Example:
        >>> ranges_of_mask(np.array([True, True, True, False, True]))
        '0-2,4'
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8))).tolist()
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return ",".join(f"{start}" if end == start + 1 else f"{start}-{end - 1}" for start, end in pairs)


def mask_of_ranges(text: str, size: int) -> _Mask:
    """The inverse of :func:`ranges_of_mask`.

    Args:
        text: indices and ranges of them, ascending, with commas between; at least one.
        size: how many indices there are.

    Raises:
        ValueError: if the text says something else.

    Example:
        >>> mask_of_ranges("0-1, 3", 4)
        array([ True,  True, False,  True])
    """
    if not 0 < size <= _MOST:
        raise ValueError(f"size is {size}, expected 1 to {_MOST}")
    kept = np.zeros(size, np.bool_)
    following = 0
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"kept has {part.strip()[:40]!r}, expected indices such as 0-7,9; at least one is kept")
        start = int(found[1])
        end = start if found[2] is None else int(found[2])
        if not following <= start <= end < size:
            raise ValueError(f"kept has {part.strip()}, expected ascending indices from {following} to {size - 1}")
        kept[start : end + 1] = True
        following = end + 1
    return kept


@dataclass(frozen=True, slots=True)
class PackedMask:
    """Which elements of a weight stay, small.

    Attributes:
        shape: of the weight.
        zeros: how many elements don't stay.
        packed: a bit for each element in row-major order, the highest of each byte first, compressed by zlib.

    Example:
        >>> mask = PackedMask.of(np.array([[True, False], [True, True]]))
        >>> mask.zeros, mask.array().tolist()
        (1, [[True, False], [True, True]])
    """

    shape: tuple[int, ...]
    zeros: int
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, kept: _Mask) -> PackedMask:
        """Pack a mask: bool, any shape, true for what stays."""
        packed = zlib.compress(np.packbits(kept).tobytes(), 9)
        return cls(kept.shape, kept.size - int(np.count_nonzero(kept)), packed)

    @property
    def size(self) -> int:
        """How many elements the weight has."""
        return math.prod(self.shape)

    def array(self) -> _Mask:
        """The mask itself, bool, of its shape.

        Raises:
            ValueError: if it is damaged.
        """
        count = -(-self.size // 8)
        try:
            opened = zlib.decompressobj()
            data = opened.decompress(self.packed, count + 1)  # no more than is expected: the file may claim anything
        except zlib.error as err:
            raise ValueError(f"its bits are damaged ({err})") from err
        if len(data) != count:
            raise ValueError(f"it has {len(data)} bytes of bits, expected {count} for shape {list(self.shape)}")
        kept = np.unpackbits(np.frombuffer(data, np.uint8), count=self.size).view(np.bool_).reshape(self.shape)
        zeros = kept.size - int(np.count_nonzero(kept))
        if zeros != self.zeros:
            raise ValueError(f"it says {self.zeros} zeros and has {zeros}")
        return kept

    def to_text(self) -> str:
        """The packed bits, as base64."""
        return base64.b64encode(self.packed).decode("ascii")

    @classmethod
    def from_text(cls, shape: tuple[int, ...], zeros: int, text: str) -> PackedMask:
        """What :meth:`to_text` gave; bits are looked at when they are asked for.

        Raises:
            ValueError: if it is no base64, or a size is negative.
        """
        if any(size < 0 for size in shape):
            raise ValueError(f"a mask has shape {list(shape)}, expected sizes from 0 on")
        try:
            return cls(shape, zeros, base64.b64decode(text, validate=True))
        except binascii.Error as err:
            raise ValueError(f"the bits of a mask are no base64 ({err})") from err
