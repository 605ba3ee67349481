"""Arrays as TensorRT takes them: contiguous, of plain types, and left alone by everybody until an engine is built."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from graphopt.ir import Array

__all__ = ["is_one_number", "lasting", "packed_int4"]

#: Elements of a large array, how many are looked at first, and at once.
_LARGE: Final = 4096
_SAMPLE: Final = 64
_BLOCK: Final = 1 << 20


def lasting(array: Array) -> Array:
    """A contiguous array of the plain element type that nobody changes: itself if it is one, else a copy.

    ``ascontiguousarray`` would give a scalar an axis; types that were pickled, or state their byte order, are not understood.
    """
    plain = np.dtype(array.dtype.type)
    flags = array.flags
    if array.size and array.dtype == plain and flags.c_contiguous and flags.aligned and not _may_change(array):
        return array
    kept = np.empty(array.shape, plain)
    kept[...] = array
    return kept


def is_one_number(array: Array) -> bool:
    """Whether a large array has the same bits everywhere; one that is not contiguous is not looked through."""
    if array.size < _LARGE or not array.flags.c_contiguous or array.dtype.itemsize not in (2, 4):
        return False
    bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
    starts = (0, *range(_SAMPLE, bits.size, _BLOCK))
    ends = (_SAMPLE, *(start + _BLOCK for start in starts[1:]))
    return all(bool((bits[start:end] == bits[0]).all()) for start, end in zip(starts, ends, strict=True))


def _may_change(array: Array) -> bool:
    """Whether somebody may write to the memory of an array: to itself, or to an array that it is a view of and that others have too."""
    if array.flags.writeable:
        return True
    while isinstance(array.base, np.ndarray):
        if array.base.flags.writeable and _references_to_base(array) > _BY_VIEW_ALONE:
            return True
        array = array.base
    base: object = array.base
    return isinstance(base, bytearray) or (isinstance(base, memoryview) and not base.readonly)


def _references_to_base(array: Array) -> int:
    """References to the array that one is a view of, with those that counting takes."""
    base = array.base
    return sys.getrefcount(base)


#: References to an array that nobody has but a view of it; how many counting takes differs between versions of Python.
_BY_VIEW_ALONE: Final = _references_to_base(np.zeros(1).view())


def packed_int4(array: Array) -> Array:
    """Two numbers a byte, the first one in the low half."""
    flat = array.reshape(-1).astype(np.int8).view(np.uint8) & 15
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: Array = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
    return packed
