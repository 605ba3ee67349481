"""Pooling over windows and over all of the spatial axes, and LRN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, floats_only, rank_of
from graphopt.backends.tensorrt.converters.shifts import (
    MOST_SHIFTS,
    count_of_shifts,
    needs_shifts,
    shifted_max,
    shifted_mean,
    shifted_sum,
)
from graphopt.backends.tensorrt.converters.windows import Window, one_dimensional, window_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Node

__all__ = ["average_pool", "global_lp_pool", "global_pool", "lp_pool", "lrn", "max_pool"]


def _plain_windows(node: Node) -> str | None:
    rank = rank_of(node.input_at(0))
    if rank is not None and rank not in (3, 4, 5):
        return f"pooling over {rank - 2} axes"
    if needs_shifts(node) and count_of_shifts(node) > MOST_SHIFTS:
        return f"a window of more than {MOST_SHIFTS} numbers that are apart, or whose places are asked for"
    if needs_shifts(node) and None in _spatial_sizes(node):
        return "windows that are apart, or whose places are asked for, over sizes that are not fixed"
    return None


def _spatial_sizes(node: Node) -> list[object]:
    value = node.input_at(0)
    shape = None if value is None else value.shape
    return [None] if shape is None else [size if isinstance(size, int) else None for size in shape[2:]]


@lower("MaxPool", supports=_plain_windows)
def max_pool(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """One pooling layer; integers, windows that are apart, and places of the largest go by shifted slices."""
    x = e.plain(e.input(node, 0))
    if needs_shifts(node) or not e.is_float(x):
        return shifted_max(e, node, x)
    return [_pool(e, x, node, "MAX"), *(None for _ in node.outputs[1:])]


@lower("AveragePool", supports=all_of(floats_only, _plain_windows))
def average_pool(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One pooling layer; what ``ceil_mode`` pads behind counts for nothing. Windows that are apart go by shifted slices."""
    x, counts = e.input(node, 0), bool(node.int_attr("count_include_pad", 0))
    if needs_shifts(node):
        return [shifted_mean(e, node, x, counts_padding=counts)]
    return [_pool(e, x, node, "AVERAGE", counts_padding=counts)]


@lower("LpPool", supports=all_of(floats_only, _plain_windows))
def lp_pool(e: Emitter, node: Node) -> Sequence[Tensor]:
    """(sum of |x|^p)^(1/p): the mean over each window, padding counted, times its size."""
    x, p = e.input(node, 0), node.int_attr("p", 2)
    size = float(np.prod(node.ints_attr("kernel_shape") or (1,)))
    powers = e.unary(x, "ABS")
    if p != 1:
        powers = e.elementwise(x, x, "PROD") if p == 2 else e.elementwise(powers, e.scalar_like(p, x), "POW")
    if needs_shifts(node):
        total = shifted_sum(e, node, powers)
    else:
        mean = _pool(e, powers, node, "AVERAGE", counts_padding=True, padding_is_zero=True)
        total = e.elementwise(mean, e.scalar_like(size, mean), "PROD")
    if p == 1:
        return [total]
    return [e.unary(total, "SQRT") if p == 2 else e.elementwise(total, e.scalar_like(1 / p, total), "POW")]


def _pool(
    e: Emitter, x: Tensor, node: Node, kind: str, *, counts_padding: bool = False, padding_is_zero: bool = False
) -> Tensor:
    kernel = node.ints_attr("kernel_shape") or ()
    window = window_of(e, node, kernel, tuple(x.shape)[2:])
    flat = len(kernel) == 1
    if flat:
        x, window = one_dimensional(x, e), window.widened()
    if counts_padding and window.is_padded_further and not padding_is_zero:
        x, window = _padded(e, x, window)
        counts_padding = False
    layer = e.check(e.network.add_pooling_nd(x, e.api.enum("PoolingType", kind), window.kernel))
    layer.stride_nd = window.strides
    layer.pre_padding, layer.post_padding = window.before, window.after
    if kind == "AVERAGE":
        layer.average_count_excludes_padding = not counts_padding
    found = e.out(layer)
    return e.squeeze(found, [2]) if flat else found


def _padded(e: Emitter, x: Tensor, window: Window) -> tuple[Tensor, Window]:
    """Zeros for the padding that counts, as numbers; what is left to the layer does not count."""
    shape, count = tuple(x.shape), len(window.kernel)
    if -1 in shape[2:]:
        raise e.fail("ceil_mode with padding that counts, of a size that is not known")
    start = [0, 0, *(-item for item in window.before)]
    sizes = [
        size + front + back for size, front, back in zip(shape[2:], window.before, window.declared_after, strict=True)
    ]
    layer = e.check(e.network.add_slice(x, start, [1] * len(shape), [1] * len(shape)))
    layer.mode = e.api.enum("SampleMode", "FILL")
    if -1 in shape:
        layer.set_input(2, e.concat([e.sizes(x, (0, 1)), e.constant(np.array(sizes, np.int64))]))
    else:
        layer.shape = (*shape[:2], *sizes)
    rest = tuple(mine - stated for mine, stated in zip(window.after, window.declared_after, strict=True))
    none = (0,) * count
    return e.out(layer), Window(window.kernel, window.strides, window.dilations, none, rest, none)


@lower("GlobalAveragePool", "GlobalMaxPool", supports=floats_only)
def global_pool(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A reduction over the spatial axes."""
    x = e.input(node, 0)
    op = "AVG" if node.op_type == "GlobalAveragePool" else "MAX"
    return [e.reduce(x, op, range(2, e.rank(x)), keep=True)]


@lower("GlobalLpPool", supports=floats_only)
def global_lp_pool(e: Emitter, node: Node) -> Sequence[Tensor]:
    """(sum of |x|^p)^(1/p) over the spatial axes."""
    x, p = e.input(node, 0), node.int_attr("p", 2)
    powers = e.elementwise(e.unary(x, "ABS"), e.scalar_like(p, x), "POW")
    total = e.reduce(powers, "SUM", range(2, e.rank(x)), keep=True)
    return [e.elementwise(total, e.scalar_like(1 / p, total), "POW")]


def _images(node: Node) -> str | None:
    rank = rank_of(node.input_at(0))
    if rank is not None and rank != 4:
        return f"LRN of {rank} axes"
    return None if node.int_attr("size", 1) % 2 else "LRN over an even number of channels"


@lower("LRN", supports=all_of(floats_only, _images))
def lrn(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    alpha, beta, bias = (
        node.float_attr(name, default) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    return [e.out(e.network.add_lrn(e.input(node, 0), node.int_attr("size"), alpha, beta, bias))]
