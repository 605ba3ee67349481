"""How much faster a product by stored weights is than one of floats, by its sizes: ``com.microsoft::MatMulNBits`` with 8 bits.

Measured and fitted as :mod:`graphopt.transforms.quantization.dynamic.gain` says. It pays where few rows are multiplied by many weights,
as a decoder does for each token; with many rows floats are faster.
"""

from __future__ import annotations

from typing import Final

from graphopt.transforms.quantization.dynamic.gain import product_seconds

__all__ = ["weight_only_gain"]

#: Seconds for a node, for each product of two numbers, for each weight, for each number of the result, for each of the activation.
_SECONDS: Final = (1.8e-6, 1.46e-11, 5.6e-12, 1.8e-9, 4.9e-10)
#: Weights of so many bytes and more cost so much more each.
_MANY_BYTES: Final = 1_200_000
_FROM_FAR: Final = 1.9e-11


def weight_only_gain(rows: int, inner: int, outer: int) -> float:
    """Time of a product of floats over that of MatMulNBits with 8 bits, blocks of 32, and ``accuracy_level=4``.

    Args:
        rows: of the activation, all leading axes together.
        inner: terms of each sum.
        outer: columns of the weight.

    Example:
        >>> weight_only_gain(1, 768, 3072) > 3, weight_only_gain(128, 768, 768) < 1
        (True, True)
    """
    weights = inner * outer
    sizes = (1, rows * weights, weights, rows * outer, rows * inner)
    stored = sum(size * each for size, each in zip(sizes, _SECONDS, strict=True))
    if weights > _MANY_BYTES:
        stored += weights * _FROM_FAR
    return product_seconds(rows, inner, outer) / stored
