"""Nodes that multiply matrices and convolve: weights mostly constant, biases there or not, all attributes."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.element_types import FLOATS
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE", "say_window"]

TABLE = SamplerTable()
_NARROW = frozenset({DType.UINT8, DType.INT8})


@TABLE("MatMul", ranks={0: (1, 4), 1: (1, 4)}, keeps=True)
def matmul(ask: Ask) -> None:
    """Of ranks 1 to 4, batches that broadcast."""
    _matmul(ask, *((1, 0) if 1 in ask.given and 0 not in ask.given else (0, 1)))


def _matmul(ask: Ask, first: int, second: int) -> None:
    low = 1 if ask.choices.chance(0.15) else 2
    array = ask.data(first, ranks=(1 if first in ask.given else low, 4))
    size = array.shape[-1 if first == 0 or array.ndim == 1 else -2]
    inner = [0, -1] if first == 0 else [-1, -1]

    def fits(other: Array) -> bool:
        if other.ndim == 0:
            return False
        here = other.shape[-2 if other.ndim > 1 else -1] if first == 0 else other.shape[-1]
        return here == size and _batches_fit(array, other)

    if second in ask.given:
        ask.data(second, fits=fits)
        return
    columns = ask.choices.of((2, 3, 1, 4))
    matrix = [size, columns] if first == 0 else [columns, size]
    batch = list(array.shape[:-2]) if inner and ask.choices.chance(0.25) and array.ndim > 2 else []
    if ask.choices.chance(0.1):
        matrix = [size]
    dtype = dtype_of(array) if ask.op == "MatMul" else ask.dtype(second, _NARROW)
    if second not in ask.forms and ask.choices.chance(0.2):
        name = ask.scope.pick(lambda other: dtype_of(other) is dtype and fits(other))
        if name is not None:
            ask.inputs[second] = name
            return
    ask.need(second, ask.drawn(dtype, [*batch, *matrix] if len(matrix) == 2 else matrix), "weight")


def _batches_fit(a: Array, b: Array) -> bool:
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return False
    return True


@TABLE("MatMulInteger", ranks={0: (2, 4)})
def matmul_integer(ask: Ask) -> None:
    """With zero points or without."""
    a = ask.data(0, ranks=(2, 4), dtypes=_NARROW, empty=False)
    ask.need(1, ask.drawn(ask.dtype(1, _NARROW), (a.shape[-1], ask.choices.of((2, 3)))), "weight")
    for index, like in ((2, dtype_of(a)), (3, ask.dtype(1))):
        if ask.wants_optional(index, 0.4):
            ask.need(index, np.array(ask.choices.of((0, 1, 3)), like.numpy), "constant")


@TABLE("Gemm", ranks={0: (2, 2), 1: (2, 2)}, keeps=True)
def gemm(ask: Ask) -> None:
    """Any transposition, factors, and a bias that broadcasts."""
    first = 1 if 1 in ask.given and 0 not in ask.given else 0
    a = ask.data(first, ranks=(2, 2), dtypes=FLOATS)
    flips = [ask.choices.chance(0.3), ask.choices.chance(0.4)]
    ask.set(transA=1 if flips[0] else None, transB=1 if flips[1] else None)
    rows, inner = a.shape[::-1] if flips[first] else a.shape
    if first == 0:
        columns = ask.choices.of((2, 3, 1, 4))
        if 1 in ask.given:
            columns = ask.scope.arrays[ask.given[1]].shape[0 if flips[1] else -1]
        wanted = (inner, columns)
    else:
        columns = inner
        wanted = (ask.choices.of((2, 3, 1)), rows)
        rows = wanted[0]
    other = 1 - first
    shape = wanted[::-1] if flips[other] else wanted
    if other in ask.given:
        ask.need(other, np.zeros(shape, a.dtype))
    else:
        ask.need(other, ask.drawn(dtype_of(a), shape), "weight")
    if ask.choices.chance(0.3):
        ask.set(alpha=ask.choices.of((0.5, 2.0, 1.0)))
    if ask.choices.chance(0.3):
        ask.set(beta=ask.choices.of((0.5, 2.0, 0.0, 1.0)))
    if ask.opset < 11 or ask.wants_optional(2, 0.7):
        size = ask.choices.of(((columns,), (rows, columns), (1, columns), (), (rows, 1), (1,)))
        if 2 in ask.given:
            ask.data(2, fits=lambda c: _reaches(c, (rows, columns)))
        else:
            ask.need(2, ask.drawn(dtype_of(a), size), "weight")


def _reaches(array: Array, shape: tuple[int, int]) -> bool:
    try:
        return np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        return False


def say_window(ask: Ask, sizes: list[int], *, pads: bool = True, dilations: bool = True, least: int = 1) -> list[int]:
    """Draw kernel sizes for spatial sizes and state strides, padding and dilations; returns the kernel."""
    rank = len(sizes)
    if min(sizes, default=1) < 1:
        raise ask.refuse("nothing to slide over")
    kernel = [ask.choices.integer(min(least, size), min(3, size)) for size in sizes]
    choices = ask.choices
    if choices.chance(0.3):
        ask.set(strides=[choices.integer(1, 2) for _ in sizes])
    if dilations and choices.chance(0.2):
        ask.set(
            dilations=[
                choices.integer(1, 2) if 2 * (k - 1) < size else 1 for k, size in zip(kernel, sizes, strict=True)
            ]
        )
    padding = choices.integer(0, 5)
    if not pads or padding <= 2:
        return kernel
    if padding == 3 and "auto_pad" in ask.schema.attributes and "dilations" not in ask.attributes:
        ask.set(auto_pad=choices.of(("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")))
    else:
        most = [min(1, k - 1) for k in kernel] * 2
        ask.set(pads=[choices.integer(0, limit) for limit in most] if rank else None)
    return kernel


@TABLE("Conv", "ConvTranspose", ranks={0: (3, 5), 1: (3, 5)}, keeps=True)
def conv(ask: Ask) -> None:
    """One to three spatial axes, groups, all ways of padding."""
    x = ask.data(
        0, ranks=(3, 5), dtypes=FLOATS, fits=lambda a: a.shape[1] > 0, shape=lambda rank: _image(ask, rank), empty=False
    )
    channels = x.shape[1]
    group = ask.choices.of([number for number in (1, 1, 2, channels) if channels % number == 0])
    ask.set(group=group if group != 1 or ask.choices.chance(0.1) else None)
    if ask.op == "Conv":
        kernel = say_window(ask, list(x.shape[2:]))
        outputs = group * ask.choices.of((2, 1, 3))
        shape = [outputs, channels // group, *kernel]
    else:
        kernel = [ask.choices.integer(1, 3) for _ in x.shape[2:]]
        if ask.choices.chance(0.4):
            ask.set(strides=[ask.choices.integer(1, 2) for _ in kernel])
        if ask.choices.chance(0.3):
            ask.set(pads=[min(1, k - 1) for k in kernel] * 2)
        each = ask.choices.of((2, 1, 3))
        outputs = group * each
        shape = [channels, each, *kernel]
    if ask.choices.chance(0.6):
        ask.set(kernel_shape=kernel)
    if 1 in ask.given:
        weights = ask.data(1, ranks=(x.ndim, x.ndim), fits=lambda w: w.shape[:2] == tuple(shape[:2]))
        ask.set(kernel_shape=None)
        outputs = weights.shape[0] if ask.op == "Conv" else group * weights.shape[1]
    else:
        ask.need(1, ask.drawn(dtype_of(x), shape), "weight")
    if ask.wants_optional(2, 0.5):
        ask.need(2, ask.drawn(dtype_of(x), (outputs,)), "weight")


def _image(ask: Ask, rank: int) -> list[int]:
    return [
        ask.choices.of((1, 2)),
        ask.choices.of((2, 1, 3, 4)),
        *(ask.choices.of((4, 3, 5, 2, 1)) for _ in range(rank - 2)),
    ]


@TABLE("ConvInteger", ranks={0: (4, 4)})
def conv_integer(ask: Ask) -> None:
    """Of bytes."""
    x = ask.data(0, ranks=(4, 4), dtypes=_NARROW, shape=lambda rank: _image(ask, rank), empty=False)
    kernel = say_window(ask, list(x.shape[2:]))
    ask.need(1, ask.drawn(ask.dtype(1, _NARROW), [ask.choices.of((1, 2)), x.shape[1], *kernel]), "weight")
    for index in (2, 3):
        if ask.wants_optional(index, 0.4):
            like = dtype_of(x) if index == 2 else ask.dtype(1)
            ask.need(index, np.array(ask.choices.of((0, 1, 3)), like.numpy), "constant")


@TABLE("Einsum")
def einsum(ask: Ask) -> None:
    """Products, transpositions, sums and traces of one or two operands."""
    a = ask.data(0, ranks=(2, 3), dtypes={DType.FLOAT, DType.DOUBLE}, empty=False)
    letters = "ijk"[: a.ndim]
    form = ask.choices.integer(0, 3)
    if form == 0:
        ask.set(equation=f"{letters}->{letters[::-1]}")
    elif form == 1:
        ask.set(equation=f"{letters}->{letters[:-1]}")
    elif form == 2:
        ask.set(equation=f"{letters},{letters[-1]}l->{letters[:-1]}l")
        ask.need(1, ask.drawn(dtype_of(a), (a.shape[-1], 2)), "weight")
    else:
        ask.set(equation=f"...{letters[-1]},{letters[-1]}->...")
        ask.need(1, ask.drawn(dtype_of(a), (a.shape[-1],)), "weight")


@TABLE("Det", ranks={0: (2, 3)})
def det(ask: Ask) -> None:
    """Of square matrices."""
    ask.data(0, ranks=(2, 3), fits=lambda a: a.shape[-1] == a.shape[-2] > 0, shape=lambda rank: [2] * rank)
