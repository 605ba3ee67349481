"""Strategies of tensors and what they are made of: shapes, element types, numbers that rewrites get wrong most often.

Floating-point numbers are multiples of 1/8 between -4 and 4, whose sums and products are exact, unless extreme ones are asked for: NaN,
infinities, both zeros, denormals, the largest there are, numbers at the edge of what float16 and int32 hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.ir import Array, DType, TensorType
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.element_types import WEIGHTS

__all__ = ["SIZES", "draw_array", "draw_shape", "filled", "shapes", "tensor_types", "tensors"]

_SPECIAL: Final = (
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    1e-45,
    -1e-40,
    3e38,
    -3e38,
    65504.0,
    2.0**24 + 1,
    7.0,
)
_WORDS: Final = ("", "a", "b", "straße", "0", "1")
#: Sizes of axes, the simplest first.
SIZES: Final = (1, 2, 3, 2, 1, 4, 3)


def draw_shape(choices: Choices, low: int, high: int, *, empty: bool = False) -> tuple[int, ...]:
    """A shape of a rank between two; sizes are small, and 0 now and then where tensors may be empty."""
    rank = choices.integer(low, high)
    return tuple(0 if empty and choices.chance(0.2) else choices.of(SIZES) for _ in range(rank))


def filled(dtype: DType, shape: Sequence[int], number: float) -> Array:
    """One number everywhere."""
    with np.errstate(all="ignore"):
        return np.full(shape, number, np.float64).astype(dtype.numpy)


def draw_array(choices: Choices, dtype: DType, shape: Sequence[int], *, wild: bool = False) -> Array:
    """A tensor of small numbers, or of all numbers that there are when ``wild``."""
    rng = np.random.default_rng(choices.seed())
    if dtype is DType.STRING:
        return np.array([_WORDS[index] for index in rng.integers(0, len(_WORDS), math.prod(shape))], object).reshape(
            shape
        )
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.is_integer:
        return _integers(rng, dtype, shape, wild=wild)
    numbers = rng.integers(-32, 33, shape) / 8
    if wild:
        special = rng.choice(np.array(_SPECIAL), shape)
        numbers = np.where(
            rng.random(shape) < 0.3, special, np.where(rng.random(shape) < 0.3, rng.normal(0, 3, shape), numbers)
        )
    with np.errstate(all="ignore"):
        array: Array = np.asarray(numbers).astype(dtype.numpy)
    return array


def _integers(rng: np.random.Generator, dtype: DType, shape: Sequence[int], *, wild: bool) -> Array:
    low = -(1 << dtype.bits - 1) if dtype.is_signed else 0
    high = low + (1 << dtype.bits) - 1
    small = rng.integers(max(low, -4), 6, shape).astype(dtype.numpy)
    if not wild:
        return small
    edges = np.array([low, high, low + 1, high - 1], dtype.numpy)
    return np.where(rng.random(shape) < 0.25, edges[rng.integers(0, 4, shape)], small)


# -- public -----------------------------------------------------------------------------------------------------------------------


def _check_between(low: int, high: int, name: str) -> None:
    if not 0 <= low <= high:
        raise InvalidArgument(f"expected 0 <= min_{name} <= max_{name}, found min_{name}={low!r}, max_{name}={high!r}")


@st.composite
def _drawn_shapes(draw: DrawFn, min_rank: int, max_rank: int, min_size: int, max_size: int) -> tuple[int, ...]:
    _check_between(min_rank, max_rank, "rank")
    _check_between(min_size, max_size, "size")
    choices = Choices(draw)
    return tuple(choices.integer(min_size, max_size) for _ in range(choices.integer(min_rank, max_rank)))


def shapes(
    *, min_rank: int = 0, max_rank: int = 4, min_size: int = 0, max_size: int = 4
) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of tensors.

    Args:
        min_rank: fewest axes.
        max_rank: most axes.
        min_size: smallest size of an axis; 0 lets tensors be empty.
        max_size: largest size of an axis.

    Raises:
        InvalidArgument: when drawn from, if a minimum is above its maximum or negative.

    Example:
        >>> from hypothesis import find
        >>> find(shapes(min_rank=2, min_size=1), lambda shape: True)
        (1, 1)
    """
    return _drawn_shapes(min_rank, max_rank, min_size, max_size)


@st.composite
def _drawn_types(
    draw: DrawFn, element_types: SearchStrategy[DType] | None, shape: SearchStrategy[tuple[int, ...]] | None
) -> TensorType:
    number = draw(st.sampled_from(list(WEIGHTS)) if element_types is None else element_types)
    return TensorType(number, draw(shapes() if shape is None else shape))


def tensor_types(
    *,
    element_types: SearchStrategy[DType] | None = None,
    shapes: SearchStrategy[tuple[int, ...]] | None = None,
) -> SearchStrategy[TensorType]:
    """Types of tensors, as the IR has them.

    Args:
        element_types: such as ``st.just(DType.FLOAT)``.
        shapes: their shapes.

    Example:
        >>> from hypothesis import find
        >>> print(find(tensor_types(), lambda type: True))
        float[]
    """
    return _drawn_types(element_types, shapes)


@st.composite
def _drawn_tensors(
    draw: DrawFn,
    element_types: SearchStrategy[DType] | None,
    shape: SearchStrategy[tuple[int, ...]] | None,
    extremes: bool,
) -> Array:
    choices = Choices(draw)
    number = choices.weighted(list(WEIGHTS.items())) if element_types is None else draw(element_types)
    return draw_array(choices, number, draw(shapes() if shape is None else shape), wild=extremes)


def tensors(
    *,
    element_types: SearchStrategy[DType] | None = None,
    shapes: SearchStrategy[tuple[int, ...]] | None = None,
    allow_extremes: bool = True,
) -> SearchStrategy[Array]:
    """Tensors of any element type that ONNX Runtime computes with, as numpy arrays; strings are objects.

    Args:
        element_types: such as ``st.just(DType.FLOAT)``.
        shapes: their shapes.
        allow_extremes: whether NaN, infinities, signed zeros, denormals and the largest numbers are among the elements.

    Example:
        >>> from hypothesis import find
        >>> find(tensors(), lambda array: array.size == 1).shape
        ()
    """
    return _drawn_tensors(element_types, shapes, allow_extremes)
