"""Pooling by slices: one slice of the padded input for each place of a window, and the largest or the sum of all slices.

For what TensorRT's pooling layer lacks: windows whose numbers lie apart (dilations), places of the largest numbers, integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Final

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import bounds_of
from graphopt.backends.tensorrt.converters.windows import Window, window_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.ir import DType, Node

__all__ = ["MOST_SHIFTS", "count_of_shifts", "needs_shifts", "shifted_max", "shifted_mean", "shifted_sum"]

#: Slices that a window may become.
MOST_SHIFTS: Final = 256


def needs_shifts(node: Node) -> bool:
    """Whether a pooling layer does not do it, whatever the type."""
    apart = any(step != 1 for step in node.ints_attr("dilations") or ())
    value = node.input_at(0)
    whole = value is not None and value.dtype is not None and not value.dtype.is_float
    return apart or whole or _asks_for_places(node)


def _asks_for_places(node: Node) -> bool:
    return len(node.outputs) > 1 and node.outputs[1].is_used


def count_of_shifts(node: Node) -> int:
    """How many slices it takes: largest numbers and sums go axis by axis."""
    kernel = node.ints_attr("kernel_shape") or (1,)
    return int(np.prod(kernel)) if _asks_for_places(node) else sum(kernel)


def _geometry(e: Emitter, node: Node, x: Tensor) -> tuple[Window, list[int]]:
    """The windows, and how many there are by axis."""
    kernel, sizes = node.ints_attr("kernel_shape") or (), tuple(x.shape)[2:]
    if -1 in sizes:
        raise e.fail("windows that are apart, or whose places are asked for, over sizes that are not known")
    window = window_of(e, node, kernel, sizes)
    counts = []
    for size, span, gap, step, front, back in zip(
        sizes, kernel, window.dilations, window.strides, window.before, window.after, strict=True
    ):
        counts.append((size + front + back - (span - 1) * gap - 1) // step + 1)
    return window, counts


def _slices(e: Emitter, x: Tensor, window: Window, counts: Sequence[int], filler: float) -> Iterator[Tensor]:
    """For each place of the window, the number that is there in each of the windows; a number outside of the input."""
    rank = e.rank(x)
    number = e.reshape(e.scalar_like(filler, x), [])
    for place in itertools.product(*(range(size) for size in window.kernel)):
        start = [at * gap - front for at, gap, front in zip(place, window.dilations, window.before, strict=True)]
        layer = e.check(e.network.add_slice(x, [0, 0, *start], [1] * rank, [1, 1, *window.strides]), settled=False)
        layer.mode = e.api.enum("SampleMode", "FILL")
        if -1 in tuple(x.shape):
            layer.set_input(2, e.concat([e.sizes(x, (0, 1)), e.constant(np.array(counts, np.int64))]))
        else:
            layer.shape = (*tuple(x.shape)[:2], *counts)
        layer.set_input(4, number)
        yield e.out(layer)


def _by_axis(e: Emitter, x: Tensor, window: Window, counts: Sequence[int], op: str, filler: float) -> Tensor:
    """What is the same whether it is taken over a window at once or over one axis after the other."""
    one = (1,) * len(counts)
    sizes = list(x.shape)[2:]
    for axis in range(len(counts)):

        def only(whole: Sequence[int], rest: Sequence[int], axis: int = axis) -> tuple[int, ...]:
            return tuple(
                item if place == axis else other for place, (item, other) in enumerate(zip(whole, rest, strict=True))
            )

        none = (0,) * len(counts)
        part = Window(
            only(window.kernel, one),
            only(window.strides, one),
            only(window.dilations, one),
            only(window.before, none),
            none,
            none,
        )
        sizes[axis] = counts[axis]
        x = reduce(lambda a, b: e.elementwise(a, b, op), _slices(e, x, part, sizes, filler))
    return x


def shifted_max(e: Emitter, node: Node, x: Tensor) -> list[Tensor | None]:
    """The largest number of each window, and its place in the input, where that is asked for."""
    window, counts = _geometry(e, node, x)
    dtype = e.api.ir_dtype(x.dtype)
    lowest = -np.inf if dtype.is_float else bounds_of(dtype)[0]
    if not _asks_for_places(node):
        return [_by_axis(e, x, window, counts, "MAX", lowest), *(None for _ in node.outputs[1:])]
    best: Tensor | None = None
    where: Tensor | None = None
    places = itertools.product(*(range(size) for size in window.kernel))
    for place, item in zip(places, _slices(e, x, window, counts, lowest), strict=True):
        index = e.constant(_indices(node, tuple(x.shape)[2:], window, counts, place))
        if best is None or where is None:
            best, where = item, index
            continue
        where = e.select(e.elementwise(item, best, "GREATER"), index, where)
        best = e.elementwise(best, item, "MAX")
    assert best is not None, "a window has a place"
    assert where is not None, "a window has a place"
    if -1 in tuple(x.shape)[:2]:
        raise e.fail("places of the largest numbers, of a number of images that is not known")
    images = np.arange(int(np.prod(tuple(x.shape)[:2])), dtype=np.int64).reshape(*tuple(x.shape)[:2])
    first = images * int(np.prod(tuple(x.shape)[2:]))
    return [best, e.elementwise(where, e.constant(first.reshape(*first.shape, *(1,) * len(counts))), "SUM")]


def _indices(
    node: Node, sizes: Sequence[int], window: Window, counts: Sequence[int], place: Sequence[int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Place in an image of what a place of the window sees, by window: row by row, or column by column."""
    back = bool(node.int_attr("storage_order", 0))
    factors = [int(np.prod(sizes[:axis] if back else sizes[axis + 1 :])) for axis in range(len(sizes))]
    axes = [
        (np.arange(count, dtype=np.int64) * step + at * gap - front) * factor
        for count, step, at, gap, front, factor in zip(
            counts, window.strides, place, window.dilations, window.before, factors, strict=True
        )
    ]
    return reduce(np.add.outer, axes)[None, None]  # type: ignore[no-any-return]


def shifted_sum(e: Emitter, node: Node, x: Tensor) -> Tensor:
    """The sum of each window; what is padded is 0."""
    window, counts = _geometry(e, node, x)
    return _by_axis(e, x, window, counts, "SUM", 0)


def shifted_mean(e: Emitter, node: Node, x: Tensor, *, counts_padding: bool) -> Tensor:
    """The mean of each window, over what lies in the input, or in the padding that is stated too."""
    window, counts = _geometry(e, node, x)
    total = _by_axis(e, x, window, counts, "SUM", 0)
    axes = []
    for size, span, gap, step, front, back, count in zip(
        tuple(x.shape)[2:],
        window.kernel,
        window.dilations,
        window.strides,
        window.before,
        window.declared_after,
        counts,
        strict=True,
    ):
        seen = np.arange(count)[:, None] * step + np.arange(span)[None, :] * gap - front
        low, high = (-front, size + back) if counts_padding else (0, size)
        axes.append(((seen >= low) & (seen < high)).sum(1))
    dtype = e.api.ir_dtype(x.dtype)
    number = reduce(np.multiply.outer, axes)[None, None].astype(dtype.numpy)
    return e.elementwise(total, e.constant(number, dtype if dtype is not DType.DOUBLE else DType.FLOAT), "DIV")
