"""How ``com.microsoft::MatMulNBits`` stores a matrix: columns one after the other, in blocks along the summed axis.

The weight is uint8 [N, blocks, block * bits / 8]; of two numbers of 4 bits in a byte the first has the low half. Numbers are unsigned, so
signed ones move up by half the range, and so do their zero points. Scales are [N, blocks]. Zero points are uint8
[N, ceil(blocks * bits / 8)], packed likewise, and left out where all are the middle of the range. A last block that is too short is filled
with zero points, which stand for 0. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array

__all__ = ["PackedMatrix", "is_packable", "pack_matrix"]

_Bytes = NDArray[np.uint8]
_LEAST: Final = 16


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """A matrix as MatMulNBits takes it.

    Attributes:
        weight: uint8 [N, blocks, block * bits / 8].
        scale: [N, blocks].
        zero_point: uint8 [N, ceil(blocks * bits / 8)], ``None`` for the middle of the range.
    """

    weight: _Bytes
    scale: NDArray[np.floating[Any]]
    zero_point: _Bytes | None


def is_packable(bits: int, block: int) -> bool:
    """Whether the kernel takes numbers of so many bits in blocks of so many: 4 or 8, powers of 2 from 16 on."""
    return bits in (4, 8) and block >= _LEAST and not block & (block - 1)


def pack_matrix(
    stored: Array, scale: NDArray[np.floating[Any]], zero_point: Array, *, bits: int, block: int, is_signed: bool
) -> PackedMatrix:
    """Pack a matrix.

    Args:
        stored: integers [K, N].
        scale: [blocks, N], ``blocks = ceil(K / block)``.
        zero_point: integers [blocks, N].
        bits: 4 or 8.
        block: numbers along K that share a scale.
        is_signed: whether the integers are.

    Example:
        >>> numbers = np.arange(-8, 8).reshape(16, 1)
        >>> one = np.ones((1, 1), np.float32)
        >>> packed = pack_matrix(numbers, one, np.zeros((1, 1), int), bits=4, block=16, is_signed=True)
        >>> packed.weight.shape, packed.weight[0, 0, :2].tolist(), packed.zero_point
        ((1, 1, 8), [16, 50], None)
    """
    middle = 1 << (bits - 1)
    offset = middle if is_signed else 0
    zeros = (zero_point.astype(np.int16) + offset).astype(np.uint8).T
    blocks, columns = scale.shape
    padded = np.repeat(zeros, block, axis=1)
    rows = stored.shape[0]
    padded[:, :rows] = (stored.astype(np.int16) + offset).astype(np.uint8).T
    numbers = padded.reshape(columns, blocks, block)
    return PackedMatrix(
        _packed(numbers, bits),
        np.ascontiguousarray(scale.T),
        None if (zeros == middle).all() else _packed(zeros, bits),
    )


def _packed(numbers: _Bytes, bits: int) -> _Bytes:
    """Two numbers of 4 bits in each byte of the last axis; numbers of 8 bits as they are."""
    if bits != 4:
        return np.ascontiguousarray(numbers)
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros((*numbers.shape[:-1], 1), np.uint8)], axis=-1)
    return np.ascontiguousarray(numbers[..., 0::2] | (numbers[..., 1::2] << 4))
