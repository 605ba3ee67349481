"""How much faster a product by stored weights is than one of floats, by its sizes: ``com.microsoft::MatMulNBits`` with 8 bits.

Measured and fitted as :mod:`graphopt.transforms.quantization.dynamic.gain` says. It pays where few rows are multiplied by many weights,
as a decoder does for each token; with many rows floats are faster.
"""

from __future__ import annotations

from typing import Final

from graphopt.transforms.quantization.dynamic.gain import product_seconds

__all__ = ["weight_only_gain"]

#: Seconds for a node, for each product of two numbers, for each weight, for each number of the result, for each of the activation; of
#: blocks of 128 and more, and of shorter ones.
_LONG: Final = (1.8e-6, 8.6e-12, 6.6e-12, 2.5e-9, 3.7e-10)
_SHORT: Final = (1.8e-6, 1.46e-11, 5.6e-12, 1.8e-9, 4.9e-10)
_LEAST_LONG: Final = 128
#: Weights of so many bytes and more cost so much more each.
_MANY_BYTES: Final = 1_200_000
_FROM_FAR: Final = 1.7e-11


def weight_only_gain(rows: int, inner: int, outer: int, block: int = _LEAST_LONG) -> float:
    """Time of a product of floats over that of MatMulNBits with 8 bits and ``accuracy_level=4``.

    Args:
        rows: of the activation, all leading axes together.
        inner: terms of each sum.
        outer: columns of the weight.
        block: weights that share a scale; what has a scale for each column is packed in blocks of 128 where they fit.

    Example:
        >>> weight_only_gain(1, 768, 3072) > 3, weight_only_gain(128, 384, 384) < 1
        (True, True)
    """
    weights = inner * outer
    sizes = (1, rows * weights, weights, rows * outer, rows * inner)
    each = _LONG if block >= _LEAST_LONG else _SHORT
    stored = sum(size * cost for size, cost in zip(sizes, each, strict=True))
    if weights > _MANY_BYTES:
        stored += weights * _FROM_FAR
    return product_seconds(rows, inner, outer) / stored
