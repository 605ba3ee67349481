"""How much faster a dynamic layer is than one of floats, by its sizes.

Measured with ONNX Runtime 1.32 on one thread of a processor with AVX-512 VNNI: 90 products of 1 to 512 rows and 16 to 3,072 terms and
columns, as a product and an addition, interleaved with their dynamic form; LSTMs of 64 to 512 states. Coefficients are those of a
least-squares fit, which is off by 9 % in the median; what one run of a session costs is left out. ``benchmarks/quantized_models.py``
measures them again. On a processor without such instructions the gain is smaller.
"""

from __future__ import annotations

import math
from typing import Final

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.quantization.products import read_product

__all__ = ["dynamic_gain", "product_gain", "product_seconds"]

#: Seconds for a node, for each product of two numbers, for each weight, for each number of the result.
_FLOAT: Final = (1.0e-6, 1.24e-11, 3.0e-11, 1.9e-10)
_DYNAMIC: Final = (2.0e-6, 3.6e-12, 1.6e-11, 3.4e-10)
#: The same for each number of the activation, which is quantized.
_QUANTIZING: Final = 3.0e-10
#: Weights of so many bytes and more do not stay in the second cache, and cost so much more each.
_MANY_BYTES: Final = 1_200_000
_FLOAT_FROM_FAR: Final = 9.6e-11
_DYNAMIC_FROM_FAR: Final = 1.4e-11
#: A state of that many numbers doubles the speed of an LSTM; measured: 1.3 for 64, 1.6 for 128, 2.5 for 256, 3.4 and more for 512.
_DOUBLING: Final = 200


def product_seconds(rows: int, inner: int, outer: int) -> float:
    """Estimated time of a product of floats, in seconds; arguments as those of :func:`product_gain`."""
    weights = inner * outer
    sizes = (1, rows * weights, weights, rows * outer)
    seconds = sum(size * each for size, each in zip(sizes, _FLOAT, strict=True))
    return seconds + weights * _FLOAT_FROM_FAR if 4 * weights > _MANY_BYTES else seconds


def product_gain(rows: int, inner: int, outer: int) -> float:
    """Time of a product of floats over that of the dynamic one.

    Args:
        rows: of the activation, all leading axes together.
        inner: terms of each sum.
        outer: columns of the weight.

    Example:
        >>> product_gain(128, 768, 3072) > 2.5, product_gain(1, 16, 16) < 1
        (True, True)
    """
    weights = inner * outer
    sizes = (1, rows * weights, weights, rows * outer)
    dynamic = sum(size * each for size, each in zip(sizes, _DYNAMIC, strict=True)) + rows * inner * _QUANTIZING
    if weights > _MANY_BYTES:
        dynamic += weights * _DYNAMIC_FROM_FAR
    return product_seconds(rows, inner, outer) / dynamic


def dynamic_gain(node: Node, rows: int | None = None) -> float | None:
    """Time of a layer of floats over that of the dynamic one, ``None`` when nothing is known of it.

    Args:
        node: a product with a constant matrix, an LSTM, or ONNX Runtime's Attention, of which its projections count.
        rows: of the activation of a product, all leading axes together; read from its type by default.
    """
    if node.op == "LSTM":
        recurrence = node.input_at(2)
        shape = None if recurrence is None else recurrence.shape
        hidden = shape[-1] if shape else None
        return 1 + hidden / _DOUBLING if isinstance(hidden, int) else None
    if node.op == "com.microsoft::Attention":
        x, weight = node.input_at(0), node.input_at(1)
        sizes = None if weight is None or weight.const is None else weight.const.shape
    else:
        product = read_product(node)
        if isinstance(product, NoMatch):
            return None
        x, sizes = product.x, (product.inner, product.outer)
    rows = _rows(x) if rows is None and x is not None else rows
    return None if rows is None or sizes is None or len(sizes) != 2 else product_gain(rows, *sizes)


def _rows(x: Value) -> int | None:
    sizes = (x.shape or (None,))[:-1]
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) and x.shape else None
