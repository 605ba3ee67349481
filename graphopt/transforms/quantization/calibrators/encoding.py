"""Counts of a histogram as short text for JSON."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoded_counts", "encoded_counts"]

#: The most bytes of counts that a state may have: a file of a stranger must not fill the memory.
_MOST_BYTES: Final = 8 << 20


def encoded_counts(counts: NDArray[np.int64]) -> str:
    """Counts in as few bytes each as the largest needs, compressed, as base64; the first character is that number of bytes.

    Example:
        >>> decoded_counts(encoded_counts(np.array([0, 7, 300]))).tolist()
        [0, 7, 300]
    """
    largest = int(counts.max(initial=0))
    size = next(size for size in (1, 2, 4, 8) if largest < 1 << (8 * size))
    packed = zlib.compress(counts.astype(f"<u{size}").tobytes(), 6)
    return f"{size}{base64.b64encode(packed).decode('ascii')}"


def decoded_counts(text: object) -> NDArray[np.int64]:
    """What :func:`encoded_counts` was given.

    Raises:
        ValueError: if the text is something else.
    """
    if not isinstance(text, str) or text[:1] not in ("1", "2", "4", "8"):
        raise ValueError(f"counts are {text!r:.40}, expected text that begins with 1, 2, 4 or 8")
    size = int(text[0])
    try:
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(base64.b64decode(text[1:], validate=True), _MOST_BYTES)
    except (binascii.Error, zlib.error) as err:
        raise ValueError(f"counts are damaged: {err}") from err
    if not unpacking.eof or len(raw) % size:
        raise ValueError("counts are damaged: they end in the middle")
    found = np.frombuffer(raw, f"<u{size}")
    if found.size and int(found.max()) > np.iinfo(np.int64).max:
        raise ValueError("counts are damaged: one is negative")
    return found.astype(np.int64)
